"""The random draws of one video.

Every group of draws has its own stream of random numbers, keyed by (seed, index, group). So a video depends neither on
the number of videos nor on the number of processes. No draw of rhythm, picture or artefact depends on EF: with another
EF, the same seed gives the same gain, heart rate, zoom and artefacts.

EF in percent is a mixture 0.82 N(60.5, 6.8) + 0.18 N(34, 10.5) within 7…90; ln EDV in millilitres is N(4.40, 0.474).
A Gaussian copula with correlation -0.6 joins the two. The moments are those of the released data set: EF 55.7 ± 12.7,
EDV 91 ± 46.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from echo_e3net.phantom.hearts import Range
from echo_e3net.phantom.look import Look

Series = Float[np.ndarray, " T"]
"""One number per moment."""
STREAMS = (
    "name",
    "heart",
    "rhythm",
    "scan",
    "picture",
    "artefacts",
    "motion",
    "anatomy",
    "speckle",
    "contour",
    "walls",
    "marks",
    "details",
    "focus",
    "exposure",
)
"""The order determines the streams: append names, never reorder them."""

EF_RANGE = (7.0, 90.0)
EDV_RANGE_ML = (25.0, 320.0)
FRAME_RANGE = (28, 300)
_EF_MIXTURE = ((0.82, NormalDist(60.5, 6.8)), (0.18, NormalDist(34.0, 10.5)))
_LOG_EDV = NormalDist(4.40, 0.474)
_COPULA = -0.6


class Heart(NamedTuple):
    """One ventricle.

    Attributes:
        ef_percent: ejection fraction of an average beat, percent.
        edv_ml: end-diastolic volume of an average beat.
        right_scale: size of the other chambers, about 1.
        apparent_length: visible over true long axis; below 1 if the plane foreshortens.
        elongation: long axis over short axis, L / 2R, at ED.
        shortening: exponent α of the long axis, L(t) = L_ED (V / V_ED)^α.
        wall_cm: wall at ED.
        bend_cm: deflection of the mid-line at ED, positive to the viewer's right.
        base_width: radius at the mitral plane over the largest, q.
    """

    ef_percent: float
    edv_ml: float
    right_scale: float
    apparent_length: float
    elongation: float
    shortening: float
    wall_cm: float
    bend_cm: float
    base_width: float


class Scan(NamedTuple):
    """Position of the probe, and what it stores.

    Attributes:
        fps: frames per second, an integer.
        frames: length of the video; it becomes longer if a whole systole does not fit.
        pixel_cm: edge of a pixel.
        opening_deg: full angle of the sector.
        tilt_deg: long axis against the vertical.
        apex_cm: (x, depth) of the ventricle's apex at ED, from the probe.
        origin_px: (x, y) of the probe in the frame.
        bottom_px: distance of the deepest echo from the lower edge of the frame.
    """

    fps: int
    frames: int
    pixel_cm: float
    opening_deg: float
    tilt_deg: float
    apex_cm: tuple[float, float]
    origin_px: tuple[float, float]
    bottom_px: float


def stream(seed: int, index: int, group: str) -> np.random.Generator:
    """Return the random numbers of one group of draws of one video."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, STREAMS.index(group))))


def draw_name(seed: int, index: int) -> str:
    """Return a stem like those of the released data set: 0X and 16 hexadecimal digits."""
    return "0X" + stream(seed, index, "name").bytes(8).hex().upper()


def draw_heart(seed: int, index: int, look: Look, ef_percent: float | None = None) -> Heart:
    """Draw one ventricle.

    Args:
        seed: seed of the data set.
        index: number of the video.
        look: gives the probability of foreshortening.
        ef_percent: use this EF; every other draw stays the same.
    """
    rng = stream(seed, index, "heart")
    z_ef, z_other = rng.standard_normal(2)
    z_edv = _COPULA * z_ef + math.sqrt(1 - _COPULA**2) * z_other
    anatomy = look.anatomy
    edv = float(np.clip(math.exp(_LOG_EDV.mean + _LOG_EDV.stdev * z_edv), *EDV_RANGE_ML))
    if anatomy is not None:
        edv = _edv_within(anatomy.edv_ml, NormalDist().cdf(z_edv))
    shape = rng.uniform([1.5, 0.18, 0.7, -0.15, 0.83], [2.2, 0.30, 1.1, 0.45, 0.89])
    right_scale = float(np.clip(rng.normal(1.0, 0.10), 0.8, 1.25)) * (edv / 91) ** (1 / 6)
    foreshortened, apparent = rng.random() < look.foreshortening, rng.uniform(0.82, 0.95)
    ef = _ef_quantile(NormalDist().cdf(z_ef)) if ef_percent is None else ef_percent
    if anatomy is not None:
        other = stream(seed, index, "contour").spawn(1)[0]
        evenly, even = other.random() < anatomy.even_ef, other.uniform(10.0, 80.0)
        ef = even if evenly and ef_percent is None else ef
        drawn = (anatomy.elongation, anatomy.shortening, anatomy.wall_cm, anatomy.bend_cm)
        shape = np.array([*(other.uniform(*limits) for limits in drawn), shape[-1]])
    return Heart(ef, edv, right_scale, apparent if foreshortened else 1.0, *shape)


