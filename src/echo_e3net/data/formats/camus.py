"""CAMUS' format: one folder per patient with a half-beat sequence and masks of its first and last frame.

    <root>/database_nifti/patient0001/Info_4CH.cfg                            ED, ES (from 1), NbFrame, EF, …
    <root>/database_nifti/patient0001/patient0001_4CH_half_sequence.nii.gz    (x, y, frame)
    <root>/database_nifti/patient0001/patient0001_4CH_ED_gt.nii.gz            1 cavity, 2 myocardium, 3 left atrium
    <root>/database_nifti/patient0001/patient0001_4CH_ES_gt.nii.gz
    <root>/database_split/subgroup_training.txt, …_validation.txt, …_testing.txt
    <root>/listSubGroups/subGroup1_training.txt, …                            older releases: ten folds instead

The endocardium is the outline of the cavity. The epicardium is the outline of cavity and myocardium together. Both
share the mitral plane, where the cavity touches the atrium. Outlines are in square pixels
(:mod:`echo_e3net.data.nifti`), which makes volumes in mL possible.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from echo_e3net.conventions import BASE, BORDERS, PHASES
from echo_e3net.data.layout import EF_PERCENT, FRAMES
from echo_e3net.data.nifti import Grid, library, read_grid, read_labels
from echo_e3net.data.outline import mask_outline, polygon_landmarks, touching_ends
from echo_e3net.data.records import BadValue, DataFormat, DataSet, ListedVideo, Repetition, TracedFrame, VideoRecord
from echo_e3net.errors import InputError
from echo_e3net.tables import number

CAVITY, MYOCARDIUM, ATRIUM = 1, 2, 3
IMAGES, SPLIT_FOLDERS = "database_nifti", ("database_split", "listSubGroups")
SUBGROUPS = {"train": "training", "val": "validation", "test": "testing"}
FOLDS = 10
KEYS = ("EF", "NbFrame", "FrameRate", *PHASES)
"""Keys that are read from a patient's Info file."""


class Camus(DataFormat):
    """CAMUS' format: patientXXXX folders of NIfTI files, in the root or in its folder database_nifti.

    Without the official lists of patients, or with ``official`` false, patients are shuffled by the hash of seed and
    patient. The first ones are the test split, the next ones the validation split.

    Args:
        view: 4CH (apical four-chamber) or 2CH (apical two-chamber).
        official: whether to use the lists in the folder database_split or listSubGroups, if it exists.
        fold: number of the fold, 1 to 10, if the lists are of folds (older releases).
        test_fraction: otherwise, share of the patients in the test split; 1 for all.
        val_fraction: share of the patients in the validation split.
        seed: seed of the shuffle.

    References:
        Leclerc et al., Deep Learning for Segmentation using an Open Large-Scale Dataset in 2D Echocardiography, IEEE
        Trans Med Imaging 38 (2019).
    """

    def __init__(
        self,
        view: Literal["4CH", "2CH"] = "4CH",
        official: bool = True,
        test_fraction: float = 0.1,
        val_fraction: float = 0.1,
        seed: int = 0,
        fold: int | None = None,
    ) -> None:
        if fold is not None and not (official and 1 <= fold <= FOLDS):
            raise InputError(f"fold is {fold}, official is {official}; expected a fold from 1 to {FOLDS}, or null.")
        if not (test_fraction >= 0 and val_fraction >= 0 and test_fraction + val_fraction <= 1):
            raise InputError(
                f"test_fraction is {test_fraction}, val_fraction is {val_fraction}; expected shares from 0 to 1 with a "
                "sum of at most 1."
            )
        self.view, self.official, self.seed, self.fold = view, official, seed, fold
        self.test_fraction, self.val_fraction = test_fraction, val_fraction
        shuffle = "the shuffle (test_fraction, val_fraction)"
        self.listed_in = f"{' or '.join(SPLIT_FOLDERS)}, or {shuffle}," if official else shuffle

    def read(self, root: Path) -> DataSet:
        """Read all patients and their masks (10 s for 500 patients).

        Raises:
            InputError: the folder or a list is missing, there is no patient, or nibabel is not installed.
        """
        from echo_e3net.data.tracings import label_videos

        library(root)
        images = root / IMAGES if (root / IMAGES).is_dir() else root
        patients = sorted(path.name for path in images.glob("patient*") if path.is_dir())
        if not patients:
            raise InputError(f"{images}: no folder of a patient (patient0001, …). Give the folder with {IMAGES}.")
        places = [place / name for place in (root, root.parent) for name in SPLIT_FOLDERS]
        lists = next((folder for folder in places if folder.is_dir()), None) if self.official else None
        repetitions: list[Repetition] = []
        if lists is not None:
            splits, repetitions = read_subgroups(subgroup_files(lists, self.fold), self.view)
            note = f"the splits are the lists in {lists}"
        elif self.fold is not None:
            raise InputError(f"{root}: no folder {' or '.join(SPLIT_FOLDERS)}, which fold {self.fold} needs. Add it.")
        else:
            splits = {patient: (split, "") for patient, split in self.shuffled(patients).items()}
            found = f"no folder {' or '.join(SPLIT_FOLDERS)}, so " if self.official else ""
            note = f"{found}the patients are shuffled (seed {self.seed}): not the official splits"
        read = [read_patient(images / name, self.view, *splits.get(name, ("", ""))) for name in {*patients, *splits}]
        videos = label_videos(sorted((video for video, _ in read), key=lambda video: video.record.name))
        return DataSet(images, videos, [value for _, values in read for value in values], repetitions, [], note=note)

    def shuffled(self, patients: Sequence[str]) -> dict[str, str]:
        """Return the split of each patient by the hash of the seed and the patient."""
        order = sorted(patients, key=lambda patient: hashlib.blake2b(f"{self.seed} {patient}".encode()).digest())
        test, val = (round(len(order) * fraction) for fraction in (self.test_fraction, self.val_fraction))
        names = ["test"] * test + ["val"] * val + ["train"] * len(order)
        return dict(zip(order, names, strict=False))


