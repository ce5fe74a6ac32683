"""Files that appear whole or not at all: written aside, then renamed into place; and what names a file's content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place aside to write to, with the same suffix; on success it takes the name ``path``, on failure nothing is left.

    The folder of ``path`` is made if it is not there. Names aside begin with a dot and hold the process number, so that two processes never share one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8, line ends as they are) whole; a file that already says so is left alone."""
    content = text.encode()
    if path.is_file() and path.read_bytes() == content:
        return
    with whole(path) as aside:
        aside.write_bytes(content)


def file_hash(path: Path) -> str:
    """A short name for a file's bytes (BLAKE2b, 128 bits, hexadecimal)."""
    with path.open("rb") as file:
        digest = hashlib.blake2b(digest_size=16)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
