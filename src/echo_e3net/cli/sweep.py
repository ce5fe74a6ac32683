"""The command ``echo-e3net sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from echo_e3net.errors import InputError, require_at_least
from echo_e3net.files import find_shipped

RESULTS = ("trials.csv", "best.yaml", "sweep.md", "sweep.png")


def sweep(
    file: Path,
    storage: Path | None = None,
    workers: int = 1,
    trials: int | None = None,
    pruner: Literal["file", "median", "none"] = "file",
    seed: int = 0,
    runs: Path = Path("runs"),
    arguments: dict[str, Any] | None = None,
) -> None:
    """Search hyperparameters as a W&B sweep file describes, without a server.

    Run the same command again to continue after a stop. Run it on several machines with a shared folder to share the
    trials. Arguments of the trials may follow: ``--data.root FOLDER``, ``--trainer.max_epochs 9``.

    Args:
        file: the sweep file, as `wandb sweep` reads it; a local file or a bundled one (`echo-e3net configs`).
        storage: the journal that all workers share; null: journal.log in the sweep's folder.
        workers: number of trials that this command runs at a time.
        trials: target number of finished trials, over all workers; null: as many as run_cap or the grid allows.
        pruner: rule that ends trials early. file: early_terminate of the sweep file. median: trials that are worse
            than the median of the others. none: no trial ends early.
        seed: seed of the methods random and bayes.
        runs: folder of all runs; the sweep's folder in it has the sweep's name.
        arguments: arguments of the trials by dotted name; they replace constants of the sweep file.
    """
    from echo_e3net.search.sweep_engine import JOURNAL, run_sweep
    from echo_e3net.search.sweep_file import read_sweep

    require_at_least(1, workers=workers, trials=trials)
    file = find_shipped(file)
    plan = read_sweep(file, arguments)
    if trials is None and plan.run_cap is None and plan.method != "grid":
        raise InputError(
            f"{file}: method {plan.method} does not end by itself. Add --trials N, or run_cap in the file."
        )
    folder = runs / plan.name
    run_sweep(plan, folder, storage or folder / JOURNAL, workers, trials, seed, pruner)
    written = [name for name in RESULTS if (folder / name).is_file()]
    Console().print(f"Results: {folder}/{', '.join(written)}", highlight=False, soft_wrap=True)
