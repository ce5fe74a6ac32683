r"""The hybrid attention of the backbone: a large-kernel branch and a token branch.

.. math:: y = x + \delta \cdot \mathrm{LKA}(x) + \gamma \cdot (x \odot \mathrm{ViT}(x)), \qquad
    z = \mathrm{norm}(y + \mathrm{mixer}(y))

:math:`\delta` and :math:`\gamma` are learned, one number per channel, and start at 1. ViT is
:class:`SpatialAttention` for large maps and :class:`ChannelAttention` for small maps. Either branch may be None.

References:
    Sadegheih et al., LHU-Net, arXiv 2404.05102 (the encoder that Echo-E³Net builds on); large-kernel attention: Guo et
    al., Visual Attention Network, arXiv 2202.09741.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from echo_e3net.errors import require_at_least
from echo_e3net.nn.layers import Conv3d, ResidualBlock, require_heads


class LargeKernelAttention(nn.Module):
    """Gate a map with depthwise convolutions that have a large receptive field.

    ``p = GELU(project(x)); y = p * mix(depthwise(p))``

    Departs from the paper: the depthwise convolutions of k x k x k cells, one of them dilated, are replaced by one over
    the k x k cells of a frame, then strips along each axis, as in LSKA (arXiv 2309.01439). CPU and GPU libraries have
    no fast dilated or cubic depthwise convolution. The variant with a deformable 3-D convolution is not used, because
    it has no CPU implementation and cannot be exported.

    Args:
        channels: input and output channels.
        local: cells per side of the local kernel in a frame, odd.
        reach: cells of the strips along T, H and W, odd.
    """

    def __init__(self, channels: int, local: int = 5, reach: int = 11) -> None:
        super().__init__()
        kernels = (1, local, local), (reach, 1, 1), (1, reach, 1), (1, 1, reach)
        self.project = Conv3d(channels, channels, 1)
        self.depthwise = nn.Sequential(
            *(
                Conv3d(channels, channels, (t, y, x), padding=(t // 2, y // 2, x // 2), groups=channels)
                for t, y, x in kernels
            )
        )
        self.mix = Conv3d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Return the gated feature map, of the same size."""
        p = F.gelu(self.project(x))
        return p * self.mix(self.depthwise(p))  # type: ignore[no-any-return]


