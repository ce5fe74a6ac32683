"""Measure where a network spends its time: parts, operators, and growth with clip and batch."""

from __future__ import annotations

import ctypes
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from echo_e3net.benchmark.forms import Run, eager, precision
from echo_e3net.benchmark.measure import FEWEST, FIRST, NO_TIME, Budget, synchronise, timed
from echo_e3net.benchmark.training_step import labelled, training_loss

PEAK_SIDE = {"cpu": 2048, "cuda": 8192}
"""Side of the matrices whose product measures the peak of the machine."""
COPIED = 2**28
"""Bytes of the copy that measures the bandwidth of the memory."""
ROUNDS = 20
"""Largest number of rounds for parts and growth."""
SMALLEST = (8, 64)
"""Frames and size of the smallest clip that a network accepts."""


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return 10⁹ multiply-accumulates per second of a large matrix product; float32 is TF32 on CUDA."""
    side = PEAK_SIDE[device.type]
    matrix = torch.rand(side, side, device=device, dtype=dtype)
    return side**3 / best_time(lambda: matrix @ matrix, device) / 1e9


def bandwidth(device: torch.device) -> float:
    """Return 10⁹ bytes per second that a copy reads and writes."""
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2 * COPIED / best_time(lambda: target.copy_(source), device) / 1e9


def best_time(run: Run, device: torch.device) -> float:
    """Return the shortest of five passes in seconds, or of those that fit into about two seconds."""
    times = [timed(run, device)]
    while len(times) < 5 and sum(times) < 2:
        times.append(timed(run, device))
    return min(times)


def count_macs(network: nn.Module, video: Tensor) -> dict[str, float]:
    """Return 10⁹ multiply-accumulates of a forward pass: convolutions, matrix products and attention.

    Returns:
        the count by the dotted name of each module; ``""`` is the whole network.
    """
    with FlopCounterMode(display=False) as counter:
        network.eval()(video)
    found = {name.partition(".")[2]: sum(flops.values()) / 2e9 for name, flops in counter.get_flop_counts().items()}
    return found | {"": counter.get_total_flops() / 2e9}


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count operators and the bytes of the tensors that they read and write; views and empty tensors are free."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators, self.bytes = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Run an operator and count it."""
        result = func(*args, **(kwargs or {}))
        view = any(value.alias_info and not value.alias_info.is_write for value in func._schema.returns)
        if not view and "empty" not in func._schema.name:
            self.operators += 1
            tensors = [value for value in tree_leaves((args, kwargs, result)) if isinstance(value, Tensor)]
            self.bytes += sum(tensor.nbytes for tensor in tensors)
        return result


def count_step(build: Callable[[], nn.Module], batch: int, frames: int, size: int) -> dict[str, Any]:
    """Count operators and bytes of a training step with AdamW in float32, without computing it."""
    labelled.cache_clear()
    with FakeTensorMode():
        network = build().train()
        video = torch.zeros(batch, 1, frames, size, size, dtype=torch.uint8)
        optimizer = torch.optim.AdamW(network.parameters())
        with Traffic() as gradient:
            training_loss(network, video).backward()  # type: ignore[no-untyped-call]
        with Traffic() as update:
            optimizer.step()
    labelled.cache_clear()
    return {
        "operators: loss and gradient": gradient.operators,
        "AdamW": update.operators,
        "GB read and written": (gradient.bytes + update.bytes) / 1e9,
    }


def count_kernels(step: Run) -> int:
    """Return how many kernels a training step launches on a CUDA device."""
    from torch.profiler import ProfilerActivity, profile

    step()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        step()
        torch.cuda.synchronize()
    events = [event for event in profiler.events() or [] if str(event.device_type).endswith("CUDA")]
    return len([event for event in events if not event.name.startswith(("Memcpy", "Memset"))])


def parts_of(network: nn.Module) -> dict[str, str]:
    """Return the dotted names of the parts of a network by title: its children, and stem and stages of a backbone."""
    found = {}
    for name, child in network.named_children():
        if isinstance(stages := getattr(child, "stages", None), nn.ModuleList):
            found[f"{name}: stem"] = f"{name}.stem"
            found |= {f"{name}: stage {i + 1}": f"{name}.stages.{i}" for i in range(len(stages))}
        else:
            found[name] = name
    return found


