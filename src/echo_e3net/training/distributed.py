"""What the ranks of a distributed run owe each other: one mean, one table, one measurement. In a process alone each is what it is without ranks.

A rank is a process with a device of its own; all ranks hold the same weights and see different clips. What is averaged over ranks is averaged over what
is labelled in the *global* batch, so that one rank with eight clips and two ranks with four take the same step.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Num
from torch import Tensor

from echo_e3net.errors import InputError

Result = TypeVar("Result")


def ranks() -> int:
    """Number of ranks; 1 where nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this rank; 0 where nothing is distributed."""
    return dist.get_rank() if ranks() > 1 else 0


def mean_over_ranks(value: Num[Tensor, "*S"]) -> Num[Tensor, "*S"]:
    """Mean of a float tensor over the ranks, without gradient; every rank must call it."""
    if ranks() == 1:
        return value
    mean = value.detach().clone()
    dist.all_reduce(mean)
    return mean / ranks()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank; every rank must call it."""
    return bool(mean_over_ranks(torch.tensor(float(flag), device=device)) > 0) if ranks() > 1 else flag


def gather_rows(rows: list[Result]) -> list[Result]:
    """The rows of all ranks, rank after rank; every rank must call it."""
    if ranks() == 1:
        return rows
    gathered: list[list[Result]] = [[] for _ in range(ranks())]
    dist.all_gather_object(gathered, rows)
    return [row for part in gathered for row in part]


def once(work: Callable[[], Result], what: str, minutes: float = 60) -> Result:
    """Do on rank 0 what need not be done by all, and hand the result to the others.

    Args:
        work: done on rank 0 alone; its result must be picklable.
        what: names the work in messages, as "measuring grey levels".
        minutes: how long the others wait.

    Raises:
        InputError: what ``work`` raises, on all ranks; or rank 0 was not done in time.
    """
    if ranks() == 1:
        return work()
    # The store is a key-value server that every process group has: waiting there has a time limit of its own, and no device takes part.
    store, key = dist.distributed_c10d._get_default_store(), f"once/{what}"
    if rank() == 0:
        try:
            result = work()
        except InputError as error:
            store.set(key, pickle.dumps((None, str(error))))  # type: ignore[arg-type]  # bytes are fine
            raise
        store.set(key, pickle.dumps((result, "")))  # type: ignore[arg-type]
    try:
        store.wait([key], timedelta(minutes=minutes))
    except RuntimeError as error:
        raise InputError(
            f"rank {rank()} waited {minutes:g} minutes for rank 0, which is {what}. Look at rank 0's messages."
        ) from error
    found: tuple[Result, str] = pickle.loads(store.get(key))  # rank 0 of this run wrote it
    if found[1]:
        raise InputError(found[1])
    return found[0]
