"""One task for many things, in processes, with a progress bar."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from echo_e3net.data.raster import use_one_thread

Thing = TypeVar("Thing")
Result = TypeVar("Result")


def each(
    task: Callable[[Thing], Result], things: Sequence[Thing], jobs: int, title: str
) -> Iterator[tuple[Thing, Result]]:
    """Run a task for each thing; yields each thing with its result as they are done, in any order.

    Args:
        task: a function of a module, so that another process can import it.
        things: what it is called with, one by one.
        jobs: processes; 1 stays in this one.
        title: of the progress bar, which goes to standard error.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(_results(task, things, min(jobs, len(things))), total=len(things), description=title)


def _results(task: Callable[[Thing], Result], things: Sequence[Thing], jobs: int) -> Iterator[tuple[Thing, Result]]:
    if jobs <= 1:
        for thing in things:
            yield thing, task(thing)
        return
    # Spawned, not forked: a fork of a process that has loaded torch or OpenCV may hang in their threads.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=use_one_thread) as pool:
        futures = {pool.submit(task, thing): thing for thing in things}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
