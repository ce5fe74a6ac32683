"""The spatio-temporal backbone: the encoder of LHU-Net.

The stem halves H and W and moves pixels into channels. A CNN stage is a residual block. A hybrid stage adds hybrid
attention and a second residual block. Every stage but the first halves H and W by max-pooling before its block, and
some stages halve T. The backbone returns the feature maps of all stages.

    clip 32x112x112 → stem 56 → 56 → 28 │ 14 → 7 → 4        (H = W after CNN stages │ hybrid stages)

References:
    Sadegheih et al., LHU-Net, arXiv 2404.05102. Echo-E³Net, arXiv 2503.17543, names its encoder as the backbone.

Departs from the paper: the exact widths of Echo-E³Net are not public, and ours are chosen for speed at the published
cost. No convolution returns a full-size map. Pooling comes before the block that adds channels, so large maps with few
channels are rare (docs/LOG.md compares). All widths are multiples of 8. Pooling rounds up, so 112 px
pass through five stages and any clip with T ≥ 8 and H, W ≥ 64 is accepted. The last two stages halve T.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from echo_e3net.errors import InputError, require_at_least
from echo_e3net.nn.attention import ChannelAttention, HybridAttention, LargeKernelAttention, SpatialAttention
from echo_e3net.nn.layers import MaxPool, ResidualBlock

INPUTS = 2
"""Channels of the input: the frame, and its difference from the mean frame."""
SPATIAL_STAGES = 2
"""Number of hybrid stages with spatial attention. Later maps are small enough for channel attention."""


class SpaceToDepthStem(nn.Sequential):
    """Move pixels into channels: a convolution of 4x4 pixels every 2, with norm and activation.

    H and W are halved, rounding down; the last cell also sees the last pixel of an odd side.

    Departs from the paper: LHU-Net's stem keeps the size, see :class:`FullSizeStem`.

    Args:
        channels: output channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv3d(INPUTS, channels, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=False),
            nn.BatchNorm3d(channels),
            nn.LeakyReLU(0.01, inplace=True),
        )


class FullSizeStem(nn.Sequential):
    """The stem and the first convolutions of LHU-Net at full size, then max-pooling. Halves H and W.

    Args:
        channels: output channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv3d(INPUTS, channels, 1),
            nn.PReLU(),
            nn.BatchNorm3d(channels),
            ResidualBlock(channels, channels),
            MaxPool((1, 2, 2)),
        )


class LHUNetEncoder(nn.Module):
    """Stem, CNN stages and hybrid stages.

    The encoder of LHU-Net, arXiv 2404.05102. Departs from the paper: see the module.

    Args:
        stem_channels: channels of the stem.
        cnn_channels: channels of each CNN stage.
        hybrid_channels: channels of each hybrid stage. The first two use spatial attention, later ones channel
            attention.
        temporal_strides: 1 or 2 for each stage, CNN stages first; 2 halves T. The first is 1.
        stem: makes the stem from its channels; it halves H and W.
        large_kernel: makes the large-kernel branch of a hybrid stage from its channels; null removes it.
        spatial_attention: makes the token branch of the first two hybrid stages from their channels; null removes it.
        channel_attention: makes the token branch of later hybrid stages from their channels; null removes it.

    Raises:
        InputError: a number of channels is below 1, there is no stage, or ``temporal_strides`` does not have one
            value, 1 or 2, for each stage.
    """

    def __init__(
        self,
        stem_channels: int = 16,
        cnn_channels: Sequence[int] = (16, 32),
        hybrid_channels: Sequence[int] = (64, 96, 128),
        temporal_strides: Sequence[int] = (1, 1, 1, 2, 2),
        stem: Callable[[int], nn.Module] = SpaceToDepthStem,
        large_kernel: Callable[[int], nn.Module] | None = LargeKernelAttention,
        spatial_attention: Callable[[int], nn.Module] | None = SpatialAttention,
        channel_attention: Callable[[int], nn.Module] | None = ChannelAttention,
    ) -> None:
        super().__init__()
        self.channels = (*cnn_channels, *hybrid_channels)
        if not self.channels:
            raise InputError("backbone.cnn_channels and backbone.hybrid_channels are []; expected at least one stage.")
        smallest = {"the smallest of backbone.cnn_channels and backbone.hybrid_channels": min(self.channels)}
        require_at_least(1, backbone__stem_channels=stem_channels, **smallest)
        if len(temporal_strides) != len(self.channels) or not set(temporal_strides) <= {1, 2}:
            raise InputError(
                f"backbone.temporal_strides is {list(temporal_strides)}; "
                f"expected 1 or 2 for each of the {len(self.channels)} stages."
            )
        self.stem = stem(stem_channels)
        self.stages = nn.ModuleList()
        before = (stem_channels, *self.channels)
        for i, (channels, stride) in enumerate(zip(self.channels, temporal_strides, strict=True)):
            attention = None
            if i >= len(cnn_channels):
                tokens = spatial_attention if i < len(cnn_channels) + SPATIAL_STAGES else channel_attention
                attention = HybridAttention(
                    channels, large_kernel and large_kernel(channels), tokens and tokens(channels)
                )
            strides = (stride, 1 if i == 0 else 2)
            self.stages.append(Stage(before[i], channels, strides, attention))

    def forward(self, x: Float[Tensor, "B C T H W"]) -> list[Float[Tensor, "B _ _ _ _"]]:
        """Return the feature map of each stage, finest first."""
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class Stage(nn.Module):
    """Max-pooling and a residual block, then ``x ← block(x + attention(x))`` if there is attention.

    A stage of LHU-Net, arXiv 2404.05102. Departs from the paper: pooling comes before the block, so the wider
    convolutions run on the smaller map; it rounds up.

    Args:
        inputs: input channels.
        outputs: output channels.
        strides: of T, and of H and W; 1 keeps an axis, 2 halves it, rounding up.
        attention: the hybrid attention of the stage, or None for a CNN stage.
    """

    def __init__(self, inputs: int, outputs: int, strides: tuple[int, int], attention: HybridAttention | None) -> None:
        super().__init__()
        time, space = strides
        self.pool = MaxPool((time, space, space)) if max(strides) > 1 else nn.Identity()
        self.block = ResidualBlock(inputs, outputs)
        self.attention = attention
        self.refine = ResidualBlock(outputs, outputs) if attention is not None else None

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D U V X"]:
        """Return the smaller feature map of this stage."""
        x = self.block(self.pool(x))
        if self.attention is not None and self.refine is not None:
            x = self.refine(x + self.attention(x))
        return x
