"""One command's share of a sweep: it takes trials from the journal, runs each as a process, and reports what the process's own metrics file says.

Who lives is known from locks (flock), which the system frees however a process goes:

* ``sweep.lock`` is held while it is decided which trials there are;
* ``workers/<machine>-<process>-<chance>.lock`` is held by a command as long as it lives, and touched as it works;
* ``trial0007/sweep.lock`` is held by the trial's process, which may outlive a command that was killed.

A trial that runs in the journal while its command is gone is *lost*: what is left of its process is ended, and its point waits again. A command of another
machine counts as gone only if it hasn't touched its lock for a while too: some network file systems keep locks to one machine.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from echo_e3net.search.processes import Processes, end, end_orphan, held, last_line, locked
from echo_e3net.search.sweep_command import build_command, search_path
from echo_e3net.search.sweep_file import Sweep
from echo_e3net.search.sweep_history import read_history
from echo_e3net.search.sweep_search import Row, Search
from echo_e3net.search.sweep_space import nested_values

LOCK, LOG, WORKERS = "sweep.lock", "sweep.log", "workers"
FAILURES = 5
"""Trials that fail one after the other before a command gives up."""

INTERVAL = 1.0
"""Seconds between looks at a trial's metrics and at the journal."""

SILENCE = 120.0
"""Seconds without a sign of life after which a command on another machine, whose lock is free, is gone."""


class Engine:
    """A command that works for a sweep; its threads call :meth:`work`.

    Args:
        sweep: the sweep.
        search: its trials.
        folder: its folder, which holds the trials'.
        wanted: trials that shall be done or pruned, by all commands together; None: as many as the file allows.
        processes: where trials run.
    """

    def __init__(self, sweep: Sweep, search: Search, folder: Path, wanted: int | None, processes: Processes) -> None:
        self.sweep, self.search, self.folder, self.wanted = sweep, search, folder, wanted
        self.processes, self.interval = processes, INTERVAL
        self.processes.environment |= {"PATH": search_path()}
        self.worker = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.failures: list[str] = []

    def work(self) -> None:
        """Run one trial after the other until nothing is left to do, here or elsewhere; a trial that others run may come back."""
        while not self.processes.stopped.is_set() and len(self.failures) < FAILURES:
            with locked(self.folder / LOCK, wait=True):
                self.reclaim()
                rows = self.search.rows()
                left = trials_left(self.sweep, rows, self.wanted)
                running = sum(row.state == "running" for row in rows)
                taken = self.search.ask(self.worker) if left > running else None
            if taken is not None:
                self.run(taken[0], nested_values(self.sweep.parameters, taken[1]))
            elif left <= 0 or not running:
                return
            else:
                self.processes.stopped.wait(self.interval)

    def run(self, number: int, values: dict[str, object]) -> None:
        """Run one trial and note how it ended."""
        folder = self.folder / f"trial{number:04d}"
        start, pruned, code = time.monotonic(), False, 1
        try:
            with self.processes.started(folder, build_command(self.sweep, values, folder)) as process:
                if process is not None:
                    pruned = self.watch(process, number, folder)
                    code = process.wait()
        except OSError as error:  # no such command, say
            with (folder / LOG).open("a") as log:
                log.write(f"{error}\n")
        seconds = round(time.monotonic() - start, 1)
        history = read_history(folder, self.sweep.metric)
        best = (max if self.sweep.maximize else min)(history.values(), default=None)
        if self.processes.stopped.is_set() and not pruned and (code or best is None):
            with locked(self.folder / LOCK, wait=True):
                self.search.retry(number, "stopped")
        elif pruned:
            self.search.end(number, "pruned", seconds=seconds)
        elif code == 0 and best is not None:
            self.search.end(number, "done", best, seconds=seconds)
        else:
            self.failures.append(f"trial{number:04d}: {failure(code, folder, self.sweep.metric)}")
            self.search.end(number, "failed", seconds=seconds, reason=failure(code, folder, self.sweep.metric))
            return
        self.failures.clear()

    def watch(self, process: subprocess.Popen[bytes], number: int, folder: Path) -> bool:
        """Report what a trial's metrics file says while it runs; whether it was ended early."""
        reported = -1
        while True:
            try:
                process.wait(self.interval)
                running = False
            except subprocess.TimeoutExpired:
                running = True
            for epoch, figure in read_history(folder, self.sweep.metric).items():
                if epoch > reported:
                    reported = epoch
                    if self.search.report(number, epoch, figure) and running:
                        end(process)
                        return True
            if not running:
                return False

    def reclaim(self) -> None:
        """Let the points of trials whose command is gone wait again. Hold the sweep's lock."""
        for row in self.search.rows():
            if row.state == "running" and self.gone(row.notes.get("worker")):
                trial = self.folder / f"trial{row.number:04d}" / LOCK
                if not held(trial):
                    self.search.retry(row.number, "its worker was killed")
                elif machine(row.notes.get("worker")) == platform.node():
                    end_orphan(trial)

    def gone(self, worker: str | None) -> bool:
        """Whether a command is gone; one without a name was killed before it could give it, since we hold the sweep's lock."""
        if worker is None:
            return True
        lock = self.folder / WORKERS / f"{worker}.lock"
        if not lock.is_file():
            return True
        if held(lock):
            return False
        mine = self.folder / WORKERS / f"{self.worker}.lock"
        mine.touch()  # by the file system's clock, which is the other's too
        return machine(worker) == platform.node() or mine.stat().st_mtime - lock.stat().st_mtime > SILENCE


def machine(worker: str | None) -> str:
    """The machine of a command."""
    return (worker or "").rsplit("-", 2)[0]


def trials_left(sweep: Sweep, rows: Sequence[Row], wanted: int | None) -> int:
    """How many trials are still to end: nothing once the target is reached; a run_cap and a grid count failed ones too."""
    ended = sum(row.ended for row in rows)
    failed = sum(row.state == "failed" for row in rows)
    limits = [wanted - ended] if wanted is not None else []
    limits += [sweep.run_cap - ended - failed] if sweep.run_cap is not None else []
    limits += [sum(row.state in ("waiting", "running") for row in rows)] if sweep.method == "grid" else []
    figures = [row.figure for row in rows if row.ended and row.figure is not None]
    if sweep.target is not None and any(
        figure >= sweep.target if sweep.maximize else figure <= sweep.target for figure in figures
    ):
        return 0
    return min(limits)


def failure(code: int, folder: Path, metric: str) -> str:
    """Why a trial failed, in a few words."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (", as the system does where memory runs out" if name == "SIGKILL" else "")
    return last_line(folder / LOG) if code else f"it ended well, but its metrics.csv has no {metric}"
