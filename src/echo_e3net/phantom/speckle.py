r"""From echo strength to grey values.

The received field is complex noise (many unresolved scatterers) times the echo strength, blurred by the point-spread
function. The scatterers belong to the tissue, except for a share that wanders because of motion out of the plane: an
AR(1) field, :math:`A_t = ρ A_{t-1} + \sqrt{1-ρ²} W_t`. The scanner displays the logarithm of the envelope.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from echo_e3net.data.raster import blur
from echo_e3net.phantom.look import Look
from echo_e3net.phantom.prior import draw_between, stream
from echo_e3net.phantom.sector import BEAMS, DEPTHS, Grid, Sector

_WIDTH_TO_SIGMA = 1 / 2.3548
_REST_SIGMA = 0.6
"""Standard deviation of the blur of the scatterers, samples. Without it, interpolation would lose power."""

_BAND = 32
"""Rows that share one lateral blur; divides the number of rows."""
_FOCUS_LENGTH = 0.25
"""Distance from the focus at which the narrowing is 1/e, as a share of the rows."""
_NO_BLUR = 1e-3

_FARTHEST = 1.6
"""Limit of the motion through the plane, in standard deviations."""

Field = Float32[np.ndarray, "R A 2"]
"""A complex field; the last dimension holds real and imaginary part."""


class Scanner(NamedTuple):
    """Settings of the scanner for one video.

    Attributes:
        axial: standard deviation of the point-spread function, rows.
        lateral: the same in beams, away from the focus.
        narrowing: share by which ``lateral`` is smaller at the focus.
        focus: depth of the focus, as a share of the rows.
        smoothing_px: standard deviation of the blur in the frame.
        dynamic_range_db: amplitudes between black and white.
        black_db: amplitude shown as black.
        gamma: exponent of the grey curve.
        noise_db: receiver noise.
        wander: share of the power of the scatterers that do not follow the tissue.
        wander_s: time in which their correlation decays to 1/e.
        fading_db: change of brightness as tissue passes through the plane.
        fading_s: time in which its correlation decays to 1/e.
    """

    axial: float
    lateral: float
    narrowing: float
    focus: float
    smoothing_px: float
    dynamic_range_db: float
    black_db: float
    gamma: float
    noise_db: float
    wander: float
    wander_s: float
    fading_db: float
    fading_s: float


def draw_scanner(seed: int, index: int, look: Look, sector: Sector) -> Scanner:
    """Draw the settings of one video."""
    rng = stream(seed, index, "speckle")
    other = stream(seed, index, "focus")
    # The order of the arguments is the order of the draws.
    return Scanner(
        axial=rng.uniform(*look.axial_mm) / 10 / sector.step_cm * _WIDTH_TO_SIGMA,
        lateral=float(np.deg2rad(rng.uniform(*look.lateral_deg)) / sector.step_rad * _WIDTH_TO_SIGMA),
        narrowing=other.uniform(*look.focus_narrowing),
        focus=other.uniform(0.2, 0.9),
        dynamic_range_db=draw_between(rng, look.dynamic_range_db, peak=0.2),
        smoothing_px=rng.uniform(*look.smoothing_px),
        black_db=rng.uniform(*look.black_db),
        gamma=rng.uniform(*look.gamma),
        noise_db=rng.uniform(*look.noise_db),
        wander=rng.uniform(*look.wander),
        wander_s=rng.uniform(*look.wander_s),
        fading_db=rng.uniform(*look.fading_db),
        fading_s=rng.uniform(*look.fading_s),
    )


_REST_KERNEL = np.exp(-0.5 * (np.arange(-8, 9) / _REST_SIGMA) ** 2)
_REST_GAIN = (0.5 / np.square(_REST_KERNEL / _REST_KERNEL.sum()).sum() ** 2) ** 0.5
"""Factor that restores unit power after the blur, half of it in each part."""


def scatterers(rng: np.random.Generator) -> Field:
    """Return a complex field of unit power that is smooth enough for interpolation."""
    white = rng.standard_normal((DEPTHS, BEAMS, 2), dtype=np.float32)
    field = blur(white, _REST_SIGMA, _REST_SIGMA)
    field *= np.float32(_REST_GAIN)
    return field


def wandering(rng: np.random.Generator, scanner: Scanner, fps: float) -> Iterator[tuple[Field, Field]]:
    """Yield the AR(1) field and its innovation per frame; both like :func:`scatterers`.

    The next frame overwrites the field.
    """
    memory = np.float32(_memory(scanner.wander_s, fps))
    fresh = np.sqrt(1 - memory**2)
    field = scatterers(rng)
    while True:
        innovation = scatterers(rng)
        field *= memory
        field += fresh * innovation
        yield field, innovation


def fading(rng: np.random.Generator, scanner: Scanner, fps: float, frames: int) -> Float32[np.ndarray, " T"]:
    """Return the distance of the plane from the painted plane at each frame, about -1…1: a limited AR(1) walk."""
    memory = _memory(scanner.fading_s, fps)
    steps = rng.standard_normal(frames) * np.sqrt(1 - memory**2)
    steps[0] = rng.standard_normal()
    walk = np.array(list(accumulate(steps, lambda before, step: memory * before + step)))
    return np.asarray(_FARTHEST * np.tanh(walk / _FARTHEST), np.float32)


def point_spread(field: Field, scanner: Scanner) -> Field:
    """Blur a field, which is already smooth by ``_REST_SIGMA``, to the width of the point-spread function."""
    if scanner.narrowing == 0:
        return blur(field, _remaining(scanner.lateral), _remaining(scanner.axial))
    field = blur(field, _NO_BLUR, _remaining(scanner.axial))
    # One blur per band of rows, which takes no longer than one blur of all rows
    for first, lateral in _bands(scanner):
        band = blur(field[first : first + _BAND], _remaining(lateral), _NO_BLUR)
        band *= np.float32(np.sqrt(lateral / scanner.lateral))
        field[first : first + _BAND] = band
    return field


def _bands(scanner: Scanner) -> list[tuple[int, float]]:
    """Return the first row of each band, and the standard deviation of its lateral blur."""
    first = np.arange(0, DEPTHS, _BAND)
    distance = (first + 0.5 * _BAND) / DEPTHS - scanner.focus
    lateral = scanner.lateral * (1 - scanner.narrowing * np.exp(-((distance / _FOCUS_LENGTH) ** 2)))
    return list(zip(first.tolist(), lateral.tolist(), strict=True))


def point_spread_gain(scanner: Scanner) -> float:
    """Return the factor that restores unit power after the point-spread function."""
    return float(1 / np.sqrt(2 * np.mean(np.square(point_spread(_probe(), scanner)))))


def compress(field: Field, gain_db: Grid, scanner: Scanner) -> Grid:
    """Convert a field to grey values 0…255: the logarithm of its envelope."""
    grey = np.square(field[..., 0]) + np.square(field[..., 1])
    grey += np.float32(1e-9)
    np.log10(grey, out=grey)
    grey *= 10
    grey += gain_db
    grey -= scanner.black_db
    grey /= scanner.dynamic_range_db
    np.clip(grey, 0, 1, out=grey)
    grey **= np.float32(scanner.gamma)
    grey *= 255
    return np.asarray(grey)


def amplitude(db: np.ndarray) -> np.ndarray:
    """Convert decibels to amplitude."""
    return np.asarray(10 ** (db / 20), np.float32)


@cache
def _probe() -> Field:
    return scatterers(np.random.default_rng(0))


def _memory(decay_s: float, fps: float) -> float:
    """Return the correlation of one frame with the next."""
    return float(np.exp(-1 / (fps * decay_s)))


def _remaining(sigma: float) -> float:
    return float(np.sqrt(max(sigma**2 - _REST_SIGMA**2, 0.15**2)))
