"""Frames and points into one square size.

A frame is cropped to its centred square and resized with area averaging (antialiased where it shrinks). Points follow: with scale ``s`` and the crop's
corner ``(x0, y0)``, a point moves on pixel *edges*, ``clip + 0.5 = (source + 0.5 - (x0, y0)) * s``, since centres are whole numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F


class Framing(NamedTuple):
    """Where a clip lies in its video: scale (clip pixels a video pixel) and corner of the crop, video pixels."""

    scale: float
    x0: float
    y0: float

    @classmethod
    def square(cls, height: int, width: int, size: int) -> Framing:
        """The centred square of a frame, brought to ``size`` pixels."""
        side = min(height, width)
        return cls(size / side, float((width - side) // 2), float((height - side) // 2))

    def frames(self, frames: UInt8[np.ndarray, "T H W"], size: int) -> UInt8[Tensor, "T S S"]:
        """Crop and resize grey frames."""
        side = round(size / self.scale)
        x0, y0 = int(self.x0), int(self.y0)
        cropped = torch.from_numpy(np.ascontiguousarray(frames[:, y0 : y0 + side, x0 : x0 + side]))
        if side == size:
            return cropped
        resized = F.interpolate(cropped[:, None].float(), (size, size), mode="bilinear", antialias=True)
        return resized[:, 0].round().clamp(0, 255).to(torch.uint8)

    def to_clip(self, points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
        """Points from video pixels to clip pixels."""
        return (points + 0.5 - points.new_tensor([self.x0, self.y0])) * self.scale - 0.5

    def to_video(self, points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
        """Points from clip pixels to video pixels."""
        return (points + 0.5) / self.scale + points.new_tensor([self.x0, self.y0]) - 0.5
