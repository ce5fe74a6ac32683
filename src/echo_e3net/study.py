"""``echo-e3net study``: one base configuration, several arms that change it, several seeds; each trial trained and tested once.

A study is a YAML file (:class:`Study`). A trial is a process ``echo-e3net fit`` and one ``echo-e3net test`` a data set, in a folder of its own:

    runs/<study>/<arm>/profile.json                what the arm's network costs
    runs/<study>/<arm>/seed0/                      the run, as any other run
    runs/<study>/<arm>/seed0/<test>/               the same checkpoint on a further data set
    runs/<study>/<arm>/seed0/fingerprint.txt       the settings and data that it was begun with; one in each <test>/ too
    runs/<study>/<arm>/seed0/study.log, trial.json what its processes printed, and how long they took
    runs/<study>/results.csv, .md, .png            written anew after each trial

So a study that was stopped goes on where it stopped, in the middle of a training too. Trials that results.csv records need no folder any more:
the file can be carried to another machine, and the study goes on there. Results are collected by ``study_results``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from echo_e3net.callbacks import CHECKPOINTS, ENVIRONMENT, LAST
from echo_e3net.data.tables import FILE_LIST, TRACINGS
from echo_e3net.errors import InputError
from echo_e3net.files import write_text
from echo_e3net.results import METRICS
from echo_e3net.study_results import CSV, Row, read_results, save_results, show_results

PROFILE, FINGERPRINT, LOG, LOCK, TIMES = "profile.json", "fingerprint.txt", "study.log", "study.lock", "trial.json"
MANIFEST = "phantom.json"
OWN = "own"
"""Name of the test split of the data that a trial was trained on."""


@dataclass(frozen=True)
class Study:
    """What a study file says.

    Attributes:
        name: the study's folder in ``runs``.
        configs: configurations laid over each other, the base of every arm; relative to the study file.
        arms: overlays of each arm by name, relative to the study file; an empty list is the base itself.
        seeds: seeds that every arm is trained with.
        arguments: further arguments of every trial, by dotted name; ``data.root`` must be one of them.
        tests: further data sets whose test split every checkpoint is scored on, by name.
    """

    name: str
    configs: list[str]
    arms: dict[str, list[str]]
    seeds: list[int]
    arguments: dict[str, Any] = field(default_factory=dict)
    tests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a checkpoint's scores on one data set are: the trial's own folder, or one inside it for a further data set."""

    test: str
    folder: Path
    root: str
    fingerprint: str

    @property
    def done(self) -> bool:
        """Whether the scores are there."""
        return (self.folder / METRICS).is_file()


@dataclass(frozen=True)
class Trial:
    """One arm with one seed: the arguments that its processes share, and its places, its own first."""

    arm: str
    seed: int
    arguments: tuple[str, ...]
    places: tuple[Place, ...]

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.places[0].folder

    @property
    def begun(self) -> bool:
        """Whether it was started with these settings."""
        mark = self.folder / FINGERPRINT
        return mark.is_file() and mark.read_text().strip() == self.places[0].fingerprint

    @property
    def done(self) -> bool:
        """Whether it is trained, and tested on every data set."""
        return all(place.done for place in self.places)


def study(file: Path, runs: Path = Path("runs"), out: Path | None = None, jobs: int = 1, train: bool = True) -> None:
    """Train and test every arm of a study with every seed; results.csv, results.md and results.png grow with each trial.

    Stop it when you like and call it again: what is done is kept, also what an earlier results.csv records, and a training goes on from its last epoch.

    Args:
        file: the study, a YAML file (experiments/studies).
        runs: folder of all runs; the study's is named after it.
        out: folder of the results; null: the study's folder.
        jobs: trials at a time; the cores are shared out among them, unless OMP_NUM_THREADS is set.
        train: whether to run what is missing; false collects what is there.
    """
    if jobs < 1:
        raise InputError(f"jobs is {jobs}: give at least 1.")
    plan = read_study(file)
    trials = plan_trials(plan, file.parent, runs / plan.name)
    out = out or runs / plan.name
    recorded = recorded_rows(out / CSV, trials)
    refuse_changed(trials)
    collect = partial(collect_rows, trials, recorded)
    missing = [trial for trial in trials if not trial.done and trial not in recorded]
    if train and missing:
        run_study(missing, jobs, lambda: save_results(out, plan.name, *collect()))
    rows, progress = collect()
    if not rows:
        raise InputError(f"{file}: no trial is done.")
    save_results(out, plan.name, rows, progress)
    show_results(out, plan.name, rows, progress)


def read_study(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        InputError: it cannot be read, a field is missing or wrong, or an overlay is not there.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Study, "study")
    try:
        values = yaml.safe_load(path.read_text())
        plan: Study = parser.instantiate_classes(parser.parse_object({"study": values})).study
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, ArgumentError, TypeError) as error:
        raise InputError(f"{path}: not a study: {' '.join(str(error).split())}") from error
    if not plan.arms or not plan.seeds or len(set(plan.seeds)) < len(plan.seeds):
        raise InputError(f"{path}: a study needs at least one arm, and seeds of which none is there twice.")
    if "data.root" not in plan.arguments or OWN in plan.tests:
        raise InputError(f"{path}: arguments must say data.root, the data to train on, and no further test set may be named {OWN!r}.")
    names = [plan.name, *plan.arms, *plan.tests]
    if not all(re.fullmatch(r"[\w-]+", name) for name in names) or {CHECKPOINTS, "logs"} & plan.tests.keys():
        raise InputError(f"{path}: {', '.join(names)}: names become folders; use letters, digits, _ and - alone, and not {CHECKPOINTS} or logs.")
    if "seed_everything" in plan.arguments:
        raise InputError(f"{path}: seed_everything stands in arguments: the seeds are the study's.")
    for overlay in [*plan.configs, *(overlay for arm in plan.arms.values() for overlay in arm)]:
        if not (path.parent / overlay).is_file():
            raise InputError(f"{path}: {overlay} is not there. Overlays are found relative to the study file.")
    return plan


