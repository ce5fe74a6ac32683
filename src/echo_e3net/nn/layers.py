"""Building blocks that several parts of the network share.

Feature maps are (B, C, T, H, W). Convolutions that are followed by a norm have no bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from echo_e3net.errors import InputError, require_at_least


def require_heads(part: str, name: str, width: int, heads: int) -> None:
    """Check that a width can be divided among attention heads.

    Raises:
        InputError: ``width`` or ``heads`` is below 1, or ``width`` is not a multiple of ``heads``.
    """
    require_at_least(1, **{f"{part}.{name}": width, f"{part}.heads": heads})
    if width % heads:
        raise InputError(f"{part}.{name} is {width}; expected a multiple of {part}.heads, which is {heads}.")


def require_level(part: str, name: str, level: int, channels: Sequence[int]) -> None:
    """Check that a level is the index of a backbone stage.

    Raises:
        InputError: ``level`` is not in 0 … number of stages - 1.
    """
    if not 0 <= level < len(channels):
        raise InputError(
            f"{part}.{name} is {level}; expected 0 to {len(channels) - 1}: the backbone has {len(channels)} stages."
        )


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a GroupNorm with the largest number of groups, at most eight, that divides ``channels``.

    Departs from the paper: LHU-Net has BatchNorm. Clips are large, so batches are small, and running averages lag
    behind the weights. After one epoch of 24 steps with 8 clips, EF was 7 points off with the statistics of the batch
    and 23 points off with the running averages (docs/LOG.md). GroupNorm uses the statistics of each clip only.
    Training and evaluation therefore agree for any batch size and any number of devices.
    """
    return nn.GroupNorm(math.gcd(channels, GROUPS), channels)


GROUPS = 8


class Conv3x3x3(nn.Conv3d):
    """A 3x3x3 convolution without bias that keeps T, H and W.

    Two cases are computed differently on a CPU. Results are equal up to rounding.

    * Narrow maps are convolved in channels-last layout. The gradient of oneDNN is then two to four times faster, and a
      training step takes one seventh less time (docs/LOG.md).
    * Maps of two frames are convolved in float32, also under autocast. With T = 2, the bfloat16 weight gradient of
      oneDNN reads uninitialised memory, and training continues with NaN or noise (torch 2.13, a CPU with avx512_bf16
      and without AMX; docs/LOG.md).

    Args:
        inputs: input channels.
        outputs: output channels.
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
"""Up to this number of input channels, channels-last is faster on a CPU, including the two copies."""


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions with norms and a shortcut, as in the CNN stages of LHU-Net (arXiv 2404.05102).

    ``y = LeakyReLU(norm(conv(LeakyReLU(norm(conv(x))))) + shortcut(x))``. The shortcut is the identity, or a 1x1x1
    convolution with a norm if the number of channels changes. T, H and W stay the same.

    Args:
        inputs: input channels.
        outputs: output channels.
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
        """Return a feature map of the same T, H and W."""
        return self.activation(self.body(x) + self.shortcut(x))  # type: ignore[no-any-return]


class Mlp(nn.Sequential):
    """LayerNorm, one hidden layer with GELU, and a linear output layer.

    Args:
        inputs: input width.
        hidden: width of the hidden layer.
        outputs: output width.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(nn.LayerNorm(inputs), nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class FourierPosition(nn.Module):
    """Embed the positions (x, y) of cells with Fourier features.

    The sine and cosine of each coordinate at ``bands`` octaves pass through a linear layer. Positions are relative to
    the frame, so unseen sizes work.

    Departs from the paper: this embedding is our choice; it accepts clips of any size.

    Args:
        dim: width of the embedding.
        bands: octaves per coordinate; the lowest has half a period over the axis.
    """

    frequencies: Tensor

    def __init__(self, dim: int, bands: int = 6) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(bands), persistent=False)
        self.project = nn.Linear(2 * 2 * bands, dim)

    def forward(self, coordinates: Float[Tensor, "*N 2"]) -> Float[Tensor, "*N D"]:
        """Embed coordinates (x, y), given as fractions 0…1 of the frame."""
        angles = (coordinates[..., None] * self.frequencies).flatten(-2)
        return self.project(torch.cat([angles.sin(), angles.cos()], dim=-1))  # type: ignore[no-any-return]


def cell_centres(feature: Float[Tensor, "*B H W"]) -> Float[Tensor, "H W 2"]:
    """Return the centres (x, y) of the cells of a map, as fractions 0…1 of its axes."""
    y, x = ((torch.arange(n, device=feature.device) + 0.5) / n for n in feature.shape[-2:])
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], dim=-1)


def frame_weights(frame_mask: Bool[Tensor, "B T"], feature: Float[Tensor, "B C U H W"]) -> Float[Tensor, "B 1 U"]:
    """Return 1 for each temporal cell of a feature map that contains a real frame, 0 for cells of padding only."""
    return pool_frames(frame_mask[:, None].float(), feature, F.max_pool1d)


def pool_frames(
    series: Float[Tensor, "B P T"], feature: Float[Tensor, "B C U H W"], pool: Callable[..., Tensor]
) -> Float[Tensor, "B P U"]:
    """Pool a series over frames to the temporal cells of a feature map.

    T is halved, rounding up, as often as the backbone halved it.
    """
    while series.shape[2] > feature.shape[2]:
        series = pool(series, 2, ceil_mode=True)
    return series
