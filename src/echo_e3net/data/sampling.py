"""Choose the frames of a video that make a clip: ``frames`` frames, one every ``period``.

A clip of 4 frames with period 2 from start 1 holds frames 1, 3, 5 and 7. Its length in the video is 7. A video shorter
than that gives one clip from frame 0, padded at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int


class ClipSpan(NamedTuple):
    """Size of a clip in time: ``frames`` frames, one every ``period``, which augmentation may make fractional."""

    frames: int
    period: float

    @property
    def length(self) -> int:
        """Number of video frames from the first to the last frame of the clip, inclusive."""
        return round((self.frames - 1) * self.period) + 1

    def last_start(self, video_frames: int) -> int:
        """Return the last start whose clip ends within the video; 0 for a video shorter than the clip."""
        return max(0, video_frames - self.length)

    def indices(self, start: int, video_frames: int) -> Int[np.ndarray, " T"]:
        """Return the frames of the clip from a start; -1 past the end of the video."""
        index = start + np.rint(np.arange(self.frames) * self.period).astype(int)
        return np.where(index < video_frames, index, -1)

    def position(self, frame: int, start: int, video_frames: int) -> float:
        """Return the position of a video frame in clip frames; NaN if more than half a period outside the clip."""
        last = np.count_nonzero(self.indices(start, video_frames) >= 0) - 1
        place = (frame - start) / self.period
        return min(max(place, 0.0), float(last)) if -0.5 <= place <= last + 0.5 else float("nan")


class TrainingPolicy(ABC):
    """Chooses the start of a training clip; may use the traced frames."""

    @abstractmethod
    def start(self, video_frames: int, span: ClipSpan, traced: tuple[int, int] | None, rng: np.random.Generator) -> int:
        """Return the first frame of the clip."""


class EvaluationPolicy(ABC):
    """Chooses the starts of all evaluation clips of a video from its length only, never from labels."""

    @abstractmethod
    def starts(self, video_frames: int, span: ClipSpan) -> Sequence[int]:
        """Return the first frames of the clips, in order."""


class RandomClip(TrainingPolicy):
    """Random start; holds both traced frames, or one of them at random if they are further apart than the clip.

    Args:
        keep_traced: whether the clip must hold traced frames; false makes all starts equally likely.
    """

    def __init__(self, keep_traced: bool = True) -> None:
        self.keep_traced = keep_traced

    def start(self, video_frames: int, span: ClipSpan, traced: tuple[int, int] | None, rng: np.random.Generator) -> int:
        """Return the first frame of the clip."""
        low, high = 0, span.last_start(video_frames)
        if traced is not None and self.keep_traced:
            first, last = sorted(traced)
            if last - first >= span.length:
                first = last = int(rng.choice([first, last]))
            low, high = max(low, last - span.length + 1), min(high, first)
        return int(rng.integers(low, high + 1))


class CentredClip(EvaluationPolicy):
    """One clip from the middle of the video."""

    def starts(self, video_frames: int, span: ClipSpan) -> Sequence[int]:
        """Return the start."""
        return [span.last_start(video_frames) // 2]
