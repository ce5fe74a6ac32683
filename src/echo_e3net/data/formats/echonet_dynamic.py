"""EchoNet-Dynamic's format (and the phantom's): two or three tables and a folder of AVI files.

``FileList.csv`` has a row a video, ``VolumeTracings.csv`` a row a segment of the endocardium, ``EpiTracings.csv`` (phantom, optional) the same for the
epicardium. Tables join on the stem: FileList.csv has no suffix, the tracings have one. Row order, frame order and left or right are not relied on.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from echo_e3net.data.contours import Contour, TracedFrames, drop_unusable, label_phases, report_outside, report_traced
from echo_e3net.data.defects import Defect, Findings
from echo_e3net.data.formats.listing import FILE_LIST, Limits, Row, check_number, locate, read_list, report_copies, report_unlisted, stem
from echo_e3net.data.records import SPLITS, DataFormat, Reading, VideoRecord, unlabelled
from echo_e3net.data.tables import NumberRows, group_rows, read_numbers
from echo_e3net.data.tracings import SEGMENTS, canonical_landmarks

TRACINGS = {"endo": "VolumeTracings.csv", "epi": "EpiTracings.csv"}
COLUMNS = ("FileName", "EF", "NumberOfFrames", "Split")
TRACING_COLUMNS = ("X1", "Y1", "X2", "Y2", "Frame")
EF_LIMITS = Limits(0, 100, 5, 98, " %")
FRAME_LIMITS = Limits(1, 1e6, 24, 1100, " frames")
ODD = {"EDV": Limits(0, 1e4, 10, 700, " mL"), "ESV": Limits(0, 1e4, 3, 600, " mL"), "FPS": Limits(0, 1e4, 15, 150, " a second")}
"""Columns that may be absent and are not used, with what is usual in them."""
VOLUME_TOLERANCE = 1.0
"""EF points that the label may be away from 100 (EDV - ESV) / EDV."""


class EchoNetDynamic(DataFormat):
    """EchoNet-Dynamic's format: FileList.csv, VolumeTracings.csv and Videos/; optionally EpiTracings.csv.

    References:
        Ouyang et al., Nature 580, 252-256 (2020); https://echonet.github.io/dynamic/
    """

    def read(self, root: Path) -> Reading:
        """The videos that can be used, in the order of FileList.csv, and all findings.

        Raises:
            InputError: a folder, table or column is missing.
        """
        findings = Findings()
        rows = {row.name: row for row in read_list(root, COLUMNS, findings, lambda row: row.values["Split"].strip().lower())}
        records = [listed_record(root, row, findings) for row in rows.values()]
        lengths = {record.name: record.frames for record in records if record.frames}
        sizes = {record.name: record.size for record in records if record.size}
        traced = {}
        for border, name in TRACINGS.items():
            if border == "endo" or (root / name).exists():
                traced[border] = read_tracings(root / name, rows.keys(), lengths, findings)
                report_outside(traced[border], sizes, findings)
                drop_unusable(traced[border], findings)
        for record in records:
            if record.split:
                report_traced(record.name, rows[record.name].where, traced["endo"].get(record.name, {}), findings)
        labelled = [
            label_phases(record, rows[record.name].where, {border: videos.get(record.name, {}) for border, videos in traced.items()}, findings)
            for record in records
        ]
        report_copies(labelled, findings)
        report_unlisted(root, rows, findings)
        unusable = findings.unusable()
        return Reading([record for record in labelled if record.name not in unusable], findings)


def listed_record(root: Path, row: Row, findings: Findings) -> VideoRecord:
    """What a row of FileList.csv says, without tracings. A row with neither EF nor split is an unlabelled video."""
    blank = not row.values["Split"].strip() and not row.values["EF"].strip()
    path, split = locate(root, row, findings), "" if blank else read_split(row, findings)
    ef_percent = math.nan if blank else check_number(row, "EF", EF_LIMITS, findings, needed=True)
    frames = check_number(row, "NumberOfFrames", FRAME_LIMITS, findings, needed=True)
    for column, limits in ODD.items():
        if row.values.get(column, "").strip() or (column in row.values and not blank):
            check_number(row, column, limits, findings, needed=False)
    edv, esv = row.number("EDV"), row.number("ESV")
    if edv > 0 and abs(100 * (edv - esv) / edv - ef_percent) > VOLUME_TOLERANCE:
        problem = f"EF is {ef_percent:.1f}, but EDV {edv:g} and ESV {esv:g} make it {100 * (edv - esv) / edv:.1f}. One of the three is wrong."
        findings.add(Defect.VOLUMES, row.name, row.where, problem)
    height, width = row.number("FrameHeight"), row.number("FrameWidth")
    size = (int(height), int(width)) if height > 0 and width > 0 else None
    known = unlabelled(path)._replace(name=row.name, frames=int(frames) if frames > 0 else None, size=size)
    return known._replace(ef=ef_percent / 100, split=split)


def read_split(row: Row, findings: Findings) -> str:
    """train, val or test; empty, with a finding, where it is none of them."""
    text = row.values["Split"]
    split = text.strip().lower()
    if split not in SPLITS:
        findings.add(Defect.SPLIT, row.name, row.where, f"Split is {text!r}. It must be TRAIN, VAL or TEST.")
        return ""
    if text != split.upper():
        findings.add(Defect.SPELLING, row.name, row.where, f"Split is {text!r}; it is read as {split.upper()}.")
    return split


def read_tracings(path: Path, names: Collection[str], lengths: Mapping[str, int], findings: Findings) -> dict[str, TracedFrames]:
    """The traced frames of each video; what is no tracing of a listed video becomes a finding.

    Args:
        path: the table.
        names: the listed videos.
        lengths: frames of each listed video, where they are known.
        findings: grows.

    Raises:
        InputError: the file or a column is missing.
    """
    table = read_numbers(path, "FileName", TRACING_COLUMNS)
    stems = {name: stem(name) for name in dict.fromkeys(table.keys)}
    owners = [stems[name] for name in table.keys]
    listed = np.array([owner in names for owner in owners], dtype=bool)
    frames = table.values[:, 4]
    number = np.isfinite(table.values).all(1) & (frames == np.round(frames))
    length = np.array([lengths.get(owner, math.inf) for owner in owners])
    inside = (frames >= 0) & (frames < length)
    for name, rows in group_rows(owners).items():
        where = f"{path} row {table.rows[rows[0]]} ({name})"
        if name not in names:
            findings.add(Defect.UNLISTED_TRACING, name, where, f"{FILE_LIST} does not list the video: its {len(rows)} rows are left out.")
        elif not number[rows].all():
            report_bad_number(path, table, int(rows[~number[rows]][0]), name, findings)
        elif not inside[rows].all():
            row = rows[~inside[rows]][0]
            problem = f"Frame is {frames[row]:.0f}, but the video has {length[row]:.0f} frames by {FILE_LIST}. Frames count from 0; correct the row."
            findings.add(Defect.BEYOND, name, f"{path} row {table.rows[row]} ({name})", problem)
    places = np.flatnonzero(listed & number & inside)
    segments = torch.from_numpy(table.values[:, :4].astype("float32"))
    traced: dict[str, TracedFrames] = {}
    for (name, frame), members in group_rows((owners[place], int(frames[place])) for place in places).items():
        rows = places[members]
        where = f"{path} row {table.rows[rows[0]]} ({name}, frame {frame})"
        traced.setdefault(name, {})[frame] = read_contour(segments[torch.from_numpy(rows)], name, where, findings)
    return traced


def report_bad_number(path: Path, table: NumberRows, row: int, name: str, findings: Findings) -> None:
    """A finding for a row with a value that is no number, or a frame that is no whole one."""
    finite = np.isfinite(table.values[row])
    column = "Frame" if finite.all() else TRACING_COLUMNS[int(np.argmin(finite))]
    problem = f"{column} is {table.text(row, column)!r}. It must be a {'whole ' if column == 'Frame' else ''}number; correct or remove the row."
    findings.add(Defect.TRACING_VALUE, name, f"{path} row {table.rows[row]} ({name})", problem)


def read_contour(segments: Float[torch.Tensor, "M 4"], name: str, where: str, findings: Findings) -> Contour | None:
    """The contour of one traced frame; None, with a finding, where the segments make none."""
    if len(segments) != SEGMENTS:
        problem = f"{len(segments)} segments where {SEGMENTS} are usual: the tracing is not used."
        findings.add(Defect.SEGMENTS, name, where, problem)
        return None
    try:
        return Contour(canonical_landmarks(segments), where)
    except ValueError as error:
        findings.add(Defect.DEGENERATE, name, where, f"the tracing makes no contour ({error}): it is not used.")
        return None
