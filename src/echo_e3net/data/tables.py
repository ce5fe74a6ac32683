"""EchoNet-Dynamic's tables → one record a video. The only file that knows pandas.

``FileList.csv`` has a row a video, ``VolumeTracings.csv`` a row a segment, ``EpiTracings.csv`` (phantom, optional) the same for the epicardium. What
cannot be read is an :class:`~echo_e3net.errors.InputError` with file, row (as an editor counts it, the header is row 1) and value. What is merely not
labelled is masked: videos without tracings, and traced frames with other than 21 segments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from echo_e3net import geometry
from echo_e3net.data.tracings import SEGMENTS, canonical_landmarks
from echo_e3net.errors import InputError
from echo_e3net.files import write_text
from echo_e3net.types import BORDERS, PHASES

FILE_LIST = "FileList.csv"
TRACINGS = {"endo": "VolumeTracings.csv", "epi": "EpiTracings.csv"}
VIDEOS = "Videos"
SPLITS = ("train", "val", "test")


class VideoRecord(NamedTuple):
    """What the tables say of one video.

    Attributes:
        name: stem of the file.
        path: the file.
        frames: number of frames by the table; None where no table lists the video.
        ef: fraction, NaN where unlabelled.
        split: train, val or test; empty where no table lists the video.
        traced: the traced ED and ES frame, or None where the video is not traced.
        landmarks: (P, S, K, 2), pixels of the video; 0 where unlabelled.
        landmark_mask: (P, S).
    """

    name: str
    path: Path
    frames: int | None
    ef: float
    split: str
    traced: tuple[int, int] | None
    landmarks: Tensor
    landmark_mask: Tensor


def unlabelled(path: Path) -> VideoRecord:
    """The record of a video that no table lists."""
    landmarks, mask = _no_landmarks()
    return VideoRecord(path.stem, path, None, math.nan, "", None, landmarks, mask)


def read_echonet(root: Path) -> list[VideoRecord]:
    """The records of a data set in EchoNet-Dynamic's format, in the order of FileList.csv.

    Raises:
        InputError: a folder, file, column or value is missing or cannot be used.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder. Set --data.root to the folder that holds {FILE_LIST}; `echo-e3net data phantom` makes one.")
    files = read_columns(root / FILE_LIST, ("FileName", "EF", "NumberOfFrames", "Split"))
    records: dict[str, VideoRecord] = {}
    for row, values in enumerate(rows_of(files), 2):
        record = _listed(root, row, values)
        if record.name in records:
            raise InputError(f"{root / FILE_LIST} row {row}: video {record.name!r} is listed twice. Keep one row.")
        records[record.name] = record
    lengths = {name: record.frames or 0 for name, record in records.items()}
    traced = {border: group_tracings(root / name, lengths) for border, name in TRACINGS.items() if border == "endo" or (root / name).exists()}
    return [_label(root, record, {border: frames.get(name, {}) for border, frames in traced.items()}) for name, record in records.items()]


def _listed(root: Path, row: int, values: dict[str, str]) -> VideoRecord:
    """What a row of FileList.csv says, without tracings."""
    name = _stem(values["FileName"])
    where = f"{root / FILE_LIST} row {row} ({name})"
    path = root / VIDEOS / f"{name}.avi"
    if not path.is_file():
        raise InputError(f"{where}: {path} does not exist. Put the video there or remove the row.")
    split = values["Split"].strip().lower()
    if split not in SPLITS:
        raise InputError(f"{where}: Split is {values['Split']!r}. It must be TRAIN, VAL or TEST.")
    ef_percent = _number(values["EF"], where, "EF", 0, 100)
    frames = int(_number(values["NumberOfFrames"], where, "NumberOfFrames", 1, 1e6))
    return unlabelled(path)._replace(frames=frames, ef=ef_percent / 100, split=split)


def _label(root: Path, record: VideoRecord, tracings: dict[str, dict[int, Tensor]]) -> VideoRecord:
    """The record with what its tracings say."""
    try:
        traced, landmarks, mask = label_phases(tracings)
    except ValueError as error:
        raise InputError(f"{root}: the tracings of {record.name} make no contour: {error}. Correct or remove them.") from error
    return record._replace(traced=traced, landmarks=landmarks, landmark_mask=mask)


def _stem(name: str) -> str:
    """The name of a video without folder and suffix: FileList.csv has no suffix, VolumeTracings.csv has one."""
    return Path(name).name.removesuffix(".avi")


