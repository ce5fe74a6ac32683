"""What every runtime returns for a batch of clips, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

NOT_FINITE = (
    "the network gave values that are not numbers. Use another checkpoint, or float32 instead of half precision."
)
INPUTS = ("video", "frame_mask")
OUTPUTS = ("ef", "simpson_ef", "landmarks", "timing")


class ClipReading(NamedTuple):
    """Output of a network for a batch of clips.

    Attributes:
        ef: (B,), fraction.
        simpson_ef: (B,), fraction, of the endocardial landmarks by Simpson's method.
        landmarks: (B, P, S, K, 2), clip pixels.
        timing: (B, P, T), probability of each frame to be ED, and to be ES; 0 on padded frames.

    A network without a border detector gives only ``ef``; the others are None.
    """

    ef: Float32[np.ndarray, " B"]
    simpson_ef: Float32[np.ndarray, " B"] | None = None
    landmarks: Float32[np.ndarray, "B P S K 2"] | None = None
    timing: Float32[np.ndarray, "B P T"] | None = None

    def is_finite(self) -> bool:
        """Return whether EF, landmarks and timing are numbers: neither NaN nor infinite."""
        return all(np.isfinite(part).all() for part in (self.ef, self.landmarks, self.timing) if part is not None)


ReadClips = Callable[[UInt8[np.ndarray, "B 1 T H W"], Bool[np.ndarray, "B T"]], ClipReading]
"""Reads clips; the mask is False on padded frames."""
