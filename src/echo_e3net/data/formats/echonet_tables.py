"""The tables that EchoNet-Dynamic and EchoNet-Pediatric share: one row per video, many rows per traced frame."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from echo_e3net.data.layout import EF_PERCENT, FILE_LIST, SUFFIX, VIDEOS
from echo_e3net.data.records import (
    BadValue,
    DataSet,
    ListedVideo,
    Repetition,
    TracedFrame,
    UnlistedTracing,
    VideoRecord,
)
from echo_e3net.errors import InputError
from echo_e3net.tables import FIRST_ROW, NumberRows, group_rows, number, read_numbers, read_rows

Contours = Callable[[list[TracedFrame], list[Float[np.ndarray, "M C"]]], Iterable[TracedFrame]]
"""Function that finds the landmarks of traced frames, given the rows of each."""


def stem(name: str) -> str:
    """Return a video's name in a table without suffix."""
    return name.strip().removesuffix(SUFFIX)


def read_list(root: Path, columns: Sequence[str], splits: str) -> DataSet:
    """Read FileList.csv into records with path and EF.

    Raises:
        InputError: the folder, the file or a column is missing.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder. Set --data.root to a data set; `echo-e3net data phantom` makes one.")
    videos: dict[str, ListedVideo] = {}
    repetitions, bad_names = [], []
    for row, values in enumerate(read_rows(root / FILE_LIST, columns), FIRST_ROW):
        name, split = stem(values["FileName"]), values["Split"].strip().lower()
        where = f"{root / FILE_LIST}, row {row} ({name})"
        if not name or name in (".", "..") or set(name) & {"/", "\\", "\0"}:
            expected = f"a plain file name in {VIDEOS}/, without folders"
            bad_names.append(BadValue(name, where, "FileName", values["FileName"], expected))
        elif name in videos:
            first = videos[name]
            repetitions.append(Repetition(name, where, first.where, first.values["Split"].strip().lower() != split))
        else:
            path, ef_percent = root / VIDEOS / f"{name}{SUFFIX}", number(values["EF"], *EF_PERCENT)
            record = VideoRecord(name, path, ef=ef_percent / 100)
            unlabelled = not split and not values["EF"].strip()
            videos[name] = ListedVideo(record, where, values, (path,), unlabelled)
    return DataSet(root, splits, list(videos.values()), bad_names, repetitions, [])


def add_tracings(
    dataset: DataSet,
    path: Path,
    columns: Sequence[str],
    border: str,
    contours: Contours,
    untraced: Collection[str] = (),
) -> DataSet:
    """Add the traced frames of a table to a data set.

    Args:
        dataset: the data set.
        path: the table; further columns are ``FileName`` and ``Frame``.
        columns: columns of coordinates.
        border: the traced border.
        contours: finds the landmarks.
        untraced: values of ``Frame`` that mark a phase as not traced; their rows are skipped.

    Raises:
        InputError: the file or a column is missing.
    """
    table = read_numbers(path, "FileName", (*columns, "Frame"), stem)
    frames = {video.record.name: float(video.record.frames or math.inf) for video in dataset.videos}
    length = np.array([frames.get(name, math.nan) for name in table.keys], float)[table.codes]
    frame, listed = table.values[:, -1], ~np.isnan(length)
    whole = np.isfinite(table.values).all(1) & (frame == np.round(frame))
    meant = np.array([text not in untraced for text in table.fields[:, -1]], bool)
    usable = meant & whole & (frame >= 0) & (frame < length)
    traced: dict[str, list[TracedFrame]] = defaultdict(list)
    for name, contour in traced_frames(table, np.flatnonzero(usable), border, contours):
        traced[name].append(contour)
    bad = [bad_value(table, row, (*columns, "Frame"), length[row]) for row in table.first(listed & meant & ~usable)]
    count = np.bincount(table.codes)
    unlisted = [UnlistedTracing(*table.place(row), int(count[table.codes[row]])) for row in table.first(~listed)]
    return dataset._replace(
        videos=[video._replace(traced=(*video.traced, *traced[video.record.name])) for video in dataset.videos],
        bad_values=dataset.bad_values + bad,
        unlisted_tracings=dataset.unlisted_tracings + unlisted,
    )


def traced_frames(
    table: NumberRows, usable: Int[np.ndarray, " R"], border: str, contours: Contours
) -> Iterator[tuple[str, TracedFrame]]:
    """Yield the traced frames of the usable rows, each with the name of its video."""
    keys = np.stack([table.codes[usable], table.values[usable, -1].astype(int)], 1)
    groups = [usable[rows] for rows in group_rows(keys)]
    places = [table.place(rows[0]) for rows in groups]
    frames = [
        TracedFrame(border, int(table.values[rows[0], -1]), where, None)
        for rows, (_, where) in zip(groups, places, strict=True)
    ]
    found = contours(frames, [table.values[rows, :-1] for rows in groups])
    return zip((name for name, _ in places), found, strict=True)


def bad_value(table: NumberRows, row: int, columns: Sequence[str], frames: float) -> BadValue:
    """Return the first unusable field of a row; ``frames`` is the number of frames of its video."""
    finite = np.isfinite(table.values[row])
    column = -1 if finite.all() else int(finite.argmin())
    expected = f"a whole number from 0 to {frames - 1:.0f}" if columns[column] == "Frame" else "a number"
    beyond = bool(finite.all()) and float(table.values[row, -1]).is_integer()
    return BadValue(*table.place(row), columns[column], str(table.fields[row, column]), expected, beyond)
