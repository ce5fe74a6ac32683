"""The appearance of the phantom's pictures: all of its numbers.

Decibels are of amplitude, relative to the wall of the heart. A pair is the (lowest, highest) value of a uniform
distribution, from which one number per video is drawn. To add a look, add an instance of :class:`Look` to ``LOOKS``.
"""

from __future__ import annotations

from typing import NamedTuple

Range = tuple[float, float]


class Anatomy(NamedTuple):
    """Ranges of the hearts of a look in which every heart is different. The draws do not depend on EF.

    Attributes:
        elongation: long axis over short axis at ED.
        shortening: exponent of the long axis, L(t) = L_ED (V / V_ED)^α.
        wall_cm: wall at ED.
        bend_cm: deflection of the mid-line.
        tip: exponent of the profile near the apex; 0.5 is an ellipse, more is pointed.
        roughness: standard deviation of the logarithm of the profile.
        cone_ed: narrowing of the apical half at ED.
        cone_es: further narrowing per ejected share of the volume.
        oblique: height of the hinge of the mitral valve that is nearer to the apex, of the long axis.
        narrow: half chord at the mitral plane on the side of that hinge, over that without an oblique end.
        rounded: the same on the other side.
        regional: standard deviation of the motion of parts of the walls, per ejected share of the volume.
        akinesia: probability of a part of the wall that moves little or outwards.
        dyssynchrony: probability of a wall that lags.
        lag_s: longest delay of the left and of the right wall.
        creep: share of the shortening of the long axis that moves the apex.
        swing_cm: shift of the whole heart in systole, along x and along the depth.
        right_scale: size of the right ventricle and of the atria.
        septum_db: echo of the septum at the endocardium, and the brightest one beyond it.
        lateral_db: the same of the lateral wall.
        apex_db: the same of the apex.
        septum_peak: place of the brightest echo of the septum, in wall thicknesses from the endocardium, and its width.
        lateral_peak: the same of the lateral wall and of the apex.
        fuzz_db_cm: fall of the echo from the endocardium into the cavity.
        papillary: probability of each of two papillary muscles.
        tendon: probability of a false tendon.
        outflow: probability of a dark outflow tract beside the septum.
        even_ef: share of hearts whose EF is drawn evenly from 10 to 80 %.
    """

    elongation: Range = (1.25, 2.4)
    shortening: Range = (0.12, 0.36)
    wall_cm: Range = (0.6, 1.7)
    bend_cm: Range = (-0.5, 0.7)
    tip: Range = (0.4, 0.6)
    roughness: float = 0.06
    cone_ed: Range = (-0.2, 0.08)
    cone_es: Range = (0.1, 1.0)
    oblique: Range = (0.68, 0.95)
    narrow: Range = (0.0, 0.6)
    rounded: Range = (0.5, 1.0)
    regional: float = 0.12
    akinesia: float = 0.2
    dyssynchrony: float = 0.2
    lag_s: Range = (0.1, 0.1)
    creep: Range = (0.0, 0.4)
    swing_cm: Range = (-1.1, 1.1)
    right_scale: Range = (0.6, 1.5)
    septum_db: tuple[Range, Range] = ((-26.0, -5.0), (-6.0, 6.0))
    lateral_db: tuple[Range, Range] = ((-30.0, -10.0), (-17.0, 0.0))
    apex_db: tuple[Range, Range] = ((-28.0, -10.0), (-18.0, 0.0))
    septum_peak: tuple[Range, Range] = ((0.35, 0.8), (0.2, 0.5))
    lateral_peak: tuple[Range, Range] = ((0.6, 1.4), (0.4, 1.0))
    fuzz_db_cm: Range = (6.0, 45.0)
    papillary: float = 0.4
    tendon: float = 0.15
    outflow: float = 0.35
    even_ef: float = 0.5


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
        frame_rate: mean, standard deviation, lowest and highest number of frames per second.
        heart_rate: the same of the beats per minute.
        systole_scale: length of the systole over its usual one at that heart rate.
        irregular: probability of an irregular rhythm.
        shift_px: (x, y) of the probe in the frame, besides its usual scatter; the frame may cut the sector.
        bottom_px: distance of the deepest echo from the lower edge of the frame; negative: the frame cuts the sector.
        time_gain_db: amplitude of slow variations of gain with depth.
        marks: probability of marks and ticks outside the sector.
        blocks: probability of compression by H.264 before the file is written.
        anatomy: ranges of the hearts; None: hearts of one simple shape.
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
    frame_rate: tuple[float, float, float, float] = (50.4, 6.8, 30.0, 75.0)
    heart_rate: tuple[float, float, float, float] = (72.0, 13.0, 50.0, 110.0)
    systole_scale: Range = (1.0, 1.0)
    irregular: float = 0.08
    shift_px: tuple[float, float] = (0.0, 0.0)
    bottom_px: Range = (1.5, 1.5)
    time_gain_db: float = 0.0
    marks: float = 0.0
    blocks: float = 0.0
    anatomy: Anatomy | None = None


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

MIXED = Look(
    opening_deg=(62.0, 104.0),
    tilt_deg=(-25.0, 38.0),
    pixel_cm=(0.11, 0.21),
    apex_depth_cm=(1.0, 4.0),
    axial_mm=(0.5, 1.4),
    lateral_deg=(1.2, 4.0),
    smoothing_px=(0.3, 1.0),
    dynamic_range_db=(34.0, 66.0),
    black_db=(-32.0, -18.0),
    gamma=(0.65, 1.5),
    blood_db=(-52.0, -20.0),
    pericardium_db=(-8.0, 10.0),
    valve_db=(-4.0, 9.0),
    clutter_db=(-60.0, -28.0),
    noise_db=(-50.0, -29.0),
    surroundings_db=(-42.0, -16.0),
    patchiness_db=(2.0, 6.0),
    wander=(0.0, 0.45),
    wander_s=(0.08, 0.8),
    fading_db=(0.5, 4.0),
    fading_s=(0.2, 1.2),
    gain_db=(-5.0, 14.0),
    attenuation_db_cm=(-0.3, 1.3),
    dropout=0.4,
    dropout_db=(4.0, 20.0),
    rib_shadow=0.3,
    near_field=0.5,
    reverberation=0.3,
    foreshortening=0.3,
    drift=0.7,
    drift_px=(0.5, 9.0),
    jitter=0.3,
    quality=(35.0, 95.0),
    frame_rate=(50.0, 13.0, 24.0, 90.0),
    heart_rate=(72.0, 20.0, 42.0, 125.0),
    systole_scale=(1.05, 1.7),
    irregular=0.15,
    shift_px=(14.0, 6.0),
    bottom_px=(-10.0, 3.0),
    time_gain_db=4.0,
    marks=0.4,
    blocks=0.3,
    anatomy=Anatomy(),
)
"""Scanners and hearts of all kinds: every video has its own appearance and shape."""

LOOKS = {"adult_cart": ADULT_CART, "handheld": HANDHELD, "mixed": MIXED}