def draw_scan(seed: int, index: int, look: Look, long_axis_cm: float, max_frames: int) -> Scan:
    """Draw the position of the probe.

    Args:
        seed: seed of the data set.
        index: number of the video.
        look: ranges.
        long_axis_cm: long axis at ED, which determines the depth of the picture.
        max_frames: longest video.
    """
    rng = stream(seed, index, "scan")
    mean, sd, low, high = look.frame_rate
    fps = int(np.clip(round(rng.normal(mean, sd)), low, high))
    frames = int(np.clip(round(rng.normal(175, 57)), FRAME_RANGE[0], max_frames))
    opening = rng.uniform(*look.opening_deg)
    tilt = draw_between(rng, look.tilt_deg, peak=0.45)
    depth = draw_between(rng, look.apex_depth_cm, peak=0.4)
    x = rng.normal(0.1, 0.35) - 0.035 * (tilt - 8)
    needed, usual = depth + long_axis_cm + 3.6, rng.normal(15.3, 0.9)
    width = max(0.4 * needed + 0.6 * usual, needed - 0.8) / rng.spawn(1)[0].uniform(*look.zoom)
    pixel = float(np.clip(width / 109, *look.pixel_cm))
    origin = (55.5 + rng.normal(0, 1.2), rng.uniform(-1.0, 3.0))
    if any(look.shift_px):
        shift = rng.uniform(-1, 1, 2) * look.shift_px
        origin = (origin[0] + shift[0], origin[1] + shift[1] + 3.0)
    bottom = rng.uniform(*look.bottom_px)
    return Scan(fps, frames, pixel, opening, tilt, (x, depth), origin, bottom)


def draw_between(rng: np.random.Generator, limits: Range, peak: float) -> float:
    """Draw from a triangular distribution within limits; ``peak`` is 0 for the lowest, 1 for the highest value."""
    low, high = limits
    return float(rng.triangular(low, low + peak * (high - low), high))


def ramp(x: np.ndarray, start: float = 0, end: float = 1) -> np.ndarray:
    """Return 0 before ``start``, 1 after ``end``, and a smooth step between."""
    y = np.clip((x - start) / (end - start), 0, 1)
    return np.asarray(y * y * (3 - 2 * y))


def split_of(seed: int, index: int, val_fraction: float, test_fraction: float) -> str:
    """Return TRAIN, VAL or TEST of one video, which depends only on (seed, index).

    Multiples of the golden ratio, modulo 1, spread evenly. So the first n videos have about the requested shares for
    every n from four on, and a data set that grows keeps its splits. The spread introduces no bias, because the draws
    of a video are independent of its index.
    """
    offset = 0.04 + 0.1 * np.random.default_rng(seed).random()
    place = (offset + index * (math.sqrt(5) - 1) / 2) % 1
    if place >= 1 - test_fraction:
        return "TEST"
    return "VAL" if place >= 1 - test_fraction - val_fraction else "TRAIN"


def _edv_within(limits_ml: Range, probability: float) -> float:
    """Return the quantile of EDV (mL) within limits."""
    low, high = (_LOG_EDV.cdf(math.log(limit)) for limit in limits_ml)
    return float(np.clip(math.exp(_LOG_EDV.inv_cdf(low + probability * (high - low))), *limits_ml))


def _ef_quantile(probability: float) -> float:
    """Return the EF (percent) below which the mixture has this probability, by bisection."""
    low, high = EF_RANGE
    for _ in range(50):
        middle = (low + high) / 2
        below = sum(weight * part.cdf(middle) for weight, part in _EF_MIXTURE)
        low, high = (middle, high) if below < probability else (low, middle)
    return (low + high) / 2
