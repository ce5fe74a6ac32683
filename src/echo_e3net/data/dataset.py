"""Turn the record of a video into a clip with its labels (:class:`echo_e3net.types.EchoClip`).

A training clip depends only on (seed, epoch, number). It is the same for any number of workers, and after a resume.
Evaluation clips are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from multiprocessing.sharedctypes import RawArray
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.distributed import DistributedSampler

from echo_e3net.data.augment import Augmentation
from echo_e3net.data.frames import ReadFrames, count_frames, read_frames
from echo_e3net.data.records import VideoRecord
from echo_e3net.data.sampling import CentredClip, ClipSpan, RandomClip
from echo_e3net.data.settings import ClipSettings
from echo_e3net.errors import InputError
from echo_e3net.geometry import Framing
from echo_e3net.types import BORDERS, PHASES, EchoClip

# Size of the shared memory that holds the video that each worker reads.
WORKERS = 256


class ClipKey(NamedTuple):
    """Key of a training clip."""

    epoch: int
    number: int


class Clips(Dataset[EchoClip]):
    """Clips of videos. Notes in shared memory which video each worker reads, to name it if the worker is killed."""

    def __init__(
        self, records: Sequence[VideoRecord], clip: ClipSettings, read: ReadFrames = read_frames, seed: int = 0
    ) -> None:
        self.records, self.clip, self.read, self.seed = records, clip, read, seed
        self.span = ClipSpan(clip.frames, clip.period)
        self.current = RawArray("i", [-1] * WORKERS)

    def load(self, number: int, clip_number: int, start: int, span: ClipSpan) -> EchoClip:
        """Read one clip of a video."""
        worker = get_worker_info()
        slot = worker.id % WORKERS if worker else 0
        self.current[slot] = number
        try:
            clip = read_clip(self.records[number], start, span, self.clip.size, self.read)
        except InputError as error:
            raise InputError(f"{error} `echo-e3net data check --decode` lists all such videos.") from error
        self.current[slot] = -1
        return clip._replace(video_number=torch.tensor(number), clip_number=torch.tensor(clip_number))

    def reading(self) -> list[str]:
        """Return the files that workers read now, or read when they died."""
        return [str(self.records[number].path) for number in self.current if number >= 0]


class TrainingClips(Clips):
    """One clip per video and epoch, augmented by the policies of the settings."""

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: ClipKey | int) -> EchoClip:
        """Return the clip of a video in an epoch; a number is a key of epoch 0, for ``trainer.overfit_batches``."""
        key = key if isinstance(key, ClipKey) else ClipKey(0, key)
        record, policy = self.records[key.number], self.clip.training or RandomClip()
        seeds, length = (self.seed, key.epoch, key.number), video_length(record)
        augmentation = Augmentation(self.clip.augment, seeds) if self.clip.augment else None
        span = augmentation.span(self.span, length) if augmentation else self.span
        start = policy.start(length, span, record.traced, np.random.default_rng(seeds))
        clip = self.load(key.number, 0, start, span)
        return augmentation.change(clip) if augmentation else clip


class EvaluationClips(Clips):
    """Fixed clips of all videos, video after video."""

    def __init__(self, records: Sequence[VideoRecord], clip: ClipSettings, read: ReadFrames = read_frames) -> None:
        super().__init__(records, clip, read)
        policy = clip.evaluation or CentredClip()
        starts = [policy.starts(video_length(record), self.span) for record in records]
        self.clips = [(video, c, start) for video, of in enumerate(starts) for c, start in enumerate(of)]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> EchoClip:
        """Return a clip; for -1 a filler, which has no labels and whose ``clip_number`` is -1."""
        clip = self.load(*self.clips[max(number, 0)], self.span)
        if number >= 0:
            return clip
        ef, position = torch.full_like(clip.ef, torch.nan), torch.full_like(clip.phase_position, torch.nan)
        blank = clip._replace(ef=ef, phase_position=position, clip_number=torch.tensor(-1))
        return blank._replace(landmark_mask=torch.zeros_like(clip.landmark_mask))


class EpochSampler(DistributedSampler[EchoClip]):
    """Yields the :class:`ClipKey` of every video once per epoch, shuffled by (seed, epoch) and split among devices.

    Lightning would replace a sampler of another type. ``seen`` returns how many videos of the epoch to skip on resume.
    """

    def __init__(self, clips: TrainingClips, rank: int = 0, ranks: int = 1, seen: Callable[[], int] = int) -> None:
        super().__init__(clips, num_replicas=ranks, rank=rank, shuffle=True, seed=clips.seed)
        self.seen = seen

    def __iter__(self) -> Iterator[ClipKey]:  # type: ignore[override]
        for number in islice(super().__iter__(), self.seen(), None):
            yield ClipKey(self.epoch, int(number))  # type: ignore[call-overload]


class EpochLoader(DataLoader[EchoClip]):
    """Loader that starts its workers at the first batch.

    Lightning makes the iterator of a resumed run before it restores the epoch; workers would fetch clips of epoch 0.
    """

    def __iter__(self) -> Iterator[EchoClip]:  # type: ignore[override]
        yield from super().__iter__()


class EvaluationSampler(DistributedSampler[EchoClip]):
    """Yields every clip once, split among devices; -1 (a filler) where Lightning's own sampler would repeat clips."""

    def __init__(self, clips: EvaluationClips, rank: int = 0, ranks: int = 1) -> None:
        super().__init__(clips, num_replicas=ranks, rank=rank, shuffle=False)

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]
        total = len(self.dataset)  # type: ignore[arg-type]
        for number in range(self.rank, self.total_size, self.num_replicas):
            yield number if number < total else -1


