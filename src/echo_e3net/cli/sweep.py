"""The command ``echo-e3net sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console

from echo_e3net.errors import InputError, require_at_least
from echo_e3net.search.sweep_engine import JOURNAL, run_sweep
from echo_e3net.search.sweep_file import read_sweep


def sweep(
    file: Path,
    storage: Path | None = None,
    workers: int = 1,
    trials: int | None = None,
    pruner: Literal["file", "median", "none"] = "file",
    seed: int = 0,
    runs: Path = Path("runs"),
) -> None:
    """Search hyperparameters as a W&B sweep file describes, without a server.

    Run the same command again to continue after a stop. Run it on several machines with a shared folder to share the
    trials.

    Args:
        file: the sweep file, as `wandb sweep` reads it (experiments/sweeps).
        storage: the journal that all workers share; null: journal.log in the sweep's folder.
        workers: number of trials that this command runs at a time.
        trials: target number of finished trials, over all workers; null: as many as run_cap or the grid allows.
        pruner: rule that ends trials early. file: early_terminate of the sweep file. median: trials that are worse
            than the median of the others. none: no trial ends early.
        seed: seed of the methods random and bayes.
        runs: folder of all runs; the sweep's folder in it has the sweep's name.
    """
    require_at_least(1, workers=workers, trials=trials)
    plan = read_sweep(file)
    if trials is None and plan.run_cap is None and plan.method != "grid":
        raise InputError(
            f"{file}: method {plan.method} does not end by itself. Add --trials N, or run_cap in the file."
        )
    folder = runs / plan.name
    run_sweep(plan, folder, storage or folder / JOURNAL, workers, trials, seed, pruner)
    Console().print(f"Results: {folder}/trials.csv, best.yaml, sweep.md, sweep.png", highlight=False, soft_wrap=True)
