"""Keep a second process from running the same command in the folder of a run."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from echo_e3net.errors import InputError
from echo_e3net.locks import NoLocksError, locked


@contextmanager
def working(folder: Path, command: str) -> Iterator[None]:
    """Hold the lock of a command in a run's folder; remove the folder at the end if nothing was written to it.

    A file system without locks causes a warning.

    Raises:
        InputError: another process runs the same command in the folder.
    """
    # Processes of other ranks belong to the same command.
    if getattr(rank_zero_only, "rank", 0):
        yield
        return
    path = folder / f"{command}.lock"
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(locked(path))
        except NoLocksError as error:
            rank_zero_warn(f"{error} Do not run another {command} in this folder at the same time.")
            yield
            return
        if lock is None:
            holder = path.read_text().strip() or "unknown process"
            raise InputError(
                f"{folder}: another {command} works in this folder ({holder}). Wait for it, or choose another --name."
            )
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}")
        lock.flush()
        # Workers of a loader may outlive a killed process, and must not keep its lock.
        os.register_at_fork(after_in_child=lock.close)
        try:
            yield
        finally:
            if [other.name for other in folder.iterdir()] == [path.name]:
                with suppress(OSError):
                    path.unlink()
                    folder.rmdir()
