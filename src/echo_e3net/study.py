"""``echo-e3net study``: one base configuration, several arms that change it, several seeds; each trial trained and tested once.

A study is a YAML file (:class:`Study`). A trial is a process ``echo-e3net fit`` and one ``echo-e3net test`` a data set, in a folder of its own:

    runs/<study>/<arm>/profile.json           what the arm's network costs
    runs/<study>/<arm>/seed0/                 the run; study.log has what its processes printed
    runs/<study>/<arm>/seed0/<test>/          the same checkpoint on a further data set
    runs/<study>/<arm>/seed0/trial.json       appears when the trial is done

So a study that was stopped goes on where it stopped, in the middle of a training too. Trials that results.csv records need no folder any more:
the file can be carried to another machine, and the study goes on there. Results are collected by ``study_results``.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from echo_e3net.callbacks import CHECKPOINTS, LAST
from echo_e3net.errors import InputError
from echo_e3net.files import write_text
from echo_e3net.results import METRICS
from echo_e3net.study_results import CSV, Row, read_results, write_results

TRIAL, PROFILE, LOG = "trial.json", "profile.json", "study.log"
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
        arguments: further arguments of every trial, by dotted name.
        tests: further data sets whose test split every checkpoint is scored on, by name.
    """

    name: str
    configs: list[str]
    arms: dict[str, list[str]]
    seeds: list[int]
    arguments: dict[str, str | int | float] = field(default_factory=dict)
    tests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Trial:
    """One arm with one seed: the arguments that its processes share, its folder, and further data sets to test on."""

    arm: str
    seed: int
    folder: Path
    arguments: tuple[str, ...]
    tests: Mapping[str, str]
    fingerprint: str

    @property
    def done(self) -> bool:
        """Whether it is trained and tested."""
        return (self.folder / TRIAL).is_file()


