"""``echo-e3net profile``: what the network costs, part by part: parameters, multiply-accumulates, activation memory and latency.

Multiply-accumulates are counted as the field counts them (fvcore, evaluation mode, one clip). fvcore does not know fused attention and would count it
as nothing: :func:`attention_macs` adds its two matrix products. What is still not counted has no products of matrices, and is listed by name.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from fvcore.nn import FlopCountAnalysis
from lightning.pytorch.cli import LightningArgumentParser
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from echo_e3net.cli.training_cli import NetworkCLI
from echo_e3net.errors import InputError
from echo_e3net.files import require_place, write_text
from echo_e3net.nn.network import E3Net


class ProfileCLI(NetworkCLI):
    """The configuration of a run, and how to measure its network."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is measured, and how."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--repeats", type=int, default=20, help="forward passes that the median latency is taken of"
        )
        parser.add_argument("--threads", type=int | None, default=None, help="threads of the CPU; null: torch's choice")
        parser.add_argument(
            "--dtype",
            type=Literal["float32", "bfloat16", "float16"],
            default="float32",
            help="other than float32 by autocast",
        )
        parser.add_argument("--device", type=str, default="cpu", help="cpu or cuda")
        parser.add_argument(
            "--json", type=str | None, default=None, help="also write the figures to this file; - for standard output"
        )


DESCRIPTION = "Show what a network costs: parameters, multiply-accumulates (fvcore, one clip), activation memory and latency of each part."


def profile(args: Sequence[str] | None = None) -> None:
    """Run ``echo-e3net profile``."""
    config = (cli := ProfileCLI("profile", DESCRIPTION, args)).config
    if config.repeats < 1 or (config.threads is not None and config.threads < 1):
        raise InputError(f"repeats {config.repeats}, threads {config.threads}: both must be at least 1.")
    if config.device != "cpu" and not (config.device.startswith("cuda") and torch.cuda.is_available()):
        raise InputError(
            f"--device {config.device}: torch sees no such device here. Say cpu, or cuda where there is one."
        )
    if config.json not in (None, "-"):
        require_place(Path(config.json))
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    video = torch.randint(
        0,
        256,
        (1, 1, config.data.clip.frames, config.data.clip.size, config.data.clip.size),
        dtype=torch.uint8,
        device=config.device,
    )
    cost = measure_cost(cli.network.to(config.device), video, getattr(torch, config.dtype), config.repeats)
    conditions = {
        "device": device_name(video.device),
        "threads": torch.get_num_threads(),
        "dtype": config.dtype,
        "repeats": config.repeats,
    }
    figures = as_json(cost, {"input": list(video.shape), **conditions})
    if config.json != "-":
        Console().print(
            cost_table(
                cost, f"{'×'.join(map(str, video.shape))}, " + ", ".join(f"{k} {v}" for k, v in conditions.items())
            )
        )
    if config.json == "-":
        sys.stdout.write(figures)
    elif config.json is not None:
        write_text(Path(config.json), figures)


def as_json(cost: Cost, conditions: dict[str, Any]) -> str:
    """The figures as JSON text; a part's share is of the multiply-accumulates."""
    parts = [{**part._asdict(), "share": part.gmacs / cost.gmacs} for part in cost.parts]
    return json.dumps({**cost._asdict(), "parts": parts, **conditions}, indent=2, ensure_ascii=False) + "\n"


def cost_table(cost: Cost, conditions: str) -> Table:
    """The figures as a table."""
    caption = "GMACs: fvcore, evaluation, attention products included. Activations: kept by a training step for its backward pass.\n"
    not_counted = f"Counted as nothing (elementwise, sums, poolings, resizing): {', '.join(cost.not_counted)}"
    table = Table(title=f"cost of one clip: {conditions}", caption=caption + not_counted, show_footer=True)
    table.add_column("part", footer="whole network", no_wrap=True)
    footers = (
        f"{cost.parameters:,}",
        f"{cost.gmacs:.3f}",
        "100 %",
        f"{cost.activation_mib:.1f}",
        f"{cost.latency_ms:.1f}",
    )
    for title, footer in zip(
        ("parameters", "GMACs", "share", "activations (MiB)", "latency (ms)"), footers, strict=True
    ):
        table.add_column(title, footer=footer, justify="right")
    for part in cost.parts:
        share = f"{100 * part.gmacs / cost.gmacs:.1f} %"
        table.add_row(
            part.name,
            f"{part.parameters:,}",
            f"{part.gmacs:.3f}",
            share,
            f"{part.activation_mib:.1f}",
            f"{part.latency_ms:.1f}",
        )
    return table


def device_name(device: torch.device) -> str:
    """The device in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


class Part(NamedTuple):
    """What one part of the network costs.

    Attributes:
        name: the part.
        parameters: trained numbers.
        gmacs: multiply-accumulates for the clip, in 10⁹.
        activation_mib: what a training step keeps of the part for its backward pass, for the clip, in MiB.
        latency_ms: median time within a forward pass, in milliseconds.
    """

    name: str
    parameters: int
    gmacs: float
    activation_mib: float
    latency_ms: float


class Cost(NamedTuple):
    """What the whole network costs; ``latency_ms`` is measured without looking into it, so it is less than the sum of the parts'."""

    parameters: int
    gmacs: float
    activation_mib: float
    latency_ms: float
    parts: list[Part]
    not_counted: dict[str, int]