def plan_trials(plan: Study, base: Path, folder: Path) -> list[Trial]:
    """All trials, seed by seed, so that a study that is cut short has every arm.

    Raises:
        InputError: a data set is not there.
    """
    roots = {OWN: str(plan.arguments["data.root"]), **plan.tests}
    data = {name: hash_data(Path(root)) for name, root in roots.items()}
    settings = {name: value for name, value in plan.arguments.items() if name != "data.root"}
    trials = []
    for seed in plan.seeds:
        for arm, overlays in plan.arms.items():
            configs = [base / overlay for overlay in (*plan.configs, *overlays)]
            arguments = [word for path in configs for word in ("--config", str(path))]
            arguments += [word for name, value in plan.arguments.items() for word in (f"--{name}", as_word(value))]
            meaning = [yaml.safe_load(path.read_text()) for path in configs]
            own = hash_of([meaning, settings, seed, data[OWN]])
            home = folder / arm / f"seed{seed}"
            places = [Place(OWN, home, roots[OWN], own)]
            places += [Place(name, home / name, root, hash_of([own, data[name]])) for name, root in plan.tests.items()]
            trials.append(Trial(arm, seed, (*arguments, "--seed_everything", str(seed)), tuple(places)))
    return trials


def hash_data(root: Path) -> str:
    """What a data set is, wherever it lies: a hash of its tables, and of what a phantom says of its look."""
    if not (root / FILE_LIST).is_file():
        raise InputError(f"{root}: the study needs this data set, and {FILE_LIST} is not there. Make or fetch it first.")
    tables = [root / name for name in (FILE_LIST, *TRACINGS.values(), MANIFEST)]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in tables if path.is_file())).hexdigest()[:16]


def hash_of(meaning: Any) -> str:  # noqa: ANN401  (whatever YAML holds)
    """A short name for settings."""
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:16]


def as_word(value: Any) -> str:  # noqa: ANN401  (whatever YAML holds)
    """An argument's value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def refuse_changed(trials: Sequence[Trial]) -> None:
    """Refuse to mix results: what was begun with other settings or data must be moved away."""
    for place in (place for trial in trials for place in trial.places):
        begun = place.folder / FINGERPRINT
        worked = place.done or (place.folder / CHECKPOINTS).is_dir()
        if worked and begun.is_file() and begun.read_text().strip() != place.fingerprint:
            raise InputError(
                f"{place.folder} was begun with other settings or data than the study has now. Move it away, or give the study another name."
            )


def recorded_rows(path: Path, trials: Sequence[Trial]) -> dict[Trial, list[Row]]:
    """The trials that an earlier results.csv records with all their test sets.

    Raises:
        InputError: it records a trial with other settings or data than the study has now.
    """
    found: dict[Trial, list[Row]] = {}
    rows = {(row["arm"], row["seed"], row["test"]): row for row in (read_results(path) if path.is_file() else [])}
    for trial in trials:
        of_trial = [rows.get((trial.arm, trial.seed, place.test)) for place in trial.places]
        for place, row in zip(trial.places, of_trial, strict=True):
            if row is not None and row["fingerprint"] != place.fingerprint:
                what = f"{trial.arm}, seed {trial.seed}, test set {place.test}"
                raise InputError(f"{path}: {what} is of other settings or data than the study has now. Move it away, or give another --out.")
        known = [row for row in of_trial if row is not None]
        if len(known) == len(of_trial):
            found[trial] = known
    return found


def collect_rows(trials: Sequence[Trial], recorded: dict[Trial, list[Row]]) -> tuple[list[Row], tuple[int, int]]:
    """The rows of all trials that are done, in the study's order; how many those are, and of how many."""
    done = {trial: trial_rows(trial) if trial.done else recorded[trial] for trial in trials if trial.done or trial in recorded}
    return [row for rows in done.values() for row in rows], (len(done), len(trials))


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
        resume = ["--ckpt_path", "last"] if (own.folder / CHECKPOINTS / f"{LAST}.ckpt").is_file() else []
        yield own, ["fit", *shared, *there, *resume]
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


def trial_rows(trial: Trial) -> list[Row]:
    """The figures of a trial: a row for its own test split, and one for each further data set."""
    cost = json.loads((trial.folder.parent / PROFILE).read_text())
    starts = json.loads((trial.folder / ENVIRONMENT).read_text()) if (trial.folder / ENVIRONMENT).is_file() else [{}]
    named = {
        "arm": trial.arm,
        "seed": trial.seed,
        "parameters": cost["parameters"],
        "gmacs": cost["gmacs"],
        "seconds": json.loads((trial.folder / TIMES).read_text())["seconds"],
        "revision": " ".join(dict.fromkeys(start["revision"] for start in starts if start.get("revision"))),
    }
    scores = [(place, json.loads((place.folder / METRICS).read_text())) for place in trial.places]
    return [{**named, "test": place.test, "fingerprint": place.fingerprint, **found} for place, found in scores]
