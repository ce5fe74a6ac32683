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

from echo_e3net.checks.findings import Defect, Findings
from echo_e3net.data.contours import Contour, Tracings, drop_unusable, label_records, report_outside
from echo_e3net.data.formats.listing import Limits, Row, check_number, locate, read_list, report_unlisted, usable
from echo_e3net.data.formats.tracing_table import read_traced
from echo_e3net.data.layout import FILE_LIST, TRACINGS
from echo_e3net.data.records import SPLITS, DataFormat, Reading, VideoRecord, unlabelled
from echo_e3net.data.tracings import SEGMENTS, canonical_contours

COLUMNS = ("FileName", "EF", "NumberOfFrames", "Split")
TRACING_COLUMNS = ("X1", "Y1", "X2", "Y2")
EF_LIMITS = Limits(0, 100, 5, 98, " %")
FRAME_LIMITS = Limits(1, 1e6, 24, 1100, " frames")
ODD = {
    "EDV": Limits(0, 1e4, 10, 700, " mL"),
    "ESV": Limits(0, 1e4, 3, 600, " mL"),
    "FPS": Limits(0, 1e4, 15, 150, " a second"),
}
"""Columns that may be absent and are not used, with what is usual in them."""
VOLUME_TOLERANCE = 1.0
"""EF points that the label may be away from 100 (EDV - ESV) / EDV."""


class EchoNetDynamic(DataFormat):
    """EchoNet-Dynamic's format: FileList.csv, VolumeTracings.csv and Videos/; optionally EpiTracings.csv.

    References:
        Ouyang et al., Nature 580, 252-256 (2020); https://echonet.github.io/dynamic/
    """

    listed_in = FILE_LIST

    def read(self, root: Path) -> Reading:
        """The videos that can be used, in the order of FileList.csv, and all findings.

        Raises:
            InputError: a folder, table or column is missing.
        """
        findings = Findings()
        rows = {
            row.name: row for row in read_list(root, COLUMNS, findings, lambda row: row.values["Split"].strip().lower())
        }
        records = [listed_record(root, row, findings) for row in rows.values()]
        lengths = {record.name: record.frames for record in records if record.frames}
        sizes = {record.name: record.size for record in records if record.size}
        traced = {}
        for border, name in TRACINGS.items():
            if border == "endo" or (root / name).exists():
                traced[border] = read_contours(root / name, rows.keys(), lengths, findings)
                report_outside(traced[border], sizes, findings)
                drop_unusable(traced[border], findings)
        labelled = label_records(records, {row.name: row.where for row in rows.values()}, traced, findings)
        report_unlisted(root, rows, findings)
        return usable(labelled, findings)


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


def read_contours(path: Path, names: Collection[str], lengths: Mapping[str, int], findings: Findings) -> Tracings:
    """The contours of a table of segments; None, with a finding, where a frame's segments make none.

    Args:
        path: the table.
        names: the listed videos.
        lengths: frames of each listed video, where they are known.
        findings: grows.

    Raises:
        InputError: the file or a column is missing.
    """
    traced: Tracings = {}
    frames = read_traced(path, TRACING_COLUMNS, names, lengths, findings)
    for frame in frames:
        traced.setdefault(frame.name, {})[frame.frame] = None
        if len(frame.points) != SEGMENTS:
            problem = f"{len(frame.points)} segments where {SEGMENTS} are usual: the tracing is not used."
            findings.add(Defect.SEGMENTS, frame.name, frame.where, problem)
    whole = [frame for frame in frames if len(frame.points) == SEGMENTS]
    segments = np.stack([frame.points for frame in whole]) if whole else np.empty((0, SEGMENTS, 4))
    contours = canonical_contours(torch.from_numpy(segments.astype("float32")))
    for frame, landmarks, bad in zip(whole, contours, contours.isnan().flatten(1).any(1).tolist(), strict=True):
        if bad:
            findings.add(
                Defect.DEGENERATE,
                frame.name,
                frame.where,
                "the long axis of the tracing has no length: it is not used.",
            )
        else:
            traced[frame.name][frame.frame] = Contour(landmarks, frame.where)
    return traced