def subgroup_files(folder: Path, fold: int | None) -> dict[str, Path]:
    """Return the list of each split.

    Raises:
        InputError: the lists are of folds, and no fold is chosen.
    """
    start = "subgroup" if fold is None else f"subGroup{fold}"
    if fold is None and (folder / "subGroup1_training.txt").is_file():
        raise InputError(
            f"{folder} has lists of {FOLDS} folds. Choose one with --data.format.fold 1, or set "
            "--data.format.official false to shuffle."
        )
    return {split: folder / f"{start}_{name}.txt" for split, name in SUBGROUPS.items()}


def read_subgroups(lists: Mapping[str, Path], view: str) -> tuple[dict[str, tuple[str, str]], list[Repetition]]:
    """Return the split of each patient with the file and row that list the patient, and further rows of a patient.

    Raises:
        InputError: a list is missing.
    """
    splits: dict[str, tuple[str, str]] = {}
    repetitions = []
    for split, path in lists.items():
        if not path.is_file():
            raise InputError(f"{path}: no such file. Add the list, or set --data.format.official false to shuffle.")
        for row, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            patient, where = line.strip(), f"{path}, row {row} ({line.strip()})"
            if patient in splits:
                first_split, first = splits[patient]
                repetitions.append(Repetition(f"{patient}_{view}", where, first, split != first_split))
            elif patient:
                splits[patient] = split, where
    return splits, repetitions


def read_patient(folder: Path, view: str, split: str, listed: str) -> tuple[ListedVideo, list[BadValue]]:
    """Read one patient.

    Args:
        folder: the patient's folder.
        view: the view.
        split: the patient's split.
        listed: file and row that list the patient, for messages.

    Returns:
        The patient's video, and unusable numbers of its traced frames.
    """
    name = f"{folder.name}_{view}"
    path, info = folder / f"{name}_half_sequence.nii.gz", folder / f"Info_{view}.cfg"
    record = VideoRecord(name, path, split=split)
    where, splits = (
        str(info) if folder.is_dir() else listed,
        f"the patient to be in a list in {' or '.join(SPLIT_FOLDERS)}",
    )
    video = ListedVideo(record, where, {}, (info, path), splits, spelling=split)
    if not info.is_file():
        return video, []
    values = read_info(info) | {"Split": split}
    record, frames = record._replace(ef=number(values["EF"], *EF_PERCENT) / 100), number(values["NbFrame"], *FRAMES)
    video = video._replace(record=record, values=values)
    try:
        grid = read_grid(path)
    except InputError as error:
        return video._replace(error=str(error)), []
    if math.isnan(frames):
        return video, []
    traced: dict[float, list[TracedFrame]] = {}
    bad_values = []
    for phase in PHASES:
        place = number(values[phase])
        if place in range(1, int(frames) + 1):
            traced[place] = read_mask(folder / f"{name}_{phase}_gt.nii.gz", int(place) - 1, grid)
        else:
            expected = f"a whole number from 1 to {frames:.0f}"
            bad_values.append(BadValue(name, where, phase, values[phase], expected, beyond=place.is_integer()))
    record = record._replace(frames=int(frames), size=(grid.height, grid.width), pixel_mm=grid.pixel_mm)
    return video._replace(record=record, held=grid.frames, traced=tuple(chain(*traced.values()))), bad_values


def read_info(path: Path) -> dict[str, str]:
    """Return the values of a patient's Info file; empty where a key is missing."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    pairs = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return {key: pairs.get(key, "") for key in KEYS}


def read_mask(path: Path, number: int, grid: Grid) -> list[TracedFrame]:
    """Return endocardium and epicardium of a mask; only the endocardium, with its fault, if the mask has no ventricle.

    Args:
        path: the mask.
        number: number of its frame.
        grid: pixels of the sequence.
    """
    endo, epi = (TracedFrame(border, number, str(path), None) for border in BORDERS)
    try:
        labels, own = read_labels(path)
    except InputError as error:
        return [endo._replace(fault="mask", detail=str(error).removeprefix(f"{path}: ").rstrip("."))]
    unknown = sorted(set(np.unique(labels).tolist()) - {0, CAVITY, MYOCARDIUM, ATRIUM})
    if unknown:
        return [endo._replace(fault="mask", detail=f"the mask has labels {unknown}; expected 0 to 3")]
    if own.stored != grid.stored:
        sizes = ("×".join(map(str, size)) for size in (own.stored, grid.stored))
        return [endo._replace(fault="mask", detail="the mask is {}, the sequence {} (height × width)".format(*sizes))]
    try:
        stored = mask_outline(labels == CAVITY)
        ends = touching_ends(stored, labels == ATRIUM)
        inner = polygon_landmarks(grid.to_read(stored), None if ends is None else grid.to_read(ends).mean(0))
        endo = endo._replace(landmarks=inner.astype(np.float32))
        if not (labels == MYOCARDIUM).any():
            return [endo, epi._replace(fault="degenerate", detail=f"no pixel has label {MYOCARDIUM} (myocardium)")]
        outer = grid.to_read(mask_outline((labels == CAVITY) | (labels == MYOCARDIUM)))
        return [endo, epi._replace(landmarks=polygon_landmarks(outer, inner[BASE]).astype(np.float32))]
    except ValueError as error:
        return [endo._replace(landmarks=None, fault="degenerate", detail=f"the labels make no ventricle: {error}")]