def network_parts(network: E3Net) -> dict[str, nn.Module]:
    """The parts by name, in the order that a clip passes them."""
    parts: dict[str, nn.Module] = {"backbone stem": network.backbone.stem}
    parts |= {f"backbone stage {i}": stage for i, stage in enumerate(network.backbone.stages, 1)}
    if network.detector is not None:
        parts["E²CBD"] = network.detector
    return parts | {"E²FA": network.aggregator}


def measure_cost(network: E3Net, video: Tensor, dtype: torch.dtype = torch.float32, repeats: int = 20) -> Cost:
    """Measure a network on one clip, uint8 (1, 1, T, H, W), on the device where both are; other dtypes than float32 by autocast."""
    parts = network_parts(network)
    macs, not_counted = count_macs(network.eval(), video)
    kept = saved_bytes(network.train(), video, parts, dtype)
    network.eval()
    whole, of_parts = latency(network, video, parts, dtype, repeats)
    names = {module: name for name, module in network.named_modules()}
    rows = [
        Part(name, count_parameters(part), macs[names[part]] / 1e9, kept[name] / 2**20, of_parts[name])
        for name, part in parts.items()
    ]
    return Cost(count_parameters(network), macs[""] / 1e9, sum(kept.values()) / 2**20, whole, rows, not_counted)


def count_parameters(module: nn.Module) -> int:
    """Trained numbers of a module."""
    return sum(p.numel() for p in module.parameters())


def count_macs(network: nn.Module, video: Tensor) -> tuple[dict[str, float], dict[str, int]]:
    """Multiply-accumulates of each module by dotted name (the whole is ``""``), and the operations that were not counted, by name."""
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(network, video)
    analysis.set_op_handle("aten::scaled_dot_product_attention", attention_macs)
    analysis.unsupported_ops_warnings(False)
    analysis.uncalled_modules_warnings(False)
    total = analysis.by_module()
    return dict(total), {
        name.removeprefix("aten::"): int(count) for name, count in sorted(analysis.unsupported_ops().items())
    }


def attention_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Multiply-accumulates of fused attention: queries by keys, then weights by values."""
    (*batch, queries, width), (*_, keys, _), (*_, out_width) = (value.type().sizes() for value in inputs[:3])
    count = queries * keys * (width + out_width)
    for size in batch:
        count *= size
    return int(count)


def saved_bytes(network: E3Net, video: Tensor, parts: dict[str, nn.Module], dtype: torch.dtype) -> Counter[str]:
    """Bytes that autograd keeps for the backward pass, by part; each piece of memory counts once, and parameters not at all."""
    known = {p.untyped_storage().data_ptr() for p in network.parameters()}
    alive: list[Tensor] = []
    count: Counter[str] = Counter()
    inside = [""]

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            alive.append(tensor)  # or the next tensor could get its address
            count[inside[-1]] += storage.nbytes()
        return tensor

    def enter(name: str) -> None:
        inside.append(name)

    def leave(name: str) -> None:
        inside.pop()

    with (
        hooked(parts, enter, leave),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        autocast(video, dtype),
    ):
        network(video)
    return count


def latency(
    network: E3Net, video: Tensor, parts: dict[str, nn.Module], dtype: torch.dtype, repeats: int
) -> tuple[float, dict[str, float]]:
    """Median milliseconds of the whole forward pass, measured alone, and of each part, measured in passes of their own."""
    starts: dict[str, float] = {}
    times: dict[str, list[float]] = {name: [] for name in ["", *parts]}

    def enter(name: str) -> None:
        starts[name] = now(video.device)

    def leave(name: str) -> None:
        times[name].append(1000 * (now(video.device) - starts[name]))

    with torch.inference_mode(), autocast(video, dtype):
        for _ in range(3):  # allocator and kernel choice
            network(video)
        for _ in range(repeats):
            enter("")
            network(video)
            leave("")
        with hooked(parts, enter, leave):
            for _ in range(repeats):
                network(video)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return medians.pop(""), medians


@contextmanager
def hooked(parts: dict[str, nn.Module], enter: Callable[[str], None], leave: Callable[[str], None]) -> Iterator[None]:
    """Call ``enter`` before and ``leave`` after each part's forward pass."""
    handles = []
    for name, part in parts.items():
        handles.append(part.register_forward_pre_hook(lambda *_, name=name: enter(name)))
        handles.append(part.register_forward_hook(lambda *_, name=name: leave(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def autocast(video: Tensor, dtype: torch.dtype) -> torch.autocast:
    """Autocast on the clip's device; none for float32."""
    return torch.autocast(video.device.type, dtype if dtype != torch.float32 else None, enabled=dtype != torch.float32)


def now(device: torch.device) -> float:
    """Seconds, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
