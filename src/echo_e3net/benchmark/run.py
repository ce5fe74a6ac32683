"""``echo-e3net bench``: measure the presets against R(2+1)D-18 on this machine."""

from __future__ import annotations

import json as json_format
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from echo_e3net import __version__
from echo_e3net.benchmark.forms import Form, inference_forms, training_forms
from echo_e3net.benchmark.measure import Result, measure, timed
from echo_e3net.benchmark.presets import PRESETS, preset
from echo_e3net.benchmark.reference import R2Plus1D18
from echo_e3net.benchmark.training_step import training_loss
from echo_e3net.errors import InputError, require_at_least
from echo_e3net.hardware import cpu_name, fast_bf16

REFERENCE = "R(2+1)D-18"
PEAK_SIDE = 2048
"""Side of the matrices whose product measures the peak of the machine."""

Forms = Iterable[tuple[str, Callable[[], Form]]]


class Task(NamedTuple):
    """One row of the benchmark: inference or training with a batch size."""

    title: str
    batch: int
    training: bool


TASKS = {
    "cpu": (Task("inference", 1, False), Task("training step", 4, True), Task("inference", 8, False)),
    "cuda": (
        Task("training step", 16, True),
        Task("inference", 64, False),
        Task("inference", 1, False),
        Task("inference", 8, False),
    ),
}
"""Rows for each device, the most important first."""


def bench(
    device: str = "cpu",
    seconds: float = 600.0,
    threads: int | None = None,
    frames: int = 32,
    size: int = 112,
    json: Path | None = None,
) -> None:
    """Measure the presets against R(2+1)D-18: inference and training steps, each network in its best form.

    Rounds of all forms are interleaved, and medians are compared, so other work on the machine disturbs all alike. Each
    row is printed when it is done. Rows that do not fit into the time are named.

    Args:
        device: cpu or cuda.
        seconds: Time for everything; exceeded if at least three rounds of slow passes take longer.
        threads: CPU threads; null: the default of torch.
        frames: Frames of a clip.
        size: Side of a clip, pixels.
        json: Also write the results to this JSON file, after each row.
    """
    require_at_least(1, seconds=seconds, threads=threads)
    if device not in TASKS or (device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"--device {device}: torch finds no such device. Use cpu, or cuda if there is a GPU.")
    if threads is not None:
        torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    end, place = time.monotonic() + seconds, torch.device(device)
    results: dict[str, Any] = {"machine": machine(place), "clip": [frames, size, size], "rows": []}
    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()), flush=True)
    results["peak_gmacs_per_second"] = peak(place)
    print(f"matrix product of side {PEAK_SIDE}: {results['peak_gmacs_per_second']:.0f} GMAC/s in float32", flush=True)
    networks = {REFERENCE: R2Plus1D18(), **{name: preset(name) for name in PRESETS}}
    macs = {name: count_macs(network, frames, size) for name, network in networks.items()}
    for number, task in enumerate(TASKS[device]):
        left = end - time.monotonic()
        if left <= 0:
            print(f"not run: {task.title}, batch {task.batch} (no time left)", flush=True)
            continue
        row = measure_task(task, networks, place, (frames, size), left / (len(TASKS[device]) - number))
        results["rows"].append(as_json(task, row, macs, results["peak_gmacs_per_second"]))
        print_row(task, row, macs)
        if json is not None:
            json.write_text(json_format.dumps(results, indent=2) + "\n")


def measure_task(
    task: Task, networks: Mapping[str, nn.Module], device: torch.device, clip: tuple[int, int], seconds: float
) -> dict[str, Result]:
    """Measure one row; ``seconds`` is the time for the rounds."""
    frames, size = clip
    video = torch.randint(0, 256, (task.batch, 1, frames, size, size), dtype=torch.uint8, device=device)
    forms: dict[str, Forms] = {}
    for name, network in networks.items():
        network.to(device)
        forms[name] = (
            training_forms(network, video, training_loss) if task.training else inference_forms(network, video)
        )
    return measure(forms, device, seconds)


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the figures depend on: device, threads, precision and versions."""
    cpu = f"{cpu_name()} ({torch.backends.cpu.get_cpu_capability()})"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    found = {"device": name, "threads": torch.get_num_threads(), "fast bf16": fast_bf16(device)}
    return found | {"torch": torch.__version__, "echo-e3net": __version__, "python": platform.python_version()}


def peak(device: torch.device) -> float:
    """Return 10⁹ multiply-accumulates per second of a large matrix product in float32 (TF32 on CUDA), best of five."""
    matrix = torch.rand(PEAK_SIDE, PEAK_SIDE, device=device)
    return PEAK_SIDE**3 / min(timed(lambda: matrix @ matrix, device) for _ in range(5)) / 1e9


def count_macs(network: nn.Module, frames: int, size: int) -> float:
    """Return 10⁹ multiply-accumulates of one clip: convolutions, matrix products and attention."""
    counter = FlopCounterMode(display=False)
    with counter:
        network.eval()(torch.zeros(1, 1, frames, size, size, dtype=torch.uint8))
    return counter.get_total_flops() / 2e9


def ratio(results: Mapping[str, Result], name: str) -> float:
    """Return how many times faster a network is than the reference, best form against best form."""
    return results[REFERENCE].timings[0].seconds / results[name].timings[0].seconds


def print_row(task: Task, results: Mapping[str, Result], macs: Mapping[str, float]) -> None:
    """Print the best form of each network, its ratio, and all forms."""
    print(f"\n{task.title}, batch {task.batch}", flush=True)
    for name, result in results.items():
        if not result.timings or not results[REFERENCE].timings:
            print(f"  {name}: no form works", flush=True)
        else:
            best = result.timings[0]
            rate = f"{task.batch * macs[name] / best.seconds:.0f} GMAC/s"
            print(f"  {name}: ratio {ratio(results, name):.2f}, {1000 * best.seconds:.1f} ms ({best.form}, {rate})")
        for timing in result.timings[1:]:
            print(f"      {timing.form}: {1000 * timing.seconds:.1f} ms", flush=True)
        for form, reason in result.failed.items():
            print(f"      {form}: failed ({reason})", flush=True)


def as_json(task: Task, results: Mapping[str, Result], macs: Mapping[str, float], peak: float) -> dict[str, Any]:
    """Return a row as a value of JSON; times are medians in milliseconds."""
    networks = {}
    for name, result in results.items():
        best = result.timings[0] if result.timings and results[REFERENCE].timings else None
        networks[name] = {
            "gmacs": round(macs[name], 3),
            "ratio": best and round(ratio(results, name), 3),
            "share_of_peak": best and round(task.batch * macs[name] / best.seconds / peak, 3),
            "forms": {t.form: {"ms": round(1000 * t.seconds, 2), "rounds": t.rounds} for t in result.timings},
            "failed": result.failed,
        }
    return {"task": task.title, "batch": task.batch, "networks": networks}
