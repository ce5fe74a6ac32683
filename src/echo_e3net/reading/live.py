"""Find beats while frames arrive. No threads and no clock: times are numbers of frames."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from echo_e3net.conventions import MIN_FRAMES
from echo_e3net.models.clip_reader import ClipReading
from echo_e3net.models.description import Description
from echo_e3net.reading.beats import EDGE_S, Beat, find_beats, find_peaks
from echo_e3net.reading.border_cues import NEAR
from echo_e3net.reading.quality import Quality, grade, picture_values, together
from echo_e3net.reading.windows import Windows, clips_of, frame_step, in_pixels_of, resize_square

FRAMES_S = 4.0
"""Frames of this time are kept, seconds: the sector is found in 2 s, and a beat is graded when it has been read."""
HELD_S = 6.0
"""Windows that begin within this time are used to find beats, seconds."""
MISSING_S = 0.06
"""A beat is not reported if more than this time is missing between its ED and ES, seconds."""
SETTLED_S = 0.3
"""A beat is reported when this time after its ES has been read, seconds, because a peak needs later frames."""


class GradedBeat(NamedTuple):
    """A beat of a stream with its quality."""

    beat: Beat
    quality: Quality


class LiveBeats:
    """The last seconds of a stream, and the beats in them. Memory does not grow.

    Args:
        description: the network and its clip.
        fps: frames per second.
        side: side of the square frames, pixels.

    Attributes:
        doubtful: number of beats that were not reported because frames are missing in them.
    """

    def __init__(self, description: Description, fps: float, side: int) -> None:
        self.clip, self.fps, self.side, self.limits = description.clip, fps, side, description.limits
        self.step = frame_step(self.clip, fps)
        self.length = int(np.ceil((self.clip.frames - 1) * self.step)) + 1
        self.held = max(self.length, int(np.ceil(FRAMES_S * fps)))
        self.ring = np.zeros((self.held, self.clip.size, self.clip.size), np.uint8)
        self.first = self.newest = -1
        self.read: deque[tuple[Windows, ClipReading]] = deque()
        self.after = self.doubtful = 0
        self.missing: deque[int] = deque()

    def add(self, number: int, frame: UInt8[np.ndarray, "S S"]) -> None:
        """Take a frame. Lost frames before it are filled with the frame before them; older frames are ignored."""
        small = resize_square(frame[None], self.clip.size)[0]
        if self.first < 0:
            self.first = number
        before = self.ring[self.newest % self.held].copy()
        for lost in range(self.newest + 1 if self.newest >= 0 else number, number)[-self.held :]:
            self.ring[lost % self.held] = before
            self.missing.append(lost)
        while self.missing and self.missing[0] < number - self.held - HELD_S * self.fps:
            self.missing.popleft()
        if number >= self.newest:
            self.ring[number % self.held] = small
            self.newest = number

    def window(self, last: bool = False) -> tuple[UInt8[np.ndarray, "1 1 T S S"], Windows] | None:
        """Return the clip that ends at the newest frame; None if the stream is still too short.

        Args:
            last: whether the stream has ended; a clip may then be padded, as that of a short video is.
        """
        start = self.newest - (self.clip.frames - 1) * self.step
        held = self.newest - self.first if self.first >= 0 else -1
        if start < self.first and not (last and held >= (MIN_FRAMES - 1) * self.step):
            return None
        place = np.rint(max(start, self.first) + self.step * np.arange(self.clip.frames)).astype(int)
        mask = place <= self.newest
        place = place.clip(max=self.newest)
        windows = Windows(place[None], mask[None], self.step)
        return clips_of(self.ring, windows._replace(frames=windows.frames % self.held)), windows

    def take(self, windows: Windows, found: ClipReading, last: bool = False) -> list[Beat]:
        """Add the output of the network for a window; return new and complete beats, in frames of the stream.

        Args:
            windows: the window, as :meth:`window` returned it.
            found: output of the network.
            last: whether no window will follow.
        """
        assert found.landmarks is not None
        self.read.append((windows, found._replace(landmarks=in_pixels_of(found.landmarks, self.side, self.clip.size))))
        while len(self.read) > 1 and self.read[0][0].frames[0, 0] < windows.frames[0, -1] - HELD_S * self.fps:
            self.read.popleft()
        first, end = int(self.read[0][0].frames[0, 0]), int(windows.frames[0, -1])
        held = [window._replace(frames=window.frames - first) for window, _ in self.read]
        frames, mask, _ = zip(*held, strict=True)
        joined = Windows(np.concatenate(frames), np.concatenate(mask), self.step)
        readings = ClipReading(*(np.concatenate(v) for v in zip(*(found for _, found in self.read), strict=True)))
        settled = end - (EDGE_S if last else SETTLED_S) * self.fps
        new = []
        peaks = find_peaks(readings, joined, end - first + 1, self.fps)
        for beat in find_beats(readings, joined, peaks, end - first + 1, self.fps):
            beat = beat._replace(ed_frame=beat.ed_frame + first, es_frame=beat.es_frame + first)
            if beat.ed_frame >= self.after and beat.es_frame <= settled:
                self.after = beat.es_frame + 1
                if sum(beat.ed_frame <= lost <= beat.es_frame for lost in self.missing) <= MISSING_S * self.fps:
                    new.append(beat)
                else:
                    self.doubtful += 1
        return new

    def quality(self, beat: Beat) -> Quality:
        """Return the quality of a beat that :meth:`take` just returned.

        Spread, timing, duration, number of beats, and a video that may end before ES are not graded. If the ED frame is
        no longer in memory, because the network is too slow, the borders cannot be checked, and the beat is not good.
        """
        # from ED on, but not less than a window
        oldest = max(self.first, self.newest - self.held + 1)
        oldest = max(oldest, min(beat.ed_frame - NEAR, self.newest - self.length + 1))
        frames = self.ring[np.arange(oldest, self.newest + 1) % self.held]
        held = beat._replace(
            ed_frame=beat.ed_frame - oldest,
            es_frame=beat.es_frame - oldest,
            landmarks=in_pixels_of(beat.landmarks, self.clip.size, self.side),
        )
        values = picture_values(frames, self.fps, [held] if held.ed_frame >= 0 else [])
        values["gap"] = abs(beat.ef_percent - beat.simpson_ef_percent)
        return grade({**values, "together": together(values)}, self.limits)
