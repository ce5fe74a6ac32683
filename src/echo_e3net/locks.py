"""Locks on files (flock), so that two processes never work in one folder.

The operating system frees a lock when the last process that has the file open ends, for any reason. So a lock of a
killed process never blocks.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from echo_e3net.errors import InputError


class NoLocksError(InputError):
    """The file system does not support locks."""


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[IO[str] | None]:
    """Hold a lock; yield its open file, or None if another process holds the lock.

    Args:
        path: the lock file; it is kept.
        wait: whether to wait for the lock.

    Raises:
        NoLocksError: the file system does not support locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
            return
        except OSError as error:
            raise NoLocksError(
                f"{path} cannot be locked ({error.strerror}): this file system does not support locks. "
                "Choose --runs on another file system, or mount it with locks (Lustre: -o flock)."
            ) from error
        yield file


def held(path: Path) -> bool:
    """Return whether a process holds a lock."""
    if not path.is_file():
        return False
    with locked(path) as file:
        return file is None
