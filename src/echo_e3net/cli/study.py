"""``echo-e3net study``: one base configuration, several arms that change it, several seeds; each trial trained and tested once.

A study is a YAML file (:class:`Study`). A trial is a process ``echo-e3net fit`` and one ``echo-e3net test`` a data set, in a folder of its own:

    runs/<study>/<arm>/profile.json                what the arm's network costs
    runs/<study>/<arm>/seed0/                      the run, as any other run
    runs/<study>/<arm>/seed0/<test>/               the same checkpoint on a further data set
    runs/<study>/<arm>/seed0/fingerprint.txt       the settings and data that it was begun with; one in each <test>/ too
    runs/<study>/<arm>/seed0/study.log, trial.json what its processes printed, and how long they took
    runs/<study>/results.csv, videos.csv, …        written anew after each trial (:mod:`echo_e3net.search.study_results`)

So a study that was stopped goes on where it stopped, in the middle of a training too. Trials that results.csv records need no folder any more:
the file can be carried to another machine, and the study goes on there. Many processes, on one node or on many, may work on one study in a shared
folder: each takes trials that no other works on. ``plan`` says what is to be done, ``trials`` does it, ``results`` gathers
what it left, ``intervals`` says how sure a difference is, ``tables`` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echo_e3net.errors import InputError
from echo_e3net.files import require_place
from echo_e3net.search.processes import locked
from echo_e3net.search.study_plan import Trial, plan_trials, read_study, refuse_changed, worked
from echo_e3net.search.study_results import CSV, Results, collect, recorded_results, save_results, show_results
from echo_e3net.search.study_tables import Row
from echo_e3net.search.study_trials import run_study
from echo_e3net.training.code_hash import code_hash

RESULTS_LOCK = "results.lock"


def study(
    file: Path,
    runs: Path = Path("runs"),
    out: Path | None = None,
    jobs: int = 1,
    train: bool = True,
    shard: str = "1/1",
    any_code: bool = False,
    arguments: dict[str, Any] | None = None,
) -> None:
    """Train and test every arm of a study with every seed; its tables and pictures grow with each trial.

    Stop it when you like and call it again: what is done is kept, also what an earlier results.csv records, and a training goes on from its last epoch.
    Call it on several nodes at once, and they share the trials. Arguments of the trials may follow: ``--data.root FOLDER``, ``--trainer.max_epochs 9``,
    ``--tests.NAME FOLDER`` for a further test set.

    Args:
        file: the study, a YAML file (experiments/studies).
        runs: folder of all runs; the study's is named after it.
        out: folder of the results; null: the study's folder.
        jobs: trials at a time; the cores are shared out among them, unless OMP_NUM_THREADS is set.
        train: whether to run what is missing; false collects what is there.
        shard: I/N runs every N-th trial alone, from the I-th on, 1/N to N/N; 1/1 runs whatever no other process works on.
        any_code: whether trials of different code may stand side by side; the tables say so.
        arguments: what --data.root and its like become; they replace those of the study file.
    """
    if jobs < 1:
        raise InputError(f"jobs is {jobs}: give at least 1.")
    plan = read_study(file, arguments)
    trials = plan_trials(plan, file.parent, runs / plan.name)
    out = out or runs / plan.name
    for folder in (out, runs / plan.name):
        require_place(folder / CSV)
    recorded, predictions = recorded_results(out, trials)
    refuse_changed(trials)
    missing = [trial for trial in of_shard(trials, shard) if not trial.done and trial not in recorded]
    if not any_code:
        refuse_other_code(trials, recorded, train and bool(missing))

    def save() -> Results:
        with locked(out / RESULTS_LOCK, wait=True):  # so that whoever writes last knows most
            results = collect(trials, recorded, predictions)
            if results.rows:
                save_results(out, plan, results)
        return results

    if train and missing:
        run_study(missing, jobs, save)
    results = save()
    if results.rows:
        show_results(out, plan, results)
    elif not missing or not train:
        raise InputError(f"{file}: no trial is done.")


def of_shard(trials: Sequence[Trial], shard: str) -> list[Trial]:
    """The trials of one of several processes, spread over arms and seeds.

    Raises:
        InputError: it is not I/N with 1 ≤ I ≤ N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"shard is {shard!r}: give I/N, as 1/4 to 4/4 for four processes.")
    return list(trials[int(match[1]) - 1 :: int(match[2])])


def refuse_other_code(trials: Sequence[Trial], recorded: Mapping[Trial, Sequence[Row]], going_on: bool) -> None:
    """Refuse to put trials of different code side by side.

    Args:
        trials: of the study.
        recorded: rows of an earlier results.csv; those of before code was recorded say nothing.
        going_on: whether the code that is installed now will run trials too.

    Raises:
        InputError: they would stand side by side.
    """
    found = {code_hash(): "the code that is installed now"} if going_on else {}
    for trial in trials:
        codes = {code for row in recorded.get(trial, ()) for code in (row.get("code") or "").split()}
        codes |= {code for place in trial.places if worked(place) for code in place.codes}
        for code in codes:
            found.setdefault(code, f"{trial.arm}, seed {trial.seed}")
    if len(found) > 1:
        sides = " and ".join(f"{who} ({code})" for code, who in list(found.items())[:2])
        raise InputError(
            f"different code made {sides}: their results do not compare. Move what is old away, or accept it with --any_code true."
        )
