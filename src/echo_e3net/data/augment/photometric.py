"""Photometric policies: grey values of a clip, in the order of the policies.

There are three kinds. A *curve* maps grey values; neighbouring curves become one table. A *gain map* multiplies every
frame by the same field. A *filter* changes frames in any other way (:mod:`echo_e3net.data.augment.filters`). Labels do
not change.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from itertools import groupby

import numpy as np
from jaxtyping import Float, Float32, UInt8

from echo_e3net.data import raster
from echo_e3net.data.augment.policy import Factor, Policy, require_between
from echo_e3net.data.raster import Frames

GREY = np.arange(256) / 255
PIVOT = 0.25
"""Grey value that contrast leaves as it is, as a fraction of white: between the cavity and the wall."""
CELLS = 4
"""A smooth field is interpolated from this number of values per side."""
SLIDERS, DEEPEST = 8, 1.2
"""Time-gain sliders of a scanner, and the depth of the last one, in sides of the frame."""
SECTOR_DEGREES = 45.0
"""Half the opening of a scanner's sector."""
EDGE_DEGREES = 2.0
"""Width over which the edge of a dropout fades."""

Plane = Float32[np.ndarray, "H W"]
Drawn = Iterable[tuple["PhotometricPolicy", np.random.Generator]]


class PhotometricPolicy(Policy):
    """A change of grey values: a curve, a gain map or a filter."""


class GreyCurve(PhotometricPolicy):
    """A map of grey values, the same for all pixels."""

    @abstractmethod
    def curve(self, grey: Float[np.ndarray, " G"], rng: np.random.Generator) -> Float[np.ndarray, " G"]:
        """Return the new values of grey values from 0 (black) to 1 (white)."""


class GainMap(PhotometricPolicy):
    """A factor per pixel, the same for all frames."""

    @abstractmethod
    def factor(self, x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
        """Return the factors.

        Args:
            x: position of each pixel from the middle of the video, in sides; before any geometric change.
            y: the same from the top, where the probe is.
            rng: source of chance.
        """


class Filter(PhotometricPolicy):
    """Any other change of frames."""

    @abstractmethod
    def filter(self, frames: Frames, rng: np.random.Generator) -> Frames:
        """Return the changed frames."""


class Gain(Factor, GreyCurve):
    """Multiply grey values."""

    def curve(self, grey: Float[np.ndarray, " G"], rng: np.random.Generator) -> Float[np.ndarray, " G"]:
        """Return the new values."""
        return grey * self.draw(rng)


class Gamma(Factor, GreyCurve):
    """Raise grey values to a power: below 1 brightens, above 1 darkens."""

    def curve(self, grey: Float[np.ndarray, " G"], rng: np.random.Generator) -> Float[np.ndarray, " G"]:
        """Return the new values."""
        return np.asarray(grey.clip(0, 1) ** self.draw(rng))


class Contrast(Factor, GreyCurve):
    """Stretch grey values about a dark grey: below 1 also turns black grey, above 1 turns dark grey black."""

    def curve(self, grey: Float[np.ndarray, " G"], rng: np.random.Generator) -> Float[np.ndarray, " G"]:
        """Return the new values."""
        return PIVOT + self.draw(rng) * (grey - PIVOT)


class BrightnessField(Factor, GainMap):
    """Multiply by a smooth field: parts of the picture become brighter, others darker."""

    def factor(self, x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
        """Return the field."""
        coarse = np.log(self.draws(rng, CELLS, CELLS)).astype(np.float32)
        return np.asarray(np.exp(raster.resize_linear(coarse, *x.shape)))


class TimeGain(Factor, GainMap):
    """Multiply by a function of the depth, as the time-gain sliders of a scanner do."""

    def factor(self, x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
        """Return the field."""
        sliders = np.log(self.draws(rng, 1, SLIDERS)[0])
        return np.asarray(
            np.exp(np.interp(np.hypot(x, y), np.linspace(0, DEEPEST, SLIDERS), sliders)).astype(np.float32)
        )


class DropoutSectors(GainMap):
    """Darken sectors as seen from the probe, as ribs, lung or a poor contact of the probe do.

    Args:
        sectors: largest number of sectors, 1 to 10.
        degrees: largest width of a sector, 1 to 90.
        low: smallest factor of the grey values inside, 0 to 1. The factor is uniform from ``low`` to 1.
        probability: share of the clips that are changed, 0 to 1.
    """

    def __init__(self, sectors: int, degrees: float, low: float, probability: float = 1.0) -> None:
        super().__init__(probability)
        require_between(self, 1, 10, sectors=sectors)
        require_between(self, 1, 90, degrees=degrees)
        require_between(self, 0, 1, low=low)
        self.sectors, self.degrees, self.low = sectors, degrees, low

    def factor(self, x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
        """Return the field."""
        angle, depth = np.degrees(np.arctan2(x, np.maximum(y, 1e-3))), np.hypot(x, y)
        field = np.ones(x.shape, np.float32)
        for _ in range(rng.integers(1, self.sectors + 1)):
            middle, width = rng.uniform(-SECTOR_DEGREES, SECTOR_DEGREES), rng.uniform(0, self.degrees)
            first, low = rng.uniform(0, 0.5), rng.uniform(self.low, 1)
            inside = ((width / 2 - np.abs(angle - middle)) / EDGE_DEGREES + 0.5).clip(0, 1)
            inside *= ((depth - first) * 10 + 0.5).clip(0, 1)
            field *= 1 - (1 - np.float32(low)) * inside
        return field


def change_grey_values(frames: Frames, drawn: Drawn, x: Plane, y: Plane) -> Frames:
    """Return frames that were changed by policies in their order; ``x`` and ``y`` are those of :class:`GainMap`."""
    for are_curves, group in groupby(drawn, lambda pair: isinstance(pair[0], GreyCurve)):
        if are_curves:
            frames = np.take(grey_table(group), frames)
            continue
        for policy, rng in group:
            if isinstance(policy, GainMap):
                frames = multiply(frames, policy.factor(x, y, rng))
            else:
                assert isinstance(policy, Filter)
                frames = policy.filter(frames, rng)
    return frames


def grey_table(curves: Drawn) -> UInt8[np.ndarray, "256"]:
    """Return the table of several curves. Values are rounded once."""
    grey = GREY
    for policy, rng in curves:
        if isinstance(policy, GreyCurve):
            grey = policy.curve(grey, rng)
    return np.asarray(np.rint(255 * grey.clip(0, 1)), np.uint8)


def multiply(frames: Frames, factor: Plane) -> Frames:
    """Return frames times a factor per pixel, rounded; white stays white."""
    product = frames * factor
    product += np.float32(0.5)
    return np.asarray(np.minimum(product, 255, out=product).astype(np.uint8))
