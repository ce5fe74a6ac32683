"""Artefacts between heart and picture. Each has its own probability; none depends on EF.

Two maps on the polar grid are fixed to the probe: a gain in decibels (attenuation, dropout, shadow) and additive haze
(clutter, near field, reverberation). Drift and tremor shift the whole heart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from echo_e3net.phantom.look import Look
from echo_e3net.phantom.prior import Scan, Series, draw_between, stream
from echo_e3net.phantom.sector import Grid, Sector
from echo_e3net.phantom.tissue import smooth_noise

_TIP_CM, _TIP_DB = 1.2, 12.0
"""Dead zone of the probe: its depth, and the loss at its face."""


class Artefacts(NamedTuple):
    """The artefacts of one video.

    Attributes:
        gain_db: (R, A), added to the picture.
        haze_db: (R, A), echoes that are fixed to the probe, relative to the wall.
        quality: JPEG quality of the file.
    """

    gain_db: Grid
    haze_db: Grid
    quality: int


def draw_artefacts(seed: int, index: int, look: Look, sector: Sector) -> Artefacts:
    """Draw the artefacts. Every number is drawn, whether or not its artefact occurs."""
    rng = stream(seed, index, "artefacts")
    distance, angle = sector.grid()
    turn = angle / sector.half_angle
    gain = draw_between(rng, look.gain_db, peak=0.5) - rng.uniform(*look.attenuation_db_cm) * (distance - 8.0)
    # Dropout of the lateral wall, below 3 cm
    happens, depth = rng.random() < look.dropout, rng.uniform(*look.dropout_db)
    centre, width = rng.uniform([0.35, 0.12], [0.8, 0.25])
    below = np.clip((distance - 3.0) / 1.5, 0, 1)
    gain = gain - happens * depth * np.exp(-(((turn - centre) / width) ** 2)) * below
    # Shadow of a rib from one edge of the sector
    happens, (depth, reach), side = (
        rng.random() < look.rib_shadow,
        rng.uniform([20, 0.1], [40, 0.35]),
        rng.choice([-1, 1]),
    )
    gain = gain - happens * depth * np.clip((side * turn - (1 - reach)) / 0.12 + 0.5, 0, 1)
    # Dead zone of the probe, and the edges of the sector
    gain = gain - _TIP_DB * (1 - np.clip(distance / _TIP_CM, 0, 1)) - 9.0 * np.abs(turn) ** rng.uniform(3.0, 7.0)
    clutter = rng.uniform(*look.clutter_db) + 3.0 * smooth_noise(rng, (8, 6))
    (low, high), strong = look.near_field_db, rng.random() < look.near_field
    level, reach = rng.uniform([low, 1.8], [high, 3.2])
    near_field = (level if strong else look.weak_near_field_db) - 10.0 * np.maximum(distance / reach - 0.4, 0) ** 1.5
    haze = np.maximum(clutter, near_field + 2.0 * smooth_noise(rng, (10, 6)))
    # Reverberation: arcs at multiples of a distance
    happens = rng.random() < look.reverberation
    level, spacing, centre, width = rng.uniform([-18, 1.0, -0.5, 0.2], [-10, 1.8, 0.5, 0.5])
    arcs = 20 * np.log10(np.exp(-((((distance / spacing) % 1 - 0.5) / 0.07) ** 2)) + 1e-3)
    if happens:
        haze = np.maximum(haze, level - 1.6 * distance - 8.0 * ((turn - centre) / width) ** 2 + arcs)
    quality = round(rng.uniform(*look.quality))
    gain = gain + look.time_gain_db * slow(rng.spawn(1)[0], distance)
    # a rib shadow inside the sector
    shadow = rng.spawn(1)[0]
    depth, centre, width = shadow.uniform([8.0, -0.7, 0.06], [25.0, 0.7, 0.18])
    if shadow.random() < look.inner_shadow:
        gain = gain - depth * np.exp(-(((turn - centre) / width) ** 4))
    return Artefacts(gain.astype(np.float32), haze.astype(np.float32), quality)


def slow(rng: np.random.Generator, distance: np.ndarray) -> np.ndarray:
    """Return a slow random variation with depth, about -1…1."""
    height, period, phase = rng.uniform([0.0, 6.0, 0.0], [1.0, 20.0, 2 * np.pi])
    return np.asarray(height * np.sin(2 * np.pi * distance / period + phase))


def draw_drift(seed: int, index: int, look: Look, scan: Scan, time_s: Series) -> Float[np.ndarray, "T 2"]:
    """Return the shift of the heart at each time, (x, depth) in cm, by breathing and tremor of the hand."""
    rng = stream(seed, index, "artefacts").spawn(1)[0]
    breathes, trembles = rng.random(2) < (look.drift, look.jitter)
    size, period, phase, heading = rng.uniform(
        [look.drift_px[0], 3.0, 0.0, -0.6], [look.drift_px[1], 5.5, 2 * np.pi, 0.6]
    )
    wave = 0.5 * size * np.sin(2 * np.pi * time_s / period + phase)
    drift = breathes * wave[:, None] * np.array([np.sin(heading), np.cos(heading)])
    beats, starts, sizes = rng.uniform(3.0, 7.0, (4, 2)), rng.uniform(0, 2 * np.pi, (4, 2)), rng.normal(0, 0.16, (4, 2))
    tremble = (sizes * np.sin(2 * np.pi * beats * time_s[:, None, None] + starts)).sum(1)
    return np.asarray((drift + trembles * tremble) * scan.pixel_cm)
