"""The appearance of the phantom's pictures: all of its numbers.

Decibels are of amplitude, relative to the wall of the heart. A pair is the (lowest, highest) value of a uniform
distribution, from which one number per video is drawn. To add a look, add an instance of :class:`Look` to ``LOOKS``.
"""

from __future__ import annotations

from typing import NamedTuple

from echo_e3net.phantom.hearts import Anatomy, Range


class Look(NamedTuple):
    """Ranges of one scanner.

    Attributes:
        opening_deg: full angle of the sector.
        tilt_deg: long axis against the vertical; positive swings the base to the viewer's right.
        pixel_cm: edge of a pixel of the 112-pixel frame.
        apex_depth_cm: the left ventricle's apex below the probe.
        zoom: enlargement of the picture over the usual one for the size of the heart.
        axial_mm: width at half height of the point-spread function, along the beam.
        lateral_deg: the same across the beams, as an angle; in cm it grows with depth.
        focus_narrowing: share by which the point-spread function is narrower at the focus, whose depth varies.
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
        chest_db: the chest wall, under the probe.
        patchiness_db: standard deviation of the slow variation of brightness within tissue.
        wander: share of the power of a texture that does not follow the tissue and decays.
        wander_s: time in which that share decays to 1/e.
        fading_db: standard deviation of the change of brightness as tissue passes through the plane.
        fading_s: time in which that change decays to 1/e.
        gain_db: overall gain.
        exposure: grey of the brightest tissue, 0…1, to which the gain is then set; None: the gain stays as drawn.
        attenuation_db_cm: attenuation that the depth compensation of the scanner does not remove.
        dropout: probability of a dark lateral wall.
        dropout_db: loss of a dark lateral wall.
        rib_shadow: probability of a shadow from one edge of the sector.
        inner_shadow: probability of a narrow shadow inside the sector.
        near_field: probability of strong clutter under the probe.
        near_field_db: strong clutter under the probe.
        weak_near_field_db: clutter under the probe of the other videos.
        reverberation: probability of repeated arcs.
        foreshortening: probability that the plane misses the true apex, which shortens the long axis.
        drift: probability of breathing drift.
        drift_px: amplitude of the breathing drift.
        jitter: probability of tremor of the probe.
        duplicates: probability of one or two duplicated frames.
        quality: JPEG quality of the file.
        frame_rate: mean, standard deviation, lowest and highest number of frames per second.
        heart_rate: the same of the beats per minute.
        beat_sd: standard deviation of the length of the beats, of their mean.
        systole_s: duration of systole up to 65 beats per minute; it is shorter at higher rates. None: a share of the
            beat that rises with the rate.
        irregular: probability of an irregular rhythm, which has no atrial contraction.
        irregular_sd: like beat_sd, of an irregular rhythm.
        stroke_sd: standard deviation of EDV and ESV between the beats of a regular rhythm, relative to the mean stroke
            volume.
        irregular_stroke_sd: the same of an irregular rhythm.
        kick: share of filling by atrial contraction, of a regular rhythm. None: 0.20 to 0.25.
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
    zoom: Range = (1.0, 1.0)
    axial_mm: Range = (0.5, 0.8)
    lateral_deg: Range = (1.0, 2.0)
    focus_narrowing: Range = (0.0, 0.0)
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
    chest_db: Range = (-4.0, -4.0)
    patchiness_db: Range = (3.5, 6.0)
    wander: Range = (0.55, 0.85)
    wander_s: Range = (0.03, 0.12)
    fading_db: Range = (2.5, 4.5)
    fading_s: Range = (0.1, 0.25)
    gain_db: Range = (-8.0, 8.0)
    exposure: Range | None = None
    attenuation_db_cm: Range = (0.0, 0.8)
    dropout: float = 0.35
    dropout_db: Range = (5.0, 14.0)
    rib_shadow: float = 0.25
    inner_shadow: float = 0.0
    near_field: float = 0.5
    near_field_db: Range = (-8.0, 0.0)
    weak_near_field_db: float = -14.0
    reverberation: float = 0.3
    foreshortening: float = 0.15
    drift: float = 0.5
    drift_px: Range = (1.0, 4.0)
    jitter: float = 0.3
    duplicates: float = 0.1
    quality: Range = (60.0, 95.0)
    frame_rate: tuple[float, float, float, float] = (50.4, 6.8, 30.0, 75.0)
    heart_rate: tuple[float, float, float, float] = (72.0, 13.0, 50.0, 110.0)
    beat_sd: Range = (0.02, 0.08)
    systole_s: Range | None = None
    irregular: float = 0.08
    irregular_sd: Range = (0.2, 0.2)
    stroke_sd: Range = (0.02, 0.02)
    irregular_stroke_sd: Range = (0.08, 0.08)
    kick: Range | None = None
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
    tilt_deg=(-16.0, 42.0),
    pixel_cm=(0.11, 0.21),
    apex_depth_cm=(0.9, 3.8),
    zoom=(0.95, 1.15),
    axial_mm=(0.4, 1.1),
    lateral_deg=(0.9, 2.8),
    focus_narrowing=(0.0, 0.5),
    smoothing_px=(0.2, 0.8),
    dynamic_range_db=(30.0, 60.0),
    black_db=(-30.0, -18.0),
    gamma=(0.75, 1.9),
    blood_db=(-64.0, -25.0),
    pericardium_db=(-8.0, 10.0),
    valve_db=(-4.0, 9.0),
    clutter_db=(-70.0, -30.0),
    noise_db=(-64.0, -34.0),
    surroundings_db=(-40.0, -12.0),
    chest_db=(-30.0, -8.0),
    patchiness_db=(2.0, 6.0),
    wander=(0.0, 0.3),
    wander_s=(0.15, 1.5),
    fading_db=(0.5, 4.0),
    fading_s=(0.2, 2.0),
    exposure=(0.48, 1.0),
    attenuation_db_cm=(-0.4, 1.1),
    dropout=0.4,
    dropout_db=(4.0, 20.0),
    rib_shadow=0.3,
    inner_shadow=0.2,
    near_field=0.5,
    near_field_db=(-24.0, -1.0),
    weak_near_field_db=-34.0,
    reverberation=0.35,
    foreshortening=0.3,
    drift=0.7,
    drift_px=(0.5, 9.0),
    jitter=0.3,
    quality=(35.0, 95.0),
    frame_rate=(50.0, 10.0, 24.0, 80.0),
    heart_rate=(66.0, 18.0, 42.0, 120.0),
    beat_sd=(0.02, 0.12),
    systole_s=(0.38, 0.58),
    irregular=0.0,
    shift_px=(14.0, 6.0),
    bottom_px=(-10.0, 3.0),
    time_gain_db=4.0,
    marks=0.4,
    blocks=0.3,
    anatomy=Anatomy(),
)
"""Scanners and hearts of all kinds: every video has its own appearance and shape.

Three families are kept out of it, so that they can test a network that was trained on it: long speckle, dilated
ventricles and irregular rhythms. No value of their ranges occurs here.
"""

FILLING = MIXED._replace(stroke_sd=(0.01, 0.05), kick=(0.06, 0.40))
"""Like mixed, with more variation of filling: little to much atrial contraction, and differences between beats."""

COARSE_SPECKLE = MIXED._replace(axial_mm=(1.4, 2.2), lateral_deg=(3.4, 5.6), focus_narrowing=(0.0, 0.0))
"""Like mixed, with speckle of about twice the length in both directions."""

DILATED = MIXED._replace(anatomy=Anatomy(edv_ml=(190.0, 320.0), elongation=(1.2, 2.0)))
"""Like mixed, with dilated ventricles."""

IRREGULAR = MIXED._replace(irregular=1.0, irregular_sd=(0.18, 0.32))
"""Like mixed, with irregular beats and no atrial contraction, as in atrial fibrillation."""

LOOKS = {
    "adult_cart": ADULT_CART,
    "handheld": HANDHELD,
    "mixed": MIXED,
    "filling": FILLING,
    "coarse_speckle": COARSE_SPECKLE,
    "dilated": DILATED,
    "irregular": IRREGULAR,
}
