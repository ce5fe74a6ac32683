"""The mitral and tricuspid leaflets, moving with the annulus.

A leaflet is a curve from its hinge. The opening of the valve turns it between a closed and an open angle. Leaflets are
drawn into the polar grid in every frame, since they do not move with the tissue around them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from echo_e3net.data.raster import draw_curve
from echo_e3net.phantom.anatomy import Ventricle, to_probe
from echo_e3net.phantom.sector import BEAMS, DEPTHS, Sector
from echo_e3net.phantom.tissue import Chambers, right_faces

_POINTS = 6
_GRAZING = 0.25
"""Amplitude of a leaflet that is parallel to the beam over that of one across it."""


class Leaflet(NamedTuple):
    """One leaflet in heart coordinates.

    Attributes:
        hinge_u: u of the hinge at rest, cm.
        hinge_z: z of the hinge relative to the mitral plane (negative: apical), cm.
        side: +1 if the leaflet points to positive u, else -1.
        length: cm.
        closed: angle to the plane of the annulus, towards the apex, when closed, radians.
        opened: the same when open.
        mitral: whether the hinge follows the width of the mitral annulus; otherwise it follows the septum.
    """

    hinge_u: float
    hinge_z: float
    side: float
    length: float
    closed: float
    opened: float
    mitral: bool

    def curve(self, now: Ventricle, rest: Ventricle, opening: float) -> tuple[np.ndarray, np.ndarray]:
        """Return points (u, z) from hinge to tip."""
        narrowing = float(now.radius[0] / rest.radius[0])
        edge = float(now.outer_half_width(now.base)[0] - rest.outer_half_width(rest.base)[0])
        hinge = self.hinge_u * narrowing if self.mitral else self.hinge_u - edge
        length = self.length * (0.6 + 0.4 * narrowing)
        along = np.linspace(0, 1, _POINTS)
        angle = self.closed + (self.opened - self.closed) * opening * (0.55 + 0.45 * np.sqrt(along))
        angle = angle + 0.25 * (0.5 - along) * (1 - opening)
        step = np.concatenate([[0.0], np.full(_POINTS - 1, length / (_POINTS - 1))])
        u = hinge + self.side * np.cumsum(step * np.cos(angle))
        return u, float(now.base[0]) + self.hinge_z - np.cumsum(step * np.sin(angle))


def leaflets(chambers: Chambers, rest: Ventricle) -> tuple[Leaflet, ...]:
    """Return the anterior and posterior mitral, and the septal and anterior tricuspid leaflet."""
    annulus = float(rest.radius[0] * rest.base_width)
    septum, wall = right_faces(chambers, rest, np.array([chambers.right_base]))
    septum_u, wall_u = -float(septum[0]), -float(wall[0])
    width, lift = septum_u - wall_u, chambers.right_base - float(rest.base[0])
    tent, wide = math.radians(14), math.radians(78)
    return (
        Leaflet(-annulus, 0.0, 1.0, 1.22 * annulus, tent, wide, True),
        Leaflet(annulus, 0.0, -1.0, 0.88 * annulus, tent, math.radians(85), True),
        Leaflet(septum_u, lift, -1.0, 0.46 * width, tent, math.radians(70), False),
        Leaflet(wall_u, lift, 1.0, 0.60 * width, tent, wide, False),
    )


def draw_leaflets(
    parts: tuple[Leaflet, ...],
    now: Ventricle,
    rest: Ventricle,
    opening: float,
    drift_cm: Float[np.ndarray, " 2"],
    sector: Sector,
) -> UInt8[np.ndarray, "R A"]:
    """Draw the leaflets on the polar grid, 0…255."""
    picture = np.zeros((DEPTHS, BEAMS), np.uint8)
    for part in parts:
        place = np.stack(to_probe(*part.curve(now, rest, opening), sector.scan), axis=-1) + drift_cm
        points = np.stack(sector.to_grid(*place.T), axis=-1).astype(np.float32)
        # The leaflets of the right heart are thinner.
        strength = 1.0 if part.mitral else 0.6
        along, beam = place[-1] - place[0], place.mean(0)
        across = abs(along[0] * beam[1] - along[1] * beam[0]) / float(np.linalg.norm(along) * np.linalg.norm(beam))
        draw_curve(picture, points, strength * (255 * (_GRAZING + (1 - _GRAZING) * float(across))))
    return picture
