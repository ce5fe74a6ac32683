"""One record a video, whatever format it comes from, and what a format is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from echo_e3net import geometry
from echo_e3net.checks.findings import Finding
from echo_e3net.types import BORDERS, PHASES

SPLITS = ("train", "val", "test")


class VideoRecord(NamedTuple):
    """What a data set says of one video.

    Attributes:
        name: names the video in all tables; in EchoNet's formats the stem of its file.
        path: the file.
        frames: number of frames by the table; None where no table lists the video.
        ef: fraction, NaN where unlabelled.
        split: train, val or test; empty where no table lists the video.
        traced: the traced ED and ES frame, or None where the video is not traced.
        landmarks: (P, S, K, 2), pixels of the frames as they are read; 0 where unlabelled.
        landmark_mask: (P, S).
        size: height and width of the frames by the table, pixels; None where no table says.
        pixel_mm: height and width of a pixel of these frames, mm; None where it is not known, and with it no volume in mL.
        cropped: whether what is read is the sector alone, cut out of the file's picture (``--data.videos``).
    """

    name: str
    path: Path
    frames: int | None
    ef: float
    split: str
    traced: tuple[int, int] | None
    landmarks: Float[Tensor, "P S K 2"]
    landmark_mask: Bool[Tensor, "P S"]
    size: tuple[int, int] | None = None
    pixel_mm: tuple[float, float] | None = None
    cropped: bool = False


class Reading(NamedTuple):
    """What a format reads from a folder: the videos that can be used, and everything that is odd about the others and about them."""

    records: list[VideoRecord]
    findings: list[Finding]


class DataFormat(ABC):
    """How a data set lies on the disk.

    Attributes:
        listed_in: what says to which split a video belongs, for messages.
    """

    listed_in: str = "the format"

    @abstractmethod
    def read(self, root: Path) -> Reading:
        """All records, in the order of the data set's own list, and all defects that show without decoding a video.

        Raises:
            InputError: there is nothing to read: a folder, table or column is missing.
        """


def unlabelled(path: Path) -> VideoRecord:
    """The record of a video that no table lists."""
    landmarks, mask = no_landmarks()
    return VideoRecord(video_name(path), path, None, math.nan, "", None, landmarks, mask)


def video_name(path: Path) -> str:
    """The name of a file without its suffix; that of a compressed NIfTI file is .nii.gz."""
    return Path(path.name.removesuffix(".gz")).stem


def no_landmarks() -> tuple[Float[Tensor, "P S K 2"], Bool[Tensor, "P S"]]:
    """Landmarks of a video that has none, and their mask."""
    shape = (len(PHASES), len(BORDERS))
    return torch.zeros(*shape, geometry.LANDMARKS, 2), torch.zeros(shape, dtype=torch.bool)
