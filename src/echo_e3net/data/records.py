"""Records of videos and data sets, the same for every format."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from echo_e3net.conventions import BORDERS, LANDMARKS, PHASES

SPLITS = ("train", "val", "test")
NO_MASK = np.zeros((len(PHASES), len(BORDERS)), bool)
NO_LANDMARKS = np.zeros((*NO_MASK.shape, LANDMARKS, 2), np.float32)


class VideoRecord(NamedTuple):
    """One video with its labels.

    Attributes:
        name: name of the video in all tables; in EchoNet's formats the file name without suffix.
        path: the file.
        frames: number of frames by the table; None if unknown.
        ef: fraction, NaN if unlabelled.
        split: train, val or test; empty if the video has no split.
        traced: the traced ED and ES frame; None if they are not labelled.
        landmarks: (P, S, K, 2), pixels of the frames as they are read; 0 where unlabelled.
        landmark_mask: (P, S).
        size: height and width of the frames by the table, pixels; None if unknown.
        pixel_mm: height and width of a pixel of these frames, mm; None if unknown, then volumes in mL are too.
        cropped: whether only the sector of the frames is read (files given to ``--videos``).
    """

    name: str
    path: Path
    frames: int | None = None
    ef: float = math.nan
    split: str = ""
    traced: tuple[int, int] | None = None
    landmarks: Float32[np.ndarray, "P S K 2"] = NO_LANDMARKS
    landmark_mask: Bool[np.ndarray, "P S"] = NO_MASK
    size: tuple[int, int] | None = None
    pixel_mm: tuple[float, float] | None = None
    cropped: bool = False


class TracedFrame(NamedTuple):
    """One traced border of one frame.

    Attributes:
        border: endo or epi.
        frame: number of the frame, from 0.
        where: file and row, for messages.
        landmarks: (K, 2); None if the tracing has none.
        fault: why the tracing is not used; empty if it is.
        detail: the fault in words.
        volume: by Simpson's method, pixel³.
    """

    border: str
    frame: int
    where: str
    landmarks: Float32[np.ndarray, "K 2"] | None
    fault: Literal["", "segments", "mask", "degenerate", "crossing"] = ""
    detail: str = ""
    volume: float = math.nan


class ListedVideo(NamedTuple):
    """One video of a data set with everything that the data set contains about it.

    Attributes:
        record: the parsed values.
        where: file and row that list the video, for messages.
        values: the text of each column of that row.
        files: files that the video needs.
        splits: the splits that a row may name, for messages.
        unlabelled: whether the row leaves both EF and split empty.
        spelling: usual spelling of the split that was read.
        error: why the file cannot be read; empty if it can, or if it was not opened.
        held: number of frames by the file's header; None if it was not opened.
        traced: the traced frames.
    """

    record: VideoRecord
    where: str
    values: dict[str, str]
    files: tuple[Path, ...]
    splits: str
    unlabelled: bool = False
    spelling: str = ""
    error: str = ""
    held: int | None = None
    traced: tuple[TracedFrame, ...] = ()


class BadValue(NamedTuple):
    """A field that cannot be used: its video, place, column and text, and what was expected.

    ``beyond`` marks numbers of frames beyond the end of the video.
    """

    name: str
    where: str
    column: str
    text: str
    expected: str
    beyond: bool = False


class Repetition(NamedTuple):
    """A further row of a video that is already listed in ``first``; ``leak`` if the rows are of different splits."""

    name: str
    where: str
    first: str
    leak: bool


class UnlistedRows(NamedTuple):
    """The first row of the tracings of a video that no table lists, and their number."""

    name: str
    where: str
    rows: int


class DataSet(NamedTuple):
    """The contents of a data set.

    Attributes:
        root: its folder.
        videos: the videos, in the order of the data set's own list.
        traced: whether the format has tracings.
        note: what a user should know about how it was read; empty if nothing.
    """

    root: Path
    videos: list[ListedVideo]
    bad_values: list[BadValue]
    repetitions: list[Repetition]
    unlisted_rows: list[UnlistedRows]
    traced: bool = True
    note: str = ""

    @property
    def records(self) -> list[VideoRecord]:
        """The records of all videos, usable or not."""
        return [video.record for video in self.videos]


class DataFormat(ABC):
    """A format of data sets.

    Attributes:
        listed_in: the file that assigns videos to splits, for messages.
    """

    listed_in: str = "the format"

    @abstractmethod
    def read(self, root: Path) -> DataSet:
        """Read all tables of a data set. Videos are not decoded.

        Raises:
            InputError: a folder, table or column is missing.
        """


def unlabelled(path: Path) -> VideoRecord:
    """Return the record of a video that no table lists; .nii.gz counts as one suffix of its name."""
    return VideoRecord(Path(path.name.removesuffix(".gz")).stem, path)