def video_length(record: VideoRecord) -> int:
    """Return the number of frames of a video by its table, or else by its file."""
    return count_frames(record.path) if record.frames is None else record.frames


def read_clip(record: VideoRecord, start: int, span: ClipSpan, size: int, read: ReadFrames) -> EchoClip:
    """Read, crop and label one clip; an unusable video is an InputError."""
    length = video_length(record)
    frame_index = span.indices(start, length)
    exists = frame_index >= 0
    frames = read(record.path, frame_index[exists], record.frames)
    height, width = frames.shape[1:]
    if record.size is not None and record.size != (height, width):
        wrong = f"frames are {height}×{width}, the table lists {'×'.join(map(str, record.size))} (height × width)"
        raise InputError(f"{record.path}: {wrong}. Correct the table, or copy the file again.")
    if not frames.any():
        raise InputError(f"{record.path}: the frames are black. Copy the file again, or remove it from the table.")
    framing = Framing.square(height, width, size)
    video = torch.zeros(1, span.frames, size, size, dtype=torch.uint8)
    video[0, torch.from_numpy(exists)] = resize_square(frames, framing, size)
    position = torch.full((len(PHASES),), torch.nan)
    if record.traced is not None:
        position = torch.tensor([span.position(frame, start, length) for frame in record.traced])
    mask = torch.from_numpy(record.landmark_mask) & position.isfinite()[:, None].expand(-1, len(BORDERS))
    return EchoClip(
        video=video,
        frame_mask=torch.from_numpy(exists),
        frame_index=torch.from_numpy(frame_index),
        ef=torch.tensor(record.ef, dtype=torch.float32),
        landmarks=torch.where(mask[..., None, None], framing.to_clip(torch.from_numpy(record.landmarks)), 0.0),
        landmark_mask=mask,
        phase_position=position,
        framing=torch.tensor(framing),
        video_number=torch.tensor(0),
        clip_number=torch.tensor(0),
        name=record.name,
    )


def resize_square(frames: UInt8[np.ndarray, "T H W"], framing: Framing, size: int) -> UInt8[Tensor, "T S S"]:
    """Crop grey frames to the square and resize it bilinearly, with antialiasing."""
    side, x0, y0 = round(size / framing.scale), int(framing.x0), int(framing.y0)
    cropped = torch.from_numpy(np.ascontiguousarray(frames[:, y0 : y0 + side, x0 : x0 + side]))
    if side == size:
        return cropped
    resized = F.interpolate(cropped[:, None].float(), (size, size), mode="bilinear", antialias=True)
    return resized[:, 0].round().clamp(0, 255).to(torch.uint8)
