"""Estimate the statistics of the norms with the present weights, before the network is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from fvcore.nn import update_bn_stats
from torch import Tensor, nn


def update_norms(network: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Replace the running mean and variance of every BatchNorm by those over the batches.

    Running averages lag behind the weights (Wu and Johnson, Rethinking "Batch" in BatchNorm, arXiv 2105.07576).

    Args:
        network: the network. It is in its former mode afterwards.
        batches: video (B, 1, T, H, W) and frame mask (B, T) of each batch, on the device of the network.
    """
    training, running = network.training, {name: value for name, value in network.named_buffers() if "running" in name}
    network.train()
    # hooks of update_bn_stats would break a compiled network
    compiled = network._compiled_call_impl is not None
    with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
        update_bn_stats(Unpacked(network), batches, len(batches))
    network.train(training)
    # update_bn_stats replaces the tensors, to which distributed training and compiled networks refer
    for path, value in running.items():
        place, _, name = path.rpartition(".")
        layer = network.get_submodule(place)
        value.copy_(getattr(layer, name))
        if name == "running_var":
            # a difference of squares; by rounding, it is below 0 if a channel hardly varies
            value.clamp_(min=0)
            # it is not used, and would depend on the number of checkpoints
            layer.get_buffer("num_batches_tracked").zero_()
        setattr(layer, name, value)


class Unpacked(nn.Module):
    """Calls a network with a tuple of its arguments."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, arguments: tuple[Tensor, Tensor]) -> object:
        """Return the output of the network."""
        return self.network(*arguments)
