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
from echo_e3net.phantom.anatomy import Ventricle, to_heart, to_probe
from echo_e3net.phantom.sector import BEAMS, DEPTHS, Grid, Sector

_COARSE = (2, 2)
"""The map is computed on every second row and beam and then enlarged, because it is smooth."""

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
    """

    def __init__(self, sector: Sector, rest: Ventricle) -> None:
        self.sector, self.rest = sector, rest
        x, depth = sector.points(_COARSE)
        self.x, self.depth = x.astype(np.float32), depth.astype(np.float32)
        self.seen = np.stack(sector.to_grid(x, depth), axis=-1).astype(np.float32)
        self.identity = np.stack(np.meshgrid(np.arange(BEAMS), np.arange(DEPTHS)), axis=-1).astype(np.float32)

    def __call__(self, now: Ventricle, drift_cm: Float32[np.ndarray, " 2"]) -> tuple[Grid, Grid]:
        """Return the grid position (beam, row) at rest of each sample now."""
        u, z = to_heart(self.x - drift_cm[0], self.depth - drift_cm[1], self.sector.scan)
        place = to_probe(*at_rest(u, z, now, self.rest), self.sector.scan)
        moved = np.stack(self.sector.to_grid(*place), axis=-1) - self.seen
        moved = resize_linear(moved.astype(np.float32), DEPTHS, BEAMS) + self.identity
        return np.ascontiguousarray(moved[..., 0]), np.ascontiguousarray(moved[..., 1])


def at_rest(u: np.ndarray, z: np.ndarray, now: Ventricle, rest: Ventricle) -> tuple[np.ndarray, np.ndarray]:
    """Convert heart (u, z) now to heart (u, z) at rest."""
    share = np.cos(0.5 * np.pi * np.clip((z - now.base) / _ATRIAL_REACH, 0, 1)) ** 2
    z_rest = _along(z, now, rest, share)
    u_centred = u - now.midline(z)
    moved = _across(u_centred, z, z_rest, now, rest) + rest.midline(z_rest) - u
    return u + share * moved, z_rest


def _along(z: np.ndarray, now: Ventricle, rest: Ventricle, share: np.ndarray) -> np.ndarray:
    """Return z at rest; ``share`` of the shift of the mitral plane reaches tissue below it."""
    knots_now = np.concatenate([now.outer_apex, now.apex, now.base])
    knots_rest = np.concatenate([rest.outer_apex, rest.apex, rest.base])
    inside = np.interp(z, knots_now, knots_rest)
    above = np.minimum(z - knots_now[0], 0)
    shift_above = (knots_rest[0] - knots_now[0]) * np.exp(above / _APICAL_REACH)
    shift_below = (knots_rest[2] - knots_now[2]) * share
    return np.asarray(
        np.where(z < knots_now[0], z + shift_above, np.where(z > knots_now[2], z + shift_below, inside)), z.dtype
    )


def _across(u: np.ndarray, z: np.ndarray, z_rest: np.ndarray, now: Ventricle, rest: Ventricle) -> np.ndarray:
    """Return the distance from the mid-line at rest of tissue at distance ``u`` from the mid-line now."""
    inner, outer = now.inner_half_width(z), now.outer_half_width(z)
    inner_rest, outer_rest = rest.inner_half_width(z_rest), rest.outer_half_width(z_rest)
    distance = np.abs(u)
    cavity = distance * inner_rest / np.maximum(inner, _TINY)
    wall = inner_rest + (distance - inner) * (outer_rest - inner_rest) / np.maximum(outer - inner, _TINY)
    beyond = distance - outer
    squeeze = _RIGHT_SQUEEZE * (1 - now.length / rest.length) / 0.15 * (u < 0) * np.clip(z / rest.base, 0, 1)
    outside = (
        outer_rest
        + beyond
        + (outer - outer_rest) * (1 - np.exp(-beyond / _SIDE_REACH))
        + squeeze * beyond * np.exp(-((beyond / 3.5) ** 2))
    )
    return np.asarray(np.sign(u) * np.where(distance < inner, cavity, np.where(distance < outer, wall, outside)))