def time_parts(network: nn.Module, video: Tensor, dtype: torch.dtype, budget: Budget) -> tuple[dict[str, float], int]:
    """Return the median seconds of each part of a forward pass by its title, and the number of rounds.

    The device finishes its work before and after each part, so the sum exceeds the time of an undisturbed pass.
    """
    times: dict[str, list[float]] = {title: [] for title in parts_of(network)}
    modules = {title: network.get_submodule(name) for title, name in parts_of(network).items()}
    with torch.inference_mode(), precision(video.device, dtype):
        first = timed(lambda: network(video), video.device)
        rounds = 0
        with stopwatches(modules, video.device, times):
            while rounds < ROUNDS and (not rounds or first <= budget.left()):
                network(video)
                rounds += 1
    return {title: statistics.median(values) for title, values in times.items() if values}, rounds


@contextmanager
def stopwatches(
    modules: Mapping[str, nn.Module], device: torch.device, times: Mapping[str, list[float]]
) -> Iterator[None]:
    """Append the seconds of each forward pass of some modules, measured after the device has finished its work."""
    starts: dict[str, float] = {}

    def enter(title: str) -> None:
        synchronise(device)
        starts[title] = time.perf_counter()

    def leave(title: str) -> None:
        synchronise(device)
        times[title].append(time.perf_counter() - starts[title])

    with hooked(modules, enter, leave):
        yield


@contextmanager
def hooked(
    modules: Mapping[str, nn.Module], enter: Callable[[str], None], leave: Callable[[str], None]
) -> Iterator[None]:
    """Call ``enter`` before and ``leave`` after each module's forward pass, with its title."""
    handles = []
    for title, module in modules.items():
        handles.append(module.register_forward_pre_hook(lambda *_, title=title: enter(title)))
        handles.append(module.register_forward_hook(lambda *_, title=title: leave(title)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Clips(NamedTuple):
    """The size of a batch."""

    batch: int
    frames: int
    size: int

    @property
    def pixels(self) -> int:
        """Number of grey values."""
        return self.batch * self.frames * self.size**2


def growing(frames: int, size: int, largest_batch: int) -> dict[str, list[Clips]]:
    """Return batches that grow in frames, in size or in number, around a clip."""
    return {
        "frames": [Clips(1, n, size) for n in (frames // 2, frames, 2 * frames) if n >= SMALLEST[0]],
        "size": [Clips(1, frames, n) for n in (4 * size // 7, size, 2 * size) if n >= SMALLEST[1]],
        "batch": [Clips(2**i, frames, size) for i in range(largest_batch.bit_length())],
    }


def measure_growth(
    network: nn.Module, device: torch.device, dtype: torch.dtype, groups: Mapping[str, list[Clips]], budget: Budget
) -> list[dict[str, Any]]:
    """Return latency and memory of eager inference for growing batches, smallest first.

    What would not end in time is not started; the estimate is proportional to the number of pixels.
    """
    found: dict[Clips, tuple[float, float | None, int]] = {}
    rate = 0.0
    for clips in sorted({clips for group in groups.values() for clips in group}, key=lambda clips: clips.pixels):
        if clips.pixels * rate > budget.left() or not budget.left():
            continue
        video = torch.randint(0, 256, (clips.batch, 1, clips.frames, clips.size, clips.size), device=device)
        run = eager(network, video.to(torch.uint8), "channels-last", dtype)
        seconds, memory = measure_memory(run, device)
        rate = max(rate, seconds / clips.pixels) if rate else seconds / clips.pixels
        times: list[float] = []
        while len(times) < FEWEST and (FEWEST + 1) * seconds <= budget.left():
            times.append(timed(run, device))
        found[clips] = (statistics.median(times) if times else seconds, memory, len(times))
    rows = []
    for group, members in groups.items():
        for clips in members:
            row: dict[str, Any] = {"growing": group, "batch": clips.batch}
            row["clip"] = f"{clips.frames} × {clips.size} × {clips.size}"
            if clips in found:
                seconds, memory, rounds = found[clips]
                row |= {"ms": 1000 * seconds, "ns per pixel": 1e9 * seconds / clips.pixels}
                row |= {"MB": memory and memory / 1e6, "rounds": rounds or FIRST}
            else:
                row |= {"ms": None, "ns per pixel": None, "MB": None, "rounds": f"not run: {NO_TIME}"}
            rows.append(row)
    return rows


def measure_memory(run: Run, device: torch.device) -> tuple[float, float | None]:
    """Return the seconds of a pass and the bytes of peak memory it adds; bytes are None if unknown."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        seconds = timed(run, device)
        return seconds, torch.cuda.max_memory_allocated(device) - before
    try:
        ctypes.CDLL(None).malloc_trim(0)
        # resets the peak of this process to its present size
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return timed(run, device), None
    before = resident("VmRSS")
    seconds = timed(run, device)
    return seconds, resident("VmHWM") - before


def resident(field: str) -> int:
    """Return a field of the memory status of this process, bytes."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(match[1]) if match else 0
