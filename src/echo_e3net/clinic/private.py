"""The private file of an import: which source became which video, and why others did not. It alone links a video to a patient.

It lies beside the data set, never in it, and its owner alone may read it (mode 0600). Sources are known by content, so that a second import of the same
files adds nothing, wherever they have been moved.
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
        source: the file, absolute.
        content: hash of its bytes (:func:`~echo_e3net.files.file_hash`).
        name: stem of the video that was made from it; empty where none was.
        fps_from: what the frame rate was read from.
        refused: why it was not taken; empty where it was.
    """

    source: str
    content: str
    name: str = ""
    fps_from: str = ""
    refused: str = ""


def private_path(root: Path, given: Path | None) -> Path:
    """Where the private file is: beside the data set unless it is said.

    Raises:
        InputError: it would lie in the data set, or cannot be written.
    """
    path = given or root.absolute().with_name(f"{root.absolute().name}.private.csv")
    if root.absolute().resolve() in path.absolute().resolve().parents:
        raise InputError(
            f"--private {path} lies in the data set: whoever gets the videos would get the names. Name a file outside {root}."
        )
    require_place(path)
    return path


def read_entries(path: Path) -> dict[str, Entry]:
    """The entries of an earlier import by source; none where there was none.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return {}
    return {
        row["source"]: Entry(**{field: row[field] for field in Entry._fields}) for row in read_rows(path, Entry._fields)
    }


def write_entries(path: Path, entries: dict[str, Entry]) -> None:
    """Write the private file; it appears whole or not at all."""
    write_private(path, csv_text([entry._asdict() for entry in entries.values()], list(Entry._fields)))


def new_name() -> str:
    """A stem that says nothing of its source, like those of EchoNet-Dynamic: 0X and 16 hexadecimal digits."""
    return "0X" + secrets.token_hex(8).upper()
