"""Evaluate more than one clip per video: ``--data.clip.evaluation EvenClips`` or ``AllClips``."""

from __future__ import annotations

from collections.abc import Sequence

from echo_e3net.data.sampling import ClipSpan, EvaluationPolicy
from echo_e3net.errors import require_at_least


class EvenClips(EvaluationPolicy):
    """Evenly spaced clips from the first to the last possible start; fewer if the video has fewer starts.

    Args:
        clips: clips per video, at least 1.
    """

    def __init__(self, clips: int = 3) -> None:
        require_at_least(1, clips=clips)
        self.clips = clips

    def starts(self, video_frames: int, span: ClipSpan) -> Sequence[int]:
        """Return the starts, without repeats."""
        last = span.last_start(video_frames)
        if self.clips == 1:
            return [last // 2]
        return sorted({round(last * k / (self.clips - 1)) for k in range(self.clips)})


class AllClips(EvaluationPolicy):
    """All possible clips.

    Args:
        stride: frames from one start to the next, at least 1.
    """

    def __init__(self, stride: int = 1) -> None:
        require_at_least(1, stride=stride)
        self.stride = stride

    def starts(self, video_frames: int, span: ClipSpan) -> Sequence[int]:
        """Return the starts."""
        return range(0, span.last_start(video_frames) + 1, self.stride)
