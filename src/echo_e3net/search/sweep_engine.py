"""Run the trials of a sweep, in one command or several that share a folder.

    runs/<sweep>/journal.log          all trials: their parameters and reported metrics
    runs/<sweep>/trial0007/           a run, with sweep.log (the output of its process)
    runs/<sweep>/trials.csv, best.yaml, sweep.md, sweep.png
    runs/<sweep>/sweep.lock, workers/ locks

Three kinds of locks (flock) show which processes are alive; the system releases them when a process ends for any
reason:

- ``sweep.lock`` is held to begin trials or to queue them again.
- ``workers/<machine>-<process>-<random>.lock`` is held by each command while it runs.
- ``trial0007/sweep.lock`` is held by the trial's process, which may outlive its command.

A running trial whose command is gone is *lost*: its process is ended and its point is queued again.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from echo_e3net.errors import InputError
from echo_e3net.files import require_place
from echo_e3net.locks import held, locked
from echo_e3net.search.processes import Processes, end, end_orphan, last_line
from echo_e3net.search.sweep_file import Sweep
from echo_e3net.search.sweep_live import show_changes
from echo_e3net.search.sweep_search import Row, Search
from echo_e3net.training.history import read_history

LOCK, LOG, WORKERS, JOURNAL = "sweep.lock", "sweep.log", "workers", "journal.log"
FAILURES = 5
"""Number of consecutive failures after which a command stops."""
INPUT_ERROR = 2
"""Exit code of a process that refused its arguments or its data."""
INTERVAL = 1.0
"""Seconds between reads of the metrics and the journal."""


class Engine:
    """One command that works on a sweep; each of its threads calls :meth:`work`.

    Args:
        sweep: the sweep.
        search: its trials.
        folder: its folder.
        wanted: target number of done or pruned trials, over all commands; None: as many as the file allows.
        processes: starts the trials.
    """

    def __init__(self, sweep: Sweep, search: Search, folder: Path, wanted: int | None, processes: Processes) -> None:
        self.sweep, self.search, self.folder, self.wanted = sweep, search, folder, wanted
        self.processes, self.interval = processes, INTERVAL
        # Trials find the echo-e3net and python of this environment first.
        path = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        self.processes.environment |= {"PATH": os.pathsep.join(path)}
        self.worker = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.mine = folder / WORKERS / f"{self.worker}.lock"
        self.failures: list[tuple[str, str, int]] = []

    def work(self) -> None:
        """Run trials until none is left. Waits while others run trials, because their points may be queued again."""
        while not self.processes.stopped.is_set():
            with locked(self.folder / LOCK, wait=True):
                self.reclaim()
                rows = self.search.rows()
                if self.should_stop(rows):
                    return
                left = trials_left(self.sweep, rows, self.wanted)
                running = sum(row.state == "running" for row in rows)
                row = self.search.ask(self.worker) if left > running else None
            if row is not None:
                self.run(row)
            elif left <= 0 or not running:
                return
            else:
                self.processes.stopped.wait(self.interval)

    def should_stop(self, rows: Sequence[Row]) -> bool:
        """Return whether to stop: after several failures in a row, or two equal input errors before any result."""
        last = [reason for _, reason, code in self.failures[-2:] if code == INPUT_ERROR]
        return len(self.failures) >= FAILURES or (len(last) == 2 and last[0] == last[1] and not finished(rows))

    def run(self, row: Row) -> None:
        """Run one trial and record how it ended."""
        number, folder = row.number, self.folder / row.name
        start, pruned, code = time.monotonic(), False, 1
        try:
            with self.processes.started(folder, trial_command(self.sweep, row.values, folder)) as process:
                if process is not None:
                    pruned = self.watch(process, number, folder)
                    code = process.wait()
        except OSError as error:
            # The program of the command does not exist or cannot be executed.
            with (folder / LOG).open("a") as log:
                log.write(f"{error}\n")
        seconds = round(time.monotonic() - start, 1)
        best = self.search.rows()[number].figure
        if pruned:
            self.search.end(number, "pruned", seconds=seconds)
        elif code == 0 and best is not None:
            self.search.end(number, "done", best, seconds=seconds)
        elif self.processes.stopped.is_set():
            with locked(self.folder / LOCK, wait=True):
                self.search.retry(number, "stopped")
        else:
            reason = failure(code, folder, self.sweep.metric)
            self.failures.append((folder.name, reason, code))
            if code == INPUT_ERROR and not finished(self.search.rows()):
                # The point may work after the input is corrected.
                with locked(self.folder / LOCK, wait=True):
                    self.search.retry(number, reason)
            else:
                self.search.end(number, "failed", seconds=seconds, reason=reason)
            return
        self.failures.clear()

    def watch(self, process: subprocess.Popen[bytes], number: int, folder: Path) -> bool:
        """Report a trial's metrics while it runs; return whether it was ended early."""
        reported, running = -1, True
        while running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.interval)
                running = False
            for epoch, figure in read_history(folder, self.sweep.metric).items():
                if epoch > reported:
                    reported = epoch
                    if self.search.report(number, epoch, figure) and running:
                        end(process)
                        return True
        return False

    def reclaim(self) -> None:
        """Queue the points of lost trials again. Hold the sweep's lock."""
        for row in self.search.rows():
            # A trial without a worker belongs to a command that was killed while it began the trial.
            worker = row.notes.get("worker", "")
            if row.state == "running" and not held(self.folder / WORKERS / f"{worker}.lock"):
                trial = self.folder / row.name / LOCK
                if not held(trial):
                    self.search.retry(row.number, "its worker was killed")
                elif worker.rsplit("-", 2)[0] == platform.node():
                    end_orphan(trial)


