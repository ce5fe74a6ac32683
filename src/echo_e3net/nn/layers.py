"""Small blocks that several parts of the network are made of.

Feature maps are (B, C, T, H, W). Convolutions that a norm follows carry no bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from echo_e3net.errors import InputError


def require_positive(part: str, sizes: Mapping[str, int | Sequence[int]]) -> None:
    """Refuse widths, heads and grids below 1: torch would trip over them far from their name, or compute nothing without a word.

    Raises:
        InputError: one of them, by name, is not.
    """
    for name, size in sizes.items():
        if min(size if isinstance(size, Sequence) else [size], default=1) < 1:
            raise InputError(
                f"{part}: {name} is {size}: give {'numbers' if isinstance(size, Sequence) else 'a number'} of at least 1."
            )


def require_heads(part: str, name: str, width: int, heads: int) -> None:
    """Refuse a width that cannot be shared out among attention heads.

    Raises:
        InputError: either is below 1, or the width is not a multiple of the heads.
    """
    require_positive(part, {name: width, "heads": heads})
    if width % heads:
        raise InputError(f"{part}: {name} {width} is not a multiple of heads {heads}.")


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm of at most eight groups that divide the channels.

    Departs from the paper: LHU-Net has BatchNorm. Clips are large, so batches are small, and running averages then lag behind the weights: after an
    epoch of 24 steps of 8 clips, EF was 7 points off with the batch's own statistics and 23 with the running ones (docs/LOG.md). A group's statistics
    come from the clip alone: training and evaluation agree, whatever the batch or the number of devices.
    """
    return nn.GroupNorm(math.gcd(channels, GROUPS), channels)


GROUPS = 8


class Conv3x3x3(nn.Conv3d):
    """A 3x3x3 convolution that keeps T, H and W, without bias.

    On a CPU two things differ, and the numbers are the same but for rounding:

    * Narrow maps are convolved channels-last: oneDNN's gradient is then two to four times faster, a training step one seventh (docs/LOG.md).
    * Maps of two frames are convolved in float32 also under autocast: oneDNN's weight gradient in bfloat16 reads memory that it never wrote when T is 2
      (torch 2.13, a CPU with avx512_bf16 and no AMX; docs/LOG.md), and training then goes on with NaN or with noise.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=False)

    def forward(self, input: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D T H W"]:
        """Convolve a feature map."""
        if input.device.type != "cpu":
            return super().forward(input)
        if input.shape[2] == 2:
            with torch.autocast("cpu", enabled=False):
                return super().forward(input.float())
        if self.in_channels <= NARROW:
            return super().forward(input.contiguous(memory_format=torch.channels_last_3d)).contiguous()
        return super().forward(input)


NARROW = 16
"""Channels up to which a convolution gains from channels-last on a CPU, the copies there and back included."""


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions with norm and a shortcut, as in the CNN stages of LHU-Net.

    ``y = LeakyReLU(norm(conv(LeakyReLU(norm(conv(x))))) + shortcut(x))``; the shortcut is the identity, or a 1x1x1 convolution with norm where the
    number of channels changes. Keeps T, H and W.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Conv3x3x3(inputs, outputs),
            group_norm(outputs),
            nn.LeakyReLU(0.01),
            Conv3x3x3(outputs, outputs),
            group_norm(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv3d(inputs, outputs, 1, bias=False), group_norm(outputs))
        self.activation = nn.LeakyReLU(0.01)

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D T H W"]:
        """Transform a feature map; the size stays."""
        return self.activation(self.body(x) + self.shortcut(x))  # type: ignore[no-any-return]


class Mlp(nn.Sequential):
    """LayerNorm, one hidden layer with GELU, a linear layer out.

    Args:
        inputs: width that comes in.
        hidden: width of the hidden layer.
        outputs: width that goes out.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(nn.LayerNorm(inputs), nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class FourierPosition(nn.Module):
    """Positions (x, y) of a map's cells as embeddings, for any size.

    Each coordinate is the cell's centre as a fraction of its axis; its sine and cosine at ``bands`` octaves pass through a linear layer. A position
    is so a place in the picture, not a cell number, and sizes that training never saw mean the same.

    Departs from the paper: ours, so that any size of clip is accepted.

    Args:
        dim: width of the embedding.
        bands: octaves a coordinate, from half a period over the axis upwards.
    """

    frequencies: Tensor

    def __init__(self, dim: int, bands: int = 6) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(bands), persistent=False)
        self.project = nn.Linear(2 * 2 * bands, dim)

    def forward(self, coordinates: Float[Tensor, "*N 2"]) -> Float[Tensor, "*N D"]:
        """Embed coordinates (x, y) in 0…1."""
        angles = (coordinates[..., None] * self.frequencies).flatten(-2)
        return self.project(torch.cat([angles.sin(), angles.cos()], dim=-1))  # type: ignore[no-any-return]


def cell_centres(feature: Float[Tensor, "*B H W"]) -> Float[Tensor, "H W 2"]:
    """Centres (x, y) of the cells of a map, each as a fraction 0…1 of its axis."""
    y, x = ((torch.arange(n, device=feature.device) + 0.5) / n for n in feature.shape[-2:])
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], dim=-1)


def frame_weights(frame_mask: Bool[Tensor, "B T"], feature: Float[Tensor, "B C U H W"]) -> Float[Tensor, "B 1 U"]:
    """1 where any of the frames of a feature map's temporal cell exists, 0 elsewhere."""
    return pool_frames(frame_mask[:, None].float(), feature, F.max_pool1d)


def pool_frames(
    series: Float[Tensor, "B P T"], feature: Float[Tensor, "B C U H W"], pool: Callable[..., Tensor]
) -> Float[Tensor, "B P U"]:
    """A series over the frames, over a feature map's temporal cells: halved, rounding up, as often as the backbone halved T."""
    while series.shape[2] > feature.shape[2]:
        series = pool(series, 2, ceil_mode=True)
    return series
