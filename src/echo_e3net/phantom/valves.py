"""The mitral and tricuspid leaflets, moving with the annulus.

A leaflet is a curve from its hinge. The opening of the valve turns it between a closed and an open angle. Leaflets are
drawn into the polar grid in every frame, since they do not move with the tissue around them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from echo_e3net.data.raster import draw_curve
from echo_e3net.phantom.anatomy import to_probe
from echo_e3net.phantom.chambers import Chambers, right_faces
from echo_e3net.phantom.contour import Shape
from echo_e3net.phantom.prior import Series
from echo_e3net.phantom.sector import BEAMS, DEPTHS, Sector

_POINTS = 6
_GRAZING = 0.25
"""Amplitude of a leaflet that is parallel to the beam over that of one across it."""


class Curves(NamedTuple):
    """One leaflet at T moments.

    Attributes:
        points: grid positions (beam, row) from hinge to tip.
        grey: brightness, 0…255.
    """

    points: Float32[np.ndarray, "T P 2"]
    grey: Series


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

    def curves(
        self,
        shape: Shape,
        rest: Shape,
        opening: Series,
        drift_cm: Float[np.ndarray, "T 2"],
        sector: Sector,
    ) -> Curves:
        """Return the leaflet in every frame.

        Args:
            shape: the ventricle at T moments, in single precision.
            rest: the painted ventricle, one moment.
            opening: opening of the valve at each moment, 0…1.
            drift_cm: shift of the whole heart at each moment, (x, depth).
            sector: the polar grid.
        """
        u, z = self._heart_points(shape, rest, opening[:, None])
        place = np.stack(to_probe(u, z, sector.scan), axis=-1) + drift_cm.astype(np.float32)[:, None]
        points = np.stack(sector.to_grid(place[..., 0], place[..., 1]), axis=-1).astype(np.float32)
        along, beam = place[:, -1] - place[:, 0], place.mean(1)
        across = np.abs(along[:, 0] * beam[:, 1] - along[:, 1] * beam[:, 0])
        across /= np.linalg.norm(along, axis=1) * np.linalg.norm(beam, axis=1)
        # The leaflets of the right heart are thinner.
        strength = 1.0 if self.mitral else 0.6
        return Curves(points, strength * (255 * (_GRAZING + (1 - _GRAZING) * across)))

    def _heart_points(self, shape: Shape, rest: Shape, opening: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return points (u, z) from hinge to tip, each (T, P)."""
        narrowing = (shape.radius / rest.radius).astype(np.float64)[:, None]
        edge = shape.basal_septum() - rest.basal_septum()
        hinge = self.hinge_u * narrowing if self.mitral else self.hinge_u - edge[:, None]
        along = np.linspace(0, 1, _POINTS)
        angle = self.closed + (self.opened - self.closed) * opening * (0.55 + 0.45 * np.sqrt(along))
        angle = angle + 0.25 * (0.5 - along) * (1 - opening)
        step = self.length * (0.6 + 0.4 * narrowing) / (_POINTS - 1) * (along > 0)
        u = hinge + self.side * np.cumsum(step * np.cos(angle), axis=1)
        return u, shape.base[:, None].astype(np.float64) + self.hinge_z - np.cumsum(step * np.sin(angle), axis=1)


def leaflets(chambers: Chambers, rest: Shape) -> tuple[Leaflet, ...]:
    """Return the anterior and posterior mitral, and the septal and anterior tricuspid leaflet."""
    annulus, (left, right) = rest.annulus, rest.hinges()
    septum, wall = right_faces(chambers, rest, np.array([chambers.right_base]))
    septum_u, wall_u = -float(septum[0]), -float(wall[0])
    width, lift = septum_u - wall_u, chambers.right_base - float(rest.base[0])
    tent, wide = math.radians(14), math.radians(78)
    return (
        Leaflet(-left[0], left[1], 1.0, 1.22 * annulus, tent, wide, True),
        Leaflet(right[0], right[1], -1.0, 0.88 * annulus, tent, math.radians(85), True),
        Leaflet(septum_u, lift, -1.0, 0.46 * width, tent, math.radians(70), False),
        Leaflet(wall_u, lift, 1.0, 0.60 * width, tent, wide, False),
    )


def draw_leaflets(valves: Iterable[Curves], moment: int) -> UInt8[np.ndarray, "R A"]:
    """Draw the leaflets at one moment on the polar grid, 0…255."""
    picture = np.zeros((DEPTHS, BEAMS), np.uint8)
    for points, grey in valves:
        draw_curve(picture, points[moment], grey[moment])
    return picture
