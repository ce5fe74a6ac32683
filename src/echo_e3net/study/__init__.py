"""``echo-e3net study``: one base configuration, several arms that change it, several seeds; each trial trained and tested once.

A study is a YAML file (:class:`Study`). A trial is a process ``echo-e3net fit`` and one ``echo-e3net test`` a data set, in a folder of its own:

    runs/<study>/<arm>/profile.json                what the arm's network costs
    runs/<study>/<arm>/seed0/                      the run, as any other run
    runs/<study>/<arm>/seed0/<test>/               the same checkpoint on a further data set
    runs/<study>/<arm>/seed0/fingerprint.txt       the settings and data that it was begun with; one in each <test>/ too
    runs/<study>/<arm>/seed0/study.log, trial.json what its processes printed, and how long they took
    runs/<study>/results.csv, .md, .png            written anew after each trial

So a study that was stopped goes on where it stopped, in the middle of a training too. Trials that results.csv records need no folder any more:
the file can be carried to another machine, and the study goes on there. ``plan`` says what is to be done, ``trials`` does it, ``results`` gathers what
it left.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from echo_e3net.errors import InputError
from echo_e3net.files import require_place
from echo_e3net.study.plan import plan_trials, read_study, refuse_changed
from echo_e3net.study.results import CSV, collect_rows, recorded_rows, save_results, show_results
from echo_e3net.study.trials import run_study


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
    for folder in (out, runs / plan.name):
        require_place(folder / CSV)
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
