"""Echo strengths: the four chambers, painted in decibels on the heart at rest.

Later parts cover earlier ones: surroundings, right heart, atria, ventricular wall, bright lines. Lengths are in cm in
heart coordinates (u, z), see :mod:`.anatomy`. Decibels are of amplitude, relative to the wall.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from echo_e3net.data.raster import blur, resize_linear
from echo_e3net.phantom.anatomy import to_heart
from echo_e3net.phantom.chambers import LEFT_SIDE, RIGHT_SIDE, Chambers, right_faces
from echo_e3net.phantom.contour import Shape
from echo_e3net.phantom.details import paint_liver, paint_moderator_band
from echo_e3net.phantom.look import Look
from echo_e3net.phantom.painting import Canvas
from echo_e3net.phantom.prior import draw_between, ramp, stream
from echo_e3net.phantom.sector import BEAMS, DEPTHS, Grid, Sector
from echo_e3net.phantom.walls import paint_ventricle


def paint(
    seed: int, index: int, look: Look, chambers: Chambers, rest: Shape, sector: Sector
) -> tuple[Grid, Bool[np.ndarray, "R A"]]:
    """Return the echo strength on the polar grid in dB, and the mask of blood."""
    rng = stream(seed, index, "picture")
    u, z = to_heart(*sector.points(), sector.scan)
    blood, pericardium = draw_between(rng, look.blood_db, peak=0.1), rng.uniform(*look.pericardium_db)
    patches = rng.uniform(*look.patchiness_db) * (0.8 * smooth_noise(rng, (10, 8)) + 0.6 * smooth_noise(rng, (22, 16)))
    streaks = 2.0 * smooth_noise(rng, (60, 16)) + 2.0 * smooth_noise(rng, (30, 40))
    # The lung beside the heart fades; the chest wall is above it.
    lung = rng.uniform(*look.surroundings_db) - 3.5 * np.maximum(np.abs(u + 1.5) - rest.radius - 4.0, 0)
    chest = np.maximum(rng.spawn(1)[0].uniform(*look.chest_db) - 7.0 * ramp(sector.grid()[0], 0.8, 2.8), lung)
    surroundings = lung + (chest - lung) * (1 - ramp(z, -1.2, 1.2))
    canvas = Canvas(u - rest.midline(z), z, surroundings + 1.6 * patches, patches)
    details = stream(seed, index, "details")
    if look.anatomy is not None:
        paint_liver(details, look.anatomy, canvas, chambers)
    _paint_right_ventricle(canvas, chambers, rest, blood)
    if look.anatomy is not None:
        paint_moderator_band(details, look.anatomy, canvas, chambers, rest)
    _paint_pericardium(canvas, rest, pericardium)
    _paint_atria(canvas, chambers, rest, blood, pericardium)
    if look.anatomy is None:
        _paint_left_ventricle(canvas, rest, blood, streaks)
    else:
        paint_ventricle(seed, index, look.anatomy, canvas, rest, blood, streaks)
    return blur(canvas.strength_db.astype(np.float32), 0.5, 0.7), canvas.blood


def smooth_noise(rng: np.random.Generator, cells: tuple[int, int]) -> Grid:
    """Return a random field of unit variance; ``cells`` is its coarse grid, (rows, beams)."""
    small = rng.standard_normal(cells, dtype=np.float32)
    field = resize_linear(blur(small, 0.6, 0.6), DEPTHS, BEAMS)
    return np.asarray((field - field.mean()) / field.std())


def _paint_right_ventricle(canvas: Canvas, chambers: Chambers, rest: Shape, blood: float) -> None:
    septum, wall = right_faces(chambers, rest, canvas.z)
    left, z, outside = -canvas.u, canvas.z, wall + chambers.free_wall
    beside = (z > chambers.right_top) & (z < chambers.right_base + 0.1)
    canvas.cover(
        (z > chambers.right_top - 0.9) & (z < chambers.right_base - 0.1) & (left > septum - 0.1) & (left < outside),
        -7.0,
    )
    canvas.cover(beside & (left > outside) & (left < outside + 0.18), -4.0)
    s = (z - chambers.right_top) / (chambers.right_base - chambers.right_top)
    trabeculae = 8.0 * (1 - ramp(s, 0.15, 0.6))
    canvas.cover(beside & (left > septum) & (left < wall), blood + trabeculae, blood=True)


def _paint_atria(canvas: Canvas, chambers: Chambers, rest: Shape, blood: float, pericardium: float) -> None:
    base = float(rest.base[0])
    septum = -float(rest.outer_half_width(rest.base, LEFT_SIDE)[0]) + 0.30
    (left_u, left_z), (right_u, right_z) = chambers.left_atrium, chambers.right_atrium
    left = _egg(canvas, septum + 0.12 + left_u, base - 0.15 + left_z, left_u, left_z)
    right = _egg(canvas, septum - 0.12 - right_u, chambers.right_base - 0.15 + right_z, right_u, right_z)
    both, below = np.minimum(left, right), canvas.z > base - 0.1
    far = ramp(canvas.z, base + 0.9 * left_z, base + 1.9 * left_z)
    behind = far * (1 - ramp(both, 1.3, 2.3))
    canvas.cover_brighter(both < 2.3, -26.0 + (20.0 + pericardium) * behind)
    facing = np.maximum(far, 1 - ramp(canvas.z, base, base + 0.8))
    beside = np.where(canvas.u > septum, 0.5 * pericardium, 0.0)
    canvas.cover_brighter(below & (both < 1.26), -12.0 + beside + 9.0 * facing)
    canvas.cover(below & (both < 1.0), blood, blood=True)
    fossa = -9.0 * np.exp(-(((canvas.z - base - 1.6) / 0.6) ** 2))
    canvas.cover(
        below & (np.abs(canvas.u - septum) < 0.13) & (canvas.z < base + 1.7 * min(left_z, right_z)), -2.0 + fossa
    )


def _egg(canvas: Canvas, centre_u: float, centre_z: float, half_u: float, half_z: float) -> np.ndarray:
    """Return a value below 1 inside a rounded box, which grows with the distance outside; infinite above 2.4."""
    u, z = np.abs((canvas.u - centre_u) / half_u), np.abs((canvas.z - centre_z) / half_z)
    near = np.maximum(u, z) < 2.4
    value = np.full(u.shape, np.inf)
    value[near] = (u[near] ** 2.3 + z[near] ** 2.3) ** (1 / 2.3)
    return value


def _paint_pericardium(canvas: Canvas, rest: Shape, pericardium: float) -> None:
    """Paint the bright line beside the lateral wall, and the haze of the lung behind it."""
    z, beyond = canvas.z, canvas.u - rest.outer_half_width(canvas.z, RIGHT_SIDE)
    top, base = float(rest.outer_apex[0]), float(rest.base[0])
    s = (z - top) / (base - top)
    lateral = (z > top - 0.2) & (canvas.u > 0)
    lung = -6.0 - 9.0 * np.maximum(beyond, 0) - 12.0 * ramp(z, base - 0.5, base + 2.5)
    canvas.cover_brighter(lateral & (beyond >= 0), lung)
    line = pericardium * ramp(s, 0.25, 0.7) - 6.0 * (1 - ramp(s, 0.0, 0.3))
    canvas.cover(lateral & (z < base + 0.3) & (beyond >= -0.03) & (beyond < 0.14 + 0.12 * np.clip(s, 0, 1)), line)


def _paint_left_ventricle(canvas: Canvas, rest: Shape, blood: float, streaks: np.ndarray) -> None:
    z, distance = canvas.z, np.abs(canvas.u)
    inner, outer, base = rest.inner_half_width(z, canvas.u), rest.outer_half_width(z, canvas.u), float(rest.base[0])
    muscle = (z > rest.outer_apex) & (z < base) & (distance < outer)
    canvas.cover(muscle, np.where(canvas.u < 0, 1.0, 0.0) + streaks)
    canvas.strength_db += 3.0 * np.exp(-(((distance - inner) / 0.10) ** 2)) * muscle
    canvas.cover((z > rest.apex) & (z < base + 0.1) & (distance < inner), blood, blood=True)
    crux = np.exp(-(((distance - inner - 0.3) / 0.35) ** 2 + ((z - base) / 0.3) ** 2))
    canvas.strength_db += 7.0 * crux * (distance > inner)
