"""Find the beats of a video from the readings of its windows, and the EF and borders of each.

Each window gives every one of its frames a probability to be ED, and to be ES. Their average over the windows is a
curve over the video, whose peaks are the EDs and ESs. An ED with the next ES is a beat. Its EF and borders are means
over the windows, each weighted by the probability that its ED and ES are those of the beat.
"""

from __future__ import annotations

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
"""Smallest height of a peak, as a share of the highest."""
NEAR_S = 0.12
"""Time around ED or ES within which the probability of a window belongs to it, seconds."""
SHARE = 0.05
"""Smallest weight of all windows together with which a beat is read."""


class Beat(NamedTuple):
    """One beat.

    Attributes:
        ed_frame: frame of the video, from 0.
        es_frame: frame of the video, from 0.
        ef_percent: EF of the network.
        simpson_ef_percent: EF of the endocardial landmarks by Simpson's method.
        borders: (P, S, K, 2), (x, y) of the landmarks at ED and ES, pixels of the reading's frames.
    """

    ed_frame: int
    es_frame: int
    ef_percent: float
    simpson_ef_percent: float
    borders: Float32[np.ndarray, "P S K 2"]


def find_beats(reading: ClipReading, windows: Windows, frames: int, fps: float) -> list[Beat]:
    """Return the beats of a video in their order in time.

    Args:
        reading: output of the network for all windows; borders in the pixels that the beats shall have.
        windows: the windows.
        frames: number of frames of the video.
        fps: its frames per second.
    """
    if reading.timing is None or reading.landmarks is None or reading.simpson_ef is None:
        return []
    ed, es = (peaks(phase_curve(reading.timing[:, phase], windows, frames), fps) for phase in (0, 1))
    beats = []
    for first, following in zip(ed, [*ed[1:], frames], strict=True):
        ends = [frame for frame in es if SYSTOLE_S[0] <= (frame - first) / fps <= SYSTOLE_S[1] and frame < following]
        if not ends:
            continue
        weight = near(reading.timing[:, 0], windows, first, fps) * near(reading.timing[:, 1], windows, ends[0], fps)
        if weight.sum() < SHARE:
            continue
        ef, simpson, borders = (
            np.average(values, axis=0, weights=weight) for values in (reading.ef, reading.simpson_ef, reading.landmarks)
        )
        beats.append(Beat(first, ends[0], 100 * float(ef), 100 * float(simpson), borders.astype(np.float32)))
    return beats


def phase_curve(probability: Float[np.ndarray, "W T"], windows: Windows, frames: int) -> Float[np.ndarray, " N"]:
    """Return the mean probability of each frame of a video over the windows that hold it, relative to chance."""
    total, held = np.zeros(frames), np.zeros(frames)
    every = np.arange(frames)
    for values, place, mask in zip(probability, windows.place, windows.mask, strict=True):
        inside = (every >= place[0]) & (every <= place[mask][-1])
        total[inside] += mask.sum() * np.interp(every[inside], place[mask], values[mask])
        held += inside
    return total / np.maximum(held, 1)


def peaks(curve: Float[np.ndarray, " N"], fps: float) -> list[int]:
    """Return the frames of the peaks of a curve, ascending, at least :data:`CYCLE_S` apart; higher ones win."""
    edged = np.pad(curve, 1, constant_values=-np.inf)
    tops = np.flatnonzero((edged[1:-1] > edged[:-2]) & (edged[1:-1] >= edged[2:]) & (curve >= PEAK * curve.max()))
    chosen: list[int] = []
    for frame in sorted(tops.tolist(), key=lambda frame: -curve[frame]):
        if all(abs(frame - other) >= CYCLE_S * fps for other in chosen):
            chosen.append(frame)
    return sorted(chosen)


def near(probability: Float[np.ndarray, "W T"], windows: Windows, frame: int, fps: float) -> Float[np.ndarray, " W"]:
    """Return the probability of each window within :data:`NEAR_S` of a frame."""
    return np.asarray((probability * (np.abs(windows.place - frame) <= NEAR_S * fps) * windows.mask).sum(1))
