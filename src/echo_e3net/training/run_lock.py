"""Keep a second process from running the same command in the folder of a run."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from echo_e3net.errors import InputError
from echo_e3net.locks import NoLocksError, locked
from echo_e3net.training.run_folder import CONFIG, ENVIRONMENT, EXCLUDED, LOGS

RECORD = (CONFIG, ENVIRONMENT, EXCLUDED, LOGS)
"""Files of a run before its first checkpoint."""


@contextmanager
def working(folder: Path, command: str) -> Iterator[None]:
    """Hold the lock of a command in a run's folder.

    The folder of a new run that fails before its first checkpoint is removed. A file system without locks causes a
    warning.

    Raises:
        InputError: another process runs the same command in the folder.
    """
    # Processes of other ranks belong to the same command.
    if getattr(rank_zero_only, "rank", 0):
        yield
        return
    path, existed = folder / f"{command}.lock", folder.exists()
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
                f"{folder}: another {command} is running in this folder ({holder}). "
                "Wait for it, or choose another --name."
            )
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}")
        lock.flush()
        # Workers of a loader may outlive a killed process, and must not keep its lock.
        os.register_at_fork(after_in_child=lock.close)
        try:
            yield
        except (Exception, SystemExit):
            steps = any((folder / LOGS).rglob("metrics.csv"))
            if not existed and not steps and {file.name for file in folder.iterdir()} <= {*RECORD, path.name}:
                shutil.rmtree(folder, ignore_errors=True)
            raise
