"""The left ventricle of a look in which every heart is different: each wall has its own echo.

Only the septum usually has an edge. Towards the lateral wall and the apex the echo rises slowly, and its brightest
place lies beyond the endocardium. Papillary muscles, a false tendon and an outflow tract are optional. Lengths are in
cm in heart coordinates, decibels relative to the wall of other looks, see :mod:`.tissue`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from echo_e3net.phantom.contour import Shape
from echo_e3net.phantom.look import Anatomy
from echo_e3net.phantom.prior import ramp, stream
from echo_e3net.phantom.tissue import Canvas

_SEPTUM, _LATERAL, _APEX = range(3)
_CLEAR_CM = 1.2
"""Distance from the endocardium into the cavity within which echoes of trabeculae are visible."""


class Wall(NamedTuple):
    """Echo of one wall.

    Attributes:
        edge_db: at the endocardium.
        peak_db: at the brightest place.
        place: of that place, in thicknesses of the wall from the endocardium.
        width: of its surroundings, in thicknesses.
        holes: (3, 3), dark parts: height along the long axis, half height, loss in dB.
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


def paint_ventricle(
    seed: int, index: int, anatomy: Anatomy, canvas: Canvas, rest: Shape, blood_db: float, streaks: np.ndarray
) -> None:
    """Paint the cavity and its walls."""
    rng = stream(seed, index, "walls")
    walls, fuzz = draw_walls(rng, anatomy), rng.uniform(*anatomy.fuzz_db_cm, 3)
    u, z = canvas.u, canvas.z
    t, distance = (z - rest.apex) / rest.length, np.abs(u)
    inner, outer = rest.inner_half_width(z, u), rest.outer_half_width(z, u)
    beyond, base = distance - inner, float(rest.base[0])
    above = np.maximum(rest.apex - z, 0)
    thickness = np.maximum(np.where(z < rest.apex, 0.7 * rest.wall, outer - inner), 0.1)
    depth = np.where(z < rest.apex, above + 0.5 * distance, beyond) / thickness
    # Share of the apex, and of the lateral wall, at each place
    apex = 1 - ramp(t, rng.uniform(0.02, 0.12), rng.uniform(0.2, 0.4))
    lateral = ramp(u, -0.5, 0.5)
    shares = np.stack([(1 - apex) * (1 - lateral), (1 - apex) * lateral, apex])
    level = sum(share * wall.level(depth, t) for share, wall in zip(shares, walls, strict=True))
    fall = (shares * fuzz[:, None, None]).sum(0)
    muscle = (z > rest.outer_apex) & (z < base) & (distance < outer)
    canvas.cover(muscle, level + streaks)
    cavity = (z > rest.apex) & (z < base + 0.1) & (distance < inner)
    at_edge = sum(share * wall.level(np.zeros_like(t), t) for share, wall in zip(shares, walls, strict=True))
    trabeculae = np.where(beyond > -_CLEAR_CM, at_edge + fall * np.minimum(beyond, 0) + 0.7 * streaks, -60.0)
    canvas.cover(cavity, np.maximum(trabeculae, blood_db), blood=True)
    extras(rng, anatomy, canvas, rest, cavity, blood_db)
    annulus(rng, canvas, rest)


def extras(
    rng: np.random.Generator, anatomy: Anatomy, canvas: Canvas, rest: Shape, cavity: np.ndarray, blood_db: float
) -> None:
    """Paint papillary muscles, a false tendon and an outflow tract. Every number is drawn in any case."""
    u, z = canvas.u, canvas.z
    length, base, top = float(rest.length[0]), float(rest.base[0]), float(rest.apex[0])
    for side in (1.0, -1.0):
        exists, height, depth, tall, thick, db = (
            rng.random(),
            *rng.uniform([0.3, 0.25, 0.5, 0.2, -16.0], [0.65, 0.75, 1.1, 0.45, 0.0]),
        )
        half = rest.inner_half_width(np.float32(top + height * length), np.float32(side))
        place = side * (1 - 0.5 * depth) * float(half.item() if hasattr(half, "item") else half)
        shape = ((u - place) / thick) ** 2 + ((z - top - height * length) / tall) ** 2
        if exists < anatomy.papillary * (1.0 if side > 0 else 0.5):
            canvas.cover_brighter(cavity & (shape < 1.6), db - 8.0 * np.maximum(shape - 0.6, 0))
    exists, height, slope, db = rng.random(), *rng.uniform([0.25, -0.6, -16.0], [0.6, 0.6, -4.0])
    if exists < anatomy.tendon:
        line = np.abs(z - top - height * length - slope * u)
        canvas.cover_brighter(cavity & (line < 0.12), np.full(u.shape, db))
    exists, wide, high = rng.random(), *rng.uniform([0.5, 0.8], [1.1, 1.8])
    if exists < anatomy.outflow:
        left = -float(rest.hinges()[0][0])
        tract = ((u - left - 0.1) / wide) ** 2 + ((z - base - 0.1) / high) ** 2 < 1
        canvas.cover(tract & (z > base - 0.5 * high), blood_db, blood=True)


def annulus(rng: np.random.Generator, canvas: Canvas, rest: Shape) -> None:
    """Brighten the tissue at both hinges of the mitral valve."""
    base = float(rest.base[0])
    for side, (half, lift) in zip((-1.0, 1.0), rest.hinges(), strict=True):
        gain, wide, high = rng.uniform([0.0, 0.2, 0.2], [14.0, 0.6, 0.5])
        near = ((canvas.u - side * (half + 0.25)) / wide) ** 2 + ((canvas.z - base - lift) / high) ** 2
        canvas.strength_db = canvas.strength_db + gain * np.exp(-near) * ~canvas.blood
