"""Photometric policies that change frames by other ways than a factor or a map of grey values."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float32

from echo_e3net.data import raster
from echo_e3net.data.augment.photometric import Filter
from echo_e3net.data.augment.policy import require_between
from echo_e3net.data.raster import Frames

JPEG_BLOCK, JPEG_FRAMES = 8, 32
"""Side of JPEG's blocks, pixels; number of frames that are compressed as one picture."""


class Blur(Filter):
    """Blur each frame: a coarser probe, or a resampled video.

    Args:
        px: largest standard deviation, clip pixels, 0 to 10. It is uniform from 0.
        probability: share of the clips that are changed, 0 to 1.
    """

    def __init__(self, px: float, probability: float = 1.0) -> None:
        super().__init__(probability)
        require_between(self, 0, 10, px=px)
        self.px = px

    def filter(self, frames: Frames, rng: np.random.Generator) -> Frames:
        """Return the blurred frames."""
        # A narrower Gaussian has no effect, and OpenCV refuses 0.
        sd = max(rng.uniform(0, self.px), 0.05)
        return np.stack([raster.blur(frame, sd, sd) for frame in frames])


class BlurInTime(Filter):
    """Average each frame with its neighbours, as the persistence of a scanner does.

    The weights of both neighbours are equal, so that borders do not lag behind their labels.

    Args:
        weight: largest weight of both neighbours together, 0 to 1. It is uniform from 0.
        probability: share of the clips that are changed, 0 to 1.
    """

    def __init__(self, weight: float, probability: float = 1.0) -> None:
        super().__init__(probability)
        require_between(self, 0, 1, weight=weight)
        self.weight = weight

    def filter(self, frames: Frames, rng: np.random.Generator) -> Frames:
        """Return the averaged frames; the first and the last one count as their own neighbours."""
        # Weights are multiples of 1/256: integers are faster.
        side = np.uint16(round(rng.uniform(0, self.weight) * 128))
        wide = np.concatenate([frames[:1], frames, frames[-1:]]).astype(np.uint16)
        total = wide[1:-1] * np.uint16(256 - 2 * side)
        total += (wide[:-2] + wide[2:]) * side
        total += np.uint16(128)
        return np.asarray(total >> 8, np.uint8)


class Noise(Filter):
    """Add Gaussian noise, independent in each frame.

    Args:
        grey: largest standard deviation, grey values of 255, 0 to 100. It is uniform from 0.
        probability: share of the clips that are changed, 0 to 1.
    """

    def __init__(self, grey: float, probability: float = 1.0) -> None:
        super().__init__(probability)
        require_between(self, 0, 100, grey=grey)
        self.grey = grey

    def filter(self, frames: Frames, rng: np.random.Generator) -> Frames:
        """Return the noisy frames."""
        height, width = frames.shape[1:]
        tile = np.rint(noise_tile(height, width) * rng.uniform(0, self.grey)).astype(np.int16)
        total = frames.astype(np.int16)
        for frame, (y, x) in zip(total, rng.integers(0, (height, width), (len(frames), 2)), strict=True):
            frame += tile[y : y + height, x : x + width]
        return total.clip(0, 255).astype(np.uint8)


class Jpeg(Filter):
    """Compress the frames as JPEG.

    Args:
        low: lowest quality, 1 to ``high``.
        high: highest quality, at most 100.
        probability: share of the clips that are changed, 0 to 1.
    """

    def __init__(self, low: int, high: int, probability: float = 1.0) -> None:
        super().__init__(probability)
        require_between(self, 1, 100, high=high)
        require_between(self, 1, high, low=low)
        self.low, self.high = low, high

    def filter(self, frames: Frames, rng: np.random.Generator) -> Frames:
        """Return the frames as they are read back. They are compressed below each other: one call is faster."""
        quality = int(rng.integers(self.low, self.high + 1))
        height, width = frames.shape[1:]
        # No block may lie in two frames.
        padded = np.pad(frames, ((0, 0), (0, -height % JPEG_BLOCK), (0, 0)), mode="edge")
        parts = [padded[first : first + JPEG_FRAMES] for first in range(0, len(frames), JPEG_FRAMES)]
        read = [raster.jpeg(part.reshape(-1, width), quality).reshape(part.shape) for part in parts]
        return np.concatenate(read)[:, :height]


@cache
def noise_tile(height: int, width: int) -> Float32[np.ndarray, "H W"]:
    """Return normal noise of twice the size of a frame; frames take parts of it, which is faster than drawing."""
    return np.random.default_rng(0).standard_normal((2 * height, 2 * width), np.float32)
