"""CAMUS' format: a folder a patient, with a half-beat sequence and masks of its first and last frame as NIfTI files.

    <root>/database_nifti/patient0001/Info_4CH.cfg                            ED, ES (from 1), NbFrame, EF, ImageQuality, FrameRate
    <root>/database_nifti/patient0001/patient0001_4CH_half_sequence.nii.gz    (x, y, frame)
    <root>/database_nifti/patient0001/patient0001_4CH_ED_gt.nii.gz            1 cavity, 2 myocardium, 3 left atrium
    <root>/database_nifti/patient0001/patient0001_4CH_ES_gt.nii.gz
    <root>/database_split/subgroup_training.txt, …_validation.txt, …_testing.txt

The endocardium is the outline of the cavity, the epicardium that of cavity and myocardium together; both share the mitral plane, which is where the
cavity touches the atrium. Outlines are in square pixels (:mod:`echo_e3net.data.nifti`), so that volumes in mL are possible.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float

from echo_e3net.checks.findings import Defect, Findings
from echo_e3net.data.contours import Contour, TracedFrames, Tracings, drop_unusable, label_records
from echo_e3net.data.formats.listing import Limits, Row, check_number, usable
from echo_e3net.data.nifti import Grid, library, read_grid, read_labels
from echo_e3net.data.outline import mask_outline, mitral_ends, polygon_landmarks, touching_ends
from echo_e3net.data.records import DataFormat, Reading, VideoRecord, unlabelled
from echo_e3net.errors import InputError
from echo_e3net.types import PHASES

CAVITY, MYOCARDIUM, ATRIUM = 1, 2, 3
IMAGES, SPLIT_FOLDER = "database_nifti", "database_split"
SUBGROUPS = {"train": "subgroup_training.txt", "val": "subgroup_validation.txt", "test": "subgroup_testing.txt"}
EF_LIMITS = Limits(0, 100, 5, 98, " %")
FRAME_LIMITS = Limits(1, 1e4, 5, 200, " frames")
RATE_LIMITS = Limits(0, 1e4, 15, 150, " a second")
QUALITIES = ("Good", "Medium", "Poor")


class Camus(DataFormat):
    """CAMUS' format: patientXXXX folders of NIfTI files, in the root or in its folder database_nifti.

    Without the official lists of patients, or with ``official`` off, patients are shuffled by the hash of (seed, patient), and the first go to the test
    split, the next to the validation split.

    Args:
        view: the view that is read, 4CH (apical four-chamber) or 2CH (apical two-chamber).
        official: whether the lists in the folder database_split say which split a patient belongs to, where they are there.
        test_fraction: otherwise, share of the patients in the test split; 1 puts all there.
        val_fraction: share of the patients in the validation split.
        seed: of the shuffle.

    References:
        Leclerc et al., Deep Learning for Segmentation using an Open Large-Scale Dataset in 2D Echocardiography, IEEE Trans Med Imaging 38 (2019).
    """

    def __init__(
        self,
        view: Literal["4CH", "2CH"] = "4CH",
        official: bool = True,
        test_fraction: float = 0.1,
        val_fraction: float = 0.1,
        seed: int = 0,
    ) -> None:
        if not (test_fraction >= 0 and val_fraction >= 0 and test_fraction + val_fraction <= 1):
            raise InputError(
                f"test_fraction {test_fraction}, val_fraction {val_fraction}: shares from 0 to 1, not more than 1 together."
            )
        self.view, self.official, self.test_fraction, self.val_fraction, self.seed = (
            view,
            official,
            test_fraction,
            val_fraction,
            seed,
        )
        self.listed_in = (
            f"{SPLIT_FOLDER}, or the shuffle (test_fraction, val_fraction),"
            if official
            else "the shuffle (test_fraction, val_fraction)"
        )

    def read(self, root: Path) -> Reading:
        """The patients that can be used, by name, and all findings. Reads every mask: some 10 s for 500 patients.

        Raises:
            InputError: the folder is missing, or holds no patient; or nibabel is not installed.
        """
        library(root)
        if not root.is_dir():
            raise InputError(
                f"{root}: no such folder. Set --data.root to the folder that holds {IMAGES} or the patients' folders."
            )
        images = root / IMAGES if (root / IMAGES).is_dir() else root
        patients = sorted(path.name for path in images.glob("patient*") if path.is_dir())
        if not patients:
            raise InputError(
                f"{images}: no folder of a patient (patient0001, …). Set --data.root to the folder that holds {IMAGES}."
            )
        findings = Findings()
        lists = next((folder for folder in (root / SPLIT_FOLDER, root.parent / SPLIT_FOLDER) if folder.is_dir()), None)
        splits = (
            self.shuffled(patients)
            if lists is None or not self.official
            else read_subgroups(lists, patients, self.view, findings)
        )
        records: list[VideoRecord] = []
        places: dict[str, str] = {}
        traced: dict[str, Tracings] = {"endo": {}, "epi": {}}
        for patient in patients:
            record, where, borders = read_patient(images / patient, self.view, splits.get(patient, ""), findings)
            records.append(record)
            places[record.name] = where
            for border, frames in borders.items():
                traced[border][record.name] = frames
        for videos in traced.values():
            drop_unusable(videos, findings)
        return usable(label_records(records, places, traced, findings), findings)

    def shuffled(self, patients: Sequence[str]) -> dict[str, str]:
        """The split of each patient by (seed, patient)."""
        order = sorted(patients, key=lambda patient: hashlib.blake2b(f"{self.seed} {patient}".encode()).digest())
        test, val = (round(len(order) * fraction) for fraction in (self.test_fraction, self.val_fraction))
        return {
            patient: "test" if place < test else "val" if place < test + val else "train"
            for place, patient in enumerate(order)
        }


def read_subgroups(folder: Path, patients: Sequence[str], view: str, findings: Findings) -> dict[str, str]:
    """The split of each patient by the official lists; findings where lists and folders disagree.

    Raises:
        InputError: a list is missing.
    """
    splits: dict[str, str] = {}
    for split, name in SUBGROUPS.items():
        path = folder / name
        if not path.is_file():
            raise InputError(
                f"{path}: no such file. Put the official lists there, or split otherwise (--data.format.official false)."
            )
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            patient = line.strip()
            where = f"{path} row {number} ({patient})"
            if patient in splits:
                leak = splits[patient] != split
                problem = f"{patient} is listed twice{', in another split' if leak else ''}. Keep one row."
                findings.add(Defect.TWO_SPLITS if leak else Defect.TWICE, video_of(patient, view), where, problem)
            elif patient and patient not in patients:
                findings.add(
                    Defect.ABSENT,
                    video_of(patient, view),
                    where,
                    f"there is no folder {patient}. Put it there or remove the row.",
                )
            elif patient:
                splits[patient] = split
    for patient in patients:
        if patient not in splits:
            problem = f"no list in {folder} has {patient}. Add it to one, or take the folder out."
            findings.add(Defect.SPLIT, video_of(patient, view), str(folder), problem)
    return splits


def video_of(patient: str, view: str) -> str:
    """The name of a patient's video."""
    return f"{patient}_{view}"


