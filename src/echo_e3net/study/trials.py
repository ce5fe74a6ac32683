"""The processes of a study: a trial is the command lines that a user would type."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from echo_e3net.checkpoints import CHECKPOINTS
from echo_e3net.errors import InputError
from echo_e3net.files import write_text
from echo_e3net.results import METRICS
from echo_e3net.study.plan import FINGERPRINT, LOG, PROFILE, TIMES, Place, Trial
from echo_e3net.study.results import trial_rows

LOCK = "study.lock"


def run_study(trials: Sequence[Trial], jobs: int, save: Callable[[], None]) -> None:
    """Run trials, some at a time, and save the results after each; SIGINT and SIGTERM stop their processes too.

    Raises:
        InputError: the network of an arm cannot be built, or a trial failed.
    """
    console, workers = Console(), Workers(jobs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    done, failed = 0, []
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(jobs) as pool, workers:
        try:
            first = {trial.arm: trial for trial in reversed(trials) if not trial.begun}
            for trial, code in zip(first.values(), pool.map(workers.profile, first.values()), strict=True):
                if code:
                    raise InputError(f"arm {trial.arm}: its network cannot be built: {last_line(trial.folder.parent / LOG)}")
            task = progress.add_task("trials", total=len(trials))
            futures = {pool.submit(workers.trial, trial): trial for trial in trials}
            for future in as_completed(futures):
                trial = futures[future]
                if future.result():
                    failed.append(trial)
                    verdict = f"failed: {last_line(trial.folder / LOG)}"
                else:
                    done += 1
                    score = trial_rows(trial)[0]["ef_mae"]
                    verdict = f"MAE {score:.2f}" if score is not None else "done, without a score"
                    save()
                progress.console.print(f"{trial.arm}, seed {trial.seed}: {verdict}", highlight=False, soft_wrap=True)
                progress.advance(task)
        except BaseException as stop:
            pool.shutdown(wait=False, cancel_futures=True)
            workers.stop()
            if not isinstance(stop, KeyboardInterrupt):
                raise
            console.print(f"stopped: {done} of {len(trials)} trials that were missing are done. The same command goes on.")
            raise SystemExit(130) from None
    if failed:
        raise InputError(f"{len(failed)} of {len(trials)} trials failed, first {failed[0].folder}: see its {LOG}, then run the study again.")


class Workers:
    """The processes of a study: a context in which SIGTERM stops the study as SIGINT does, and that stops what still runs at its end.

    Args:
        jobs: processes at a time; the cores are shared out among them.
    """

    def __init__(self, jobs: int) -> None:
        self.environment = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} | os.environ
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopped = threading.Event()

    def __enter__(self) -> None:
        """Let SIGTERM stop the study, which its processes would otherwise outlive."""
        self.before = signal.signal(signal.SIGTERM, interrupt) if threading.current_thread() is threading.main_thread() else None

    def __exit__(self, *error: object) -> None:
        """Put the signal back."""
        if self.before is not None:
            signal.signal(signal.SIGTERM, self.before)

    def stop(self) -> None:
        """End all processes: a training ends at its next step."""
        self.stopped.set()
        for process in list(self.running):
            process.terminate()

    def profile(self, trial: Trial) -> int:
        """Measure what an arm costs; 0 where its network can be built."""
        words = ["profile", *trial.arguments, "--repeats", "1", "--json", str(trial.folder.parent / PROFILE)]
        return self.run(trial.folder.parent, words)

    def trial(self, trial: Trial) -> int:
        """Train and test one trial; returns the exit code of the first process that failed, or 0."""
        start = time.monotonic()
        before = json.loads((trial.folder / TIMES).read_text())["seconds"] if (trial.folder / TIMES).is_file() else 0
        for place, words in commands(trial):
            write_text(place.folder / FINGERPRINT, place.fingerprint + "\n")
            code = self.run(trial.folder, words)
            write_text(trial.folder / TIMES, json.dumps({"seconds": round(before + time.monotonic() - start)}) + "\n")
            if code:
                return code
        return 0

    def run(self, folder: Path, words: Sequence[str]) -> int:
        """One process; its output goes to the folder's log. The process holds the folder's lock, also when the study is gone."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOG).open("a") as log, (folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                log.write("another process works in this folder: wait for it, or end it\n")
                return 1
            if self.stopped.is_set():
                return 1
            log.write(f"$ echo-e3net {' '.join(words)}\n")
            log.flush()
            command = [sys.executable, "-m", "echo_e3net", *words]
            streams = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
            process = subprocess.Popen(command, env=self.environment, pass_fds=[lock.fileno()], start_new_session=True, **streams)  # type: ignore[call-overload]
            self.running.add(process)
            code: int = process.wait()
            self.running.discard(process)
            return code


def interrupt(number: int, frame: FrameType | None) -> None:
    """Stop as Ctrl-C does."""
    raise KeyboardInterrupt


def commands(trial: Trial) -> Iterator[tuple[Place, list[str]]]:
    """The command lines that a trial still needs, in order, each with its place; one is made when those before it are done."""
    own, *further = trial.places
    shared = [*trial.arguments, "--trainer.enable_progress_bar", "false"]
    if not own.done:
        there = ["--runs", str(own.folder.parent), "--name", own.folder.name]
        yield own, ["fit", *shared, *there, "--auto_resume", "true"]
        yield own, ["test", *shared, *there]
    checkpoint = str(own.folder / CHECKPOINTS / Path(json.loads((own.folder / METRICS).read_text())["checkpoint"]).name)
    for place in further:
        if not place.done:
            there = ["--runs", str(own.folder), "--name", place.test, "--ckpt_path", checkpoint]
            yield place, ["test", *shared, *there, "--data.root", place.root]


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line for line in log.read_text().splitlines() if line.strip()] if log.is_file() else []
    return lines[-1].removeprefix("echo-e3net: error: ") if lines else "it left no word"
