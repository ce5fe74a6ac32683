"""Settings of clips and their loading, and the interface of videos that predict reads instead of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from echo_e3net.data import evaluation_policies  # noqa: F401  (offered as choices)
from echo_e3net.data.augment import Policy
from echo_e3net.data.frames import ReadFrames
from echo_e3net.data.records import VideoRecord
from echo_e3net.data.sampling import EvaluationPolicy, TrainingPolicy


@dataclass(frozen=True)
class ClipSettings:
    """Which frames of a video make a clip.

    Args:
        frames: frames of a clip, at least 8.
        period: take one frame every ``period`` frames of the video.
        size: side of the clip in pixels, at least 64. Frames are cropped to a square and resized.
        training: where training clips start; null: RandomClip.
        evaluation: which clips of a video evaluation reads; null: CentredClip.
        augment: changes to training clips, policies of echo_e3net.data.augment by name; null: none. Evaluation clips
            are never changed.
    """

    frames: int = 32
    period: int = 2
    size: int = 112
    training: TrainingPolicy | None = None
    evaluation: EvaluationPolicy | None = None
    augment: dict[str, Policy | None] | None = None


@dataclass(frozen=True)
class LoaderSettings:
    """How clips are loaded.

    Args:
        batch_size: clips per batch and device.
        workers: worker processes per device; 0 reads in the main process; null: one less than the cores of each device,
            at most 8.
        start_method: how workers start (fork, spawn or forkserver); null: the default of the platform.
    """

    batch_size: int = 8
    workers: int | None = None
    start_method: Literal["fork", "spawn", "forkserver"] | None = None


@dataclass(frozen=True)
class CacheSettings:
    """Where decoded frames are kept.

    Args:
        folder: folder of decoded frames (``echo-e3net data cache``); null: videos are decoded each time they are read.
        fill: whether a video that is missing from the cache is added when it is first read.
    """

    folder: Path | None = None
    fill: bool = True


@runtime_checkable
class VideoSource(Protocol):
    """Videos that predict reads instead of a data set."""

    def records(self) -> list[VideoRecord]:
        """Return a record of each usable video."""

    def refused(self) -> dict[Path, str]:
        """Return the unusable files, and why."""

    def remarks(self) -> dict[Path, str]:
        """Return a remark for each file whose frame rate is doubtful."""

    def rates(self) -> list[float]:
        """Return the known frame rates in frames per second, ascending."""

    @property
    def read(self) -> ReadFrames:
        """Function that reads the frames of a record's path."""
