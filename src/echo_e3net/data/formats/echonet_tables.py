"""The tables that EchoNet-Dynamic and EchoNet-Pediatric share: one row per video, many rows per traced frame."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from echo_e3net.data.layout import EF_PERCENT, FILE_LIST, SUFFIX, SUFFIXES, VIDEOS
from echo_e3net.data.records import BadValue, DataSet, ListedVideo, Repetition, TracedFrame, UnlistedRows, VideoRecord
from echo_e3net.errors import InputError
from echo_e3net.tables import FIRST_ROW, NumberRows, number, read_numbers, read_rows

Contours = Callable[[list[TracedFrame], list[np.ndarray]], Iterable[TracedFrame]]
"""Function that finds the landmarks of traced frames, given the rows of each, (M, C)."""


def stem(name: str) -> str:
    """Return a video's name in a table without the suffix of a video file. Other dots belong to the name."""
    name = name.strip()
    before, dot, suffix = name.rpartition(".")
    return before if dot and suffix.lower() in SUFFIXES else name


def split_of(values: Mapping[str, str]) -> str:
    """Return the split that a row names, in lower case."""
    return values["Split"].strip().lower()


def held_files(folder: Path) -> dict[str, list[str]]:
    """Return the names of the video files in a folder by their name without suffix."""
    held: dict[str, list[str]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        held.setdefault(stem(path.name), []).append(path.name)
    return held


def choose_file(name: str, listed: str, held: Sequence[str]) -> str:
    """Return the file of a video: as listed, or with the usual suffix, or the only one with another suffix."""
    usual = f"{name}{SUFFIX}"
    return next((file for file in (listed, usual) if file in held), held[0] if len(held) == 1 else usual)


def read_list(root: Path, columns: Sequence[str], splits: str) -> DataSet:
    """Read FileList.csv into records with path and EF; ``splits`` is the expected text of a split, for messages."""
    if not root.is_dir():
        found = "a file, not a folder" if root.is_file() else "no such folder"
        raise InputError(f"{root}: {found}. Give the folder of a data set; `echo-e3net data phantom` makes one.")
    videos: dict[str, ListedVideo] = {}
    file, folder = str(root / FILE_LIST), root / VIDEOS
    repetitions, bad_names, held = [], [], held_files(folder)
    for row, values in enumerate(read_rows(root / FILE_LIST, columns)):
        name = stem(values["FileName"])
        where = place(file, row, name)
        if not name or name in (".", "..") or set(name) & {"/", "\\", "\0"}:
            expected = f"a plain file name in {VIDEOS}/, without folders"
            bad_names.append(BadValue(name, where, "FileName", values["FileName"], expected))
        elif name in videos:
            first = videos[name]
            repetitions.append(Repetition(name, where, first.where, split_of(first.values) != split_of(values)))
        else:
            path = folder / choose_file(name, values["FileName"].strip(), held.get(name, ()))
            unlabelled = not (split_of(values) or values["EF"].strip())
            record = VideoRecord(name, path, ef=number(values["EF"], *EF_PERCENT) / 100)
            videos[name] = ListedVideo(record, where, values, (path,), splits, unlabelled)
    return DataSet(root, list(videos.values()), bad_names, repetitions, [])


def add_tracings(
    dataset: DataSet, border: str, path: Path, columns: Sequence[str], contours: Contours, untraced: Sequence[str] = ()
) -> DataSet:
    """Add the traced frames of a table to a data set.

    Args:
        dataset: the data set.
        border: the traced border.
        path: the table; further columns are ``FileName`` and ``Frame``.
        columns: columns of coordinates.
        contours: finds the landmarks.
        untraced: values of ``Frame`` that mark a phase as not traced; their rows are skipped.
    """
    columns = (*columns, "Frame")
    table = read_numbers(path, "FileName", columns, stem)
    lengths = {video.record.name: float(video.record.frames or math.inf) for video in dataset.videos}
    length = np.array([lengths.get(name, math.nan) for name in table.names], float)[table.keys]
    frame, listed = table.values[:, -1], ~np.isnan(length)
    meant, last = np.ones(len(frame), bool), len(columns) - 1
    meant[[row for (row, column), text in table.texts.items() if column == last and text in untraced]] = False
    usable = np.isfinite(table.values).all(1) & (frame == np.round(frame)) & (frame >= 0) & (frame < length) & meant
    traced, file = traced_frames(path, table, np.flatnonzero(usable), border, contours), str(path)
    bad = first_rows(table, listed & meant & ~usable)
    unlisted = [UnlistedRows(name, place(file, row, name), count) for name, row, count in first_rows(table, ~listed)]
    return dataset._replace(
        videos=[video._replace(traced=(*video.traced, *traced[video.record.name])) for video in dataset.videos],
        bad_values=[*dataset.bad_values, *(bad_value(file, table, row, columns, length[row]) for _, row, _ in bad)],
        unlisted_rows=[*dataset.unlisted_rows, *unlisted],
    )


def place(file: str, row: int, name: str) -> str:
    """Return file, row and video of a row (from 0, below the header) for messages."""
    return f"{file}, row {row + FIRST_ROW} ({name})"


def first_rows(table: NumberRows, chosen: Bool[np.ndarray, " R"]) -> list[tuple[str, int, int]]:
    """Return each video that has chosen rows, with the first of these rows and their number."""
    rows = np.flatnonzero(chosen)
    keys, first, counts = np.unique(table.keys[rows], return_index=True, return_counts=True)
    names = [table.names[key] for key in keys]
    return sorted(zip(names, rows[first].tolist(), counts.tolist(), strict=True), key=lambda video: video[1])


def traced_frames(
    path: Path, table: NumberRows, usable: Int[np.ndarray, " R"], border: str, contours: Contours
) -> dict[str, list[TracedFrame]]:
    """Return the traced frames of the usable rows by video."""
    rows = usable[np.lexsort((table.values[usable, -1], table.keys[usable]))]
    keys, numbers = table.keys[rows], table.values[rows, -1]
    starts = np.flatnonzero((np.diff(keys, prepend=-1) != 0) | (np.diff(numbers, prepend=-1) != 0))
    names, file = [table.names[key] for key in keys[starts]], str(path)
    frames = [
        TracedFrame(border, int(number), place(file, row, name), None)
        for number, row, name in zip(numbers[starts].tolist(), rows[starts].tolist(), names, strict=True)
    ]
    points = table.values[rows, :-1]
    groups = [points[start:end] for start, end in pairwise([*starts.tolist(), len(rows)])]
    traced: dict[str, list[TracedFrame]] = defaultdict(list)
    for name, contour in zip(names, contours(frames, groups), strict=True):
        traced[name].append(contour)
    return traced


def bad_value(file: str, table: NumberRows, row: int, columns: Sequence[str], frames: float) -> BadValue:
    """Return the first unusable field of a row; ``frames`` is the number of frames of its video."""
    name, finite = table.names[table.keys[row]], np.isfinite(table.values[row])
    column = -1 if finite.all() else int(finite.argmin())
    expected = f"a whole number from 0 to {frames - 1:.0f}" if columns[column] == "Frame" else "a number"
    beyond = bool(finite.all()) and float(table.values[row, -1]).is_integer()
    text = table.text(row, column)
    return BadValue(name, place(file, row, name), columns[column], text, expected, beyond)
