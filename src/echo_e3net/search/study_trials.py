"""The processes of a study: a trial is the command lines that a user would type."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from echo_e3net.errors import InputError
from echo_e3net.files import write_text
from echo_e3net.search.processes import Preempted, Processes, held, last_line, locked
from echo_e3net.search.study_plan import FINGERPRINT, LOG, PROFILE, TIMES, Place, Trial, refuse_changed
from echo_e3net.search.study_results import trial_rows
from echo_e3net.training.code_hash import code_hash
from echo_e3net.training.run_folder import CHECKPOINTS, METRICS, STOPPED

LOCK, TRIAL_LOCK = "study.lock", "trial.lock"
"""Held by a process that works in a folder; held by the study that takes care of a trial, from its first process to its last."""
Outcome = int | None
"""The exit code of the first process of a trial that failed, or 0; None where another study takes care of the trial."""


def run_study(trials: Sequence[Trial], jobs: int, save: Callable[[], object]) -> None:
    """Run trials, some at a time, and save the results after each; SIGINT, SIGTERM and SIGUSR1 stop their processes too.

    Trials that another study works on, here or on another node, are left to it, and looked at again at the end.

    Raises:
        InputError: the network of an arm cannot be built, or a trial failed.
        SystemExit: stopped; with 75 where a cluster asked for it.
    """
    console, workers = Console(), Workers(jobs)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    failed: list[Trial] = []
    with (
        workers,
        Progress(*columns, console=console) as progress,
        ThreadPoolExecutor(jobs) as pool,
    ):  # signals are taken until all processes ended
        task = progress.add_task("trials", total=len(trials))
        try:
            profile_arms(trials, workers, pool)
            left = list(trials)
            for last in (False, True):
                theirs = []
                for trial, code in outcomes(left, workers, pool):
                    if code == STOPPED:
                        raise Preempted
                    if code is None and not last:
                        theirs.append(trial)
                        continue
                    failed += [trial] if code else []
                    if code == 0:
                        save()
                    progress.console.print(
                        f"{trial.arm}, seed {trial.seed}: {verdict(trial, code)}", highlight=False, soft_wrap=True
                    )
                    progress.advance(task)
                left = theirs
        except BaseException as stop:
            workers.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(stop, KeyboardInterrupt):
                raise
            done = sum(trial.done for trial in trials)
            console.print(
                f"stopped: {done} of {len(trials)} trials that were missing are done. The same command goes on."
            )
            raise SystemExit(STOPPED if isinstance(stop, Preempted) else 130) from None
    if failed:
        raise InputError(
            f"{len(failed)} of {len(trials)} trials failed, first {failed[0].folder}: see its {LOG}, then run the study again."
        )


def profile_arms(trials: Sequence[Trial], workers: Workers, pool: ThreadPoolExecutor) -> None:
    """Measure what each arm costs, before anything is trained.

    Raises:
        InputError: the network of an arm cannot be built.
    """
    first = {trial.arm: trial for trial in reversed(trials) if not trial.begun}
    for trial, code in zip(first.values(), pool.map(workers.profile, first.values()), strict=True):
        if code:
            raise InputError(f"arm {trial.arm}: its network cannot be built: {last_line(trial.folder.parent / LOG)}")


def outcomes(trials: Sequence[Trial], workers: Workers, pool: ThreadPoolExecutor) -> Iterator[tuple[Trial, Outcome]]:
    """Run trials; each with its outcome, as they end."""
    futures = {pool.submit(workers.trial, trial): trial for trial in trials}
    for future in as_completed(futures):
        yield futures[future], future.result()


def verdict(trial: Trial, code: Outcome) -> str:
    """What came of a trial, in words."""
    if code is None:
        return "another study works on it"
    if code:
        return f"failed: {last_line(trial.folder / LOG)}"
    score = trial_rows(trial)[0]["ef_mae"]
    return f"MAE {score:.2f}" if score is not None else "done, without a score"


class Workers(Processes):
    """The processes of a study.

    Args:
        jobs: processes at a time; the cores are shared out among them.
    """

    def __init__(self, jobs: int) -> None:
        super().__init__(jobs, LOG, LOCK)

    def profile(self, trial: Trial) -> int:
        """Measure what an arm costs, unless that was done for these settings and this code; 0 where its network can be built."""
        folder, settings = trial.folder.parent, f"{trial.settings} {code_hash()}\n"
        mark = folder / FINGERPRINT
        with locked(folder / TRIAL_LOCK, wait=True):
            if (folder / PROFILE).is_file() and mark.is_file() and mark.read_text() == settings:
                return 0
            code = self.run(folder, ["profile", *trial.arguments, "--repeats", "1", "--json", str(folder / PROFILE)])
            if not code:
                write_text(mark, settings)
            return code

    def trial(self, trial: Trial) -> Outcome:
        """Train and test one trial, unless another study does."""
        with locked(trial.folder / TRIAL_LOCK) as ours:
            if ours is None or held(
                trial.folder / LOCK
            ):  # the second: the study is gone, but a process of its still works
                return None
            refuse_changed([trial])  # another study may have worked on it meanwhile
            start = time.monotonic()
            before = (
                json.loads((trial.folder / TIMES).read_text())["seconds"] if (trial.folder / TIMES).is_file() else 0
            )
            for place, words in commands(trial):
                write_text(place.folder / FINGERPRINT, place.fingerprint + "\n")
                code = self.run(trial.folder, words)
                write_text(
                    trial.folder / TIMES, json.dumps({"seconds": round(before + time.monotonic() - start)}) + "\n"
                )
                if code:
                    return code
            return 0

    def run(self, folder: Path, words: Sequence[str]) -> int:
        """One process; its output goes to the folder's log. The process holds the folder's lock, also when the study is gone."""
        command = [sys.executable, "-m", "echo_e3net", *words]
        with self.started(folder, command, f"echo-e3net {' '.join(words)}") as process:
            return process.wait() if process else 1


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