def run_sweep(
    sweep: Sweep, folder: Path, journal: Path, workers: int, wanted: int | None, seed: int, pruner: str
) -> None:
    """Run the trials of a sweep with some threads, and write its results at the end.

    Raises:
        InputError: a file cannot be written, the journal is of another sweep, or too many trials failed in a row.
        SystemExit: stopped, with exit code 75 if a cluster asked for it.
    """
    for path in (folder / "trials.csv", journal):
        require_place(path)
    journal.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, wait=True):
        search = Search(sweep, journal, seed, pruner)
    processes = Processes(workers, LOG, LOCK)
    engine = Engine(sweep, search, folder, wanted, processes)
    message = "stopped. Interrupted trials will start anew; run the same command to continue."
    try:
        with processes.pool(lambda: message) as pool, locked(engine.mine):
            futures = [pool.submit(engine.work) for _ in range(workers)]
            states, running = None, set(futures)
            while running:
                ended, running = wait(running, engine.interval)
                for future in ended:
                    # A failed thread ends the command; otherwise the other threads would wait for its trial.
                    future.result()
                states = show_changes(sweep, search.rows(), states)
    finally:
        engine.mine.unlink(missing_ok=True)
        with locked(folder / LOCK, wait=True):
            # Imported late: matplotlib and torch would delay the first trial.
            from echo_e3net.search.sweep_results import save_results

            save_results(folder, sweep, search.rows(), search.importances())
    if engine.failures and (engine.should_stop(search.rows()) or not finished(search.rows())):
        last, reason, _ = engine.failures[-1]
        raise InputError(
            f"{folder}: {len(engine.failures)} trials failed in a row, the last is {last}: {reason.rstrip('.')}. "
            f"Read its {LOG}, correct the cause and run the command again."
        )


def finished(rows: Sequence[Row]) -> bool:
    """Return whether any trial has a result."""
    return any(row.state in ("done", "pruned") for row in rows)


def trial_command(sweep: Sweep, values: Mapping[str, Any], folder: Path) -> list[str]:
    """Return a trial's command line as a W&B agent builds it, followed by the trial's folder."""
    macros = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": ["python"],
        "${program}": [sweep.program or ""],
        "${args}": [f"--{name}={value}" for name, value in values.items()],
    }
    words = [part for word in sweep.command for part in macros.get(word, [word])]
    return [*words, "--runs", str(folder.parent), "--name", folder.name]


def trials_left(sweep: Sweep, rows: Sequence[Row], wanted: int | None) -> int:
    """Return how many trials are still to end. The limits of run_cap and of a grid count failed trials too."""
    states = [row.state for row in rows]
    ended, failed = states.count("done") + states.count("pruned"), states.count("failed")
    limits = [wanted - ended] if wanted is not None else []
    limits += [sweep.run_cap - ended - failed] if sweep.run_cap is not None else []
    limits += [states.count("waiting") + states.count("running")] if sweep.method == "grid" else []
    return min(limits)


def failure(code: int, folder: Path, metric: str) -> str:
    """Return why a trial failed."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (", possibly because memory ran out" if name == "SIGKILL" else "")
    return last_line(folder / LOG) if code else f"its metrics.csv has no {metric}"