def label_phases(tracings: dict[str, dict[int, Tensor]]) -> tuple[tuple[int, int] | None, Tensor, Tensor]:
    """Which traced frame is ED and which is ES, and their landmarks.

    ED is the frame with the larger endocardial volume by Simpson's method, whatever the order in the table. Without two well-formed endocardial
    contours nothing says which is which, and the video counts as not traced.

    Args:
        tracings: by border and frame, the segments (M, 4).
    """
    landmarks, mask = _no_landmarks()
    contours = {border: {frame: canonical_landmarks(s) for frame, s in frames.items() if len(s) == SEGMENTS} for border, frames in tracings.items()}
    endo = contours.get("endo", {})
    if len(endo) != len(PHASES):
        return None, landmarks, mask
    es, ed = sorted(endo, key=lambda frame: float(geometry.contour_volume(endo[frame])))
    for p, frame in enumerate((ed, es)):
        for s, border in enumerate(BORDERS):
            if frame in contours.get(border, {}):
                landmarks[p, s] = contours[border][frame]
                mask[p, s] = True
    return (ed, es), landmarks, mask


def group_tracings(path: Path, lengths: dict[str, int]) -> dict[str, dict[int, Tensor]]:
    """The segments (M, 4) of a tracings file by video and frame; rows of videos that are not listed are left out.

    Args:
        path: the file.
        lengths: frames of each listed video.

    Raises:
        InputError: the file or a column is missing, a value is not a number, or a frame lies beyond its video's end.
    """
    columns = ("X1", "Y1", "X2", "Y2", "Frame")
    table = read_columns(path, ("FileName", *columns))
    numbers = table[list(columns)].apply(pd.to_numeric, errors="coerce")
    bad = ~numbers.map(math.isfinite)
    if bad.to_numpy().any():
        row = int(bad.any(axis=1).to_numpy().argmax())
        column = str(bad.columns[bad.iloc[row].to_numpy().argmax()])
        raise InputError(f"{path} row {row + 2}: {column} is {table[column].iloc[row]!r}. It must be a number; correct or remove the row.")
    numbers["stem"] = table["FileName"].map({name: _stem(name) for name in table["FileName"].unique()})
    numbers["Frame"] = numbers["Frame"].astype(int)
    length = numbers["stem"].map(lengths)
    beyond = (length.notna() & ~numbers["Frame"].between(0, length - 1)).to_numpy()
    if beyond.any():
        row = int(beyond.argmax())
        raise InputError(
            f"{path} row {row + 2}: Frame is {table['Frame'].iloc[row]!r}, but {numbers['stem'].iloc[row]} has {int(length.iloc[row])} frames by "
            f"{FILE_LIST}. Frames count from 0; correct the row or remove it."
        )
    grouped: dict[str, dict[int, Tensor]] = {}
    segments = torch.tensor(numbers[["X1", "Y1", "X2", "Y2"]].to_numpy("float32"))
    for (stem, frame), rows in numbers.groupby(["stem", "Frame"], sort=False).indices.items():
        if stem in lengths:
            grouped.setdefault(stem, {})[int(frame)] = segments[torch.from_numpy(rows)]
    return grouped


def read_columns(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """A CSV as text, with the columns asked for.

    Raises:
        InputError: the file is missing, empty, not a CSV, or lacks a column.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file. A data set holds {FILE_LIST}, {TRACINGS['endo']} and {VIDEOS}/ (see data/README.md).")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable CSV ({str(error).strip()}).") from error
    for column in columns:
        if column not in table:
            raise InputError(f"{path}: column {column!r} is missing; it has {', '.join(map(repr, table.columns))}.")
    return table


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV that this project wrote, as text; empty fields are empty.

    Raises:
        InputError: the file is missing or not a CSV.
    """
    return rows_of(read_columns(path, ()))


def rows_of(table: pd.DataFrame) -> list[dict[str, str]]:
    """The rows of a table of text."""
    return [{str(k): str(v) for k, v in row.items()} for row in table.to_dict("records")]


def write_csv(path: Path, rows: list[dict[str, object]], columns: list[str] | None = None) -> None:
    """Write rows as a CSV; the file appears whole or not at all."""
    write_text(path, pd.DataFrame(rows, columns=columns).to_csv(index=False))


def _number(text: str, where: str, column: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InputError(f"{where}: {column} is {text!r}. It must be a number from {low:g} to {high:g}; correct or remove the row.")
    return value


def _no_landmarks() -> tuple[Tensor, Tensor]:
    shape = (len(PHASES), len(BORDERS))
    return torch.zeros(*shape, geometry.LANDMARKS, 2), torch.zeros(shape, dtype=torch.bool)
