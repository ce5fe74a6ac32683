"""The polar grid of the sector, and its conversion to the square frame.

As in a scanner, the picture is made on a polar grid of (DEPTHS, BEAMS) samples and converted to the frame at the end.
Probe coordinates are (x, depth) in cm; grid coordinates are (beam, row) in samples.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from echo_e3net.data.raster import blur, remap, resize_area
from echo_e3net.phantom.prior import Scan

SIZE = 112
"""Edge of the frame, pixels."""

DEPTHS, BEAMS = 352, 128
Grid = Float32[np.ndarray, "R A"]
"""A picture on the polar grid."""
_OVERSAMPLING = 2
_NEAREST_CM = 0.15
"""Distance of the first row from the probe."""


class Sector(NamedTuple):
    """A polar grid.

    Attributes:
        step_cm: distance between rows.
        half_angle: half the angle of the sector, radians.
        scan: position of the probe.
    """

    step_cm: float
    half_angle: float
    scan: Scan

    @property
    def step_rad(self) -> float:
        """Return the angle between beams."""
        return 2 * self.half_angle / (BEAMS - 1)

    def grid(self, coarse: tuple[int, int] = (1, 1)) -> tuple[Float[np.ndarray, "R 1"], Float[np.ndarray, "1 A"]]:
        """Return distance (cm) of rows and angle (radians) of beams at the centres of blocks of (rows, beams)."""
        rows = (np.arange(DEPTHS // coarse[0]) + 0.5) * coarse[0] - 0.5
        beams = (np.arange(BEAMS // coarse[1]) + 0.5) * coarse[1] - 0.5
        return (_NEAREST_CM + rows * self.step_cm)[:, None], (beams * self.step_rad - self.half_angle)[None]

    def points(self, coarse: tuple[int, int] = (1, 1)) -> tuple[Float[np.ndarray, "R A"], Float[np.ndarray, "R A"]]:
        """Return probe coordinates (x, depth) of the grid, cm."""
        distance, angle = self.grid(coarse)
        return distance * np.sin(angle), distance * np.cos(angle)

    def to_grid(self, x: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert probe (x, depth) in cm to grid (beam, row) in samples."""
        beam = (np.arctan2(x, depth) + self.half_angle) / self.step_rad
        # Much faster than np.hypot
        distance = np.sqrt(np.square(x, dtype=np.float64) + np.square(depth, dtype=np.float64))
        return beam, (distance.astype(beam.dtype, copy=False) - _NEAREST_CM) / self.step_cm


def sector_of(scan: Scan) -> Sector:
    """Return the sector that reaches to the bottom of the frame, or beyond it."""
    deepest = (SIZE - scan.bottom_px - scan.origin_px[1]) * scan.pixel_cm
    return Sector((deepest - _NEAREST_CM) / (DEPTHS - 1), math.radians(scan.opening_deg / 2), scan)


class ScanConverter:
    """Convert polar pictures of one video to frames.

    Args:
        sector: the polar grid.
        smoothing_px: standard deviation of a blur of the frame.
    """

    def __init__(self, sector: Sector, smoothing_px: float) -> None:
        axis = (np.arange(SIZE * _OVERSAMPLING) + 0.5) / _OVERSAMPLING - 0.5
        x, depth = np.meshgrid(axis - sector.scan.origin_px[0], axis - sector.scan.origin_px[1])
        beam, row = sector.to_grid(x * sector.scan.pixel_cm, depth * sector.scan.pixel_cm)
        self.beam, self.row = beam.astype(np.float32), row.astype(np.float32)
        self.smoothing = smoothing_px * _OVERSAMPLING

    def __call__(self, grey: Grid) -> UInt8[np.ndarray, "112 112"]:
        """Convert polar grey values (0…255) to a frame that is black outside the sector."""
        fine = blur(remap(grey, self.beam, self.row), self.smoothing, self.smoothing)
        return np.asarray(np.rint(resize_area(fine, SIZE, SIZE)).clip(0, 255), np.uint8)
