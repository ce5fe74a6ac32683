"""Compute hashes of the content of a data set. Imports neither torch nor NumPy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from echo_e3net.data.layout import FILE_LIST, PHANTOM, TRACINGS
from echo_e3net.errors import InputError

if TYPE_CHECKING:
    from echo_e3net.data.records import VideoRecord

TABLES, COMPRESSED = (".csv", ".cfg"), ".gz"


def hash_data(root: Path) -> str:
    """Return a short hash of a data set's tables, which does not depend on where the data set is.

    In EchoNet-Dynamic's layout these are the tables in ``root`` and the record of a phantom. In any other layout they
    are the names and contents of all CSV and cfg files below ``root``, and the names and sizes of all compressed files.

    Raises:
        InputError: there is no table.
    """
    if (root / FILE_LIST).is_file():
        known = [root / name for name in (FILE_LIST, *TRACINGS.values(), PHANTOM)]
        return short_hash(b"\0".join(path.read_bytes() for path in known if path.is_file()))
    files = sorted(path for path in root.rglob("*") if path.suffix in (*TABLES, COMPRESSED) and path.is_file())
    if not any(path.suffix in TABLES for path in files):
        raise InputError(f"{root}: this data set has neither {FILE_LIST} nor any other table. Create or download it.")
    parts = []
    for path in files:
        content = str(path.stat().st_size).encode() if path.suffix == COMPRESSED else path.read_bytes()
        parts += [str(path.relative_to(root)).encode(), content]
    return short_hash(b"\0".join(parts))


def hash_records(records: Iterable[VideoRecord]) -> str:
    """Return a short hash of the names and labels of videos, which does not depend on where the data set is."""
    names = "\n".join(f"{r.name} {r.ef} {r.frames} {r.traced} {r.landmark_mask.tolist()}" for r in records)
    return short_hash(names.encode() + b"".join(r.landmarks.tobytes() for r in records))


def short_hash(content: bytes) -> str:
    """Return the first 16 digits of the SHA-256 of ``content``."""
    return hashlib.sha256(content).hexdigest()[:16]
