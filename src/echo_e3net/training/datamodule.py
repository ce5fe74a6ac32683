"""The Lightning data module: from a root folder to loaders and to what is measured on the training split."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from rich.progress import track
from torch.utils.data import DataLoader

from echo_e3net.checks.findings import Defect, Finding, by_kind, refused
from echo_e3net.clinic.user_videos import OwnVideos
from echo_e3net.data.cache import FrameCache, require_room
from echo_e3net.data.dataset import (
    EpochLoader,
    EpochSampler,
    EvaluationClips,
    EvaluationSampler,
    TrainingClips,
    require_long_enough,
    video_length,
)
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.frames import ReadFrames, read_frames
from echo_e3net.data.records import SPLITS, DataFormat, Reading, VideoRecord
from echo_e3net.data.sampling import CentredClip, ClipSpan, EvaluationPolicy, RandomClip, TrainingPolicy
from echo_e3net.data.watch import Watch
from echo_e3net.errors import InputError
from echo_e3net.types import MIN_FRAMES, MIN_SIZE, EchoClip, TrainingStatistics

USUAL_RATES = (35.0, 70.0)
"""Frames a second that most videos of EchoNet-Dynamic have."""


@dataclass(frozen=True)
class ClipSettings:
    """Which frames of a video make a clip.

    Args:
        frames: frames of a clip, at least 8.
        period: take one frame every ``period`` frames of the video.
        size: side of the clip in pixels, at least 64. Frames are cropped to a square and resized where they differ.
        training: where training clips start; null: RandomClip.
        evaluation: which clips of a video evaluation reads; null: CentredClip.
    """

    frames: int = 32
    period: int = 2
    size: int = 112
    training: TrainingPolicy | None = None
    evaluation: EvaluationPolicy | None = None

    def __post_init__(self) -> None:
        if self.frames < MIN_FRAMES or self.size < MIN_SIZE or self.period < 1:
            raise InputError(
                f"data.clip: frames {self.frames}, period {self.period}, size {self.size}; expected frames of at least "
                f"{MIN_FRAMES}, a period of at least 1 and a size of at least {MIN_SIZE}."
            )

    @property
    def span(self) -> ClipSpan:
        """The size of a clip in time."""
        return ClipSpan(self.frames, self.period)


@dataclass(frozen=True)
class LoaderSettings:
    """How clips are loaded.

    Args:
        batch_size: clips per batch and device.
        workers: worker processes per device; 0 reads in the main process.
        start_method: how workers start (fork, spawn or forkserver); null: the default of the platform.
    """

    batch_size: int = 8
    workers: int = 2
    start_method: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < 0:
            raise InputError(
                f"data.loader: batch_size {self.batch_size}, workers {self.workers}; expected at least 1 and at least 0."
            )


@dataclass(frozen=True)
class CacheSettings:
    """Where decoded frames are kept.

    Args:
        folder: folder of decoded frames (``echo-e3net data cache``); null: videos are decoded each time they are read.
        fill: whether a video that is missing from the cache is added when it is first read.
    """

    folder: Path | None = None
    fill: bool = True


class EchoDataModule(LightningDataModule):
    """Loads the clips of a data set.

    Training reads one clip per video and epoch. Evaluation reads clips that do not depend on labels; their results are
    averaged per video. The seed is the seed of the run (``--seed_everything``).

    Args:
        root: folder of the data set. In EchoNet-Dynamic's format it holds FileList.csv, VolumeTracings.csv and Videos/;
            data/README.md describes the other formats.
        videos: for predict: video files of any form (DICOM, MP4, AVI, GIF), or folders of them, to read instead of the
            test split of ``root``.
        clip: which frames of a video make a clip.
        loader: how clips are loaded.
        cache: where decoded frames are kept.
        format: format of the data set: EchoNetDynamic, EchoNetPediatric or Camus (echo_e3net.data.formats); null:
            EchoNetDynamic.
        on_defect: what to do about a video that cannot be used: raise stops; exclude continues without the video and
            lists it in excluded.csv.
        statistics_videos: number of training videos, evenly chosen, on which the grey mean and SD are measured.
    """

    def __init__(
        self,
        root: Path | None = None,
        videos: Path | Sequence[Path] | None = None,
        clip: ClipSettings = ClipSettings(),  # noqa: B008
        loader: LoaderSettings = LoaderSettings(),  # noqa: B008
        cache: CacheSettings = CacheSettings(),  # noqa: B008
        format: DataFormat | None = None,
        on_defect: Literal["raise", "exclude"] = "raise",
        statistics_videos: int = 512,
    ) -> None:
        super().__init__()
        if statistics_videos < 1:
            raise InputError(f"data.statistics_videos is {statistics_videos}; expected at least 1.")
        self.root, self.videos = root, [videos] if isinstance(videos, Path) else videos
        self.clip, self.loader = clip, loader
        self.span, self.size = clip.span, clip.size
        self.statistics_videos = statistics_videos
        self.format, self.on_defect = format or EchoNetDynamic(), on_defect
        self.excluded: list[Finding] = []
        self.cache = None if cache.folder is None else FrameCache(Path(cache.folder), cache.fill)
        self.read: ReadFrames = read_frames if self.cache is None else self.cache.read
        self.records: dict[str, list[VideoRecord]] = {}
        self.watches: list[Watch] = []

    def setup(self, stage: str) -> None:
        """Read the tables and check what the stage needs."""
        if stage == "predict" and self.videos is not None:
            if not self.videos:
                raise InputError(
                    "--data.videos names no file. Name at least one video, or leave it out to read the test split."
                )
            self.records["predict"] = self.own_videos([Path(video) for video in self.videos])
            return
        if not self.records:
            if self.root is None:
                raise InputError(
                    "no data: set --data.root to the folder of a data set (or, for predict, --data.videos to video files)."
                )
            records = self.usable(self.format.read(Path(self.root)))
            if self.cache is not None and self.cache.fill:
                require_room(records, self.cache)
            self.records = {split: [r for r in records if r.split == split] for split in SPLITS}
            self.records["predict"] = self.records["test"] or [r for r in records if not r.split]
        for split in {"fit": ("train", "val"), "validate": ("val",)}.get(stage, ("test",)):
            if not self.records[split]:
                raise InputError(
                    f"{self.root}: {self.format.listed_in} lists no video of split {split.upper()}, which {stage} needs."
                )
            if stage == "fit":
                require_long_enough(self.records[split], self.span, split)
            elif short := sum(video_length(record) < self.span.length for record in self.records[split]):
                of = f"{short} of {len(self.records[split])} videos of split {split.upper()}"
                rank_zero_info(
                    f"{self.root}: {of} are shorter than a clip ({self.span.length} frames): they are padded, and the padding is masked."
                )

    def own_videos(self, sources: Sequence[Path]) -> list[VideoRecord]:
        """The videos that the user names, prepared as ``data import`` prepares them; says how long a clip of them is.

        Raises:
            InputError: one is not there; or cannot be used, and ``on_defect`` is raise.
        """
        own = OwnVideos(sources, self.loader.workers)
        records, refusals = own.records(), own.refused()
        self.excluded = [Finding(Defect.NO_CLIP, file.name, str(file), why) for file, why in refusals.items()]
        if self.excluded and (self.on_defect == "raise" or not records):
            more = f" {len(self.excluded) - 1} more cannot be used." if len(self.excluded) > 1 else ""
            advice = " --data.on_defect exclude goes on without." if records else ""
            raise InputError(f"{self.excluded[0]}{more}{advice}")
        if not records:
            raise InputError(f"{', '.join(map(str, sources))}: no file there. Name videos, or folders that hold them.")
        for finding in self.excluded:
            rank_zero_info(f"left out: {finding}")
        self.read = own.read
        rates = own.rates()
        if rates and not all(USUAL_RATES[0] <= rate <= USUAL_RATES[1] for rate in (rates[0], rates[-1])):
            low, high = rates[0], rates[-1]
            shown = " to ".join(dict.fromkeys(f"{rate:.4g}" for rate in (low, high)))
            spans = " to ".join(dict.fromkeys(f"{self.span.length / rate:.1f}" for rate in (high, low)))
            rank_zero_info(
                f"{shown} frames a second: a clip spans {spans} s, and {self.span.length / 50:.1f} s at the usual 50. --data.clip.period changes that."
            )
        return records

    def usable(self, reading: Reading) -> list[VideoRecord]:
        """The videos that can be used; says what is odd about the data set.

        Raises:
            InputError: a video cannot be used, and ``on_defect`` is raise.
        """
        self.excluded = refused(reading.findings)
        if self.excluded and self.on_defect == "raise":
            more = f" {len(self.excluded) - 1} more like it." if len(self.excluded) > 1 else ""
            raise InputError(
                f"{self.excluded[0]}{more} `echo-e3net data check {self.root}` lists everything; --data.on_defect exclude goes on without these videos."
            )
        if reading.findings:
            counts = ", ".join(
                f"{count} × {defect.title} ({defect.effect.value})"
                for defect, count in by_kind(reading.findings).items()
            )
            rank_zero_info(
                f"{self.root}: {len(reading.records)} videos; {counts}. `echo-e3net data check {self.root}` shows each."
            )
        return reading.records

    def train_dataloader(self) -> DataLoader[EchoClip]:
        """One clip a training video, shuffled by (seed, epoch)."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        clips = TrainingClips(
            self.records["train"], self.span, self.size, (self.clip.training or RandomClip()), seed, self._watched()
        )
        return self._loader(clips, EpochSampler(clips, seed, *self._ranks(), self._seen))

    def _seen(self) -> int:
        """Training videos of this rank that the current epoch has had."""
        return (
            self.trainer.fit_loop.epoch_loop.batch_progress.current.ready * self.loader.batch_size
            if self.trainer
            else 0
        )

    def val_dataloader(self) -> DataLoader[EchoClip]:
        """The validation split's clips."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[EchoClip]:
        """The test split's clips."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[EchoClip]:
        """The clips of ``videos``, or of the test split."""
        return self._evaluation_loader("predict")

    def _evaluation_loader(self, split: str) -> DataLoader[EchoClip]:
        clips = EvaluationClips(
            self.records[split], self.span, self.size, (self.clip.evaluation or CentredClip()), self._watched()
        )
        return self._loader(clips, EvaluationSampler(clips, *self._ranks()))

    def _ranks(self) -> tuple[int, int]:
        """Number of this process, and of all."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(
        self, clips: TrainingClips | EvaluationClips, sampler: EpochSampler | EvaluationSampler
    ) -> DataLoader[EchoClip]:
        loader = EpochLoader if isinstance(sampler, EpochSampler) else DataLoader
        return loader(
            clips,
            batch_size=self.loader.batch_size,
            sampler=sampler,
            num_workers=self.loader.workers,
            persistent_workers=self.loader.workers > 0,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context=self.loader.start_method if self.loader.workers else None,
        )

    def _watched(self) -> Watch:
        self.watches.append(Watch(self.read, self.loader.workers))
        return self.watches[-1]

    def reading(self) -> list[str]:
        """The files that workers are reading now, or were when they died."""
        return [path for watch in self.watches for path in watch.reading()]

    def training_statistics(self) -> TrainingStatistics:
        """Grey mean and SD of the training split, its mean EF, and which borders it labels.

        Reads eight evenly spaced frames of up to ``statistics_videos`` evenly chosen videos.
        """
        records = self.records["train"]
        step = max(1, len(records) / self.statistics_videos)
        chosen = [records[int(i * step)] for i in range(min(len(records), self.statistics_videos))]
        count, total, squares = 0, 0.0, 0.0
        for record in track(chosen, "measuring grey levels", transient=True):
            index = np.unique(np.linspace(0, video_length(record) - 1, 8).astype(int))
            grey = self.read(record.path, index, record.frames).astype(np.float64)
            count, total, squares = count + grey.size, total + grey.sum(), squares + np.square(grey).sum()
        mean = total / count
        sd = math.sqrt(max(squares / count - mean**2, 1.0))
        endo, epi = torch.stack([r.landmark_mask.any(0) for r in records]).any(0).tolist()
        return TrainingStatistics(mean, sd, float(np.mean([r.ef for r in records])), (endo, epi))
