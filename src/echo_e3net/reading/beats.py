"""Find the beats of a video from the readings of its windows, and the EF and landmarks of each.

For each window, the network predicts the probability that each frame is ED or ES. These probabilities are averaged
over the windows. The peaks of the two curves are the ED and ES frames. A beat is an ED frame and the next ES frame. Its
EF and landmarks are weighted means over the windows. The weight is the probability that the window's ED and ES are
those of the beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from echo_e3net.models.clip_reader import ClipReading
from echo_e3net.reading.windows import Windows

SYSTOLE_S = (0.10, 0.60)
"""Shortest and longest time from ED to ES, seconds."""
CYCLE_S = 0.30
"""Shortest time from one ED to the next, seconds: 200 beats per minute."""
PEAK = 0.25
"""Smallest height of a peak, as a fraction of the highest peak."""
EDGE_S = 0.06
"""If the ES of a beat is within this time of the end of a video, its systole may be cut off, seconds."""
NEAR_S = 0.12
"""Probabilities count towards an ED or ES frame within this time of it, seconds."""
SHARE = 0.05
"""Smallest total weight of the windows; a beat below it is dropped."""


class Beat(NamedTuple):
    """One beat.

    Attributes:
        ed_frame: frame of the video, from 0.
        es_frame: frame of the video, from 0.
        ef_percent: EF of the network.
        simpson_ef_percent: EF of the endocardial landmarks by Simpson's method.
        landmarks: (P, S, K, 2), (x, y) of both borders at ED and ES, pixels of the reading's frames.
    """

    ed_frame: int
    es_frame: int
    ef_percent: float
    simpson_ef_percent: float
    landmarks: Float32[np.ndarray, "P S K 2"]

    def __repr__(self) -> str:
        """Return the frames and EF without the landmarks, which are long."""
        efs = f"ef_percent={self.ef_percent:.1f}, simpson_ef_percent={self.simpson_ef_percent:.1f}"
        return f"Beat(ed_frame={self.ed_frame}, es_frame={self.es_frame}, {efs})"


class Peaks(NamedTuple):
    """All frames that are ED, and all that are ES, ascending."""

    ed: list[int]
    es: list[int]


def find_peaks(reading: ClipReading, windows: Windows, frames: int, fps: float) -> Peaks | None:
    """Return the ED and ES frames of a video; None if the network has no border detector.

    Args:
        reading: output of the network for all windows.
        windows: the windows.
        frames: number of frames of the video.
        fps: its frames per second.
    """
    if reading.timing is None:
        return None
    return Peaks(*(peaks(phase_curve(reading.timing[:, phase], windows, frames), fps) for phase in (0, 1)))


def find_beats(reading: ClipReading, windows: Windows, found: Peaks | None, frames: int, fps: float) -> list[Beat]:
    """Return the beats of a video in their order in time. Beats that may be cut off are left out if there are others.

    Args:
        reading: output of the network for all windows; landmarks in the pixels that the beats shall have.
        windows: the windows.
        found: the ED and ES frames, as :func:`find_peaks` returns them.
        frames: number of frames of the video.
        fps: its frames per second.
    """
    if found is None or reading.timing is None or reading.landmarks is None or reading.simpson_ef is None:
        return []
    beats = []
    for first, following in zip(found.ed, [*found.ed[1:], frames], strict=True):
        ends = [
            frame for frame in found.es if SYSTOLE_S[0] <= (frame - first) / fps <= SYSTOLE_S[1] and frame < following
        ]
        if not ends:
            continue
        weight = near(reading.timing[:, 0], windows, first, fps) * near(reading.timing[:, 1], windows, ends[0], fps)
        if weight.sum() < SHARE:
            continue
        ef, simpson, landmarks = (
            np.average(values, axis=0, weights=weight) for values in (reading.ef, reading.simpson_ef, reading.landmarks)
        )
        beats.append(Beat(first, ends[0], 100 * float(ef), 100 * float(simpson), landmarks.astype(np.float32)))
    return uncut(beats, frames, fps) or beats


def beats_of_windows(reading: ClipReading, windows: Windows) -> list[Beat]:
    """Return a beat per window: its most probable ED and ES, which need not be in order, and its borders."""
    if reading.timing is None or reading.landmarks is None or reading.simpson_ef is None:
        return []
    places = np.take_along_axis(windows.frames, reading.timing.argmax(2), 1)
    efs = 100 * np.stack([reading.ef, reading.simpson_ef], 1)
    return [
        Beat(int(ed), int(es), float(ef), float(simpson), landmarks)
        for (ed, es), (ef, simpson), landmarks in zip(places, efs, reading.landmarks, strict=True)
    ]


def phase_curve(probability: Float[np.ndarray, "W T"], windows: Windows, frames: int) -> Float[np.ndarray, " N"]:
    """Return the mean probability of each frame over the windows that contain it, relative to a uniform one."""
    total, held = np.zeros(frames), np.zeros(frames)
    every = np.arange(frames)
    for values, place, mask in zip(probability, windows.frames, windows.mask, strict=True):
        inside = (every >= place[0]) & (every <= place[mask][-1])
        total[inside] += mask.sum() * np.interp(every[inside], place[mask], values[mask])
        held += inside
    return total / np.maximum(held, 1)


def peaks(curve: Float[np.ndarray, " N"], fps: float) -> list[int]:
    """Return the peaks of a curve, ascending; of those closer than :data:`CYCLE_S`, the highest is kept."""
    edged = np.pad(curve, 1, constant_values=-np.inf)
    tops = np.flatnonzero((edged[1:-1] > edged[:-2]) & (edged[1:-1] >= edged[2:]) & (curve >= PEAK * curve.max()))
    chosen: list[int] = []
    for frame in sorted(tops.tolist(), key=lambda frame: -curve[frame]):
        if all(abs(frame - other) >= CYCLE_S * fps for other in chosen):
            chosen.append(frame)
    return sorted(chosen)


def near(probability: Float[np.ndarray, "W T"], windows: Windows, frame: int, fps: float) -> Float[np.ndarray, " W"]:
    """Return the probability of each window within :data:`NEAR_S` of a frame."""
    return np.asarray((probability * (np.abs(windows.frames - frame) <= NEAR_S * fps) * windows.mask).sum(1))


def uncut(beats: Sequence[Beat], frames: int, fps: float) -> list[Beat]:
    """Return the beats whose ES is at least :data:`EDGE_S` before the last frame; their systole counts as complete."""
    return [beat for beat in beats if beat.es_frame <= frames - 1 - EDGE_S * fps]


def sharpness(timing: Float[np.ndarray, "W P T"], windows: Windows, found: Peaks, frames: int, fps: float) -> float:
    """Return the mean probability within :data:`NEAR_S` of any ED, or that of any ES, whichever is smaller."""
    shares, reach = [], int(NEAR_S * fps)
    for phase, places in enumerate(found):
        # one value per frame of the video, because windows times peaks can be many
        close = np.zeros(frames, bool)
        for place in places:
            close[max(0, place - reach) : place + reach + 1] = True
        shares.append((timing[:, phase] * close[windows.frames] * windows.mask).sum(1).mean())
    return float(min(shares))
