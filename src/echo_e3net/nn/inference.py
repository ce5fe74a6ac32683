"""Prepare a trained network for faster inference; results are equal up to rounding."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def for_inference(network: Network) -> Network:
    """Return a copy in evaluation mode whose norms are folded into the convolutions before them.

    On a CPU, 3-D convolutions call oneDNN directly, because torch selects a slower function for small maps of one clip.

    Args:
        network: any module; a norm is folded where it follows a convolution in an ``nn.Sequential``.
    """
    network = deepcopy(network).eval()
    for parent in list(network.modules()):
        if isinstance(parent, nn.Sequential):
            for i in range(len(parent) - 1):
                conv, norm = parent[i], parent[i + 1]
                if isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
                    parent[i], parent[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return network
    for parent in list(network.modules()):
        for name, module in parent.named_children():
            if not isinstance(module, nn.Conv3d) or module.padding_mode != "zeros":
                continue
            if module.weight.device.type == "cpu":
                setattr(parent, name, DirectConv3d(module))
    return network


class DirectConv3d(nn.Module):
    """A 3-D convolution by oneDNN, whatever the size of the map.

    Args:
        conv: the convolution, with zero padding.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.conv = conv
        conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last_3d)

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D U V X"]:
        """Convolve a feature map."""
        conv = self.conv
        if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
            return conv(x)  # type: ignore[no-any-return]
        assert not isinstance(conv.padding, str)
        return torch.mkldnn_convolution(
            x, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups
        )