def read_patient(
    folder: Path, view: str, split: str, findings: Findings
) -> tuple[VideoRecord, str, dict[str, TracedFrames]]:
    """A patient's record without landmarks, its place for messages, and its contours by border and frame."""
    name = video_of(folder.name, view)
    path = folder / f"{name}_half_sequence.nii.gz"
    row = read_info(folder / f"Info_{view}.cfg", name, findings)
    record = unlabelled(path)._replace(name=name, split=split)
    if row is None:
        return record, str(folder), {}
    ef_percent = check_number(row, "EF", EF_LIMITS, findings, needed=True)
    listed = check_number(row, "NbFrame", FRAME_LIMITS, findings, needed=True)
    if row.values.get("FrameRate"):
        check_number(row, "FrameRate", RATE_LIMITS, findings, needed=False)
    if row.values.get("ImageQuality") not in QUALITIES:
        problem = f"ImageQuality is {row.values.get('ImageQuality', '')!r}; usual is {', '.join(QUALITIES)}. Look at the file again."
        findings.add(Defect.RANGE, name, row.where, problem)
    record = record._replace(ef=ef_percent / 100)
    grid = read_sequence(path, name, listed, findings)
    if grid is None or math.isnan(listed):
        return record, row.where, {}
    record = record._replace(frames=int(listed), size=(grid.height, grid.width), pixel_mm=grid.pixel_mm)
    borders: dict[str, TracedFrames] = {"endo": {}, "epi": {}}
    for phase in PHASES:
        frame = read_phase(row, phase, int(listed), findings)
        if frame is not None:
            mask = folder / f"{name}_{phase}_gt.nii.gz"
            borders["endo"][frame], borders["epi"][frame] = read_mask(mask, name, grid, findings)
    return record, row.where, borders


