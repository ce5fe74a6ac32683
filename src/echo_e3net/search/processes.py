"""Run the trials of studies and sweeps as processes, each in its own folder with a log and a lock.

A process inherits the open lock file of its folder (flock). The lock is released when the last process that has the
file open ends, for any reason. So two processes never work in one folder, even if a process outlives the command that
started it.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from echo_e3net.hardware import cores
from echo_e3net.locks import held, locked
from echo_e3net.training.run_folder import STOP_SIGNALS, STOPPED

PATIENCE = 100.0
"""Seconds between asking a process to end and killing it."""


class Preempted(KeyboardInterrupt):
    """The cluster asked this process to stop."""


class Processes:
    """The processes that one command starts.

    Args:
        jobs: processes at a time; they share the cores equally, unless OMP_NUM_THREADS is set.
        log: name of the log in a process's folder.
        lock: name of the lock in a process's folder.
    """

    def __init__(self, jobs: int, log: str, lock: str) -> None:
        self.environment = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(max(1, cores() // jobs))} | os.environ
        self.jobs, self.log, self.lock = jobs, log, lock
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopped = threading.Event()

    @contextmanager
    def pool(self, message: Callable[[], str]) -> Iterator[ThreadPoolExecutor]:
        """Yield threads that start processes. SIGINT, SIGTERM and SIGUSR1 stop the processes too.

        Args:
            message: returns the line to print after a stop.

        Raises:
            SystemExit: stopped, with exit code 75 if a cluster asked for it, else 130.
        """
        before = {number: signal.signal(number, interrupt) for number in STOP_SIGNALS}
        try:
            with ThreadPoolExecutor(self.jobs) as pool:
                try:
                    yield pool
                except BaseException:
                    self.stopped.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                    # A training ends at its next step.
                    with ThreadPoolExecutor(self.jobs) as ending:
                        ending.map(end, list(self.running))
                    raise
        except KeyboardInterrupt as stop:
            print(message())
            raise SystemExit(STOPPED if isinstance(stop, Preempted) else 130) from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def started(self, folder: Path, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes] | None]:
        """Start a process that writes to its folder's log.

        Yields None if another process holds the folder's lock or this command is stopping.

        Args:
            folder: the folder, which is created.
            command: words of the command line.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / self.log).open("a") as log, locked(folder / self.lock) as lock:
            if lock is None:
                log.write("another process works in this folder; wait for it or end it\n")
            if lock is None or self.stopped.is_set():
                yield None
                return
            log.write(f"$ {shlex.join(command)}\n")
            log.flush()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
            # end_orphan reads the number of the process from the lock file.
            lock.truncate(0)
            lock.write(f"{process.pid}\n")
            lock.flush()
            self.running.add(process)
            try:
                yield process
            finally:
                end(process)
                self.running.discard(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end; kill it and its children if it takes too long."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end_orphan(lock: Path) -> None:
    """Ask the process that holds a lock to end. It must be on this machine."""
    text = lock.read_text().strip()
    if text.isdigit() and held(lock):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(int(text), signal.SIGTERM)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise :class:`Preempted`. Further signals are ignored, because clusters send several."""
    for further in STOP_SIGNALS:
        signal.signal(further, signal.SIG_IGN)
    raise Preempted


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.is_file() else []
    return lines[-1].removeprefix("echo-e3net: error: ") if lines else "its log is empty"
