"""Write files whole or not at all, report errors with path, reason and remedy, and hash files and code."""

from __future__ import annotations

import errno
import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from echo_e3net.errors import InputError

FULL = {errno.ENOSPC, errno.EDQUOT}
PACKAGE = Path(__file__).parent
SHIPPED = "experiments"
"""Folder of the configurations: inside an installed package, or at the top level of the source tree."""
# Packages that decide results, beside the modules at the root.
DECIDES = ("checks", "data", "models", "nn", "training")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix, which is renamed to ``path`` on success and deleted on failure.

    The path may be that of a new folder, too. Missing folders above it are made. Temporary names begin with a dot and
    are random, so two processes never share one.
    """
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            aside.replace(path)
        finally:
            if aside.is_dir():
                shutil.rmtree(aside, ignore_errors=True)
            aside.unlink(missing_ok=True)


def shipped() -> Path:
    """Return the folder of the configurations that belong to the program."""
    inside = PACKAGE / SHIPPED
    return inside if inside.is_dir() else PACKAGE.parents[1] / SHIPPED


def find_shipped(path: Path) -> Path:
    """Return a local file, or else the file of that name in :func:`shipped`; the path itself if there is neither.

    Args:
        path: for example e3net.yaml, ablations/no_detector.yaml, or experiments/e3net.yaml.
    """
    if path.is_absolute() or path.exists():
        return path
    parts = path.parts[1:] if path.parts[:1] == (SHIPPED,) else path.parts
    found = shipped().joinpath(*parts)
    return found if parts and ".." not in parts and found.is_file() else path


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8, line ends unchanged) whole; a file with the same content is not touched."""
    content = text.encode()
    if path.is_file() and path.read_bytes() == content:
        return
    with whole(path) as aside:
        aside.write_bytes(content)


def write_private(path: Path, text: str) -> None:
    """Write a text file whole that only its owner may read."""
    with whole(path) as aside:
        aside.touch(mode=0o600)
        aside.write_text(text, encoding="utf-8", newline="")


def file_hash(path: Path) -> str:
    """Return a hash of the content of a file (BLAKE2b, 128 bits, hexadecimal)."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@cache
def code_hash(package: Path = PACKAGE) -> str:
    """Return a short hash of the code that trains and tests: file names and bytes of whole packages."""
    digest = hashlib.sha256()
    paths = [*package.glob("*.py"), *(path for name in DECIDES for path in (package / name).rglob("*.py"))]
    for path in sorted(path.relative_to(package) for path in paths):
        digest.update(path.as_posix().encode() + b"\0" + (package / path).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def require_place(path: Path) -> None:
    """Check that a file can be written, without leaving anything behind."""
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError
        nearest = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the operating system about ``path`` into an InputError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror.lower() if error.strerror else str(error)
        if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
            files = [f"{folder} is a file, not a folder" for folder in path.parents if folder.is_file()]
            reason = [*files, "it is a folder" if path.is_dir() else reason][0]
        advice = "Free space and run again" if error.errno in FULL else "Choose another path, or check its permissions"
        raise InputError(f"{path} cannot be written: {reason}. {advice}.") from error
