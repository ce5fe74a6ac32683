"""Files that appear whole or not at all: written aside, then renamed into place; and what names a file's content.

What cannot be written is an :class:`~echo_e3net.errors.InputError` that names the path, why, and what to do. Whoever works long before it writes asks
:func:`require_place` first.
"""

from __future__ import annotations

import errno
import hashlib
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echo_e3net.errors import InputError

FULL = {errno.ENOSPC, errno.EDQUOT}
"""What the system says where there is no room."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place aside to write to, with the same suffix; on success it takes the name ``path``, on failure nothing is left.

    The folder of ``path`` is made if it is not there. Names aside begin with a dot and are random, so two processes never share one, not even on two machines.

    Raises:
        InputError: it cannot be written.
    """
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8, line ends as they are) whole; a file that already says so is left alone.

    Raises:
        InputError: it cannot be written.
    """
    content = text.encode()
    if path.is_file() and path.read_bytes() == content:
        return
    with whole(path) as aside:
        aside.write_bytes(content)


def write_private(path: Path, text: str) -> None:
    """Write a text file whole that nobody but its owner may read.

    Raises:
        InputError: it cannot be written.
    """
    with whole(path) as aside:
        aside.touch(mode=0o600)
        aside.write_text(text, encoding="utf-8", newline="")


def file_hash(path: Path) -> str:
    """A short name for a file's bytes (BLAKE2b, 128 bits, hexadecimal)."""
    with path.open("rb") as file:
        digest = hashlib.blake2b(digest_size=16)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def require_place(path: Path) -> None:
    """Refuse a file that could not be written, before the work that it is to hold is done. Leaves nothing behind.

    Raises:
        InputError: it cannot be written.
    """
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError
        nearest = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says of ``path`` into a sentence."""
    try:
        yield
    except OSError as error:
        advice = (
            "Make room, then run again." if error.errno in FULL else "Name another place, or check your rights there."
        )
        raise InputError(f"{path} cannot be written: {obstacle(path, error)}. {advice}") from error


def obstacle(path: Path, error: OSError) -> str:
    """What stands in the way of a file."""
    if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
        files = [folder for folder in path.parents if folder.is_file()]
        return f"{files[0]} is a file, not a folder" if files else "it is a folder" if path.is_dir() else str(error)
    return error.strerror.lower() if error.strerror else str(error)
