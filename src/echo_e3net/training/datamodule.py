"""The Lightning data module: from the folder of a data set to loaders."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from echo_e3net.checks.findings import Defect, Finding
from echo_e3net.checks.rules import by_kind, read_data, refused
from echo_e3net.data import dataset
from echo_e3net.data.cache import FrameCache, require_room
from echo_e3net.data.fingerprint import hash_records
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.frames import ReadFrames, read_frames, usual_rate
from echo_e3net.data.layout import PHANTOM
from echo_e3net.data.records import SPLITS, DataFormat, VideoRecord
from echo_e3net.data.sampling import ClipSpan
from echo_e3net.data.settings import CacheSettings, ClipSettings, LoaderSettings, VideoSource
from echo_e3net.data.subset import subset
from echo_e3net.errors import InputError, require_at_least
from echo_e3net.hardware import usual_workers
from echo_e3net.training.predict_videos import usable_videos
from echo_e3net.training.run_folder import ignore_signals
from echo_e3net.types import MIN_FRAMES, MIN_SIZE, EchoClip, TrainingStatistics

NORM_VIDEOS, NORM_BATCH, NORM_SHARE, RATE_VIDEOS = 32, 16, 32, 500
"""Least number of training clips from which the statistics of the norms are estimated, and their batch size. Of many
videos, one in ``NORM_SHARE`` is used. The frame rate is the median of ``RATE_VIDEOS``; of few, it depends on chance."""
NEEDED = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}


class EchoDataModule(LightningDataModule):
    """Loads the clips of a data set.

    Training reads one clip per video and epoch. Evaluation reads clips that do not depend on labels; their results are
    averaged per video. The seed is the seed of the run (``--seed_everything``).

    Args:
        root: folder of the data set. In EchoNet-Dynamic's format it holds FileList.csv, VolumeTracings.csv and Videos/;
            data/README.md describes the other formats.
        clip: which frames of a video make a clip.
        loader: how clips are loaded.
        cache: where decoded frames are kept.
        format: format of the data set: EchoNetDynamic, EchoNetPediatric or Camus (echo_e3net.data.formats); null:
            EchoNetDynamic.
        on_defect: what to do about a video that cannot be used: raise stops; exclude continues without the video and
            lists it in excluded.csv. A video that does not decode always stops the run when it is read;
            ``data check --decode`` lists these videos before.
        train_videos: number of training videos that fit uses, for learning curves; null: all. The choice is random but
            fixed. A larger number keeps the videos of a smaller number and adds others.
        statistics_videos: number of training videos, evenly chosen, on which the grey mean and SD are measured.
        other_clip: whether a network may read clips of other frames, period or size than it was trained on.
    """

    # Videos that predict reads instead of the data set; set before the run.
    videos: VideoSource | None = None

    def __init__(
        self,
        root: Path | None = None,
        clip: ClipSettings = ClipSettings(),  # noqa: B008
        loader: LoaderSettings = LoaderSettings(),  # noqa: B008
        cache: CacheSettings = CacheSettings(),  # noqa: B008
        format: DataFormat | None = None,
        on_defect: Literal["raise", "exclude"] = "raise",
        train_videos: int | None = None,
        statistics_videos: int = 512,
        other_clip: bool = False,
    ) -> None:
        super().__init__()
        require_at_least(MIN_FRAMES, data__clip__frames=clip.frames)
        require_at_least(MIN_SIZE, data__clip__size=clip.size)
        require_at_least(1, data__clip__period=clip.period, data__loader__batch_size=loader.batch_size)
        require_at_least(1, data__statistics_videos=statistics_videos, data__train_videos=train_videos)
        require_at_least(0, data__loader__workers=loader.workers)
        self.root, self.clip, self.span, self.loader = root, clip, ClipSpan(clip.frames, clip.period), loader
        self.format, self.on_defect, self.statistics_videos = format or EchoNetDynamic(), on_defect, statistics_videos
        self.train_videos, self.other_clip = train_videos, other_clip
        self.cache = None if cache.folder is None else FrameCache(Path(cache.folder), cache.fill)
        self.read: ReadFrames = read_frames if self.cache is None else self.cache.read
        self.records: dict[str, list[VideoRecord]] = {}
        self.all_training: list[VideoRecord] = []
        self.excluded: list[Finding] = []
        self.constant: Finding | None = None
        self.loaded: list[dataset.Clips] = []

    def setup(self, stage: str) -> None:
        """Read the tables and check what the stage needs."""
        exclude = self.on_defect == "exclude"
        if stage == "predict" and self.videos is not None:
            self.records["predict"], self.excluded = usable_videos(self.videos, self.span, exclude)
            return
        if "test" not in self.records:
            if self.root is None:
                raise InputError("No data set: set --data.root to its folder, or for predict --videos to video files.")
            records = self.read_root(Path(self.root), exclude)
            self.records |= {split: [record for record in records if record.split == split] for split in (*SPLITS, "")}
            self.all_training = self.records["train"]
        if stage == "fit" and self.train_videos is not None:
            self.records["train"] = subset(self.all_training, self.train_videos, self.root)
        if self.constant and stage == "fit":
            raise InputError(f"{self.constant} `echo-e3net data check {self.root}` lists all findings.")
        if self.constant and stage != "predict":
            rank_zero_warn(f"{self.constant} The run continues without R².")
        if stage == "predict":
            self.records["predict"] = self.records["test"] or self.records[""]
        for split in NEEDED[stage]:
            self.check_split(split, stage)

    def state_dict(self) -> dict[str, Any]:
        """Return what checkpoints store: the clip, a hash of the training split, whether it is synthetic."""
        clip = {name: getattr(self.clip, name) for name in ("frames", "period", "size")}
        training = self.records.get("train", [])
        synthetic = self.root is not None and (Path(self.root) / PHANTOM).is_file()
        return {"clip": clip, "training": hash_records(training), "videos": len(training), "synthetic": synthetic}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare the clip and the training split with those of a checkpoint.

        Raises:
            InputError: the clip differs and is not allowed, or a training is resumed with another training split.
        """
        for name, trained in state_dict["clip"].items():
            if getattr(self.clip, name) != trained and not self.other_clip:
                raise InputError(
                    f"data.clip.{name} is {getattr(self.clip, name)}, but the network was trained with {trained}. "
                    f"Set --data.clip.{name} {trained}, or allow other clips with --data.other_clip true."
                )
        if self.trainer and self.trainer.training and state_dict["training"] != self.state_dict()["training"]:
            raise InputError(
                f"{self.root}: the training split is not that of the checkpoint. Resume with the same data, or start a "
                "new run with another --name and without --ckpt_path."
            )

    def read_root(self, root: Path, exclude: bool) -> list[VideoRecord]:
        """Return the usable videos, and log the number of findings of each kind; an unusable video is an InputError."""
        reading = read_data(self.format, root)
        self.excluded = refused(reading.findings)
        self.constant = next((finding for finding in reading.findings if finding.defect is Defect.CONSTANT), None)
        advice = f"`echo-e3net data check {root}` lists all findings."
        if column := next((finding for finding in self.excluded if finding.defect is Defect.COLUMN), None):
            raise InputError(f"{column} {advice}")
        if self.excluded and not exclude:
            more = f" {len(self.excluded) - 1} more are like it." if len(self.excluded) > 1 else ""
            raise InputError(f"{self.excluded[0]}{more} {advice} --data.on_defect exclude skips these videos.")
        if reading.note:
            rank_zero_info(f"{root}: {reading.note}.")
        if reading.findings:
            kinds = by_kind(reading.findings).items()
            counts = ", ".join(f"{count} × {defect.title} ({defect.effect.value})" for defect, count in kinds)
            rank_zero_info(f"{root}: {len(reading.records)} videos; {counts}. {advice}")
        if self.cache is not None and self.cache.fill:
            require_room(reading.records, self.cache)
        return reading.records

    def check_split(self, split: str, stage: str) -> None:
        """Check that a split holds videos, and for fit one that is as long as a clip; log if any is shorter."""
        records, span, name = self.records[split], self.span, "TEST" if split == "predict" else split.upper()
        lengths = [dataset.video_length(record) for record in records]
        short = sum(length < span.length for length in lengths)
        if not records:
            raise InputError(f"{self.root}: {self.format.listed_in} has no video of split {name}. Add one or more.")
        clip = f"a clip of {span.frames} frames every {span.period} spans {span.length} frames"
        if stage == "fit" and short == len(records):
            advice = "Lower --data.clip.frames or --data.clip.period."
            raise InputError(f"{clip}, but the longest video of the {split} split has {max(lengths)}. {advice}")
        if short:
            rank_zero_info(f"{clip}; {short} of {len(records)} videos of split {name} are shorter and are padded.")

    def train_dataloader(self) -> DataLoader[EchoClip]:
        """Return one clip per training video, shuffled by (seed, epoch)."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        clips = dataset.TrainingClips(self.records["train"], self.clip, self.read, seed)
        return self._loader(dataset.EpochLoader, clips, dataset.EpochSampler(clips, *self._place(), self._seen))

    def val_dataloader(self) -> DataLoader[EchoClip]:
        """Return the clips of the validation split."""
        return self._evaluation_loader("val", self.read)

    def test_dataloader(self) -> DataLoader[EchoClip]:
        """Return the clips of the test split."""
        return self._evaluation_loader("test", self.read)

    def predict_dataloader(self) -> DataLoader[EchoClip]:
        """Return the clips of ``videos``, or of the test split, or of videos without a split."""
        return self._evaluation_loader("predict", self.read if self.videos is None else self.videos.read)

    def _evaluation_loader(self, split: str, read: ReadFrames) -> DataLoader[EchoClip]:
        clips = dataset.EvaluationClips(self.records[split], self.clip, read)
        return self._loader(DataLoader, clips, dataset.EvaluationSampler(clips, *self._place()))

    def _loader(
        self, kind: type[DataLoader[EchoClip]], clips: dataset.Clips, sampler: torch.utils.data.Sampler[EchoClip]
    ) -> DataLoader[EchoClip]:
        self.loaded.append(clips)
        size, workers = self.loader.batch_size, self.loader.workers
        if workers is None:
            workers = usual_workers(self.trainer.num_devices if self.trainer else 1)
        start: dict[str, Any] = {"persistent_workers": True, "multiprocessing_context": self.loader.start_method}
        pin, start = torch.cuda.is_available(), start | {"worker_init_fn": ignore_signals} if workers else {}
        return kind(clips, batch_size=size, sampler=sampler, num_workers=workers, pin_memory=pin, **start)

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _seen(self) -> int:
        loop = self.trainer and self.trainer.fit_loop.epoch_loop
        return loop.batch_progress.current.ready * self.loader.batch_size if loop else 0

    def reading(self) -> list[str]:
        """Return the files that workers read now, or read when they died."""
        return [path for clips in self.loaded for path in clips.reading()]

    def norm_batches(self) -> list[tuple[Tensor, Tensor]]:
        """Return video and frame mask, not augmented, of a clip of each chosen video, the same on all devices."""
        chosen = evenly(self.records["train"], max(NORM_VIDEOS, len(self.records["train"]) // NORM_SHARE))
        clips = dataset.TrainingClips(chosen, replace(self.clip, augment=None), self.read)
        read = [clips[number] for number in range(len(clips))]
        batches = [default_collate(read[i : i + NORM_BATCH]) for i in range(0, len(read), NORM_BATCH)]
        return [(batch.video, batch.frame_mask) for batch in batches]

    def training_statistics(self) -> TrainingStatistics:
        """Return grey mean and SD of 8 frames each of ``statistics_videos`` videos, mean EF, borders, frame rate.

        In a distributed run every process measures the same.
        """
        records, grey, counts = self.records["train"], np.arange(256), np.zeros(256)
        chosen = evenly(records, self.statistics_videos)
        for record in track(chosen, "measuring grey values", transient=True, disable=self._place()[0] > 0):
            index = np.unique(np.linspace(0, dataset.video_length(record) - 1, 8).astype(int))
            counts += np.bincount(self.read(record.path, index, record.frames).ravel(), minlength=256)
        mean = np.average(grey, weights=counts)
        sd = max(np.average((grey - mean) ** 2, weights=counts), 1.0) ** 0.5
        endo, epi = (any(record.landmark_mask[:, border].any() for record in records) for border in (0, 1))
        ef, rated = np.mean([record.ef for record in records]), [record.path for record in evenly(records, RATE_VIDEOS)]
        return TrainingStatistics(float(mean), float(sd), float(ef), (endo, epi), usual_rate(rated))


def evenly(records: list[VideoRecord], number: int) -> list[VideoRecord]:
    """Return at most ``number`` records, evenly chosen."""
    return [records[i * len(records) // number] for i in range(number)] if number < len(records) else records
