"""R(2+1)D-18, the network of EchoNet-Dynamic, as the reference of all speed ratios.

With one output it has 31.3 M parameters and 81.3 GMACs for a clip of 32 frames of 112×112.

References:
    Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018. Ouyang et al., Nature
    580, 252-256 (2020).
"""

from __future__ import annotations

from jaxtyping import Float, UInt8
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)
BLOCKS = 2
MEAN, SD = 31.0, 50.0
"""Grey mean and SD of EchoNet-Dynamic."""


class R2Plus1D18(nn.Module):
    """Predict EF from a grey clip, which is repeated in three channels as in EchoNet-Dynamic."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            *norm_relu(45),
            nn.Conv3d(45, WIDTHS[0], (3, 1, 1), 1, (1, 0, 0), bias=False),
            *norm_relu(WIDTHS[0]),
        )
        before = (WIDTHS[0], *WIDTHS)
        self.stages = nn.Sequential(
            *(
                Block(before[i] if first else width, width, 2 if first and i else 1)
                for i, width in enumerate(WIDTHS)
                for first in (True, *[False] * (BLOCKS - 1))
            )
        )
        self.head = nn.Linear(WIDTHS[-1], 1)

    def forward(self, video: UInt8[Tensor, "B 1 T H W"]) -> Float[Tensor, " B"]:
        """Return the output of the head."""
        frames = ((video.float() - MEAN) / SD).expand(-1, 3, -1, -1, -1)
        return self.head(self.stages(self.stem(frames)).mean((2, 3, 4))).squeeze(1)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Two convolutions, each split into space and time, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        # As many parameters as a 3x3x3 convolution.
        middle = inputs * outputs * 27 // (inputs * 9 + 3 * outputs)
        self.body = nn.Sequential(
            *split(inputs, middle, outputs, stride),
            *norm_relu(outputs),
            *split(outputs, middle, outputs, 1),
            nn.BatchNorm3d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B D U V X"]:
        """Return the feature map of the block."""
        return self.activation(self.body(x) + self.shortcut(x))  # type: ignore[no-any-return]


def split(inputs: int, middle: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    """Return a convolution over space, norm, ReLU, and a convolution over time."""
    return (
        nn.Conv3d(inputs, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        *norm_relu(middle),
        nn.Conv3d(middle, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )


def norm_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    """Return BatchNorm and ReLU."""
    return nn.BatchNorm3d(channels), nn.ReLU(inplace=True)
