"""Labels for imported videos: a table that is joined to the files and checked before any video is read.

``FileName`` is the name of a file with or without suffix, or as much of its path as makes it unique. ``EF`` is in
percent. ``ESV``, ``EDV`` (mL), ``Split`` and ``Patient`` are optional. Without ``Split``, a hash of the patient draws
the split, so all videos of a patient share one split, which never changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from echo_e3net.clinic.file_kind import bare_name
from echo_e3net.data.layout import EF_PERCENT
from echo_e3net.data.records import SPLITS
from echo_e3net.errors import InputError, require_at_least
from echo_e3net.tables import FIRST_ROW, read_rows

VOLUME_ML = (0.0, 10_000.0)
"""Possible volumes."""


class Label(NamedTuple):
    """Label of one file, as it is written to FileList.csv."""

    EF: str = ""
    ESV: str = ""
    EDV: str = ""
    Split: str = ""


class Fractions(NamedTuple):
    """Shares of the patients in the validation split and in the test split."""

    val: float
    test: float


def read_labels(path: Path, files: Sequence[Path], fractions: Fractions) -> dict[Path, Label]:
    """Return the label of each file that has a row in the table.

    Args:
        path: the table.
        files: the sources.
        fractions: shares of the splits, for rows without a split.

    Raises:
        InputError: a column is missing, a value is invalid, a row matches no file or several, or two rows match one
            file.
    """
    rows = read_rows(path, ("FileName", "EF"))
    require_at_least(0, val_fraction=fractions.val, test_fraction=fractions.test)
    if sum(fractions) >= 1:
        raise InputError(f"val_fraction {fractions.val} + test_fraction {fractions.test}: expected a sum below 1.")
    names = file_names(files)
    labels: dict[Path, Label] = {}
    for number, row in enumerate(rows, FIRST_ROW):
        where = f"{path}, row {number} ({row['FileName']})"
        found = match(row["FileName"], names, where)
        if found in labels:
            raise InputError(f"{where}: {found} already has a row. Keep one of them.")
        labels[found] = check_label(row, where, fractions)
    return labels


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
        raise InputError(f"{where}: no source has this name. Correct or remove the row, or add the folder of the file.")
    if len(found) > 1:
        raise InputError(
            f"{where}: {len(found)} files have this name, {found[0]} and {found[1]}. Add more of the path to FileName."
        )
    return found[0]


def check_label(row: dict[str, str], where: str, fractions: Fractions) -> Label:
    """Return the label of a row. A row with neither EF nor split is an unlabelled video.

    Raises:
        InputError: a value is invalid.
    """
    ef, esv, edv, split, patient = (row.get(name, "").strip() for name in (*Label._fields, "Patient"))
    if not ef and not split:
        return Label()
    require_number(where, "EF", ef, EF_PERCENT)
    for name, value in (("ESV", esv), ("EDV", edv)):
        if value:
            require_number(where, name, value, VOLUME_ML)
    if split and split.lower() not in SPLITS:
        raise InputError(f"{where}: Split is {split!r}; expected TRAIN, VAL, TEST or nothing. Correct the row.")
    return Label(ef, esv, edv, split.upper() or draw_split(patient or row["FileName"].strip(), fractions))


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


def draw_split(patient: str, fractions: Fractions) -> str:
    """Return the split of all videos of a patient, which depends only on the name of the patient."""
    share = int.from_bytes(hashlib.blake2b(patient.encode(), digest_size=6).digest(), "big") / 2**48
    return "TEST" if share < fractions.test else "VAL" if share < sum(fractions) else "TRAIN"
