"""Run the command line in separate processes, as a user or a cluster does."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

import echo_e3net

ALONE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(Path(echo_e3net.__file__).parents[1])}


def start(folder: Path, *args, **environment):
    """Start ``echo-e3net`` in a folder; its output goes to out.txt there."""
    words = [sys.executable, "-m", "echo_e3net", *map(str, args)]
    with (folder / "out.txt").open("a") as out:
        return subprocess.Popen(
            words,
            cwd=folder,
            env={**os.environ, **ALONE, **environment},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def run(folder: Path, *args, **environment):
    """Run ``echo-e3net``; return the exit code and all output so far."""
    process = start(folder, *args, **environment)
    try:
        code = process.wait(timeout=120)
    finally:
        end(process)
    return code, (folder / "out.txt").read_text()


def end(process):
    """Kill a process and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def weights(folder: Path, runs="runs"):
    """Return the weights and buffers of the last checkpoint of the run ``tiny``."""
    return torch.load(folder / runs / "tiny/checkpoints/last.ckpt", weights_only=True)["state_dict"]


def same(first, second):
    """Return whether two sets of weights are equal bit by bit."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
