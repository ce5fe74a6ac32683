"""Time the forms of several networks in turn, and compare each network's best form with that of the reference."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch

from echo_e3net.benchmark.forms import Form

WARM_UP = 2
"""Passes before the measurement, which allocate memory and choose kernels."""
FEWEST = 3
"""Smallest number of measured rounds."""
PREPARING = 0.5
"""Share of the time in which forms are prepared."""


class Timing(NamedTuple):
    """The median time of a form, seconds, over a number of rounds."""

    form: str
    seconds: float
    rounds: int


class Result(NamedTuple):
    """Timings of all forms of a network, fastest first, and the forms that failed with the reason."""

    timings: list[Timing]
    failed: dict[str, str]


def measure(
    networks: Mapping[str, Iterable[tuple[str, Callable[[], Form]]]], device: torch.device, seconds: float
) -> dict[str, Result]:
    """Measure the forms of several networks in interleaved rounds, so that other work disturbs all alike.

    Args:
        networks: the forms of each network by name, each with the function that prepares it.
        device: the device on which they run.
        seconds: time for all. Forms are prepared in ``PREPARING`` of it, except the first of each network; the rest
            is for at least ``FEWEST`` rounds.
    """
    start = time.perf_counter()
    ready: dict[tuple[str, str], Form] = {}
    failed: dict[str, dict[str, str]] = {name: {} for name in networks}
    for name, forms in networks.items():
        for form, prepare in forms:
            late = time.perf_counter() - start > PREPARING * seconds
            if late and any(network == name for network, _ in ready):
                failed[name][form] = "no time left"
                continue
            try:
                ready[name, form] = prepare()
                for _ in range(WARM_UP):
                    ready[name, form]()
            except Exception as error:
                ready.pop((name, form), None)
                lines = str(error).strip().splitlines()
                failed[name][form] = f"{type(error).__name__}: {lines[0][:120] if lines else ''}"
    times: dict[tuple[str, str], list[float]] = {key: [] for key in ready}
    while ready and (len(next(iter(times.values()))) < FEWEST or time.perf_counter() - start < seconds):
        for key, run in ready.items():
            times[key].append(timed(run, device))
    results = {}
    for name in networks:
        found = [
            Timing(form, statistics.median(values), len(values)) for (n, form), values in times.items() if n == name
        ]
        results[name] = Result(sorted(found, key=lambda timing: timing.seconds), failed[name])
    return results


def timed(run: Form, device: torch.device) -> float:
    """Return the seconds of one pass, after the device has finished its work."""
    synchronise(device)
    start = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
