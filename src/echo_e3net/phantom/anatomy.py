r"""The exact shape of the left ventricle over time, in centimetres.

The cavity is a bullet around a bent mid-line. With t = 0 at the apex and 1 at the mitral plane, half a chord is R f(t):

.. math:: f(t) = \sqrt{1 - (1 - t)^2} \, \bigl(1 - (1 - q) t^6\bigr), \qquad V = \pi R^2 L \int_0^1 f^2 dt

Only the mid-line bends, which changes neither chords nor volume. V(t) determines the long axis L (V/V_ED)^α and the
radius. The wall thickens as an incompressible shell. Heart coordinates are (u, z): z along the long axis, 0 at the ED
apex, positive towards the base; u across, positive to the viewer's right. Probe coordinates are (x, depth).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from echo_e3net.conventions import DISCS
from echo_e3net.phantom.prior import Heart, Scan, Series

_APEX_WALL = 0.7
"""Thickness of the wall at the apex over that at the side."""
_APEX_CREEP = 0.1
"""Share of the long axis' shortening that moves the outer apex."""


def bullet(t: np.ndarray, base_width: float) -> np.ndarray:
    """Return half chord over R at t: 0 above the tip, the last chord below the mitral plane."""
    t = np.clip(t, 0, 1)
    return np.asarray(np.sqrt(t * (2 - t)) * (1 - (1 - base_width) * np.square(t * t * t)))


def bullet_moment(base_width: float) -> float:
    """Return ∫ f² dt in closed form: with p = 1 - q, f² = (2t - t²)(1 - 2p t⁶ + p² t¹²)."""
    p = 1 - base_width
    return (1 - 1 / 3) - 2 * p * (2 / 8 - 1 / 9) + p**2 * (2 / 14 - 1 / 15)


class Ventricle(NamedTuple):
    """The ventricle at T moments; every series is (T,), in cm.

    Attributes:
        base_width: q.
        apex: z of the cavity's apex.
        length: visible long axis of the cavity.
        radius: largest half chord of the cavity.
        wall: thickness at the side.
        bend: deflection of the mid-line in its middle.
    """

    base_width: float
    apex: Series
    length: Series
    radius: Series
    wall: Series
    bend: Series

    @property
    def base(self) -> Series:
        """Z of the mitral plane."""
        return np.asarray(self.apex + self.length)

    @property
    def outer_apex(self) -> Series:
        """Z of the epicardium's apex."""
        return self.apex - _APEX_WALL * self.wall

    def single(self) -> Ventricle:
        """Return all moments in single precision."""
        base_width, *series = self
        return Ventricle(base_width, *(part.astype(np.float32) for part in series))

    def at(self, moment: int) -> Ventricle:
        """Return one moment in single precision; arrays are (1,)."""
        base_width, *series = self
        return Ventricle(base_width, *(part[moment : moment + 1] for part in series)).single()

    @property
    def annulus(self) -> float:
        """Half the width of the mitral annulus at the first moment."""
        return float(self.radius[0] * self.base_width)

    def hinges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the distance from the mid-line and the height above the mitral plane of both hinges, first moment."""
        return (self.annulus, 0.0), (self.annulus, 0.0)

    def basal_septum(self) -> Series:
        """Return the distance of the right side of the septum from the mid-line, at the mitral plane."""
        return self.outer_half_width(self.base)

    def discs(self, outer: bool) -> Float[np.ndarray, "2 D T"]:
        """Return the left and right half chords of the discs at each moment."""
        top = self.outer_apex if outer else self.apex
        z = top + (np.arange(DISCS)[:, None] + 0.5) / DISCS * (self.base - top)
        half = self.outer_half_width(z) if outer else self.inner_half_width(z)
        return np.stack([half, half])

    def inner_half_width(self, z: np.ndarray, u: np.ndarray | None = None) -> np.ndarray:
        """Return the half chord of the cavity at height z; both sides are equal."""
        return np.asarray(self.radius * bullet((z - self.apex) / self.length, self.base_width))

    def outer_half_width(self, z: np.ndarray, u: np.ndarray | None = None) -> np.ndarray:
        """Return the half chord of the epicardium at height z; both sides are equal."""
        return np.asarray(
            (self.radius + self.wall) * bullet((z - self.outer_apex) / (self.base - self.outer_apex), self.base_width)
        )

    def midline(self, z: np.ndarray) -> np.ndarray:
        """Return u of the mid-line at height z: a half sine between apex and mitral plane."""
        t = (z - self.apex) / self.length
        return np.asarray(self.bend * np.sin(np.pi * t, out=np.zeros_like(t), where=(t > 0) & (t < 1)))


def ventricle(heart: Heart, volume_ml: Series) -> Ventricle:
    """Return the ventricle with volume V(t). The average ED is the shape at rest."""
    moment = bullet_moment(heart.base_width)
    radius_ed = (heart.edv_ml / (2 * math.pi * heart.elongation * moment)) ** (1 / 3)
    length_ed = 2 * heart.elongation * radius_ed
    ratio = volume_ml / heart.edv_ml
    length = length_ed * ratio**heart.shortening
    radius = radius_ed * np.sqrt(ratio * length_ed / length)
    wall = wall_thickness(heart.wall_cm, radius_ed, length_ed, radius, length)
    seen = heart.apparent_length
    outer_apex = -_APEX_WALL * heart.wall_cm + _APEX_CREEP * seen * (length_ed - length)
    return Ventricle(
        heart.base_width,
        outer_apex + _APEX_WALL * wall,
        seen * length,
        radius,
        wall,
        heart.bend_cm * length / length_ed,
    )


def wall_thickness(
    wall_ed: float, radius_ed: float, length_ed: float, radius: np.ndarray, length: np.ndarray
) -> Series:
    """Solve (R + w)² (L + c w) - R² L = its value at ED for the thickness w, with Newton's method."""
    shell = (radius_ed + wall_ed) ** 2 * (length_ed + _APEX_WALL * wall_ed) - radius_ed**2 * length_ed
    wall = np.full_like(radius, wall_ed)
    for _ in range(8):
        outer, tall = radius + wall, length + _APEX_WALL * wall
        excess = outer**2 * tall - radius**2 * length - shell
        wall = wall - excess / (2 * outer * tall + _APEX_WALL * outer**2)
    return wall


def to_probe(u: np.ndarray, z: np.ndarray, scan: Scan) -> tuple[np.ndarray, np.ndarray]:
    """Convert heart (u, z) to probe (x, depth), cm, without drift."""
    tilt = math.radians(scan.tilt_deg)
    x, depth = scan.apex_cm
    return x + u * math.cos(tilt) + z * math.sin(tilt), depth - u * math.sin(tilt) + z * math.cos(tilt)


def to_heart(x: np.ndarray, depth: np.ndarray, scan: Scan) -> tuple[np.ndarray, np.ndarray]:
    """Convert probe (x, depth) to heart (u, z), cm, without drift."""
    tilt = math.radians(scan.tilt_deg)
    x, depth = x - scan.apex_cm[0], depth - scan.apex_cm[1]
    return x * math.cos(tilt) - depth * math.sin(tilt), x * math.sin(tilt) + depth * math.cos(tilt)


def to_pixels(points: Float[np.ndarray, "*B 2"], scan: Scan) -> Float[np.ndarray, "*B 2"]:
    """Convert probe (x, depth) in cm to frame (x, y) in pixels."""
    return np.asarray(points / scan.pixel_cm + np.array(scan.origin_px))
