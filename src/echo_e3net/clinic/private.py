"""The private file of an import: which source became which video, and why other sources were refused.

Only this file links a video to a patient. It is stored beside the data set, never inside, and only its owner may read
it (mode 0600). Sources are identified by content, so importing the same files again adds nothing.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import NamedTuple

from echo_e3net.errors import InputError
from echo_e3net.files import require_place, write_private
from echo_e3net.tables import csv_text, read_rows


class Entry(NamedTuple):
    """One source.

    Attributes:
        source: absolute path of the file.
        content: hash of the file (:func:`~echo_e3net.files.file_hash`).
        name: stem of the video that was made from it; empty if it was refused.
        fps_from: the field from which the frame rate was read.
        refused: why it was refused; empty otherwise.
        patient: the patient by the labels; empty if they name none.
        code: random name of the patient in the data set.
    """

    source: str
    content: str
    name: str = ""
    fps_from: str = ""
    refused: str = ""
    patient: str = ""
    code: str = ""


def private_path(root: Path, given: Path | None) -> Path:
    """Return the path of the private file: as given, or beside the data set.

    Raises:
        InputError: it is inside the data set, or cannot be written.
    """
    path = given or root.absolute().with_name(f"{root.absolute().name}.private.csv")
    if root.resolve() in path.resolve().parents:
        raise InputError(
            f"--private {path} is inside the data set; whoever receives the videos would receive the names. "
            f"Choose a file outside {root}."
        )
    require_place(path)
    return path


def read_entries(path: Path) -> dict[str, Entry]:
    """Return the entries of an earlier import by source; empty if there was none.

    Raises:
        InputError: the file is damaged.
    """
    # Earlier versions wrote no patients.
    rows = read_rows(path, Entry._fields[:-2]) if path.exists() else []
    return {row["source"]: Entry(**{field: row.get(field, "") for field in Entry._fields}) for row in rows}


def write_entries(path: Path, entries: dict[str, Entry]) -> None:
    """Write the private file atomically."""
    write_private(path, csv_text([entry._asdict() for entry in entries.values()], list(Entry._fields)))


def new_name() -> str:
    """Return a random stem like those of EchoNet-Dynamic: 0X and 16 hexadecimal digits."""
    return "0X" + secrets.token_hex(8).upper()


def new_code() -> str:
    """Return a random name of a patient."""
    return "P" + secrets.token_hex(4).upper()
