"""Measure how long commands take to start: seconds until ``--help`` has been printed."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

IMPORTS = "import of torch and Lightning"
COMMANDS: Mapping[str, Sequence[str]] = {
    IMPORTS: ("-c", "import torch, lightning.pytorch"),
    **{
        f"{command} --help".strip(): ("-m", "echo_e3net", *command.split(), "--help")
        for command in (
            *("", "data check", "data cache", "data import", "data phantom"),
            *("configs", "predict", "stream", "export", "bench", "study", "sweep", "doctor", "report", "fit"),
        )
    },
    "data check --nonsense 1": ("-m", "echo_e3net", "data", "check", "--nonsense", "1"),
}
"""Python arguments of each row. ``fit --help`` also imports torch and Lightning; compare it with the row that only
imports them."""


def measure_startup(rounds: int = 3, commands: Mapping[str, Sequence[str]] = COMMANDS) -> dict[str, float]:
    """Return the median seconds of each command in its own process.

    All commands run once per round, so other work on the machine disturbs all alike.

    Raises:
        RuntimeError: a command fails.
    """
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, words in commands.items():
            start = time.perf_counter()
            done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
            seconds[name].append(time.perf_counter() - start)
            # A wrong argument exits with 2.
            if done.returncode != (2 if "--nonsense" in words else 0):
                raise RuntimeError(f"{name}: {done.stderr}")
    return {name: statistics.median(values) for name, values in seconds.items()}
