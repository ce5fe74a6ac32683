"""Run the trials of a study: one process ``echo-e3net fit`` per trial, and one ``echo-e3net test`` per data set.

    runs/<study>/<arm>/profile.json                what the arm's network costs
    runs/<study>/<arm>/seed0/                      a run
    runs/<study>/<arm>/seed0/<test>/               the same checkpoint on a further data set
    runs/<study>/<arm>/seed0/fingerprint.txt       hash of the settings and data; also in each <test>/
    runs/<study>/<arm>/seed0/study.log, trial.json output and duration of the processes
    runs/<study>/results.csv, videos.csv, …        written after each trial (:mod:`echo_e3net.search.study_results`)

A stopped study continues where it stopped, also in the middle of a training. Trials recorded in results.csv are not
trained again, so results.csv is enough to continue on another machine; copy videos.csv too, because the bootstrap
intervals need it. Several processes may work on one study in a shared folder; a trial that one of them runs is skipped
by the others.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.progress import Progress

from echo_e3net.errors import InputError
from echo_e3net.files import code_hash, require_place, write_text
from echo_e3net.locks import held, locked
from echo_e3net.search.processes import Preempted, Processes, last_line
from echo_e3net.search.study_plan import FINGERPRINT, LOG, PROFILE, TIMES, Place, Study, Trial, refuse_changed
from echo_e3net.search.study_results import (
    CSV,
    Results,
    collect,
    recorded_results,
    save_results,
    show_results,
    trial_rows,
)
from echo_e3net.search.study_tables import Row
from echo_e3net.training.run_folder import CHECKPOINTS, METRICS, STOPPED

LOCK, TRIAL_LOCK, RESULTS_LOCK = "study.lock", "trial.lock", "results.lock"
"""Lock files, held by: a process that trains or tests; the command that runs a trial; the writer of the tables."""
Outcome = int | None
"""Exit code of the first failed process of a trial; 0 if all succeeded; None if another command runs the trial."""


def run_study(
    plan: Study, trials: Sequence[Trial], chosen: Sequence[Trial], out: Path, jobs: int, train: bool, any_code: bool
) -> bool:
    """Run the missing trials of a study, write its results after each, and show them.

    Args:
        plan: the study.
        trials: all its trials.
        chosen: those that this command may run.
        out: folder of the results.
        jobs: trials at a time.
        train: whether to run trials; otherwise only the results are written.
        any_code: whether to allow results of different code.

    Returns:
        False if there are no results and no trial had to run.

    Raises:
        InputError: existing results do not match, or a trial failed.
    """
    for folder in (out, trials[0].folder.parents[1]):
        require_place(folder / CSV)
    recorded, predictions = recorded_results(out, trials)
    refuse_changed(trials)
    missing = [trial for trial in chosen if train and not trial.done and trial not in recorded]
    if not any_code:
        refuse_other_code(trials, recorded, bool(missing))

    def save() -> Results:
        # The lock lets the command that writes last see all trials.
        with locked(out / RESULTS_LOCK, wait=True):
            results = collect(trials, recorded, predictions)
            if results.rows:
                save_results(out, plan, results)
        return results

    if missing:
        run_trials(missing, jobs, save)
    results = save()
    if results.rows:
        show_results(out, plan, results)
    return bool(results.rows) or bool(missing)


def refuse_other_code(trials: Sequence[Trial], recorded: Mapping[Trial, Sequence[Row]], running: bool) -> None:
    """Check that all results are of the same code.

    Args:
        trials: all trials of the study.
        recorded: rows of an earlier results.csv; rows without a code hash are accepted.
        running: whether the installed code will run trials too.

    Raises:
        InputError: the results are of different code.
    """
    found = {code_hash(): "the installed code"} if running else {}
    for trial in trials:
        codes = [code for row in recorded.get(trial, ()) for code in (row.get("code") or "").split()]
        codes += [code for place in trial.places if place.worked for code in place.recorded("code")]
        for code in codes:
            found.setdefault(code, str(trial))
    if len(found) > 1:
        sides = " and ".join(f"{who} ({code})" for code, who in found.items())
        raise InputError(
            f"{trials[0].folder.parents[1]}: results of different code cannot be compared: {sides}. "
            "Move the folders of the old trials, or add --any_code true."
        )


def run_trials(trials: Sequence[Trial], jobs: int, save: Callable[[], object]) -> None:
    """Run trials and save the results after each.

    Trials that another command runs are skipped and tried again at the end.

    Raises:
        InputError: the network of an arm cannot be built, or a trial failed.
        SystemExit: the study was stopped; the exit code is 75 if a cluster stopped it.
    """

    def message() -> str:
        done = sum(trial.done for trial in trials)
        return f"stopped: {done} of {len(trials)} trials are done. Run the same command to continue."

    workers, failed, left = Workers(jobs, LOG, LOCK), [], list(trials)
    with workers.pool(message) as pool, Progress() as progress:
        task = progress.add_task("trials", total=len(trials))
        profile_arms(trials, workers, pool)
        for last in (False, True):
            current, left = left, []
            futures = {pool.submit(workers.trial, trial): trial for trial in current}
            for future in as_completed(futures):
                trial, code = futures[future], future.result()
                if code == STOPPED:
                    raise Preempted
                if code is None and not last:
                    left.append(trial)
                    continue
                if code == 0:
                    save()
                failed += [trial] if code else []
                progress.console.print(f"{trial}: {verdict(trial, code)}", highlight=False, soft_wrap=True)
                progress.advance(task)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(trials)} trials failed, first {failed[0].folder}. "
            f"Read its {LOG}, correct the cause and run the study again."
        )


def profile_arms(trials: Sequence[Trial], workers: Workers, pool: ThreadPoolExecutor) -> None:
    """Measure what each arm costs, before any training.

    Raises:
        InputError: the network of an arm cannot be built.
    """
    first = {trial.arm: trial for trial in reversed(trials) if not trial.begun}
    for trial, code in zip(first.values(), pool.map(workers.profile, first.values()), strict=True):
        if code:
            log = trial.folder.parent / LOG
            raise InputError(f"arm {trial.arm}: its network cannot be built: {last_line(log)}. Read {log}.")


def verdict(trial: Trial, code: Outcome) -> str:
    """Return the outcome of a trial as text."""
    if code is None:
        return "skipped, because another command runs it"
    if code:
        return f"failed: {last_line(trial.folder / LOG)}"
    score = trial_rows(trial)[0]["ef_mae"]
    return "done, without a score" if score is None else f"MAE {score:.2f}"


class Workers(Processes):
    """The processes of a study."""

    def profile(self, trial: Trial) -> int:
        """Measure what an arm costs, unless it is known for these settings and this code; return the exit code."""
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
        """Train and test one trial, unless another command does."""
        with locked(trial.folder / TRIAL_LOCK) as ours:
            # A process may hold LOCK although its command is gone.
            if ours is None or held(trial.folder / LOCK):
                return None
            # Another command may have changed the folder since the study began.
            refuse_changed([trial])
            times, start = trial.folder / TIMES, time.monotonic()
            before = json.loads(times.read_text())["seconds"] if times.is_file() else 0
            for place, words in commands(trial):
                write_text(place.folder / FINGERPRINT, place.fingerprint + "\n")
                code = self.run(trial.folder, words)
                write_text(times, json.dumps({"seconds": round(before + time.monotonic() - start)}) + "\n")
                if code:
                    return code
            return 0

    def run(self, folder: Path, words: Sequence[str]) -> int:
        """Run one process in a folder; return its exit code."""
        command = [sys.executable, "-m", "echo_e3net", *words]
        with self.started(folder, command) as process:
            return process.wait() if process else 1


def commands(trial: Trial) -> Iterator[tuple[Place, list[str]]]:
    """Yield the command lines that a trial still needs. Each depends on the results of those before it."""
    own, *further = trial.places
    shared = [*trial.arguments, "--trainer.enable_progress_bar", "false"]
    if not own.done:
        target = ["--runs", str(own.folder.parent), "--name", own.folder.name]
        yield own, ["fit", *shared, *target, "--auto_resume", "true"]
        yield own, ["test", *shared, *target]
    checkpoint = own.folder / CHECKPOINTS / Path(json.loads((own.folder / METRICS).read_text())["checkpoint"]).name
    for place in further:
        if not place.done:
            target = ["--runs", str(own.folder), "--name", place.test, "--ckpt_path", str(checkpoint)]
            yield place, ["test", *shared, *target, "--data.root", place.root]
