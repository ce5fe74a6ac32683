"""Sizes of the chambers besides the left ventricle."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from echo_e3net.phantom.contour import Shape
from echo_e3net.phantom.hearts import Anatomy
from echo_e3net.phantom.prior import Heart, stream

LEFT_SIDE, RIGHT_SIDE = np.array(-1, np.float32), np.array(1, np.float32)
"""A u on the viewer's left and on the right, for half widths."""


class Chambers(NamedTuple):
    """Sizes of the other chambers at rest, cm.

    Attributes:
        right_top: z of the apex of the right ventricle.
        right_base: z of the tricuspid plane.
        right_width: width of the right ventricle at its base.
        free_wall: thickness of its free wall.
        left_atrium: half axes (u, z).
        right_atrium: half axes (u, z).
    """

    right_top: float
    right_base: float
    right_width: float
    free_wall: float
    left_atrium: tuple[float, float]
    right_atrium: tuple[float, float]


def draw_chambers(seed: int, index: int, heart: Heart, rest: Shape, anatomy: Anatomy | None = None) -> Chambers:
    """Draw the sizes of the other chambers. Without an anatomy they fit the left ventricle."""
    rng = stream(seed, index, "anatomy")
    length, annulus = float(rest.length[0]), rest.annulus
    width, top, plane, wall = rng.uniform([2.9, 0.10, 0.93, 0.30], [3.9, 0.24, 0.99, 0.45])
    left, left_tall, right, right_tall = rng.uniform([1.0, 2.1, 1.7, 1.9], [1.25, 2.7, 2.2, 2.4])
    scale = heart.right_scale
    factors = (1.0, 1.0, 1.0) if anatomy is None else rng.spawn(1)[0].uniform(*anatomy.other_scale, 3)
    right_ventricle, left_atrium, right_atrium = (float(scale * factor) for factor in factors)
    return Chambers(
        right_top=top * length,
        right_base=plane * length,
        right_width=width * right_ventricle,
        free_wall=wall,
        left_atrium=(annulus * left + 0.15, left_tall * left_atrium),
        right_atrium=(right * right_atrium, right_tall * right_atrium),
    )


def right_faces(chambers: Chambers, rest: Shape, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances of the right side of the septum and of the right free wall from the mid-line at z."""
    s = np.clip((z - chambers.right_top) / (chambers.right_base - chambers.right_top), 0, 1)
    septum = rest.outer_half_width(z, LEFT_SIDE) - 0.12
    return septum, septum + chambers.right_width * np.sin(0.5 * np.pi * s**0.9) ** 0.85
