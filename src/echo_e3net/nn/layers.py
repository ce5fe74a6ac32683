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


class Conv3d(nn.Conv3d):
    """A 3-D convolution that is also correct for small maps in bfloat16 on a CPU.

    If the map has fewer frames than the kernel, or few rows, the convolution is computed in float32: oneDNN then reads
    uninitialised memory in the bfloat16 gradient of the weights, and training continues with NaN or noise (torch 2.13,
    a CPU with avx512_bf16 and without AMX; docs/LOG.md).
    """

    def forward(self, input: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D U V X"]:
        """Convolve a feature map."""
        (frames, rows), (deep, high) = input.shape[2:4], self.kernel_size[:2]
        if input.device.type == "cpu" and (1 < frames < deep or rows <= high // 2):
            with torch.autocast("cpu", enabled=False):
                return super().forward(input.float()).to(input.dtype)
        return super().forward(input)


class Conv3x3x3(Conv3d):
    """A 3x3x3 convolution without bias that keeps T, H and W.

    Args:
        inputs: input channels.
        outputs: output channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=False)


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
            nn.BatchNorm3d(outputs),
            nn.LeakyReLU(0.01, inplace=True),
            Conv3x3x3(outputs, outputs),
            nn.BatchNorm3d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(Conv3d(inputs, outputs, 1, bias=False), nn.BatchNorm3d(outputs))
        self.activation = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D T H W"]:
        """Return a feature map of the same T, H and W."""
        return self.activation(self.body(x) + self.shortcut(x))  # type: ignore[no-any-return]


class MaxPool(nn.MaxPool3d):
    """Max-pooling that rounds up, in the type of its input: autocast on a CPU would pool a float32 copy.

    Args:
        strides: of T, H and W.
    """

    def __init__(self, strides: tuple[int, int, int]) -> None:
        super().__init__(strides, ceil_mode=True)

    def forward(self, input: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C U V X"]:
        """Return the smaller map."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input)  # type: ignore[no-any-return]


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