def read_info(path: Path, name: str, findings: Findings) -> Row | None:
    """The keys and values of a patient's Info file; None, with a finding, where there is none."""
    if not path.is_file():
        findings.add(
            Defect.ABSENT,
            name,
            str(path),
            "no such file: nothing says EF, ED and ES. Put it there or take the folder out.",
        )
        return None
    pairs = (
        line.split(":", 1)
        for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        if ":" in line
    )
    return Row(name, str(path), {key.strip(): value.strip() for key, value in pairs})


def read_sequence(path: Path, name: str, listed: float, findings: Findings) -> Grid | None:
    """How the frames of a sequence lie; None, with a finding, where it is absent, unreadable or shorter than listed. Reads the header alone."""
    if not path.is_file():
        findings.add(Defect.ABSENT, name, str(path), "no such file. Put the sequence there or take the folder out.")
        return None
    try:
        grid = read_grid(path)
    except InputError as error:
        findings.add(Defect.UNDECODABLE, name, str(path), str(error).removeprefix(f"{path}: "))
        return None
    if grid.frames < listed:
        findings.add(
            Defect.SHORT,
            name,
            str(path),
            f"the sequence has {grid.frames} frames, NbFrame is {listed:g}. Copy the file again or correct it.",
        )
    return grid


def read_phase(row: Row, phase: str, frames: int, findings: Findings) -> int | None:
    """The traced frame of a phase, from 0; None, with a finding, where there is no such frame."""
    number, text = row.number(phase), row.values.get(phase, "")
    if not (math.isfinite(number) and number == round(number)):
        findings.add(
            Defect.VALUE,
            row.name,
            row.where,
            f"{phase} is {text!r}. It must be a whole number from 1 to {frames}; correct it.",
        )
        return None
    if not 1 <= number <= frames:
        findings.add(
            Defect.BEYOND,
            row.name,
            row.where,
            f"{phase} is {text}, but the sequence has {frames} frames. They count from 1; correct it.",
        )
        return None
    return int(number) - 1


def read_mask(path: Path, name: str, grid: Grid, findings: Findings) -> tuple[Contour | None, Contour | None]:
    """Endocardium and epicardium of a mask; None, with a finding, for what it does not show."""
    try:
        labels, own = read_labels(path)
    except InputError as error:
        findings.add(Defect.MASK, name, str(path), f"{str(error).removeprefix(f'{path}: ')} Its labels are not used.")
        return None, None
    strange = sorted(set(np.unique(labels).tolist()) - {0, CAVITY, MYOCARDIUM, ATRIUM})
    if own.stored != grid.stored or strange:
        size = "×".join(map(str, own.stored)), "×".join(map(str, grid.stored))
        problem = (
            f"it has labels {strange}, known are 0 to 3"
            if strange
            else f"it is {size[0]}, the sequence {size[1]} (height × width)"
        )
        findings.add(Defect.MASK, name, str(path), f"{problem}: it is not used.")
        return None, None
    try:
        endo, middle = endocardium(labels == CAVITY, labels == ATRIUM, grid)
        if not (labels == MYOCARDIUM).any():
            findings.add(
                Defect.DEGENERATE, name, str(path), f"no pixel has label {MYOCARDIUM}: the epicardium is not used."
            )
            return contour(endo, path), None
        epi = polygon_landmarks(grid.to_read(mask_outline((labels == CAVITY) | (labels == MYOCARDIUM))), middle)
    except ValueError as error:
        findings.add(Defect.DEGENERATE, name, str(path), f"the labels make no ventricle ({error}): they are not used.")
        return None, None
    return contour(endo, path), contour(epi, path)


def endocardium(
    cavity: Bool[np.ndarray, "H W"], atrium: Bool[np.ndarray, "H W"], grid: Grid
) -> tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, " 2"]]:
    """Landmarks of the cavity in the pixels that are read, and the middle of the mitral plane there.

    Raises:
        ValueError: the cavity is empty, or has no mitral plane.
    """
    stored = mask_outline(cavity)
    outline, ends = grid.to_read(stored), touching_ends(stored, atrium)
    middle = (mitral_ends(outline) if ends is None else grid.to_read(ends)).mean(0)
    return polygon_landmarks(outline, middle), middle


def contour(landmarks: Float[np.ndarray, "K 2"], path: Path) -> Contour:
    """Landmarks as formats give them."""
    return Contour(torch.from_numpy(landmarks.astype("float32")), str(path))
