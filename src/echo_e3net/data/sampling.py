"""Which frames of a video make a clip: integer arithmetic, nothing else.

A clip is ``frames`` frames, one every ``period``: it spans ``(frames - 1) * period + 1`` frames of the video.

    video   0 1 2 3 4 5 6 7 8 9 …
    start 1, frames 4, period 2:  · 1 · 3 · 5 · 7 · ·       span 7

A video shorter than the span gives one clip from frame 0, padded at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from echo_e3net.errors import InputError


class ClipSpan(NamedTuple):
    """The size of a clip: ``frames`` frames, one every ``period``."""

    frames: int
    period: int

    @property
    def length(self) -> int:
        """Frames of the video from the clip's first to its last, both counted."""
        return (self.frames - 1) * self.period + 1

    def last_start(self, video_frames: int) -> int:
        """The last start whose clip ends within the video; 0 for a video shorter than the clip."""
        return max(0, video_frames - self.length)

    def indices(self, start: int, video_frames: int) -> Int[np.ndarray, " T"]:
        """The frames of the clip from a start; -1 where the video has ended."""
        index = start + np.arange(self.frames) * self.period
        return np.where(index < video_frames, index, -1)

    def position(self, frame: int, start: int, video_frames: int) -> float:
        """The place of a video frame in the clip, in clip frames; NaN outside. Halfway between two clip frames is n + 0.5.

        Half a period before the first and after the last frame still count as inside: the nearest clip frame then stands for the traced one.
        """
        last = (min(start + self.length, video_frames) - 1 - start) // self.period
        place = (frame - start) / self.period
        return min(max(place, 0.0), float(last)) if -0.5 <= place <= last + 0.5 else float("nan")


class TrainingPolicy(ABC):
    """Chooses the start of a training clip; may look at the traced frames."""

    @abstractmethod
    def start(self, video_frames: int, span: ClipSpan, traced: tuple[int, int] | None, rng: np.random.Generator) -> int:
        """The first frame of the clip."""


class EvaluationPolicy(ABC):
    """Chooses the starts of all evaluation clips of a video, from its length alone: no label may help."""

    @abstractmethod
    def starts(self, video_frames: int, span: ClipSpan) -> Sequence[int]:
        """The first frames of the clips, in order."""


class RandomClip(TrainingPolicy):
    """A random start; with traced frames, one that keeps both inside the clip wherever the clip is long enough.

    Where the two frames are further apart than the clip, ED or ES is kept by the toss of a coin and the other is marked as missing.

    Args:
        keep_traced: whether the traced frames draw the clip; off, every start is as likely.
    """

    def __init__(self, keep_traced: bool = True) -> None:
        self.keep_traced = keep_traced

    def start(self, video_frames: int, span: ClipSpan, traced: tuple[int, int] | None, rng: np.random.Generator) -> int:
        """The first frame of the clip."""
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
        """The one start."""
        return [span.last_start(video_frames) // 2]


class EvenClips(EvaluationPolicy):
    """Evenly spaced clips, from the first to the last possible start; fewer where the video has fewer starts.

    Args:
        clips: clips a video, at least 1.
    """

    def __init__(self, clips: int = 3) -> None:
        if clips < 1:
            raise InputError(f"clips is {clips}; it must be at least 1")
        self.clips = clips

    def starts(self, video_frames: int, span: ClipSpan) -> Sequence[int]:
        """The starts, without repeats."""
        last = span.last_start(video_frames)
        if self.clips == 1:
            return [last // 2]
        return sorted({round(last * k / (self.clips - 1)) for k in range(self.clips)})


class AllClips(EvaluationPolicy):
    """Every possible clip.

    Args:
        stride: frames from one start to the next.
    """

    def __init__(self, stride: int = 1) -> None:
        if stride < 1:
            raise InputError(f"stride is {stride}; it must be at least 1")
        self.stride = stride

    def starts(self, video_frames: int, span: ClipSpan) -> Sequence[int]:
        """The starts."""
        return range(0, span.last_start(video_frames) + 1, self.stride)
