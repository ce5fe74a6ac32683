"""``echo-e3net sweep``: a W&B sweep file without a server, by any number of workers that share a folder.

    runs/<sweep>/journal.log          all trials, what was suggested and what they reported
    runs/<sweep>/trial0007/           a run as any other, with sweep.log (what its process printed)
    runs/<sweep>/trials.csv, best.yaml, sweep.md, sweep.png
    runs/<sweep>/sweep.lock, workers/ locks by which workers know of each other

``file`` reads what the sweep file says and ``parameters`` its distributions; ``space`` is their mathematics; ``early`` says which trials end early;
``search`` remembers and suggests; ``command`` builds a trial's command line; ``engine`` runs trials; ``live`` shows them and ``results`` gathers them.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from rich.console import Console

from echo_e3net.errors import InputError
from echo_e3net.files import require_place
from echo_e3net.search.processes import Preempted, Processes, locked
from echo_e3net.search.sweep_engine import FAILURES, LOCK, LOG, WORKERS, Engine
from echo_e3net.search.sweep_file import read_sweep
from echo_e3net.search.sweep_live import Screen
from echo_e3net.search.sweep_search import Search
from echo_e3net.training.run_folder import STOPPED

CSV, JOURNAL = "trials.csv", "journal.log"


def sweep(
    file: Path,
    storage: Path | None = None,
    workers: int = 1,
    trials: int | None = None,
    pruner: Literal["file", "median", "none"] = "file",
    seed: int = 0,
    runs: Path = Path("runs"),
) -> None:
    """Run the trials of a W&B sweep file without a server; the same command elsewhere, or after a stop, joins in.

    Args:
        file: the sweep, as `wandb sweep` takes it (experiments/sweeps).
        storage: the journal that all workers share; null: journal.log in the sweep's folder.
        workers: trials at a time, by this command.
        trials: how many shall be done or pruned, by all workers together; null: as many as the file's run_cap or grid allows.
        pruner: which trials end early: file, as its early_terminate says; median, those worse than the median of the others; none.
        seed: of random and bayes.
        runs: folder of all runs; the sweep's is named after it, and shared by all workers.
    """
    if workers < 1 or (trials is not None and trials < 1):
        raise InputError(f"workers is {workers} and trials {trials}: give at least 1.")
    plan = read_sweep(file)
    if trials is None and plan.run_cap is None and plan.method != "grid":
        raise InputError(
            f"{file}: a {plan.method} search has no end of its own: give --trials, or run_cap in the file."
        )
    folder = runs / plan.name
    require_place(folder / CSV)
    journal = storage or folder / JOURNAL
    require_place(journal)
    journal.parent.mkdir(parents=True, exist_ok=True)
    processes = Processes(workers, LOG, LOCK)
    with locked(folder / LOCK, wait=True):
        search = Search(plan, journal, seed, pruner)
    engine = Engine(plan, search, folder, trials, processes)
    try:
        run_workers(engine, workers)
    finally:
        with locked(folder / LOCK, wait=True):
            rows = search.rows()
            if any(row.state != "waiting" for row in rows):
                from echo_e3net.search.sweep_results import (
                    save_results,  # late: a command that joins in need not wait for torch
                )

                save_results(folder, plan, rows, search.importances())
    if len(engine.failures) >= FAILURES:
        raise InputError(
            f"{FAILURES} trials failed one after the other, last {engine.failures[-1]}. See its {LOG}; the same command goes on."
        )
    Console().print(f"{folder / CSV}, best.yaml, sweep.md, sweep.png", highlight=False, soft_wrap=True)


def run_workers(engine: Engine, workers: int) -> None:
    """Let some threads work, and show how things stand until they are through; a signal stops their trials, whose points wait for the next command.

    Raises:
        SystemExit: stopped; with 75 where a cluster asked for it.
    """
    console = Console()
    mine = engine.folder / WORKERS / f"{engine.worker}.lock"
    with engine.processes, locked(mine), ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(engine.work) for _ in range(workers)]
        try:
            with Screen(engine.sweep, console) as screen:
                while not all(future.done() for future in futures):
                    mine.touch()
                    screen.show(engine.search.rows())
                    first_error(futures)
                    time.sleep(engine.interval)
                screen.show(engine.search.rows())
                first_error(futures)
        except BaseException as stop:
            engine.processes.stop()
            engine.processes.kill_after()
            pool.shutdown()
            if not isinstance(stop, KeyboardInterrupt):
                raise
            console.print("stopped. Trials that ran will be begun anew; the same command goes on.", highlight=False)
            raise SystemExit(STOPPED if isinstance(stop, Preempted) else 130) from None
        finally:
            mine.unlink(missing_ok=True)


def first_error(futures: list[Future[None]]) -> None:
    """Raise what stopped a worker."""
    for future in futures:
        if future.done():
            future.result()
