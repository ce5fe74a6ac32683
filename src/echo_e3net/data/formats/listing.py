"""What the formats with a table of videos and a folder of AVI files share: rows, names, files, numbers.

Each function says what it finds through ``findings`` and gives what can be used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from echo_e3net.checks.findings import Defect, Findings
from echo_e3net.data.layout import FILE_LIST, SUFFIX, VIDEOS
from echo_e3net.data.records import Reading, VideoRecord
from echo_e3net.errors import InputError
from echo_e3net.files import file_hash
from echo_e3net.tables import FIRST_ROW, read_rows

NAN = math.nan


class Row(NamedTuple):
    """A row of the table of videos.

    Attributes:
        name: stem of the video.
        where: file, row and name, for messages.
        values: the row's fields by column, as text.
    """

    name: str
    where: str
    values: dict[str, str]

    def number(self, column: str) -> float:
        """A field as a number; NaN where it is none, or is not there."""
        try:
            return float(self.values.get(column, ""))
        except ValueError:
            return NAN


class Limits(NamedTuple):
    """Which values of a column are possible, and which usual."""

    low: float
    high: float
    usual_low: float
    usual_high: float
    unit: str


def read_list(root: Path, columns: Sequence[str], findings: Findings, split_of: Callable[[Row], str]) -> list[Row]:
    """The rows of FileList.csv whose name is a plain one that stands there once.

    Args:
        root: folder of the data set.
        columns: columns that must be there, ``FileName`` among them.
        findings: grows.
        split_of: what stands for a row's split, to tell a leak from a repetition.

    Raises:
        InputError: folder, file or a column is missing.
    """
    if not root.is_dir():
        raise InputError(
            f"{root}: no such folder. Set --data.root to the folder of the data set; `echo-e3net data phantom` makes one."
        )
    path = root / FILE_LIST
    rows: dict[str, Row] = {}
    again: dict[str, list[Row]] = {}
    for number, values in enumerate(read_rows(path, columns), FIRST_ROW):
        name = stem(values["FileName"])
        row = Row(name, f"{path} row {number} ({name})", values)
        if not name or name in (".", "..") or set(name) & {"/", "\\", "\0"}:
            problem = f"FileName is {values['FileName']!r}. It must be a plain file name in {VIDEOS}/, without folders; correct or remove the row."
            findings.add(Defect.OUTSIDE, name, row.where, problem)
        elif name in rows:
            again.setdefault(name, [rows[name]]).append(row)
        else:
            rows[name] = row
    for name, repeated in again.items():
        leak = len({split_of(row) for row in repeated}) > 1
        for row in repeated[1:]:
            first = repeated[0].where.split(" row ")[1].split(" ")[0]
            problem = f"video {name!r} is listed twice, first in row {first}" + (
                ", in another split. " if leak else ". "
            )
            findings.add(Defect.TWO_SPLITS if leak else Defect.TWICE, name, row.where, problem + "Keep one row.")
    return list(rows.values())


def stem(name: str) -> str:
    """The name of a video without suffix, as it stands in a table."""
    return name.strip().removesuffix(SUFFIX)


def locate(root: Path, row: Row, findings: Findings) -> Path:
    """The video's file; a finding where it is absent, or where a link leads out of the folder of videos.

    The data set itself, or its folder of videos, may be a link.
    """
    folder = root / VIDEOS
    path = folder / f"{row.name}{SUFFIX}"
    if not path.is_file():
        findings.add(
            Defect.ABSENT, row.name, row.where, f"{path} does not exist. Put the video there or remove the row."
        )
    elif path.is_symlink() and path.resolve().parent != folder.resolve():
        problem = f"{path} is a link to {path.resolve()}, outside {folder}. Put the file itself there (linking the whole folder is fine)."
        findings.add(Defect.OUTSIDE, row.name, row.where, problem)
    return path


def check_number(row: Row, column: str, limits: Limits, findings: Findings, needed: bool) -> float:
    """A field as a number within its limits; NaN, with a finding, where it is none.

    Args:
        row: the row.
        column: the column.
        limits: what is possible and what is usual.
        findings: grows.
        needed: whether the video cannot be used without; otherwise it is odd.
    """
    value, text = row.number(column), row.values.get(column, "")
    if not limits.low <= value <= limits.high:
        problem = f"{column} is {text!r}. It must be a number from {limits.low:g} to {limits.high:g}. Correct it, or take the video out."
        findings.add(Defect.VALUE if needed else Defect.RANGE, row.name, row.where, problem)
        return NAN
    if not limits.usual_low <= value <= limits.usual_high:
        usual = f"{limits.usual_low:g} to {limits.usual_high:g}{limits.unit}"
        findings.add(Defect.RANGE, row.name, row.where, f"{column} is {text}; usual is {usual}. Look at the row again.")
    return value


def report_unlisted(root: Path, names: Iterable[str], findings: Findings) -> None:
    """A finding for each file in the folder of videos that no row lists; hidden files do not count."""
    listed = {f"{name}{SUFFIX}" for name in names}
    folder = root / VIDEOS
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name not in listed and not path.name.startswith("."):
            findings.add(
                Defect.UNLISTED,
                path.stem,
                str(path),
                f"{FILE_LIST} does not list it: it is left out. Add a row or remove the file.",
            )


def usable(records: Sequence[VideoRecord], findings: Findings) -> Reading:
    """The records that no finding refuses, after a last look for copies, with all findings."""
    report_copies(records, findings)
    unusable = findings.unusable()
    return Reading([record for record in records if record.name not in unusable], findings)


def report_copies(records: Sequence[VideoRecord], findings: Findings) -> None:
    """A finding for each video whose file has the same bytes as another's. Only files of the same size are read.

    Across splits one of the two is refused, so that the evaluation keeps its videos: train before val before test.
    """
    by_size: dict[int, list[VideoRecord]] = {}
    for record in records:
        if record.path.is_file():
            by_size.setdefault(record.path.stat().st_size, []).append(record)
    by_content: dict[str, list[VideoRecord]] = {}
    for record in (record for same in by_size.values() if len(same) > 1 for record in same):
        by_content.setdefault(file_hash(record.path), []).append(record)
    for copies in by_content.values():
        first, *others = sorted(copies, key=lambda record: ("test", "val", "train", "").index(record.split))
        for record in others:
            leak = record.split != first.split
            where = f"{first.path.name} (split {first.split or 'none'})"
            problem = f"the same bytes as {where}" + (
                ", in another split. Remove one of the two." if leak else ". Is it the same patient?"
            )
            findings.add(Defect.COPY_SPLITS if leak else Defect.COPY, record.name, str(record.path), problem)
