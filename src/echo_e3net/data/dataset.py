"""A video's record → one clip with its labels (:class:`echo_e3net.types.EchoClip`).

Training asks for ``(epoch, number)``, so that the clip is a function of (seed, epoch, number) alone: the same for any number of workers, however they
are started, and after a resume. Evaluation asks for a number: its clips are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from echo_e3net.data.frames import ReadFrames, count_frames, read_frames
from echo_e3net.data.records import VideoRecord
from echo_e3net.data.sampling import ClipSpan, EvaluationPolicy, TrainingPolicy
from echo_e3net.data.transforms import Framing
from echo_e3net.errors import InputError
from echo_e3net.types import BORDERS, PHASES, EchoClip


class ClipKey(NamedTuple):
    """What the sampler asks of the training set."""

    epoch: int
    number: int


class TrainingClips(Dataset[EchoClip]):
    """One clip a video and epoch, from where the policy puts it.

    Args:
        records: the videos.
        span: the size of a clip in time.
        size: side of a clip in pixels.
        policy: chooses the start.
        seed: with epoch and number, the one source of chance.
        read: where frames come from.
    """

    def __init__(
        self,
        records: Sequence[VideoRecord],
        span: ClipSpan,
        size: int,
        policy: TrainingPolicy,
        seed: int,
        read: ReadFrames = read_frames,
    ) -> None:
        self.records, self.span, self.size, self.policy, self.seed, self.read = records, span, size, policy, seed, read

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: ClipKey) -> EchoClip:
        """The clip of a video in an epoch."""
        record = self.records[key.number]
        rng = np.random.default_rng([self.seed, key.epoch, key.number])
        start = self.policy.start(video_length(record), self.span, record.traced, rng)
        return read_clip(record, key.number, 0, start, self.span, self.size, self.read)


class EvaluationClips(Dataset[EchoClip]):
    """The fixed clips of all videos, video after video.

    Args:
        records: the videos.
        span: the size of a clip in time.
        size: side of a clip in pixels.
        policy: chooses the starts from the video's length alone.
        read: where frames come from.
    """

    def __init__(
        self,
        records: Sequence[VideoRecord],
        span: ClipSpan,
        size: int,
        policy: EvaluationPolicy,
        read: ReadFrames = read_frames,
    ) -> None:
        self.records, self.span, self.size, self.read = records, span, size, read
        self.clips = [
            (i, c, start) for i, r in enumerate(records) for c, start in enumerate(policy.starts(video_length(r), span))
        ]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> EchoClip:
        """The clip with that number; for -1 a filler: a clip of the first video without labels, whose ``clip_number`` is -1."""
        index, clip, start = self.clips[max(number, 0)]
        found = read_clip(self.records[index], index, clip, start, self.span, self.size, self.read)
        return found if number >= 0 else filler(found)


def filler(clip: EchoClip) -> EchoClip:
    """A clip that takes part in no loss, score or table: what a rank evaluates to stay in step while others have one clip more."""
    return clip._replace(
        ef=torch.full_like(clip.ef, torch.nan),
        landmarks=torch.zeros_like(clip.landmarks),
        landmark_mask=torch.zeros_like(clip.landmark_mask),
        phase_position=torch.full_like(clip.phase_position, torch.nan),
        clip_number=torch.full_like(clip.clip_number, -1),
    )


class EpochSampler(DistributedSampler[EchoClip]):
    """Every video once an epoch, shuffled by (seed, epoch) and shared out among the ranks; yields :class:`ClipKey`.

    A DistributedSampler also on one device: Lightning would wrap any other sampler of a distributed run, and then not tell it the epoch.

    Args:
        clips: the training set.
        seed: of the shuffle.
        rank: number of this process.
        ranks: number of processes.
        seen: tells how many videos of the epoch this rank has trained on, when an epoch begins: a run that goes on in the middle of one leaves them out.
    """

    def __init__(
        self, clips: TrainingClips, seed: int, rank: int = 0, ranks: int = 1, seen: Callable[[], int] = lambda: 0
    ) -> None:
        super().__init__(clips, num_replicas=ranks, rank=rank, shuffle=True, seed=seed)
        self.seen = seen

    def __iter__(self) -> Iterator[ClipKey]:  # type: ignore[override]  # keys instead of numbers
        for number in islice(super().__iter__(), self.seen(), None):
            yield ClipKey(self.epoch, int(number))  # type: ignore[call-overload]


class EpochLoader(DataLoader[EchoClip]):
    """A loader that asks its sampler for nothing before the first batch is asked for.

    Lightning makes the iterator of a resumed run before it has read from the checkpoint where the run was: a loader with workers would by then have
    fetched the clips of epoch 0.
    """

    def __iter__(self) -> Iterator[EchoClip]:  # type: ignore[override]  # a generator, so that the workers begin later
        yield from super().__iter__()


class EvaluationSampler(DistributedSampler[EchoClip]):
    """Every clip once, dealt out to the ranks in turn; -1 (a filler) where others have one clip more, so that all ranks take as many steps.

    Lightning's own sampler of a distributed evaluation repeats clips instead, and they would count twice.

    Args:
        clips: the clips to evaluate.
        rank: number of this process.
        ranks: number of processes.
    """

    def __init__(self, clips: EvaluationClips, rank: int = 0, ranks: int = 1) -> None:
        super().__init__(clips, num_replicas=ranks, rank=rank, shuffle=False)

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]  # numbers alone
        total = len(self.dataset)  # type: ignore[arg-type]
        for number in range(self.rank, self.total_size, self.num_replicas):
            yield number if number < total else -1


def video_length(record: VideoRecord) -> int:
    """Frames of a video: the table's number, or the file's where no table lists it."""
    return count_frames(record.path) if record.frames is None else record.frames


def read_clip(
    record: VideoRecord, number: int, clip: int, start: int, span: ClipSpan, size: int, read: ReadFrames = read_frames
) -> EchoClip:
    """Decode, frame and label one clip.

    Raises:
        InputError: the file cannot be decoded, is shorter than listed, of another size than listed, or black.
    """
    length = video_length(record)
    frame_index = span.indices(start, length)
    exists = frame_index >= 0
    frames = read(record.path, frame_index[exists], record.frames)
    refuse_unfit(record, frames)
    framing = Framing.square(frames.shape[1], frames.shape[2], size)
    video = torch.zeros(1, span.frames, size, size, dtype=torch.uint8)
    video[0, torch.from_numpy(exists)] = framing.frames(frames, size)
    position = torch.full((len(PHASES),), torch.nan)
    if record.traced is not None:
        position = torch.tensor([span.position(frame, start, length) for frame in record.traced])
    mask = record.landmark_mask & position.isfinite()[:, None].expand(-1, len(BORDERS))
    landmarks = torch.where(mask[..., None, None], framing.to_clip(record.landmarks), 0.0)
    return EchoClip(
        video=video,
        frame_mask=torch.from_numpy(exists),
        frame_index=torch.from_numpy(frame_index),
        ef=torch.tensor(record.ef, dtype=torch.float32),
        landmarks=landmarks,
        landmark_mask=mask,
        phase_position=position,
        framing=torch.tensor(framing),
        video_number=torch.tensor(number),
        clip_number=torch.tensor(clip),
        name=record.name,
    )


def refuse_unfit(record: VideoRecord, frames: UInt8[np.ndarray, "T H W"]) -> None:
    """Refuse frames that are not what the table lists, or show nothing.

    Raises:
        InputError: they are of another size, or black.
    """
    height, width = frames.shape[1:]
    if record.size not in (None, (height, width)):
        listed = f"{record.size[0]}×{record.size[1]}" if record.size else ""
        raise InputError(
            f"{record.path}: frames are {height}×{width}, the table lists {listed} (height × width). Correct the table, or copy it again."
        )
    if not frames.any():
        raise InputError(f"{record.path}: the frames are black. Copy the file again, or take it out of the list.")


def require_long_enough(records: Sequence[VideoRecord], span: ClipSpan, split: str) -> None:
    """Refuse a clip that no video of a split can fill.

    Raises:
        InputError: every video is shorter than the clip.
    """
    longest = max(video_length(r) for r in records)
    if longest < span.length:
        raise InputError(
            f"a clip of {span.frames} frames every {span.period} spans {span.length} frames, but the longest video of the {split} split has {longest}. "
            "Lower --data.clip.frames or --data.clip.period."
        )