def study(file: Path, runs: Path = Path("runs"), out: Path | None = None, jobs: int = 1, train: bool = True) -> None:
    """Train and test every arm of a study with every seed, then write results.csv, results.md and results.png.

    Call it again after an interruption: what is done is kept, also what an earlier results.csv records, and a training goes on from its last epoch.

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
    failed = run_trials([trial for trial in trials if not trial.done and trial not in recorded], jobs) if train else []
    done = {trial: trial_rows(trial) if trial.done else recorded[trial] for trial in trials if trial.done or trial in recorded}
    if not done:
        raise InputError(f"{file}: no trial is done." + (f" See {failed[0].folder / LOG}." if failed else ""))
    write_results(out, plan.name, [row for rows in done.values() for row in rows], complete=(len(done), len(trials)))
    if failed:
        raise InputError(f"{len(failed)} of {len(trials)} trials failed, first {failed[0].folder}: see its {LOG}, then run the study again.")


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
    for overlay in [*plan.configs, *(overlay for arm in plan.arms.values() for overlay in arm)]:
        if not (path.parent / overlay).is_file():
            raise InputError(f"{path}: {overlay} is not there. Overlays are found relative to the study file.")
    return plan


def plan_trials(plan: Study, base: Path, folder: Path) -> list[Trial]:
    """All trials, seed by seed, so that a study that is cut short has every arm."""
    trials = []
    for seed in plan.seeds:
        for arm, overlays in plan.arms.items():
            configs = [base / overlay for overlay in (*plan.configs, *overlays)]
            arguments = [word for path in configs for word in ("--config", str(path))]
            arguments += [word for name, value in plan.arguments.items() for word in (f"--{name}", str(value))]
            meaning = [yaml.safe_load(path.read_text()) for path in configs]
            fingerprint = hashlib.sha256(json.dumps([meaning, plan.arguments, seed, plan.tests], sort_keys=True).encode()).hexdigest()[:16]
            arguments += ["--seed_everything", str(seed)]
            trials.append(Trial(arm, seed, folder / arm / f"seed{seed}", tuple(arguments), plan.tests, fingerprint))
    return trials


def refuse_changed(trials: Sequence[Trial]) -> None:
    """Refuse to mix results: a trial that was begun with other settings must be moved away."""
    for trial in trials:
        begun = trial.folder / "fingerprint.txt"
        if begun.is_file() and begun.read_text().strip() != trial.fingerprint:
            raise InputError(f"{trial.folder} was begun with other settings than the study has now. Move it away, or give the study another name.")


def recorded_rows(path: Path, trials: Sequence[Trial]) -> dict[Trial, list[Row]]:
    """The trials that an earlier results.csv records with all their test sets.

    Raises:
        InputError: it records a trial with other settings than the study has now.
    """
    found: dict[Trial, list[Row]] = {}
    rows = read_results(path) if path.is_file() else []
    for trial in trials:
        of_trial = [row for row in rows if (row["arm"], row["seed"]) == (trial.arm, trial.seed)]
        if any(row["fingerprint"] != trial.fingerprint for row in of_trial):
            raise InputError(
                f"{path}: {trial.arm}, seed {trial.seed} is of other settings than the study has now. Move it away, or give another --out."
            )
        if {row["test"] for row in of_trial} == {OWN, *trial.tests}:
            found[trial] = of_trial
    return found


def run_trials(trials: Sequence[Trial], jobs: int) -> list[Trial]:
    """Run trials, some at a time; returns those that failed."""
    console, failed = Console(), []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("trials", total=len(trials))
        futures = {pool.submit(run_trial, trial, jobs): trial for trial in trials}
        try:
            for future in as_completed(futures):
                trial, code = futures[future], future.result()
                if code:
                    failed.append(trial)
                verdict = f"failed, see {trial.folder / LOG}" if code else f"MAE {trial_rows(trial)[0]['ef_mae']:.2f}"
                progress.console.print(f"{trial.arm}, seed {trial.seed}: {verdict}", highlight=False, soft_wrap=True)
                progress.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def run_trial(trial: Trial, jobs: int) -> int:
    """Train and test one trial; returns the exit code of the first process that failed, or 0."""
    write_text(trial.folder / "fingerprint.txt", trial.fingerprint + "\n")
    start = time.monotonic()
    for words in commands(trial):
        code = run(trial, words, jobs)
        if code:
            return code
    write_text(trial.folder / TRIAL, json.dumps({"arm": trial.arm, "seed": trial.seed, "seconds": round(time.monotonic() - start)}) + "\n")
    return 0


def commands(trial: Trial) -> Iterator[list[str]]:
    """The command lines of a trial, in order; a command is made when those before it are done."""
    shared = [*trial.arguments, "--runs", str(trial.folder.parent), "--name", trial.folder.name]
    cost = trial.folder.parent / PROFILE
    if not cost.is_file():
        yield ["profile", *trial.arguments, "--repeats", "1", "--json", str(cost)]
    resume = ["--ckpt_path", "last"] if (trial.folder / CHECKPOINTS / f"{LAST}.ckpt").is_file() else []
    yield ["fit", *shared, *resume, "--trainer.enable_progress_bar", "false"]
    yield ["test", *shared, "--trainer.enable_progress_bar", "false"]
    checkpoint = json.loads((trial.folder / METRICS).read_text())["checkpoint"]
    for name, root in trial.tests.items():
        place = ["--runs", str(trial.folder), "--name", name, "--ckpt_path", checkpoint, "--data.root", root]
        yield ["test", *trial.arguments, *place, "--trainer.enable_progress_bar", "false"]


def run(trial: Trial, words: Sequence[str], jobs: int) -> int:
    """One process of a trial; its output goes to the trial's log."""
    environment = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} | os.environ
    with (trial.folder / LOG).open("a") as log:
        log.write(f"$ echo-e3net {' '.join(words)}\n")
        log.flush()
        return subprocess.run(
            [sys.executable, "-m", "echo_e3net", *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
        ).returncode


def trial_rows(trial: Trial) -> list[Row]:
    """The figures of a trial: a row for its own test split, and one for each further data set."""
    cost = json.loads((trial.folder.parent / PROFILE).read_text())
    named = {
        "arm": trial.arm,
        "seed": trial.seed,
        "fingerprint": trial.fingerprint,
        "parameters": cost["parameters"],
        "gmacs": cost["gmacs"],
        "seconds": json.loads((trial.folder / TRIAL).read_text())["seconds"] if trial.done else None,
    }
    places = {OWN: trial.folder, **{name: trial.folder / name for name in trial.tests}}
    return [{**named, "test": name, **json.loads((place / METRICS).read_text())} for name, place in places.items()]
