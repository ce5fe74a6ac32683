"""The labels that come with one's own videos: a table joined to the files, checked before any video is read.

``FileName`` is a file's name with or without suffix, or as much of its path as tells it from others. ``EF`` is in percent; ``ESV``, ``EDV`` (mL),
``Split`` and ``Patient`` may be there. Without ``Split``, a patient's videos fall together into a split that a hash of the patient draws: the same
whenever more videos are added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from echo_e3net.clinic.file_kind import bare_name
from echo_e3net.data.records import SPLITS
from echo_e3net.errors import InputError
from echo_e3net.tables import FIRST_ROW, read_rows


class Label(NamedTuple):
    """What the table says of one file, as it goes into FileList.csv."""

    EF: str = ""
    ESV: str = ""
    EDV: str = ""
    Split: str = ""


class Fractions(NamedTuple):
    """Shares of the patients in the validation and in the test split."""

    val: float
    test: float


def read_labels(path: Path, files: Sequence[Path], fractions: Fractions) -> dict[Path, Label]:
    """The label of each file that the table has a row for.

    Args:
        path: the table.
        files: the sources.
        fractions: of the splits, where the table has none.

    Raises:
        InputError: a column is missing, a value is no label, a row fits no file or several, or two rows fit one file.
    """
    rows = read_rows(path, ("FileName", "EF"))
    if not 0 <= fractions.val < 1 or not 0 <= fractions.test < 1 or fractions.val + fractions.test >= 1:
        raise InputError(
            f"val_fraction {fractions.val} and test_fraction {fractions.test}: give shares from 0 on whose sum is less than 1."
        )
    ends = file_ends(files)
    labels: dict[Path, Label] = {}
    for number, row in enumerate(rows, FIRST_ROW):
        where = f"{path} row {number} ({row['FileName']})"
        found = match(row["FileName"], ends, where)
        if found in labels:
            raise InputError(f"{where}: {found} has a row already. Keep one.")
        labels[found] = check_label(row, where, fractions)
    return labels


def file_ends(files: Sequence[Path]) -> dict[tuple[str, ...], list[Path]]:
    """The files by every end of their path, with and without suffix: what a row may call them."""
    ends: dict[tuple[str, ...], list[Path]] = {}
    for file in files:
        parts = file.resolve().parts
        for name in dict.fromkeys((file.name, bare_name(file))):
            for start in range(len(parts)):
                ends.setdefault((*parts[start:-1], name), []).append(file)
    return ends


def match(name: str, ends: dict[tuple[str, ...], list[Path]], where: str) -> Path:
    """The one file that a row's name fits.

    Raises:
        InputError: none or several fit.
    """
    fitting = ends.get(Path(name.strip().removeprefix("./")).parts, [])
    exact = [file for file in fitting if file.name == Path(name.strip()).name]  # clip.dcm beside clip.dcm.mp4
    fitting = exact or fitting
    if not fitting:
        raise InputError(
            f"{where}: no file among the sources has this name. Correct the row, remove it, or name the folder that holds the file."
        )
    if len(fitting) > 1:
        raise InputError(
            f"{where}: {len(fitting)} files have this name, {fitting[0]} and {fitting[1]}. Write more of the path into FileName."
        )
    return fitting[0]


def check_label(row: dict[str, str], where: str, fractions: Fractions) -> Label:
    """A row's label. A row with neither EF nor split is an unlabelled video.

    Raises:
        InputError: a value is none.
    """
    ef, split = row["EF"].strip(), row.get("Split", "").strip()
    if not ef and not split:
        return Label()
    require_number(where, "EF", ef, 100)
    volumes = {name: row.get(name, "").strip() for name in ("ESV", "EDV")}
    for name, value in volumes.items():
        if value:
            require_number(where, name, value, 10_000)
    if split and split.lower() not in SPLITS:
        raise InputError(f"{where}: Split is {split!r}. It must be TRAIN, VAL or TEST, or be empty.")
    patient = row.get("Patient", "").strip() or row["FileName"].strip()
    return Label(ef, volumes["ESV"], volumes["EDV"], split.upper() or draw_split(patient, fractions))


def require_number(where: str, column: str, value: str, highest: float) -> None:
    """Refuse what is no number from 0 to the highest.

    Raises:
        InputError: it is not.
    """
    try:
        good = 0 <= float(value) <= highest
    except ValueError:
        good = False
    if not good:
        raise InputError(
            f"{where}: {column} is {value!r}. It must be a number from 0 to {highest:g}{' (percent)' if column == 'EF' else ''}."
        )


def draw_split(patient: str, fractions: Fractions) -> str:
    """The split of all videos of a patient: a function of the patient's name alone."""
    share = int.from_bytes(hashlib.blake2b(patient.encode(), digest_size=6).digest(), "big") / 2**48
    return "TEST" if share < fractions.test else "VAL" if share < fractions.test + fractions.val else "TRAIN"
