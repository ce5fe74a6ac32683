"""``echo-e3net bench``: measure the presets against R(2+1)D-18 on this machine."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from echo_e3net import __version__
from echo_e3net.benchmark.document import Row, Table, as_json, cell, markdown
from echo_e3net.benchmark.forms import EAGER, dtypes, inference_forms, short, training_forms, training_step
from echo_e3net.benchmark.limits import (
    bandwidth,
    count_kernels,
    count_macs,
    count_step,
    growing,
    measure_growth,
    parts_of,
    peak,
    time_parts,
)
from echo_e3net.benchmark.measure import (
    FIRST,
    NO_TIME,
    Budget,
    Result,
    at_most,
    measure,
    reason,
    synchronise,
    uninterrupted,
)
from echo_e3net.benchmark.presets import PRESETS, preset
from echo_e3net.benchmark.reference import R2Plus1D18
from echo_e3net.benchmark.tasks import EAGER_RATIO, RATIO, REFERENCE, TASKS, Task
from echo_e3net.benchmark.training_step import training_loss
from echo_e3net.conventions import MIN_FRAMES, MIN_SIZE
from echo_e3net.errors import InputError, require_at_least
from echo_e3net.files import require_place, write_text
from echo_e3net.hardware import cpu_name, fast_bf16
from echo_e3net.nn.inference import for_inference

STEP = 3
"""Cost of a training step in forward passes, multiply-accumulates and roughly time."""
LARGEST_BATCH = {"cpu": 8, "cuda": 64}
STUDIED = "version 1"
"""The network whose limits are measured."""
NETWORKS: dict[str, Callable[[], nn.Module]] = {REFERENCE: R2Plus1D18, **{n: partial(preset, n) for n in PRESETS}}
"""The networks by name, the reference first."""


@dataclass
class Bench:
    """What all sections share: the device, the clip, the networks, the time, and what is known so far."""

    device: torch.device
    frames: int
    size: int
    budget: Budget
    networks: dict[str, nn.Module] = field(default_factory=dict)
    macs: dict[str, dict[str, float]] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    """10⁹ multiply-accumulates per second by the name of the type."""
    clip_seconds: dict[str, float] = field(default_factory=dict)
    """Seconds of a forward pass of one clip by network."""

    def videos(self, batch: int) -> torch.Tensor:
        """Return random clips."""
        shape = (batch, 1, self.frames, self.size, self.size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device)


@dataclass
class Section:
    """A part of the benchmark that gets ``weight`` shares of the time and returns tables."""

    name: str
    title: str
    measure: Callable[[Bench, Budget], Sequence[Table]]
    weight: float = 1.0


def sections(device: str) -> list[Section]:
    """Return all sections, the most important first. Add further measurements here.

    Those that need more than the libraries of this package are imported within their function.
    """
    tasks = [Section(task.name, task.title, partial(measure_task, task), 4) for task in TASKS[device]]
    parts = Section("parts", f"{STUDIED}: parts of a forward pass", measure_parts)
    larger = Section("growth", f"{STUDIED}: time and memory of larger clips", growth, 2)
    return [*tasks[:2], parts, larger, *tasks[2:], Section("operators", "operators of a training step", operators)]


def bench(
    device: str, seconds: float, threads: int | None, frames: int, size: int, only: str | None, json: Path | None
) -> None:
    """Run all or some sections, print their tables and write them. :mod:`echo_e3net.cli.bench` has the arguments."""
    budget = Budget(seconds)
    require_at_least(1, seconds=seconds, threads=threads)
    require_at_least(MIN_FRAMES, frames=frames)
    require_at_least(MIN_SIZE, size=size)
    if device not in TASKS or (device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"--device {device}: torch finds no such device. Use cpu, or cuda if there is a GPU.")
    plan = [Section("peaks", "limits of the machine", prepare), *chosen(sections(device), only)]
    if json is not None:
        require_place(json)
    if threads is not None:
        torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    setting = Bench(torch.device(device), frames, size, budget)
    about = machine(setting.device) | {"clip": f"{frames} × {size} × {size}", "time": f"{seconds:g} s"}
    about["date"] = time.strftime("%Y-%m-%d")
    print("; ".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    tables: list[Table] = []
    failures = 0
    while plan:
        section, *plan = plan
        print(f"\n… {section.title}, {budget.left():.0f} s left", flush=True)
        found, failed = run_section(section, setting, section.weight / sum(s.weight for s in (section, *plan)))
        failures += failed
        tables.extend(found)
        print("\n" + "\n\n".join(map(markdown, found)), flush=True)
        if json is not None:
            write_text(json, as_json(about, tables))
    print(f"\nEnded with {budget.left():.0f} s of {seconds:g} s left.", flush=True)
    if failures:
        raise SystemExit(1)


def chosen(plan: list[Section], only: str | None) -> list[Section]:
    """Return the sections with the names of ``--only``."""
    if only is None:
        return plan
    names, known = only.split(","), [section.name for section in plan]
    for name in names:
        if name not in known:
            raise InputError(f"--only {name}: unknown section; choose from {', '.join(known)}.")
    return [section for section in plan if section.name in names]


def run_section(section: Section, setting: Bench, part: float) -> tuple[Sequence[Table], bool]:
    """Return the tables of a section, and whether it failed. A failure is a note, so that the others still run."""
    if not setting.budget.left():
        return [Table(section.name, section.title, [], [f"Not run: {NO_TIME}."])], False
    try:
        with at_most(setting.budget.left()):
            return section.measure(setting, setting.budget.share(part)), False
    except TimeoutError:
        return [Table(section.name, section.title, [], [f"Not run: {NO_TIME}."])], False
    except Exception as error:
        return [Table(section.name, section.title, [], [f"Failed: {reason(error)}."])], True


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the figures depend on: device, threads, precision and versions."""
    cpu = f"{cpu_name()} ({torch.backends.cpu.get_cpu_capability()})"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    found = {"device": name, "threads": torch.get_num_threads(), "fast bfloat16": "yes" if fast_bf16(device) else "no"}
    found |= {"echo-e3net": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for package in ("onnxruntime", "openvino"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def prepare(setting: Bench, row: Budget) -> list[Table]:
    """Build the networks, count their multiply-accumulates in a first pass, and measure the peaks of the machine."""
    setting.networks = {name: build().to(setting.device) for name, build in NETWORKS.items()}
    video = setting.videos(1)
    for name, network in setting.networks.items():
        setting.macs[name] = count_macs(network, video)
        start = setting.budget.now()
        with torch.inference_mode():
            network.eval()(video)
        synchronise(setting.device)
        setting.clip_seconds[name] = setting.budget.now() - start
    setting.peaks = {short(dtype): peak(setting.device, dtype) for dtype in dtypes(setting.device)}
    rows: list[Row] = [
        {"limit": f"matrix product, {name}", "measured": value, "unit": "GMAC/s"}
        for name, value in setting.peaks.items()
    ]
    rows.append({"limit": "copy, read and written", "measured": bandwidth(setting.device), "unit": "GB/s"})
    return [Table("peaks", "limits of the machine", rows)]


def measure_task(task: Task, setting: Bench, row: Budget) -> list[Table]:
    """Compare all networks in all forms."""
    video = setting.videos(task.batch)
    forms = {
        name: training_forms(network, video, training_loss) if task.training else inference_forms(network, video)
        for name, network in setting.networks.items()
    }
    passes = task.batch * (STEP if task.training else 1)
    expected = {name: passes * seconds for name, seconds in setting.clip_seconds.items()}
    results = measure(forms, setting.device, row, setting.budget, expected)
    for name, result in results.items():
        if result.timings:
            setting.clip_seconds[name] = fastest(result, EAGER) / passes
    return task_tables(task, results, {name: passes * setting.macs[name][""] for name in forms}, setting.peaks)


def fastest(result: Result, prefix: str = "") -> float:
    """Return the seconds of the fastest form whose name begins with ``prefix``; infinite if there is none."""
    return min((t.seconds for t in result.timings if t.form.startswith(prefix)), default=float("inf"))


def ratio(results: dict[str, Result], name: str, prefix: str = "") -> float | None:
    """Return how many times faster a network is than the reference; None without a timing of either."""
    reference, own = fastest(results[REFERENCE], prefix), fastest(results[name], prefix)
    return reference / own if reference < float("inf") and own < float("inf") else None


def task_tables(
    task: Task, results: dict[str, Result], gmacs: dict[str, float], peaks: dict[str, float]
) -> list[Table]:
    """Return the comparison of the best forms, and the times of all forms."""
    rows: list[Row] = []
    for name, result in results.items():
        best = result.timings[0] if result.timings else None
        rate = gmacs[name] / best.seconds if best else None
        rows.append(
            {
                "network": name,
                RATIO: ratio(results, name),
                EAGER_RATIO: ratio(results, name, EAGER),
                "ms": best and 1000 * best.seconds,
                "best form": best.form if best else None,
                "rounds": (best.rounds or FIRST) if best else None,
                "GMAC/s": rate,
                "% of peak": rate and best and 100 * rate / peaks[best.form.split()[-1]],
            }
        )
    names = {form for result in results.values() for form in (*(t.form for t in result.timings), *result.failed)}
    forms = [{"form": form, **{name: form_cell(results[name], form) for name in results}} for form in sorted(names)]
    counts = sorted({timing.rounds for result in results.values() for timing in result.timings if timing.rounds})
    notes = [f"Rounds of each median: {' or '.join(map(str, counts))}."] if counts else []
    notes += [
        f"{name}, {form}: {why}."
        for name, result in results.items()
        for form, why in result.failed.items()
        if why != NO_TIME
    ]
    if not any(result.timings for result in results.values()):
        return [Table(task.name, task.title, [], [f"Not run: {NO_TIME}.", *notes])]
    return [
        Table(task.name, f"{task.title}: times as fast as {REFERENCE}", rows),
        Table(f"{task.name}-forms", f"{task.title}: all forms, ms", forms, notes),
    ]


def form_cell(result: Result, form: str) -> float | str:
    """Return the milliseconds of a form, or why there are none."""
    for timing in result.timings:
        if timing.form == form:
            value = 1000 * timing.seconds
            return value if timing.rounds else f"{cell(value)} ({FIRST})"
    why = result.failed[form]
    return f"not run: {why}" if why == NO_TIME else "failed"


def measure_parts(setting: Bench, row: Budget) -> list[Table]:
    """Compare the parts of a network with the peak of the machine."""
    network, dtype = for_inference(setting.networks[STUDIED]), dtypes(setting.device)[0]
    batch = 1 if setting.device.type == "cpu" else 8
    if batch * setting.clip_seconds.get(STUDIED, 0) > row.left():
        return [Table("parts", f"{STUDIED}: parts of a forward pass", [], [f"Not run: {NO_TIME}."])]
    times, count = time_parts(network, setting.videos(batch), dtype, row)
    whole = sum(times.values())
    rows: list[Row] = []
    for title, name in parts_of(network).items():
        gmacs = batch * setting.macs[STUDIED].get(name, 0.0)
        rows.append(part_row(title, gmacs, times[title], whole, setting.peaks[short(dtype)]))
    total = batch * setting.macs[STUDIED][""]
    rows.append(part_row("all", total, whole, whole, setting.peaks[short(dtype)]))
    title = f"{STUDIED}: parts of a forward pass, batch {batch}, {short(dtype)}, median of {count} rounds"
    return [Table("parts", title, rows)]


def part_row(title: str, gmacs: float, seconds: float, whole: float, peak: float) -> Row:
    """Return the row of a part."""
    return {
        "part": title,
        "GMACs": gmacs,
        "ms": 1000 * seconds,
        "% of time": 100 * seconds / whole,
        "GMAC/s": gmacs / seconds,
        "% of peak": 100 * gmacs / seconds / peak,
    }


def growth(setting: Bench, row: Budget) -> list[Table]:
    """Measure how time and memory grow with the clip."""
    groups = growing(setting.frames, setting.size, LARGEST_BATCH[setting.device.type])
    network, dtype = setting.networks[STUDIED], dtypes(setting.device)[0]
    rows = measure_growth(network, setting.device, dtype, groups, row)
    title = f"{STUDIED}: time and memory of larger clips, inference, eager channels-last {short(dtype)}"
    return [Table("growth", title, rows, ["Growth is linear where the time per pixel stays the same."])]


def operators(setting: Bench, row: Budget) -> list[Table]:
    """Count what a training step of each network launches, reads and writes."""
    task = next(task for task in TASKS[setting.device.type] if task.training)
    rows: list[Row] = []
    notes = ["Operators and bytes are counted without computing them, in float32 and without caches or fusion."]
    expected = 0.0
    for name in NETWORKS:
        start = setting.budget.now()
        if row.left() <= expected:
            notes.append(f"Not run: {name}, {NO_TIME}.")
            continue
        try:
            with uninterrupted():
                rows.append({"network": name} | operator_counts(setting, name, task.batch))
        except TimeoutError:
            notes.append(f"Stopped after {name}: {NO_TIME}.")
            break
        expected = max(expected, setting.budget.now() - start)
    return [Table("operators", f"training step, batch {task.batch}: operators and memory traffic", rows, notes)]


def operator_counts(setting: Bench, name: str, batch: int) -> dict[str, Any]:
    """Return the columns of a network."""
    found = count_step(NETWORKS[name], batch, setting.frames, setting.size)
    if setting.device.type == "cuda":
        video, dtype = setting.videos(batch), dtypes(setting.device)[0]
        step = training_step(setting.networks[name], video, training_loss, "channels-last", dtype)
        found["kernels launched"] = count_kernels(step)
    return found
