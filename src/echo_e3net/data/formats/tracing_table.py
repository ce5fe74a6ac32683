"""What the formats with a table of tracings share: long tables of points or segments, many rows a traced frame."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from echo_e3net.checks.findings import Defect, Findings
from echo_e3net.data.formats.listing import stem
from echo_e3net.data.layout import FILE_LIST
from echo_e3net.tables import NumberRows, group_rows, read_numbers


class TracedRows(NamedTuple):
    """The rows of one traced frame.

    Attributes:
        name: stem of the video.
        frame: its number.
        where: file and row, for messages.
        points: the values of the rows but for the frame, in the order of the table.
    """

    name: str
    frame: int
    where: str
    points: Float[np.ndarray, "M C"]


def read_traced(
    path: Path,
    columns: Sequence[str],
    names: Collection[str],
    lengths: Mapping[str, int],
    findings: Findings,
    untraced: Collection[str] = (),
) -> list[TracedRows]:
    """The traced frames of the listed videos; what is no tracing of a listed video becomes a finding.

    Args:
        path: the table; further columns are ``FileName`` and ``Frame``.
        columns: the numbers of a row.
        names: the listed videos.
        lengths: frames of each listed video, where they are known.
        findings: grows.
        untraced: what stands for Frame where a phase was not traced; such rows are no tracings.

    Raises:
        InputError: the file or a column is missing.
    """
    columns = (*columns, "Frame")
    table = read_numbers(path, "FileName", columns)
    stems = {name: stem(name) for name in dict.fromkeys(table.keys)}
    owners = [stems[name] for name in table.keys]
    listed = np.array([owner in names for owner in owners], dtype=bool)
    frames = table.values[:, -1]
    meant = ~np.isin(table.texts["Frame"].to_numpy(str), list(untraced)) if untraced else np.ones(len(frames), bool)
    number = np.isfinite(table.values).all(1) & (frames == np.round(frames))
    length = np.array([lengths.get(owner, math.inf) for owner in owners])
    inside = (frames >= 0) & (frames < length)
    for name, rows in group_rows(owners).items():
        wrong, beyond = rows[meant[rows] & ~number[rows]], rows[meant[rows] & ~inside[rows]]
        if name not in names:
            where = f"{path} row {table.rows[rows[0]]} ({name})"
            findings.add(
                Defect.UNLISTED_TRACING,
                name,
                where,
                f"{FILE_LIST} does not list the video: its {len(rows)} rows are left out.",
            )
        elif len(wrong):
            report_bad_number(path, table, columns, int(wrong[0]), name, findings)
        elif len(beyond):
            row = beyond[0]
            problem = f"Frame is {frames[row]:.0f}, but the video has {length[row]:.0f} frames. Frames count from 0; correct the row."
            findings.add(Defect.BEYOND, name, f"{path} row {table.rows[row]} ({name})", problem)
    return grouped(path, table, owners, np.flatnonzero(listed & meant & number & inside))


def grouped(path: Path, table: NumberRows, owners: Sequence[str], places: Int[np.ndarray, " R"]) -> list[TracedRows]:
    """The rows at some places, by video and frame."""
    frames = table.values[:, -1].tolist()
    traced = []
    for (name, frame), members in group_rows((owners[place], int(frames[place])) for place in places.tolist()).items():
        rows = places[members]
        traced.append(
            TracedRows(
                name, frame, f"{path} row {table.rows[rows[0]]} ({name}, frame {frame})", table.values[rows, :-1]
            )
        )
    return traced


def report_bad_number(
    path: Path, table: NumberRows, columns: Sequence[str], row: int, name: str, findings: Findings
) -> None:
    """A finding for a row with a value that is no number, or a frame that is no whole one."""
    finite = np.isfinite(table.values[row])
    column = "Frame" if finite.all() else columns[int(np.argmin(finite))]
    problem = f"{column} is {table.text(row, column)!r}. It must be a {'whole ' if column == 'Frame' else ''}number; correct or remove the row."
    findings.add(Defect.TRACING_VALUE, name, f"{path} row {table.rows[row]} ({name})", problem)
