"""Time the forms of several networks in turn, within a given time."""

from __future__ import annotations

import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import torch

from echo_e3net.benchmark.forms import Form, Run

FEWEST = 3
"""If fewer rounds fit into a section's time, only the fastest form of each network is repeated."""
MOST = 200
"""Largest number of rounds."""
PREPARING = 0.6
"""Share of a section's time for preparing forms, except each network's first form."""
WARM_UP = 2
"""Passes after the first one that are not counted. They are left out where ten of them would not fit."""
NO_TIME = "no time left"
FIRST = "first pass"
"""Shown instead of the number of rounds where the time was too short for one."""
Clock = Callable[[], float]
"""A function that returns the time in seconds."""


class Budget:
    """A time that must not be exceeded.

    Args:
        seconds: the time from now on.
        now: returns the current time in seconds.
    """

    def __init__(self, seconds: float, now: Clock = time.perf_counter) -> None:
        self.now = now
        self.end = now() + seconds

    def left(self) -> float:
        """Return the seconds that are left; 0 at the end."""
        return max(0.0, self.end - self.now())

    def share(self, part: float) -> Budget:
        """Return a budget for a part of what is left."""
        return Budget(part * self.left(), self.now)


class Timing(NamedTuple):
    """The median time of a form in seconds, and over how many rounds; 0 rounds: the time of its first pass."""

    form: str
    seconds: float
    rounds: int


class Result(NamedTuple):
    """Timings of the forms of a network, fastest first, and the forms without a timing, with the reason."""

    timings: list[Timing]
    failed: dict[str, str]


def measure(
    networks: Mapping[str, Sequence[Form]],
    device: torch.device,
    row: Budget,
    whole: Budget,
    expected: Mapping[str, float] | None = None,
) -> dict[str, Result]:
    """Measure the forms of several networks in interleaved rounds, so that other work disturbs all alike.

    All networks have the same forms in the same order. A form is prepared for all networks or for none. What would
    not end in time is not started; the estimate of a pass is that of an earlier form of the network.

    Args:
        networks: the forms of each network, the slowest network first.
        device: the device on which they run.
        row: the time for this row.
        whole: the time for the whole benchmark, which the first form of each network may use.
        expected: estimate of a pass of each network in seconds, if there is one.
    """
    ready, times, failed = prepare(networks, device, row, whole, dict(expected or {}))
    rounds: dict[tuple[str, str], list[float]] = {key: [] for key in ready}
    repeated = list(ready)
    if FEWEST * sum(times.values()) > row.left():
        measured = {name for name, _ in ready}
        repeated = [min((key for key in ready if key[0] == name), key=times.__getitem__) for name in sorted(measured)]
    with suppress(TimeoutError), at_most(whole.left()):
        for _ in range(MOST):
            if not repeated or sum(times[key] for key in repeated) > row.left():
                break
            for key in repeated:
                times[key] = timed(ready[key], device, row.now)
                rounds[key].append(times[key])
    found: dict[str, list[Timing]] = {name: [] for name in networks}
    for (name, form), values in rounds.items():
        seconds = statistics.median(values) if values else times[name, form]
        found[name].append(Timing(form, seconds, len(values)))
    return {name: Result(sorted(found[name], key=lambda timing: timing.seconds), failed[name]) for name in networks}


def prepare(
    networks: Mapping[str, Sequence[Form]],
    device: torch.device,
    row: Budget,
    whole: Budget,
    estimates: dict[str, float],
) -> tuple[dict[tuple[str, str], Run], dict[tuple[str, str], float], dict[str, dict[str, str]]]:
    """Prepare the forms that fit into the time, and run each at least once.

    Returns:
        the prepared forms, the seconds of their last pass, and the forms that are left out with the reason.
    """
    ready: dict[tuple[str, str], Run] = {}
    times: dict[tuple[str, str], float] = {}
    failed: dict[str, dict[str, str]] = {name: {} for name in networks}
    preparing = row.share(PREPARING)
    for number in range(max(map(len, networks.values()))):
        group = {name: forms[number] for name, forms in networks.items()}
        cost = sum(form.setup + estimate(name, estimates) for name, form in group.items())
        fits = cost <= (preparing if number else whole).left()
        limit = row if number else whole
        for name, form in group.items():
            if not fits or form.setup + estimate(name, estimates) > limit.left():
                failed[name][form.name] = NO_TIME
                continue
            try:
                with at_most(limit.left()):
                    run = form.prepare()
                    seconds = timed(run, device, whole.now)
                    estimates[name] = min(seconds, estimates.get(name, seconds))
                    for _ in range(WARM_UP if 10 * seconds <= preparing.left() else 0):
                        seconds = timed(run, device, whole.now)
                ready[name, form.name], times[name, form.name] = run, seconds
            except TimeoutError:
                failed[name][form.name] = NO_TIME
            except Exception as error:
                failed[name][form.name] = reason(error)
    return ready, times, failed


def estimate(name: str, estimates: Mapping[str, float]) -> float:
    """Return the expected seconds of a pass.

    A network without an estimate is assumed to take half the time of the fastest network before it.
    """
    return estimates.get(name, 0.5 * min(estimates.values(), default=0.0))


def reason(error: Exception) -> str:
    """Return the first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120] if lines else ''}"


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer than ``seconds``; only where the system has timers."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"not ready in {seconds:.0f} s")

    start, before = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    # Again every second, because Python ignores an error that is raised in the callback of a weak reference.
    outer, _ = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(outer - (time.monotonic() - start), 0.001), 1.0)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay the TimeoutError of :func:`at_most` to the end of the block.

    torch ends the process if an error is raised while its C++ calls Python.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    start, (left, _) = time.monotonic(), signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - start), 0.001), 1.0)


def timed(run: Run, device: torch.device, now: Clock = time.perf_counter) -> float:
    """Return the seconds of one pass, after the device has finished its work."""
    synchronise(device)
    start = now()
    run()
    synchronise(device)
    return now() - start


def synchronise(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
