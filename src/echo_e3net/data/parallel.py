"""Run one function for many items in several processes, and show progress."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from echo_e3net.data.raster import use_one_thread

Item = TypeVar("Item")
Result = TypeVar("Result")
SECONDS_PER_LINE = 30.0
"""Time between two lines of progress where standard error is not a terminal."""


def each(
    task: Callable[[Item], Result], items: Sequence[Item], jobs: int | None, title: str
) -> Iterator[tuple[Item, Result]]:
    """Run a task for each item. Yield each item with its result, in the order of the items.

    Args:
        task: a function at the top level of a module, so that other processes can import it.
        items: its arguments.
        jobs: number of processes; None for one per core. With 0 or 1, the task runs in this process.
        title: title of the progress bar on standard error.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        results = _results(task, items, min((os.cpu_count() or 1) if jobs is None else jobs, len(items)))
        for done, pair in enumerate(progress.track(results, total=len(items), description=title), 1):
            if not console.is_terminal and time.monotonic() - shown > SECONDS_PER_LINE:
                console.print(f"{title}: {done} of {len(items)}", highlight=False)
                shown = time.monotonic()
            yield pair


def _results(task: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> Iterator[tuple[Item, Result]]:
    if jobs <= 1:
        yield from ((item, task(item)) for item in items)
        return
    # Spawned, not forked: a fork of a process that has loaded torch or OpenCV may hang in their threads.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=use_one_thread) as pool:
        # If one task fails or the caller stops, map cancels the tasks that have not started.
        yield from zip(items, pool.map(task, items), strict=True)
