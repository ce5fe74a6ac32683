"""Who works on what, where several processes, on one node or many, share a study's folder.

A lock is a file that a process has locked with flock(2), not a file that is there: the system lets go of it when its process ends, however that ends.
Linux carries these locks over NFS (through its server) and over Lustre and GPFS where they are mounted with locks, across nodes.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echo_e3net.errors import InputError

TAKEN = {errno.EAGAIN, errno.EACCES}
"""What the system says of a lock that another process holds."""


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock while the context lasts; True where it is held, False where another process holds it.

    Args:
        path: the file that stands for the lock; it stays.
        wait: whether to wait for it.

    Raises:
        InputError: the file system knows no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in TAKEN:
                yield False
                return
            raise InputError(
                f"{path} cannot be locked ({error.strerror}): this file system has no locks. Keep --runs on another, or have it mounted "
                "with locks (Lustre: -o flock)."
            ) from error
        yield True


def free(path: Path) -> bool:
    """Whether nobody holds a lock."""
    with locked(path) as held:
        return held
