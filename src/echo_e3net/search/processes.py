"""Processes that work for a study or a sweep: each in a folder of its own, with a log and a lock there.

A process holds the lock of its folder through an open file that it inherits (flock): the lock is free when the last process that has the file open is
gone, however it went. So nobody works in a folder twice, also when whoever started the process was killed and the process lives on.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

from echo_e3net.errors import InputError
from echo_e3net.training.run_folder import STOP_SIGNALS

TAKEN = {errno.EAGAIN, errno.EACCES}
"""What the system says of a lock that another process holds."""

PATIENCE = 60.0
"""Seconds that a process has to end in after it was asked to."""


class Preempted(KeyboardInterrupt):
    """Told by the cluster to make room."""


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[IO[str] | None]:
    """Hold a lock while the context lasts: the open file, to be handed to processes; None where somebody else holds it.

    Args:
        path: the file that stands for the lock; it stays.
        wait: whether to wait for it.

    Raises:
        InputError: the file system knows no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in TAKEN:
                yield None
                return
            raise InputError(
                f"{path} cannot be locked ({error.strerror}): this file system has no locks. Keep --runs on another, or have it mounted "
                "with locks (Lustre: -o flock)."
            ) from error
        yield file


def held(path: Path) -> bool:
    """Whether somebody holds a lock; asking leaves nothing behind."""
    if not path.is_file():
        return False
    with locked(path) as file:
        return file is None


class Processes:
    """The processes of a study or sweep: a context in which SIGTERM and SIGUSR1 stop us as SIGINT does, which our processes would otherwise outlive.

    Args:
        jobs: processes at a time; the cores are shared out among them, unless OMP_NUM_THREADS is set.
        log: name of the log in a process's folder.
        lock: name of the lock there.
    """

    def __init__(self, jobs: int, log: str, lock: str) -> None:
        self.environment = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(max(1, cores() // jobs))} | os.environ
        self.log, self.lock = log, lock
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopped = threading.Event()

    def __enter__(self) -> None:
        """Take the signals by which clusters say that time is up."""
        wanted = STOP_SIGNALS if threading.current_thread() is threading.main_thread() else ()
        self.before = {number: signal.signal(number, interrupt) for number in wanted}

    def __exit__(self, *error: object) -> None:
        """Put the signals back."""
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def stop(self) -> None:
        """End all processes: a training ends at its next step."""
        self.stopped.set()
        for process in list(self.running):
            process.terminate()

    def kill_after(self, seconds: float = PATIENCE) -> None:
        """Wait for processes that were told to end, then kill what is left."""
        until = time.monotonic() + seconds
        while self.running and time.monotonic() < until:
            time.sleep(0.1)
        for process in list(self.running):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    @contextmanager
    def started(
        self, folder: Path, command: Sequence[str], shown: str | None = None
    ) -> Iterator[subprocess.Popen[bytes] | None]:
        """A process, its output going to the folder's log; None, with a word in the log, where another works there or we are stopped.

        Args:
            folder: its folder, which is made.
            command: its words.
            shown: the command line as the log shows it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / self.log).open("a") as log, locked(folder / self.lock) as lock:
            if lock is None:
                log.write("another process works in this folder: wait for it, or end it\n")
            if lock is None or self.stopped.is_set():
                yield None
                return
            log.write(f"$ {shown or shlex.join(command)}\n")
            log.flush()
            process = launch(command, self.environment, log, lock)
            self.running.add(process)
            try:
                yield process
            finally:
                if process.poll() is None:  # whoever waits for it failed
                    end(process)
                self.running.discard(process)


def launch(
    command: Sequence[str], environment: Mapping[str, str], log: IO[str], lock: IO[str]
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own; the lock file says its number, which is its session's too."""
    streams = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, pass_fds=[lock.fileno()], start_new_session=True, **streams)  # type: ignore[call-overload]
    lock.seek(0)
    lock.truncate()
    lock.write(f"{process.pid}\n")
    lock.flush()
    return process  # type: ignore[no-any-return]


def end(process: subprocess.Popen[bytes], patience: float = PATIENCE) -> None:
    """Ask a process to end, which is a clean end for a training; where it takes too long, kill it and what it started."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end_orphan(lock: Path) -> None:
    """Ask the process that holds a lock, and whose starter is gone, to end. Only on the machine where it was started."""
    text = lock.read_text().strip()
    if text.isdigit() and held(lock):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(int(text), signal.SIGTERM)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Stop as Ctrl-C does, but to be started again; further signals change nothing, since clusters send several."""
    for further in STOP_SIGNALS:
        signal.signal(further, signal.SIG_IGN)
    raise Preempted


def cores() -> int:
    """The cores that this process may use: on a cluster those of its allocation, not all of the node's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.is_file() else []
    return lines[-1].removeprefix("echo-e3net: error: ") if lines else "it left no word"
