"""The command ``echo-e3net study``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from echo_e3net.errors import InputError, require_at_least
from echo_e3net.files import find_shipped


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
    """Train and test every arm of a study with every seed. Tables and pictures are updated after each trial.

    Run the same command again to continue after a stop: finished trials are kept, and a training continues from its
    last epoch. Run it on several nodes with a shared folder to share the trials. Arguments of the trials may follow:
    ``--data.root FOLDER``, ``--trainer.max_epochs 9``, and ``--tests.NAME FOLDER`` for a further test set.

    Args:
        file: the study, a YAML file; a local file or a bundled one (`echo-e3net configs`).
        runs: folder of all runs; the study's folder in it has the study's name.
        out: folder of the results; null: the study's folder.
        jobs: number of trials at a time; they share the cores equally, unless OMP_NUM_THREADS is set.
        train: whether to run missing trials; false only writes the results.
        shard: part of the trials that this command runs. I/N runs trials I, I+N, I+2N, …; the default 1/1 runs all.
            Trials that another process runs are skipped.
        any_code: whether to allow results of different code in one table.
        arguments: arguments of the trials by dotted name; they replace those of the study file.
    """
    from echo_e3net.search.study_plan import plan_trials, read_study
    from echo_e3net.search.study_trials import run_study

    require_at_least(1, jobs=jobs)
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"shard is {shard!r}; expected I/N, for example 1/4 to 4/4 for four processes.")
    file = find_shipped(file)
    plan = read_study(file, arguments)
    trials = plan_trials(plan, file.parent, runs / plan.name)
    chosen = trials[int(match[1]) - 1 :: int(match[2])]
    if not run_study(plan, trials, chosen, out or runs / plan.name, jobs, train, any_code):
        raise InputError(f"{file}: no trial is done yet. Run the study without --train false.")
