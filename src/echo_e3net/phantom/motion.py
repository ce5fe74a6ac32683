"""The place at rest of the tissue that is visible at a moment.

Scatterers and brightness are painted once, on the heart at ED, and looked up in every frame. So texture moves with the
wall, and the visible border is the labelled border. Along the axis the map is linear between outer apex, apex and
mitral plane; across, it is linear between mid-line, endocardium and epicardium. Outside the heart the displacement
fades.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class MaterialMap:
    """Look up where the visible tissue was at ED.

    Attributes:
        sector: the polar grid.
        rest: the ventricle at rest, one moment.
        x: probe x of the coarse grid, cm.
        depth: probe depth of the coarse grid, cm.
        seen: (beam, row) of the coarse grid.
        identity: (beam, row) of the full grid.
    """

    sector: Sector
    rest: Ventricle
    x: Float32[np.ndarray, "r a"]
    depth: Float32[np.ndarray, "r a"]
    seen: Float32[np.ndarray, "r a 2"]
    identity: Float32[np.ndarray, "R A 2"]

    def __call__(self, now: Ventricle, drift_cm: Float32[np.ndarray, " 2"]) -> tuple[Grid, Grid]:
        """Return the grid position (beam, row) at rest of each sample now."""
        u, z = to_heart(self.x - drift_cm[0], self.depth - drift_cm[1], self.sector.scan)
        place = to_probe(np.stack(at_rest(u, z, now, self.rest), axis=-1), self.sector.scan)
        moved = np.stack(self.sector.to_grid(place[..., 0], place[..., 1]), axis=-1) - self.seen
        moved = resize_linear(moved.astype(np.float32), DEPTHS, BEAMS) + self.identity
        return np.ascontiguousarray(moved[..., 0]), np.ascontiguousarray(moved[..., 1])


def material_map(sector: Sector, rest: Ventricle) -> MaterialMap:
    """Prepare the map of one video. ``rest`` is the painted ventricle."""
    x, depth = sector.points(_COARSE)
    seen = np.stack(sector.to_grid(x, depth), axis=-1)
    identity = np.stack(np.meshgrid(np.arange(BEAMS), np.arange(DEPTHS)), axis=-1)
    return MaterialMap(sector, rest, *(part.astype(np.float32) for part in (x, depth, seen, identity)))


def at_rest(u: np.ndarray, z: np.ndarray, now: Ventricle, rest: Ventricle) -> tuple[np.ndarray, np.ndarray]:
    """Convert heart (u, z) now to heart (u, z) at rest."""
    z_rest = _along(z, now, rest)
    below = np.clip((z - now.base) / _ATRIAL_REACH, 0, 1)
    share = np.cos(0.5 * np.pi * below) ** 2
    u_centred = u - now.midline(z)
    moved = _across(u_centred, z, z_rest, now, rest) + rest.midline(z_rest) - u
    return u + share * moved, z_rest


def _along(z: np.ndarray, now: Ventricle, rest: Ventricle) -> np.ndarray:
    knots_now = np.concatenate([now.outer_apex, now.apex, now.base])
    knots_rest = np.concatenate([rest.outer_apex, rest.apex, rest.base])
    inside = np.interp(z, knots_now, knots_rest)
    above = np.minimum(z - knots_now[0], 0)
    below = np.clip((z - knots_now[2]) / _ATRIAL_REACH, 0, 1)
    shift_above = (knots_rest[0] - knots_now[0]) * np.exp(above / _APICAL_REACH)
    shift_below = (knots_rest[2] - knots_now[2]) * np.cos(0.5 * np.pi * below) ** 2
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
