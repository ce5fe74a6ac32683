"""Measure the cost of a network per part: parameters, multiply-accumulates, activation memory and latency.

Multiply-accumulates are counted by fvcore in evaluation mode for one clip. fvcore counts fused attention as zero, so
:func:`attention_macs` counts its two matrix products. The other operations counted as zero contain no matrix products;
they are listed by name.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from echo_e3net.benchmark.limits import hooked, stopwatches
from echo_e3net.nn.network import E3Net

Parts = Mapping[str, nn.Module]


class Part(NamedTuple):
    """The cost of one part of a network for one clip.

    Attributes:
        name: name of the part.
        parameters: number of parameters.
        gmacs: multiply-accumulates, 10⁹.
        activation_mib: memory that a training step keeps for the backward pass, MiB.
        latency_ms: median time within a forward pass, milliseconds.
    """

    name: str
    parameters: int
    gmacs: float
    activation_mib: float
    latency_ms: float


class Cost(NamedTuple):
    """The cost of a network; its latency is measured without hooks, so it is less than the sum over the parts."""

    parameters: int
    gmacs: float
    activation_mib: float
    latency_ms: float
    parts: list[Part]
    not_counted: dict[str, int]


def network_parts(network: E3Net) -> dict[str, nn.Module]:
    """Return the parts by name, in the order of the forward pass."""
    parts: dict[str, nn.Module] = {"backbone stem": network.backbone.stem}
    parts |= {f"backbone stage {i}": stage for i, stage in enumerate(network.backbone.stages, 1)}
    if network.detector is not None:
        parts["E²CBD"] = network.detector
    return parts | {"E²FA": network.aggregator}


def measure_cost(network: E3Net, video: Tensor, dtype: torch.dtype = torch.float32, repeats: int = 20) -> Cost:
    """Measure a network on one clip.

    Args:
        network: the network.
        video: uint8, (1, 1, T, H, W), on the device of the network.
        dtype: type of the activations; autocast is used for other types than float32.
        repeats: number of forward passes of which the median latency is taken.
    """
    parts = network_parts(network)
    macs, not_counted = count_macs(network.eval(), video)
    with torch.autocast(video.device.type, dtype, enabled=dtype != torch.float32):
        kept = saved_bytes(network.train(), video, parts)
        whole, of_parts = latency(network.eval(), video, parts, repeats)
    names = {module: name for name, module in network.named_modules()}
    rows = [
        Part(name, count_parameters(part), macs[names[part]] / 1e9, kept[name] / 2**20, of_parts[name])
        for name, part in parts.items()
    ]
    return Cost(count_parameters(network), macs[""] / 1e9, kept.total() / 2**20, whole, rows, not_counted)


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def count_macs(network: nn.Module, video: Tensor) -> tuple[dict[str, float], dict[str, int]]:
    """Count multiply-accumulates.

    Returns:
        the count per module by dotted name (``""`` is the network), and the number of operations that are counted as
        zero, by name.
    """
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(network, video)
    analysis.set_op_handle("aten::scaled_dot_product_attention", attention_macs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    total = dict(analysis.by_module())
    missing = {name.removeprefix("aten::"): int(count) for name, count in sorted(analysis.unsupported_ops().items())}
    return total, missing


def attention_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Count the multiply-accumulates of fused attention: queries by keys, then weights by values."""
    (*batch, queries, width), (*_, keys, _), (*_, out_width) = (value.type().sizes() for value in inputs[:3])
    return int(math.prod(batch) * queries * keys * (width + out_width))


def saved_bytes(network: E3Net, video: Tensor, parts: Parts) -> Counter[str]:
    """Count the bytes that autograd keeps for the backward pass, per part; a shared storage counts once."""
    known = {p.untyped_storage().data_ptr() for p in network.parameters()}
    alive: list[Tensor] = []
    count: Counter[str] = Counter()
    inside = [""]

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            # Otherwise the next tensor could get the same address.
            alive.append(tensor)
            count[inside[-1]] += storage.nbytes()
        return tensor

    def leave(name: str) -> None:
        inside.pop()

    with (
        hooked(parts, inside.append, leave),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        network(video)
    return count


@torch.inference_mode()
def latency(network: E3Net, video: Tensor, parts: Parts, repeats: int) -> tuple[float, dict[str, float]]:
    """Return the median milliseconds of the forward pass without hooks, and of each part in further passes."""
    whole: dict[str, list[float]] = {"": []}
    times: dict[str, list[float]] = {name: [] for name in parts}
    # The first passes allocate memory and choose kernels.
    for _ in range(3):
        network(video)
    for modules, found in (({"": network}, whole), (parts, times)):
        with stopwatches(modules, video.device, found):
            for _ in range(repeats):
                network(video)
    medians = {name: 1000 * statistics.median(values) for name, values in (whole | times).items()}
    return medians.pop(""), medians
