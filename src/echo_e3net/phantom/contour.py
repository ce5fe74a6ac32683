r"""A ventricle of any shape: half widths of cavity and wall on each side of the mid-line, as tables.

The bullet of :mod:`.anatomy` scales as a whole. Real ventricles differ in shape. Their walls move differently, and at
end-systole papillary muscles and trabeculae narrow the apical half to a cone. Half a chord on side i is

.. math:: R(\tau) \, p_i(t) \, b_i(t) \, \bigl(1 - s \, c(t) - s_i \, m_i(t)\bigr), \qquad s = 1 - V / V_{ED}

with the profile p, the oblique mitral end b, the cone c, and the regional motion m, which may lag on one side. No half
chord exceeds 1.2 times that at ED, so the base does not widen where the apical half is narrow. R makes the sum of 20
discs exactly V(τ), so EF of the tracings is EF of the volumes. The epicardium has a profile of its own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from echo_e3net.conventions import DISCS
from echo_e3net.phantom.anatomy import Ventricle, bullet_moment, wall_thickness
from echo_e3net.phantom.hearts import Anatomy
from echo_e3net.phantom.prior import Heart, Series, ramp, stream

KNOTS = np.linspace(0, 1, 2 * DISCS + 1)
"""Heights of the tables, 0 at the apex and 1 at the mitral plane; every second one is the middle of a disc."""
_BULLET = bullet_moment(0.86)
"""Moment of the bullet whose radius determines the wall."""
_APICAL = (0.25, 0.7)
"""(start, end) of the fall of the narrowing at ED towards the base, of the long axis."""
_BULGE = (0.78, 0.12)
"""Place and width of the basal bulge, of the long axis."""
_NARROWEST = 0.3
"""Smallest half chord over the half chord of the profile."""
_WIDEST = 1.2
"""Largest half chord over that at ED."""
_SHARPNESS = 6
"""Exponent of the smooth limit; a higher one follows the half chords more closely up to the limit."""
_STEPS = 12
"""Steps of Newton's method; after them, only rounding errors of the volume remain."""
_THINNEST = 0.5
"""Smallest thickness of the wall over its usual one."""
Table = Float[np.ndarray, "2 K"]
"""Values on the left and on the right at the knots."""
Tables = Float[np.ndarray, "T 2 K"]


class Form(NamedTuple):
    """Draws of the shape of one ventricle and of its motion.

    Attributes:
        profile: half chord at ED over the largest one, before the mitral end.
        end: factor of the mitral end, 1 except near the base.
        hinge: heights of the left and right hinge of the mitral valve.
        cone: narrowing per ejected share of the volume.
        regional: the same, of each wall only.
        lag_s: delay of the regional motion of each wall, seconds.
        outer: profile of the epicardium.
        walls: thickness of each wall, relative to the average.
        creep: share of the long axis' shortening that moves the apex.
        swing_cm: shift of the whole heart at ES, (x, depth).
    """

    profile: Table
    end: Table
    hinge: tuple[float, float]
    cone: Float[np.ndarray, " K"]
    regional: Table
    lag_s: tuple[float, float]
    outer: Table
    walls: tuple[float, float]
    creep: float
    swing_cm: tuple[float, float]


