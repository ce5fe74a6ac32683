"""Structures of the look ``mixed`` in and around the ventricles, each with its own probability.

Every number is drawn whether or not its structure occurs. Lengths are in cm in heart coordinates (u, z), decibels
relative to the wall of other looks, see :mod:`.tissue`.
"""

from __future__ import annotations

import numpy as np

from echo_e3net.phantom.chambers import Chambers, right_faces
from echo_e3net.phantom.contour import Shape
from echo_e3net.phantom.hearts import Anatomy
from echo_e3net.phantom.painting import Canvas


def paint_papillary_muscle(
    rng: np.random.Generator, anatomy: Anatomy, canvas: Canvas, rest: Shape, cavity: np.ndarray, side: float
) -> None:
    """Paint a bright island near a wall; ``side`` is 1 for the lateral wall and -1 for the septum."""
    exists = rng.random() < anatomy.papillary * (1.0 if side > 0 else 0.5)
    height, inwards, half_u, half_z, db = rng.uniform([0.3, 0.12, 0.2, 0.5, -16.0], [0.65, 0.38, 0.45, 1.1, 0.0])
    z = float(rest.apex[0]) + height * float(rest.length[0])
    half_chord = float(rest.inner_half_width(np.full(1, z, np.float32), np.full(1, side, np.float32))[0])
    u = side * (1 - inwards) * half_chord
    radius = ((canvas.u - u) / half_u) ** 2 + ((canvas.z - z) / half_z) ** 2
    if exists:
        canvas.cover_brighter(cavity & (radius < 1.6), db - 8.0 * np.maximum(radius - 0.6, 0))


def paint_tendon(rng: np.random.Generator, anatomy: Anatomy, canvas: Canvas, rest: Shape, cavity: np.ndarray) -> None:
    """Paint a false tendon: a thin line across the cavity."""
    exists = rng.random() < anatomy.tendon
    height, slope, db = rng.uniform([0.25, -0.6, -16.0], [0.6, 0.6, -4.0])
    distance = np.abs(canvas.z - float(rest.apex[0]) - height * float(rest.length[0]) - slope * canvas.u)
    if exists:
        canvas.cover_brighter(cavity & (distance < 0.12), np.full(canvas.u.shape, db))


def paint_outflow(rng: np.random.Generator, anatomy: Anatomy, canvas: Canvas, rest: Shape, blood_db: float) -> None:
    """Paint the dark outflow tract beside the septal hinge of the mitral valve."""
    exists = rng.random() < anatomy.outflow
    half_u, half_z = rng.uniform([0.5, 0.8], [1.1, 1.8])
    u, z = canvas.u + float(rest.hinges()[0][0]) - 0.1, canvas.z - float(rest.base[0])
    tract = ((u / half_u) ** 2 + ((z - 0.1) / half_z) ** 2 < 1) & (z > -0.5 * half_z)
    if exists:
        canvas.cover(tract, blood_db, blood=True)


def paint_annulus(rng: np.random.Generator, canvas: Canvas, rest: Shape) -> None:
    """Brighten the tissue at both hinges of the mitral valve."""
    base = float(rest.base[0])
    for side, (half, lift) in zip((-1.0, 1.0), rest.hinges(), strict=True):
        gain_db, half_u, half_z = rng.uniform([0.0, 0.2, 0.2], [14.0, 0.6, 0.5])
        radius = ((canvas.u - side * (half + 0.25)) / half_u) ** 2 + ((canvas.z - base - lift) / half_z) ** 2
        canvas.strength_db = canvas.strength_db + gain_db * np.exp(-radius) * ~canvas.blood


def paint_moderator_band(
    rng: np.random.Generator, anatomy: Anatomy, canvas: Canvas, chambers: Chambers, rest: Shape
) -> None:
    """Paint the moderator band: a line across the apical half of the right ventricle."""
    exists = rng.random() < anatomy.moderator
    height, slope, thickness, db = rng.uniform([0.25, -0.5, 0.15, -14.0], [0.6, 0.5, 0.4, 0.0])
    septum, wall = right_faces(chambers, rest, canvas.z)
    left = -canvas.u
    z = chambers.right_top + height * (chambers.right_base - chambers.right_top) + slope * (left - septum)
    band = (left > septum - 0.1) & (left < wall + 0.1) & (np.abs(canvas.z - z) < 0.5 * thickness)
    if exists:
        canvas.cover_brighter(band & (canvas.z > chambers.right_top), np.full(canvas.u.shape, db))


def paint_liver(rng: np.random.Generator, anatomy: Anatomy, canvas: Canvas, chambers: Chambers) -> None:
    """Paint the liver below and to the left of the right ventricle: an even grey area with a bright edge."""
    exists = rng.random() < anatomy.liver
    u, z, half_u, half_z, db = rng.uniform([2.0, 0.0, 3.0, 3.0, -26.0], [5.0, 4.0, 6.0, 6.0, -10.0])
    centre_u, centre_z = -(chambers.right_width + u), chambers.right_base + z
    radius = np.sqrt(((canvas.u - centre_u) / half_u) ** 2 + ((canvas.z - centre_z) / half_z) ** 2)
    if exists:
        canvas.cover(radius < 1, db + 8.0 * np.exp(-(((radius - 0.98) / 0.03) ** 2)))
