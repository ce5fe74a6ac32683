"""EchoNet-Pediatric's format: EchoNet-Dynamic's folder a view, with polygons for tracings and folds for splits.

    <root>/A4C/FileList.csv          FileName,EF,Sex,Age,Weight,Height,Split      (Split: fold 0…9)
    <root>/A4C/VolumeTracings.csv    FileName,X,Y,Frame                           (one row a point of the border, in order)
    <root>/A4C/Videos/<stem>.avi
    <root>/PSAX/…                    the same in the parasternal short axis

A short-axis border has neither apex nor mitral plane: of that view EF alone is used. The tables say no number of frames; the files do.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

from echo_e3net.checks.findings import Defect, Findings
from echo_e3net.data.contours import Contour, Tracings, drop_unusable, label_records, polygon_crosses
from echo_e3net.data.formats.listing import Limits, Row, check_number, locate, read_list, report_unlisted, usable
from echo_e3net.data.formats.tracing_table import TracedRows, read_traced
from echo_e3net.data.frames import count_frames
from echo_e3net.data.layout import FILE_LIST
from echo_e3net.data.outline import polygon_landmarks
from echo_e3net.data.records import DataFormat, Reading, VideoRecord, unlabelled
from echo_e3net.errors import InputError

VOLUME_TRACINGS = "VolumeTracings.csv"
COLUMNS = ("FileName", "EF", "Split")
EF_LIMITS = Limits(0, 100, 5, 98, " %")
ODD = {
    "Age": Limits(0, 120, 0, 18, " years"),
    "Weight": Limits(0, 500, 0.5, 150, " kg"),
    "Height": Limits(0, 300, 30, 210, " cm"),
}
"""Columns that may be absent or empty and are not used, with what is usual in them."""
FOLDS = range(10)
UNTRACED = ("No Systolic", "No Diastolic")
"""What may stand for Frame where a phase was not traced."""


class EchoNetPediatric(DataFormat):
    """EchoNet-Pediatric's format: a folder a view with FileList.csv, VolumeTracings.csv and Videos/.

    Args:
        view: folder of the view, A4C (apical four-chamber) or PSAX (parasternal short axis, EF alone); not looked for where the root holds FileList.csv.
        validation_folds: folds that make the validation split.
        test_folds: folds that make the test split; all others make the training split.

    References:
        Reddy et al., Video-Based Deep Learning for Automated Assessment of Left Ventricular Ejection Fraction in Pediatric Patients, J Am Soc
        Echocardiogr 36 (2023); https://echonet.github.io/pediatric/
    """

    listed_in = FILE_LIST

    def __init__(
        self,
        view: Literal["A4C", "PSAX"] = "A4C",
        validation_folds: Sequence[int] = (8,),
        test_folds: Sequence[int] = (9,),
    ) -> None:
        if set(validation_folds) & set(test_folds) or not set(FOLDS).issuperset({*validation_folds, *test_folds}):
            raise InputError(
                f"validation_folds {list(validation_folds)}, test_folds {list(test_folds)}: folds are 0 to 9, and none may be in both."
            )
        self.view, self.validation_folds, self.test_folds = view, tuple(validation_folds), tuple(test_folds)

    def read(self, root: Path) -> Reading:
        """The videos that can be used, in the order of FileList.csv, and all findings. Opens every video to count its frames (3 s for 3,000).

        Raises:
            InputError: a folder, table or column is missing.
        """
        folder = root if (root / FILE_LIST).is_file() or not root.is_dir() else root / self.view
        findings = Findings()
        rows = {row.name: row for row in read_list(folder, COLUMNS, findings, lambda row: row.values["Split"].strip())}
        records = [self.listed_record(folder, row, findings) for row in rows.values()]
        if self.view != "PSAX":
            lengths = {record.name: record.frames for record in records if record.frames}
            traced = {"endo": read_polygons(folder / VOLUME_TRACINGS, rows.keys(), lengths, findings)}
            drop_unusable(traced["endo"], findings)
            records = label_records(records, {row.name: row.where for row in rows.values()}, traced, findings)
        report_unlisted(folder, rows, findings)
        return usable(records, findings)

    def listed_record(self, root: Path, row: Row, findings: Findings) -> VideoRecord:
        """What a row of FileList.csv and the file say, without tracings. A row with neither EF nor split is an unlabelled video."""
        blank = not row.values["Split"].strip() and not row.values["EF"].strip()
        path, split = locate(root, row, findings), "" if blank else self.read_split(row, findings)
        ef_percent = math.nan if blank else check_number(row, "EF", EF_LIMITS, findings, needed=True)
        for column, limits in ODD.items():
            if row.values.get(column, "").strip():
                check_number(row, column, limits, findings, needed=False)
        known = unlabelled(path)._replace(name=row.name, ef=ef_percent / 100, split=split)
        try:
            return known._replace(frames=count_frames(path)) if path.is_file() else known
        except InputError as error:
            findings.add(Defect.UNDECODABLE, row.name, str(path), str(error).removeprefix(f"{path}: "))
            return known

    def read_split(self, row: Row, findings: Findings) -> str:
        """train, val or test by the row's fold; empty, with a finding, where it is no fold."""
        fold, text = row.number("Split"), row.values["Split"]
        if fold not in FOLDS:
            findings.add(Defect.SPLIT, row.name, row.where, f"Split is {text!r}. It must be a fold from 0 to 9.")
            return ""
        if text != str(int(fold)):
            findings.add(Defect.SPELLING, row.name, row.where, f"Split is {text!r}; it is read as fold {fold:.0f}.")
        return "test" if fold in self.test_folds else "val" if fold in self.validation_folds else "train"


def read_polygons(path: Path, names: Collection[str], lengths: Mapping[str, int], findings: Findings) -> Tracings:
    """The contours of a table of points; None, with a finding, where a frame's points make none.

    Args:
        path: the table.
        names: the listed videos.
        lengths: frames of each listed video, where they are known.
        findings: grows.

    Raises:
        InputError: the file or a column is missing.
    """
    traced: Tracings = {}
    for frame in read_traced(path, ("X", "Y"), names, lengths, findings, UNTRACED):
        traced.setdefault(frame.name, {})[frame.frame] = read_polygon(frame, findings)
    return traced


def read_polygon(traced: TracedRows, findings: Findings) -> Contour | None:
    """The contour of one traced frame; None, with a finding, where the points make none."""
    if polygon_crosses(traced.points[None])[0]:
        findings.add(Defect.CROSSING, traced.name, traced.where, "the border crosses itself: the tracing is not used.")
        return None
    try:
        landmarks = polygon_landmarks(traced.points)
    except ValueError as error:
        findings.add(
            Defect.DEGENERATE,
            traced.name,
            traced.where,
            f"the {len(traced.points)} points make no ventricle ({error}): they are not used.",
        )
        return None
    return Contour(torch.from_numpy(landmarks.astype("float32")), traced.where)
