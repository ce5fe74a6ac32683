"""The appearance of the phantom's pictures: all of its numbers.

Decibels are of amplitude, relative to the wall of the heart. A pair is the (lowest, highest) value of a uniform
distribution, from which one number per video is drawn. To add a look, add an instance of :class:`Look` to ``LOOKS``.
"""

from __future__ import annotations

from typing import NamedTuple

Range = tuple[float, float]


class Look(NamedTuple):
    """Ranges of one scanner.

    Attributes:
        opening_deg: full angle of the sector.
        tilt_deg: long axis against the vertical; positive swings the base to the viewer's right.
        pixel_cm: edge of a pixel of the 112-pixel frame.
        apex_depth_cm: the left ventricle's apex below the probe.
        axial_mm: width at half height of the point-spread function, along the beam.
        lateral_deg: the same across the beams, as an angle; in cm it grows with depth.
        smoothing_px: standard deviation of the blur of storing at this size.
        dynamic_range_db: amplitudes between black and white.
        black_db: amplitude shown as black, before gain.
        gamma: exponent of the grey curve.
        blood_db: the chambers.
        pericardium_db: the bright line around the heart.
        valve_db: the leaflets.
        clutter_db: smeared echoes over the chambers.
        noise_db: noise of the receiver, new in every frame.
        surroundings_db: tissue outside the heart.
        patchiness_db: standard deviation of the slow variation of brightness within tissue.
        wander: share of the power of a texture that does not follow the tissue and decays.
        wander_s: time in which that share decays to 1/e.
        fading_db: standard deviation of the change of brightness as tissue passes through the plane.
        fading_s: time in which that change decays to 1/e.
        gain_db: overall gain.
        attenuation_db_cm: attenuation that the depth compensation of the scanner does not remove.
        dropout: probability of a dark lateral wall.
        dropout_db: loss of a dark lateral wall.
        rib_shadow: probability of a shadow from one edge of the sector.
        near_field: probability of strong clutter under the probe.
        reverberation: probability of repeated arcs.
        foreshortening: probability that the plane misses the true apex, which shortens the long axis.
        drift: probability of breathing drift.
        drift_px: amplitude of the breathing drift.
        jitter: probability of tremor of the probe.
        duplicates: probability of one or two duplicated frames.
        quality: JPEG quality of the file.
    """

    opening_deg: Range = (70.0, 90.0)
    tilt_deg: Range = (-5.0, 25.0)
    pixel_cm: Range = (0.13, 0.19)
    apex_depth_cm: Range = (1.5, 3.0)
    axial_mm: Range = (0.5, 0.8)
    lateral_deg: Range = (1.0, 2.0)
    smoothing_px: Range = (0.3, 0.5)
    dynamic_range_db: Range = (45.0, 60.0)
    black_db: Range = (-31.5, -25.5)
    gamma: Range = (0.8, 1.2)
    blood_db: Range = (-30.0, -18.0)
    pericardium_db: Range = (8.0, 12.0)
    valve_db: Range = (5.0, 9.0)
    clutter_db: Range = (-44.0, -30.0)
    noise_db: Range = (-38.0, -31.0)
    surroundings_db: Range = (-34.0, -20.0)
    patchiness_db: Range = (3.5, 6.0)
    wander: Range = (0.55, 0.85)
    wander_s: Range = (0.03, 0.12)
    fading_db: Range = (2.5, 4.5)
    fading_s: Range = (0.1, 0.25)
    gain_db: Range = (-8.0, 8.0)
    attenuation_db_cm: Range = (0.0, 0.8)
    dropout: float = 0.35
    dropout_db: Range = (5.0, 14.0)
    rib_shadow: float = 0.25
    near_field: float = 0.5
    reverberation: float = 0.3
    foreshortening: float = 0.15
    drift: float = 0.5
    drift_px: Range = (1.0, 4.0)
    jitter: float = 0.3
    duplicates: float = 0.1
    quality: Range = (60.0, 95.0)


ADULT_CART = Look()
"""A cart-based scanner in an adult laboratory, as in the released data set."""

HANDHELD = Look(
    opening_deg=(88.0, 104.0),
    tilt_deg=(-18.0, 8.0),
    apex_depth_cm=(2.0, 3.8),
    axial_mm=(0.9, 1.3),
    lateral_deg=(2.0, 3.0),
    smoothing_px=(0.4, 0.7),
    dynamic_range_db=(36.0, 46.0),
    black_db=(-27.0, -21.0),
    gamma=(0.7, 1.0),
    noise_db=(-33.0, -26.0),
    attenuation_db_cm=(0.4, 1.3),
    dropout=0.6,
    rib_shadow=0.5,
    near_field=0.8,
    reverberation=0.6,
    foreshortening=0.3,
    drift=0.8,
    jitter=0.6,
    quality=(45.0, 75.0),
)
"""A handheld scanner: coarser speckle, less dynamic range, a wider sector, the opposite tilt, more artefacts."""

LOOKS = {"adult_cart": ADULT_CART, "handheld": HANDHELD}
