"""The ventricle in the picture: where the sonographer aims, and the landmarks in pixels."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from echo_e3net.conventions import DISCS
from echo_e3net.phantom.anatomy import to_pixels, to_probe
from echo_e3net.phantom.contour import Shape
from echo_e3net.phantom.prior import Scan
from echo_e3net.phantom.sector import SIZE

_EDGE_RAD = math.radians(1.5)
"""Smallest angle between the cavity and the edge of the sector."""
_MARGIN_PX = 10.0
"""Distance of the borders at rest from the edge of the frame, for motion and drift."""
_EPICARDIUM_RAD = math.radians(4)
"""Angle by which the epicardium may exceed the limit of the cavity."""


def aim(scan: Scan, rest: Shape) -> Scan:
    """Tilt and lower the view, as a sonographer would, until the cavity at rest lies within the sector.

    Args:
        scan: as drawn; returned unchanged if the cavity is inside.
        rest: the ventricle at rest, one moment.
    """
    limit = math.radians(scan.opening_deg / 2) - _EDGE_RAD
    for share in np.linspace(0, 1, 11):
        depth = scan.apex_cm[1] + 0.6 * share
        turned = scan._replace(
            tilt_deg=(1 - share) * scan.tilt_deg + share * 3.0, apex_cm=((1 - share) * scan.apex_cm[0], depth)
        )
        borders = [landmarks(rest, turned, np.zeros((1, 2)), outer)[0] - scan.origin_px for outer in (False, True)]
        inner, outer = (np.abs(np.arctan2(*border.T)).max() for border in borders)
        if inner <= limit and outer <= limit + _EPICARDIUM_RAD:
            break
    return turned


def into_frame(scan: Scan, rest: Shape) -> Scan:
    """Shift the probe in the frame until both borders at rest are inside, with a margin for their motion."""
    border = landmarks(rest, scan, np.zeros((1, 2)), outer=True)[0]
    low, high = border.min(0) - _MARGIN_PX, border.max(0) + _MARGIN_PX - (SIZE - 1)
    # A heart that is too large for the margin is centred.
    shift = np.where(high > low, -(low + high) / 2, np.clip(0.0, -low, -high))
    return scan._replace(origin_px=(scan.origin_px[0] + float(shift[0]), scan.origin_px[1] + float(shift[1])))


def landmarks(
    shape: Shape, scan: Scan, drift_cm: Float[np.ndarray, "T 2"], outer: bool = False
) -> Float[np.ndarray, "T 42 2"]:
    """Return the border in pixels: apex, middle of the mitral plane, left and right ends of the discs at mid-height.

    Args:
        shape: the ventricle at T moments.
        scan: position of the probe.
        drift_cm: shift of the whole heart at each moment, (x, depth).
        outer: return the epicardial border instead of the endocardial one.
    """
    top = shape.outer_apex if outer else shape.apex
    t = (np.arange(DISCS) + 0.5) / DISCS
    z = top + t[:, None] * (shape.base - top)
    left, right = shape.discs(outer)
    middle = shape.midline(z)
    zero = np.zeros_like(top)[None]
    u = np.concatenate([zero, zero, middle - left, middle + right])
    place = to_probe(u, np.concatenate([top[None], shape.base[None], z, z]), scan)
    return to_pixels(np.stack(place, axis=-1).swapaxes(0, 1) + drift_cm[:, None], scan)