class Contour(NamedTuple):
    """The ventricle at T moments; every series is (T,), in cm. It has the methods of :class:`.anatomy.Ventricle`.

    Attributes:
        hinge: heights of the left and right hinge of the mitral valve, 0 at the apex and 1 at the mitral plane.
        outer_apex: z of the epicardium's apex.
        apex: z of the cavity's apex.
        length: visible long axis of the cavity.
        radius: half chord of a bullet of the same volume and length.
        wall: average thickness at the side.
        bend: deflection of the mid-line in its middle.
        inner: half chords of the cavity at the knots between apex and mitral plane.
        outer: half chords of the epicardium at the knots between outer apex and mitral plane.
    """

    hinge: tuple[float, float]
    outer_apex: Series
    apex: Series
    length: Series
    radius: Series
    wall: Series
    bend: Series
    inner: Tables
    outer: Tables

    @property
    def base(self) -> Series:
        """Z of the mitral plane."""
        return np.asarray(self.apex + self.length)

    @property
    def annulus(self) -> float:
        """Half the width of the mitral annulus at the first moment."""
        return float(sum(u for u, _ in self.hinges()) / 2)

    def hinges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the distance from the mid-line and the height above the mitral plane of both hinges, first moment."""
        half = [float(np.interp(min(h, 1), KNOTS, table)) for h, table in zip(self.hinge, self.inner[0], strict=True)]
        left, right = ((u, (h - 1) * float(self.length[0])) for u, h in zip(half, self.hinge, strict=True))
        return left, right

    def single(self) -> Contour:
        """Return all moments in single precision."""
        hinge, *series = self
        return Contour(hinge, *(part.astype(np.float32) for part in series))

    def at(self, moment: int) -> Contour:
        """Return one moment in single precision; the first dimension is 1."""
        hinge, *series = self
        return Contour(hinge, *(part[moment : moment + 1] for part in series)).single()

    def inner_half_width(self, z: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return the half chord of the cavity at height z, on the side of u, at the first moment."""
        return look_up(self.inner[0], (z - self.apex) / self.length, u)

    def outer_half_width(self, z: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return the half chord of the epicardium at height z, on the side of u, at the first moment."""
        return look_up(self.outer[0], (z - self.outer_apex) / (self.base - self.outer_apex), u)

    def discs(self, outer: bool) -> Float[np.ndarray, "2 D T"]:
        """Return the left and right half chords of the discs at each moment."""
        return np.moveaxis((self.outer if outer else self.inner)[:, :, 1::2], 0, -1)

    def basal_septum(self) -> Series:
        """Return the distance of the right side of the septum from the mid-line, at the mitral plane."""
        return self.outer[:, 0, -1]

    def midline(self, z: np.ndarray) -> np.ndarray:
        """Return u of the mid-line at height z: a half sine between apex and mitral plane."""
        t = (z - self.apex) / self.length
        return np.asarray(self.bend * np.sin(np.pi * t, out=np.zeros_like(t), where=(t > 0) & (t < 1)))


Shape = Ventricle | Contour


def look_up(table: Table, t: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Interpolate a table linearly at heights t, on the left where u is negative."""
    place = np.clip(t, 0, 1) * np.float32(len(KNOTS) - 1)
    below = np.minimum(place.astype(np.int32), len(KNOTS) - 2)
    place -= below
    below = below + np.where(np.asarray(u) < 0, 0, len(KNOTS)).astype(np.int32)
    flat = table.ravel()
    low = flat[below]
    return np.asarray(low + place * (flat[below + 1] - low))


def draw_form(seed: int, index: int, anatomy: Anatomy) -> Form:
    """Draw the shape of one ventricle. No draw depends on EF."""
    rng = stream(seed, index, "contour")
    profile, cone = draw_profile(rng, anatomy)
    end, hinge = draw_mitral_end(rng, anatomy)
    regional, lag_s = draw_regional(rng, anatomy)
    left, right = np.exp(rng.normal(0, 0.18, 2))
    return Form(
        profile=profile,
        end=end,
        hinge=hinge,
        cone=cone,
        regional=regional,
        lag_s=lag_s,
        outer=np.exp(smooth(rng, 0.04, 2)) * np.sqrt(KNOTS * (2 - KNOTS)) * (1 - 0.14 * KNOTS**6),
        walls=(float(left), float(right)),
        creep=rng.uniform(*anatomy.creep),
        swing_cm=(rng.uniform(*anatomy.swing_cm), rng.uniform(*anatomy.swing_cm)),
    )


def draw_profile(rng: np.random.Generator, anatomy: Anatomy) -> tuple[Table, Float[np.ndarray, " K"]]:
    """Draw the profile at ED, and the narrowing to a cone per ejected share of the volume."""
    power, cone_ed, cone_es = (rng.uniform(*limits) for limits in (anatomy.tip, anatomy.cone_ed, anatomy.cone_es))
    start, end = (rng.uniform(*limits) for limits in anatomy.cone_end)
    bulge = rng.uniform(*anatomy.bulge) * np.exp(-(((KNOTS - _BULGE[0]) / _BULGE[1]) ** 2))
    # Waves of both walls together, and smaller ones of each wall
    waves = smooth(rng, anatomy.roughness, 3)[0] + smooth(rng, 0.6 * anatomy.roughness, 2)
    profile = np.exp(waves) * (KNOTS * (2 - KNOTS)) ** power * (1 - cone_ed * (1 - ramp(KNOTS, *_APICAL)))
    profile = profile * (1 + bulge)
    return profile / profile.mean(0).max(), cone_es * (1 - ramp(KNOTS, start, end))


def draw_mitral_end(rng: np.random.Generator, anatomy: Anatomy) -> tuple[Table, tuple[float, float]]:
    """Draw the mitral end: one hinge is nearer to the apex, so the last discs are cut obliquely on that side.

    Returns:
        The factor of the half chords, and the heights of the left and right hinge.
    """
    near, narrow, other = (rng.uniform(*limits) for limits in (anatomy.oblique, anatomy.narrow, anatomy.rounded))
    cut = 1 - (1 - narrow) * np.clip((KNOTS - near) / (1 - near), 0, 1)
    end, hinge = np.stack([cut, 1 - (1 - other) * KNOTS**8]), (near, 1 + 0.8 * (1 - near))
    return (end, hinge) if rng.random() < 0.5 else (end[::-1], hinge[::-1])


def draw_regional(rng: np.random.Generator, anatomy: Anatomy) -> tuple[Table, tuple[float, float]]:
    """Draw the motion of parts of each wall, with or without a scar, and the delays of both walls in seconds."""
    regional = smooth(rng, anatomy.regional, 2)
    exists, side = rng.random() < anatomy.scar, rng.integers(2)
    (place, width), loss = rng.uniform([0.1, 0.15], [0.8, 0.3]), rng.uniform(*anatomy.scar_loss)
    if exists:
        regional[side] -= loss * np.exp(-(((KNOTS - place) / width) ** 2))
    left, right = rng.uniform(0, 1, 2) * np.array(anatomy.lag_s) * (rng.random() < anatomy.dyssynchrony)
    return regional, (float(left), 0.0) if rng.random() < 0.5 else (0.0, float(right))


def smooth(rng: np.random.Generator, size: float, waves: int) -> Table:
    """Return smooth random curves at the knots for both sides; their standard deviation is about ``size``."""
    number = np.arange(1, waves + 1)
    weight = rng.standard_normal((2, waves, 1)) * size / number[:, None] ** 0.5
    return np.asarray(
        (weight * np.cos(np.pi * number[:, None] * KNOTS + rng.uniform(0, 2 * np.pi, (2, waves, 1)))).sum(1)
    )


def contour(heart: Heart, form: Form, volume_ml: Series, time_s: Series | None = None) -> Contour:
    """Return the ventricle with volume V(t).

    Args:
        heart: sizes.
        form: shape and motion.
        volume_ml: volume at each moment.
        time_s: time of each moment, for walls that lag; None: no wall lags.
    """
    ratio = volume_ml / heart.edv_ml
    ejected = 1 - ratio
    sides = np.stack([ejected, ejected], axis=1)
    if time_s is not None:
        sides = np.stack([np.interp(time_s - lag, time_s, ejected) for lag in form.lag_s], axis=1)
    moving = 1 - ejected[:, None, None] * form.cone - sides[..., None] * form.regional
    radius_ed = (heart.edv_ml / (2 * math.pi * heart.elongation * _BULLET)) ** (1 / 3)
    length_ed = 2 * heart.elongation * radius_ed
    length = length_ed * ratio**heart.shortening
    at_rest = form.profile * form.end
    at_rest = at_rest * np.sqrt(heart.edv_ml / (math.pi * length_ed * disc_moment(at_rest[None])))
    inner = fit_volume(at_rest, np.maximum(moving, _NARROWEST), volume_ml / (math.pi * length))
    radius = radius_ed * np.sqrt(ratio * length_ed / length)
    wall = wall_thickness(heart.wall_cm, radius_ed, length_ed, radius, length)
    seen = heart.apparent_length
    apex = form.creep * seen * (length_ed - length)
    outer_apex = apex - 0.7 * wall
    outer = epicardium(form, inner, radius, wall, (apex, seen * length, outer_apex))
    bend = heart.bend_cm * length / length_ed
    return Contour(form.hinge, outer_apex, apex, seen * length, radius, wall, bend, inner, outer)


def fit_volume(at_rest: Table, moving: Tables, moment: Series) -> Tables:
    """Return half chords with the given :func:`disc_moment`; none is much longer than at rest.

    Args:
        at_rest: half chords at ED.
        moving: half chords over those at ED, up to a factor.
        moment: mean squared half chord of the discs, not above that at ED.
    """
    longest = _WIDEST * at_rest
    # Newton's method for the logarithm of the factor: the start is below the solution, and the moment is concave
    scale = np.log(moment / disc_moment(at_rest * moving)) / 2
    for _ in range(_STEPS):
        ratio = np.exp(scale)[:, None, None] * moving / _WIDEST
        share = 1 / (1 + ratio**_SHARPNESS)
        inner = longest * ratio * share ** (1 / _SHARPNESS)
        found = disc_moment(inner)
        slope = 2 * (inner.mean(1) * (inner * share).mean(1))[:, 1::2].mean(1) / found
        scale = scale + np.log(moment / found) / slope
    return np.asarray(inner * np.sqrt(moment / found)[:, None, None])


def disc_moment(table: Tables) -> Series:
    """Return the mean over the discs of the squared mean half chord."""
    return np.asarray(np.square(table.mean(1)[:, 1::2]).mean(1))


def epicardium(
    form: Form, inner: Tables, radius: Series, wall: Series, heights: tuple[Series, Series, Series]
) -> Tables:
    """Return the half chords of the epicardium; the wall is nowhere thinner than half of its usual thickness."""
    thickness = wall[:, None, None] * np.array(form.walls)[:, None]
    outer = (radius[:, None, None] + thickness) * form.outer
    apex, length, top = heights
    least = _THINNEST * thickness * ramp(KNOTS, 0, 0.2)
    for moment, tables in enumerate(inner):
        z = top[moment] + KNOTS * (apex[moment] + length[moment] - top[moment])
        at = (z - apex[moment]) / length[moment]
        for side, table in enumerate(tables):
            cavity = np.interp(at, KNOTS, table, left=0.0)
            outer[moment, side] = np.maximum(outer[moment, side], cavity + least[moment, side])
    return np.asarray(outer)