class SpatialAttention(nn.Module):
    """Let every cell attend to a coarse grid of the same map.

    Queries are all N = T·H·W cells, L2-normalised. Keys and values come from the map averaged onto a grid of P cells,
    so the cost is N·P instead of N². The temperature of each head is learned.

    Departs from the paper: keys and values are averaged onto a grid; LHU-Net projects them with a learned N x P matrix.
    Positions come from a depthwise convolution; LHU-Net has a table. Both changes allow any clip length and size. P is
    64 in both stages; LHU-Net has 64 and 32.

    Args:
        channels: input and output channels, a multiple of ``heads``.
        heads: attention heads.
        grid: number of cells (t, y, x) for keys and values; P is their product.

    Raises:
        InputError: an argument is below 1, or ``channels`` is not a multiple of ``heads``.
    """

    def __init__(self, channels: int, heads: int = 4, grid: tuple[int, int, int] = (4, 4, 4)) -> None:
        super().__init__()
        require_heads(type(self).__name__, "channels", channels, heads)
        require_at_least(1, **{"the smallest of SpatialAttention.grid": min(grid)})
        self.heads = heads
        self.grid = grid
        self.position = Conv3d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Return the mixed cells as a feature map of the same size."""
        x = x + self.position(x)
        coarse = coarsen(x, self.grid)
        tokens, memory = (normalised(self.norm, rearrange(m, "b c t h w -> b (t h w) c")) for m in (x, coarse))
        query = rearrange(self.query(tokens), "b n (m d) -> b m n d", m=self.heads)
        key, value = rearrange(self.key_value(memory), "b p (two m d) -> two b m p d", two=2, m=self.heads)
        query = unit(query) * self.temperature.to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.out(rearrange(mixed, "b m n d -> b n (m d)")).mT.unflatten(2, x.shape[2:])  # type: ignore[no-any-return]


def normalised(norm: nn.LayerNorm, tokens: Float[Tensor, "B N C"]) -> Float[Tensor, "B N C"]:
    """Apply a LayerNorm in the type of the tokens; autocast would make float32 copies of them."""
    weight, bias = norm.weight.to(tokens.dtype), norm.bias.to(tokens.dtype)
    with torch.autocast(tokens.device.type, enabled=False):
        return F.layer_norm(tokens, norm.normalized_shape, weight, bias, norm.eps)


def unit(vectors: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    """Return vectors of length 1, in their own type."""
    with torch.autocast(vectors.device.type, enabled=False):
        return F.normalize(vectors, dim=-1)


def coarsen(x: Float[Tensor, "B C T H W"], grid: tuple[int, int, int]) -> Float[Tensor, "B C U V X"]:
    """Average a map onto at most (t, y, x) cells of equal size; the last cell of an axis may be smaller."""
    kernel = [-(-n // g) for n, g in zip(x.shape[2:], grid, strict=True)]
    return F.avg_pool3d(x, kernel, ceil_mode=True, count_include_pad=False)


class ChannelAttention(nn.Module):
    """Let every channel attend to the channels of its head.

    Queries and keys are L2-normalised over the cells.

    Departs from the paper: positions come from a depthwise convolution instead of a table, which allows any clip length
    and size.

    Args:
        channels: input and output channels, a multiple of ``heads``.
        heads: attention heads.

    Raises:
        InputError: an argument is below 1, or ``channels`` is not a multiple of ``heads``.
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        require_heads(type(self).__name__, "channels", channels, heads)
        self.heads = heads
        self.position = Conv3d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Return the mixed channels as a feature map of the same size."""
        tokens = normalised(self.norm, rearrange(x + self.position(x), "b c t h w -> b (t h w) c"))
        query, key, value = rearrange(
            self.query_key_value(tokens), "b n (three m d) -> three b m d n", three=3, m=self.heads
        )
        weights = (unit(query) @ unit(key).mT * self.temperature).softmax(-1)
        mixed = rearrange(weights.to(value.dtype) @ value, "b m d n -> b n (m d)")
        return self.out(mixed).mT.unflatten(2, x.shape[2:])  # type: ignore[no-any-return]


class HybridAttention(nn.Module):
    """Add large-kernel and token attention with one weight per channel, then mix.

    The hybrid attention of LHU-Net, arXiv 2404.05102. The module docstring gives the equation.

    Args:
        channels: input and output channels.
        large_kernel: the large-kernel branch, or None.
        tokens: the token branch (spatial or channel attention), or None.
    """

    def __init__(self, channels: int, large_kernel: nn.Module | None, tokens: nn.Module | None) -> None:
        super().__init__()
        self.large_kernel = large_kernel
        self.tokens = tokens
        # a missing branch has no weight: distributed training refuses parameters without a gradient
        self.delta = None if large_kernel is None else nn.Parameter(torch.ones(channels, 1, 1, 1))
        self.gamma = None if tokens is None else nn.Parameter(torch.ones(channels, 1, 1, 1))
        self.mixer = nn.Sequential(
            ResidualBlock(channels, channels), Conv3d(channels, channels, 1, bias=False), nn.BatchNorm3d(channels)
        )

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """Return the attended feature map, of the same size."""
        y = x
        if self.large_kernel is not None and self.delta is not None:
            # without the cast, float32 weights would make the map float32 under autocast
            y = torch.addcmul(y, self.delta.to(x.dtype), self.large_kernel(x))
        if self.tokens is not None and self.gamma is not None:
            y = torch.addcmul(y, self.gamma.to(x.dtype) * x, self.tokens(x))
        return y + self.mixer(y)  # type: ignore[no-any-return]
