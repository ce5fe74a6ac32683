"""The left ventricle of a look in which every heart is different: each wall has its own echo.

Only the septum usually has an edge. Towards the lateral wall and the apex the echo rises slowly, and its brightest
place lies beyond the endocardium. Lengths are in cm in heart coordinates, decibels relative to the wall of other looks,
see :mod:`.tissue`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from echo_e3net.phantom.contour import Shape
from echo_e3net.phantom.details import paint_annulus, paint_outflow, paint_papillary_muscle, paint_tendon
from echo_e3net.phantom.hearts import Anatomy
from echo_e3net.phantom.painting import Canvas
from echo_e3net.phantom.prior import ramp, stream

_CLEAR_CM = 1.2
"""Distance from the endocardium into the cavity within which echoes of trabeculae are visible."""


class Wall(NamedTuple):
    """Echo of one wall.

    Attributes:
        edge_db: at the endocardium.
        peak_db: at the brightest place.
        place: of that place, in thicknesses of the wall from the endocardium.
        width: of its surroundings, in thicknesses.
        holes: (3, 3), dark parts (dropout): height along the long axis, half height, loss in dB.
    """

    edge_db: float
    peak_db: float
    place: float
    width: float
    holes: np.ndarray

    def level(self, depth: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return the echo at a depth beyond the endocardium (in thicknesses) and height t along the long axis."""
        rise = np.exp(-(((depth - self.place) / self.width) ** 2))
        level = self.edge_db + (self.peak_db - self.edge_db) * rise
        for height, half, loss in self.holes:
            level = level - loss * np.exp(-(((t - height) / half) ** 2))
        return np.asarray(level)


def draw_walls(rng: np.random.Generator, anatomy: Anatomy) -> tuple[Wall, Wall, Wall]:
    """Draw the echoes of septum, lateral wall and apex."""
    walls = []
    for (edge, peak), (place, width) in (
        (anatomy.septum_db, anatomy.septum_peak),
        (anatomy.lateral_db, anatomy.lateral_peak),
        (anatomy.apex_db, anatomy.lateral_peak),
    ):
        holes = rng.uniform([0.0, 0.08, 0.0], [1.0, 0.3, 14.0], (3, 3))
        holes[:, 2] *= rng.random(3) < 0.4
        low, high = rng.uniform(*edge), rng.uniform(*peak)
        walls.append(Wall(low, max(low, high), rng.uniform(*place), rng.uniform(*width), holes))
    return walls[0], walls[1], walls[2]


def draw_falls(rng: np.random.Generator, anatomy: Anatomy) -> np.ndarray:
    """Draw the fall of the echo from septum, lateral wall and apex into the cavity, dB/cm."""
    septum, other = anatomy.septum_fall_db_cm, anatomy.other_fall_db_cm
    return np.array([rng.uniform(*septum), *rng.uniform(*other, 2)])


def paint_ventricle(
    seed: int, index: int, anatomy: Anatomy, canvas: Canvas, rest: Shape, blood_db: float, streaks: np.ndarray
) -> None:
    """Paint the cavity, its walls, and what lies in and beside it."""
    rng = stream(seed, index, "walls")
    walls, falls = draw_walls(rng, anatomy), draw_falls(rng, anatomy)
    shares = wall_shares(rng, canvas, rest)
    u, z, base = canvas.u, canvas.z, float(rest.base[0])
    inner, outer = rest.inner_half_width(z, u), rest.outer_half_width(z, u)
    muscle = (z > rest.outer_apex) & (z < base) & (np.abs(u) < outer)
    canvas.cover(muscle, mixed_level(walls, shares, depth_in_wall(canvas, rest, inner, outer), canvas, rest) + streaks)
    cavity = (z > rest.apex) & (z < base + 0.1) & (np.abs(u) < inner)
    inside = np.maximum(inner - np.abs(u), 0)
    at_edge = mixed_level(walls, shares, np.zeros_like(u), canvas, rest)
    trabeculae = at_edge - (shares * falls[:, None, None]).sum(0) * inside + 0.7 * streaks
    canvas.cover(cavity, np.where(inside < _CLEAR_CM, np.maximum(trabeculae, blood_db), blood_db), blood=True)
    for side in (1.0, -1.0):
        paint_papillary_muscle(rng, anatomy, canvas, rest, cavity, side)
    paint_tendon(rng, anatomy, canvas, rest, cavity)
    paint_outflow(rng, anatomy, canvas, rest, blood_db)
    paint_annulus(rng, canvas, rest)


def depth_in_wall(canvas: Canvas, rest: Shape, inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Return the distance beyond the endocardium, in thicknesses of the wall at that place."""
    u, z = np.abs(canvas.u), canvas.z
    above_apex = z < rest.apex
    thickness = np.maximum(np.where(above_apex, 0.7 * rest.wall, outer - inner), 0.1)
    return np.asarray(np.where(above_apex, rest.apex - z + 0.5 * u, u - inner) / thickness)


def wall_shares(rng: np.random.Generator, canvas: Canvas, rest: Shape) -> Float[np.ndarray, "3 R A"]:
    """Return how much each place belongs to septum, lateral wall and apex."""
    t = (canvas.z - rest.apex) / rest.length
    apex = 1 - ramp(t, rng.uniform(0.02, 0.12), rng.uniform(0.2, 0.4))
    lateral = ramp(canvas.u, -0.5, 0.5)
    return np.stack([(1 - apex) * (1 - lateral), (1 - apex) * lateral, apex])


def mixed_level(
    walls: tuple[Wall, Wall, Wall], shares: np.ndarray, depth: np.ndarray, canvas: Canvas, rest: Shape
) -> np.ndarray:
    """Return the echo of the three walls at a depth in the wall, mixed by their shares, dB."""
    t = (canvas.z - rest.apex) / rest.length
    return np.asarray(sum(share * wall.level(depth, t) for share, wall in zip(shares, walls, strict=True)))
