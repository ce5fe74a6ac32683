"""The place at rest of the tissue that is visible at a moment.

Scatterers and brightness are painted once, on the heart at ED, and looked up in every frame. So texture moves with the
wall, and the visible border is the labelled border. Along the axis the map is linear between outer apex, apex and
mitral plane; across, it is linear between mid-line, endocardium and epicardium. Outside the heart the displacement
fades.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from echo_e3net.data.raster import resize_linear
from echo_e3net.phantom.anatomy import to_heart, to_probe
from echo_e3net.phantom.contour import Shape
from echo_e3net.phantom.sector import BEAMS, DEPTHS, Grid, Sector

FINE, COARSE = (2, 2), (4, 2)
"""Blocks of (rows, beams) for which the map is computed once and then enlarged, because it is smooth."""

_ATRIAL_REACH = 5.5
_SIDE_REACH = 2.5
_APICAL_REACH = 1.2
_RIGHT_SQUEEZE = 0.35
_TINY = 1e-3


class MaterialMap:
    """Look up where the visible tissue was at ED.

    Args:
        sector: the polar grid.
        rest: the painted ventricle, one moment.
        blocks: size of the blocks, (rows, beams).
    """

    def __init__(self, sector: Sector, rest: Shape, blocks: tuple[int, int] = FINE) -> None:
        self.sector, self.rest = sector, rest
        x, depth = sector.points(blocks)
        self.x, self.depth = x.astype(np.float32), depth.astype(np.float32)
        self.seen = np.stack(sector.to_grid(x, depth), axis=-1).astype(np.float32)
        self.beams, self.rows = np.arange(BEAMS, dtype=np.float32), np.arange(DEPTHS, dtype=np.float32)[:, None]

    def __call__(self, now: Shape, drift_cm: Float32[np.ndarray, " 2"]) -> tuple[Grid, Grid]:
        """Return the grid position (beam, row) at rest of each sample now."""
        u, z = to_heart(self.x - drift_cm[0], self.depth - drift_cm[1], self.sector.scan)
        beam, row = self.sector.to_grid(*to_probe(*at_rest(u, z, now, self.rest), self.sector.scan))
        moved = np.empty_like(self.seen)
        moved[..., 0] = beam - self.seen[..., 0]
        moved[..., 1] = row - self.seen[..., 1]
        moved = resize_linear(moved, DEPTHS, BEAMS)
        return moved[..., 0] + self.beams, moved[..., 1] + self.rows


def at_rest(u: np.ndarray, z: np.ndarray, now: Shape, rest: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Convert heart (u, z) now to heart (u, z) at rest."""
    share = np.ones_like(z)
    below = z > now.base
    np.cos(0.5 * np.pi * np.minimum((z - now.base) / _ATRIAL_REACH, 1), out=share, where=below)
    share *= share
    z_rest = _along(z, now, rest, share)
    moved = _across(u - now.midline(z), z, z_rest, now, rest)
    moved += rest.midline(z_rest)
    moved -= u
    moved *= share
    moved += u
    return moved, z_rest


def _along(z: np.ndarray, now: Shape, rest: Shape, share: np.ndarray) -> np.ndarray:
    """Return z at rest; ``share`` of the shift of the mitral plane reaches tissue below it."""
    knots_now = np.concatenate([now.outer_apex, now.apex, now.base])
    knots_rest = np.concatenate([rest.outer_apex, rest.apex, rest.base])
    z_rest = np.interp(z, knots_now, knots_rest)
    above, below = z < knots_now[0], z > knots_now[2]
    fading = np.exp((z - knots_now[0]) / _APICAL_REACH, out=np.zeros_like(z), where=above)
    np.add(z, (knots_rest[0] - knots_now[0]) * fading, out=z_rest, where=above)
    np.add(z, (knots_rest[2] - knots_now[2]) * share, out=z_rest, where=below)
    return np.asarray(z_rest)


def _across(u: np.ndarray, z: np.ndarray, z_rest: np.ndarray, now: Shape, rest: Shape) -> np.ndarray:
    """Return the distance from the mid-line at rest of tissue at distance ``u`` from the mid-line now."""
    inner, outer = now.inner_half_width(z, u), now.outer_half_width(z, u)
    inner_rest, outer_rest = rest.inner_half_width(z_rest, u), rest.outer_half_width(z_rest, u)
    distance = np.abs(u)
    beyond = distance - outer
    outside = beyond >= 0
    place = np.exp(beyond / -_SIDE_REACH, out=np.zeros_like(u), where=outside)
    place *= outer_rest - outer
    place += distance
    squeeze = _RIGHT_SQUEEZE * (1 - now.length / rest.length) / 0.15
    right = np.exp(-((beyond / 3.5) ** 2), out=np.zeros_like(u), where=outside & (u < 0))
    right *= beyond
    right *= squeeze * np.clip(z / rest.base, 0, 1)
    place += right
    wall = inner_rest + (distance - inner) * (outer_rest - inner_rest) / np.maximum(outer - inner, _TINY)
    np.copyto(place, wall, where=~outside)
    np.copyto(place, distance * inner_rest / np.maximum(inner, _TINY), where=distance < inner)
    return np.asarray(np.copysign(place, u))
