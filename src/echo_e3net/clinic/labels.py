"""Labels for imported videos: a table that is joined to the files and checked before any video is read.

``FileName`` is the name of a file with or without suffix, or as much of its path as makes it unique. ``EF`` is in
percent. ``ESV``, ``EDV`` (mL), ``Split`` and ``Patient`` are optional. Without ``Split``, a patient stays in the split
of the patient's other videos; a hash of the patient draws the split of a new patient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from echo_e3net import tables
from echo_e3net.checks.columns import constant, faults
from echo_e3net.checks.leaks import patient_of
from echo_e3net.clinic.file_kind import bare_name
from echo_e3net.data.layout import EF_PERCENT
from echo_e3net.data.records import SPLITS
from echo_e3net.errors import InputError, require_at_least
from echo_e3net.tables import FIRST_ROW, read_rows

VOLUME_ML = (0.0, 10_000.0)
"""Possible volumes."""


class Label(NamedTuple):
    """Label of one file: the columns of FileList.csv, and values that are not written to it.

    Attributes:
        patient: the patient by the table; empty if it names none.
        where: file and row, for messages.
        name: the name in the row.
    """

    EF: str = ""
    ESV: str = ""
    EDV: str = ""
    Split: str = ""
    patient: str = ""
    where: str = ""
    name: str = ""


class Fractions(NamedTuple):
    """Shares of the patients in the validation split and in the test split."""

    val: float
    test: float


def read_labels(path: Path, files: Sequence[Path]) -> dict[Path, Label]:
    """Return the label of each file that has a row in the table.

    Args:
        path: the table.
        files: the sources.

    Raises:
        InputError: a column is missing, a value is invalid, a column is implausible, a row matches no file or several,
            or two rows match one file.
    """
    rows = read_rows(path, ("FileName", "EF"))
    names = file_names(files)
    labels: dict[Path, Label] = {}
    for number, row in enumerate(rows, FIRST_ROW):
        where = f"{path}, row {number} ({row['FileName']})"
        found = match(row["FileName"], names, where)
        if found in labels:
            raise InputError(f"{where}: {found} already has a row. Keep one of them.")
        labels[found] = check_label(row, where)
    known = [label for label in labels.values() if label.EF]
    columns = {name: np.array([tables.number(getattr(label, name)) for label in known]) for name in Label._fields[:3]}
    for row_number, detail in (*faults(columns), *constant(columns["EF"])):
        raise InputError(f"{known[row_number].where}: {detail}")
    return labels


def assign_splits(labels: Mapping[Path, Label], known: Mapping[str, str], fractions: Fractions) -> dict[Path, Label]:
    """Return the labels with a split each: as given, that of the patient's other videos, or drawn.

    Args:
        labels: the labels.
        known: split of patients in the data set who have videos without a row here.
        fractions: shares of the splits.

    Raises:
        InputError: a patient has videos in two splits.
    """
    splits = {patient: (split, "earlier imports") for patient, split in known.items()}
    for label in labels.values():
        if not (label.patient and label.Split):
            continue
        split, first = splits.setdefault(label.patient, (label.Split, label.where))
        if split != label.Split:
            found = (
                f"{label.where}: patient {label.patient!r} is in split {label.Split} and, in {first}, in split {split}"
            )
            raise InputError(f"{found}. Move all videos of a patient to one split.")
    return {
        file: label._replace(Split=label.Split or splits.get(label.patient, (draw_split(label, fractions), ""))[0])
        if label.EF
        else label
        for file, label in labels.items()
    }


def check_fractions(fractions: Fractions) -> None:
    """Check the shares of the splits.

    Raises:
        InputError: one is negative, or they leave nothing for training.
    """
    require_at_least(0, val_fraction=fractions.val, test_fraction=fractions.test)
    if sum(fractions) >= 1:
        raise InputError(f"val_fraction {fractions.val} + test_fraction {fractions.test}: expected a sum below 1.")


def file_names(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files by their name, with and without suffix."""
    names: dict[str, list[Path]] = {}
    for file in files:
        for name in {file.name, bare_name(file)}:
            names.setdefault(name, []).append(file)
    return names


def match(name: str, names: dict[str, list[Path]], where: str) -> Path:
    """Return the only file that matches the name in a row.

    Raises:
        InputError: no file or several files match.
    """
    given = Path(name.strip().removeprefix("./"))
    folders = given.parent.parts
    found = [file for file in names.get(given.name, []) if file.resolve().parts[-1 - len(folders) : -1] == folders]
    # An exact name wins: clip.dcm is not clip.dcm.mp4 without suffix.
    found = [file for file in found if file.name == given.name] or found
    if not found:
        raise InputError(f"{where}: no file has this name. Correct or remove the row, or add the folder of the file.")
    if len(found) > 1:
        raise InputError(
            f"{where}: {len(found)} files have this name, {found[0]} and {found[1]}. Add more of the path to FileName."
        )
    return found[0]


def check_label(row: dict[str, str], where: str) -> Label:
    """Return the label of a row. A row with neither EF nor split is an unlabelled video.

    Raises:
        InputError: a value is invalid.
    """
    ef, esv, edv, split = (row.get(name, "").strip() for name in Label._fields[:4])
    label = Label(patient=patient_of(row), where=where, name=row["FileName"].strip())
    if not ef and not split:
        return label
    require_number(where, "EF", ef, EF_PERCENT)
    for name, value in (("ESV", esv), ("EDV", edv)):
        if value:
            require_number(where, name, value, VOLUME_ML)
    if split and split.lower() not in SPLITS:
        raise InputError(f"{where}: Split is {split!r}; expected TRAIN, VAL, TEST or nothing. Correct the row.")
    return label._replace(EF=ef, ESV=esv, EDV=edv, Split=split.upper())


def require_number(where: str, column: str, value: str, limits: tuple[float, float]) -> None:
    """Check that a text is a number within limits.

    Raises:
        InputError: it is not.
    """
    low, high = limits
    try:
        valid = low <= float(value) <= high
    except ValueError:
        valid = False
    if not valid:
        raise InputError(
            f"{where}: {column} is {value!r}; expected a number from {low:g} to {high:g}. Correct the row."
        )


def draw_split(label: Label, fractions: Fractions) -> str:
    """Return a split that depends only on the patient, or without a patient on the name of the file."""
    name = (label.patient or label.name).encode()
    share = int.from_bytes(hashlib.blake2b(name, digest_size=6).digest(), "big") / 2**48
    return "TEST" if share < fractions.test else "VAL" if share < sum(fractions) else "TRAIN"
