r"""The volume of the ventricle over time, and the traced beat.

In each beat, the volume falls from EDV to ESV and then rises to the EDV of the next beat:

.. math:: V(t) = ESV + (EDV - ESV) \, a(t)

where a is 1 at ED and 0 at ES. It then rises in three parts: early filling (70…75 %), a plateau, and the atrial
contraction (20…25 %). In the look ``filling``, atrial contraction is 6…40 %, the plateau 5 %, and early filling the
rest. In this look, the mitral valve opens less before ED if the atrial contraction is below 22.5 %. Beats differ a
little in length and volume. Beats of irregular rhythms differ a lot and have no atrial contraction. The labels are the
extrema of V *at the frames* of one beat, ES after ED.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from echo_e3net.phantom.look import Look
from echo_e3net.phantom.prior import Heart, Scan, Series, ramp, stream

_LONGEST_SYSTOLE = 0.62
"""Longest systole of a beat, as a share of the beat."""
_SLOW_RATE = 65.0
"""Heart rate up to which the duration of systole is constant, beats per minute."""
_FUSION_S = (0.25, 0.55)
"""Diastole below which both phases of filling fuse completely, and above which they are separate, seconds."""
_PLATEAU = 0.05
"""Share of filling between early filling and atrial contraction, of looks that vary the latter."""
_LATE_OPENING, _USUAL_KICK = 0.75, 0.225
"""Opening of the mitral valve at atrial contraction (early filling opens it to 1), and the share of filling from which
it has this value. For smaller shares, the opening is proportional to the share."""
_MARGIN = 4
"""Smallest number of frames beyond the traced systole."""


class Rhythm(NamedTuple):
    """The beats of one video.

    Attributes:
        start_s: time of each ED; one more than beats.
        systole_s: from each ED to its ES.
        edv_excess: end-diastolic volume of each beat above the average, in average stroke volumes; one more than beats.
        esv_excess: the same of the end-systolic volume.
        early: share of the volume that fills early.
        kick: share of the volume that the atrium adds.
        late_opening: opening of the mitral valve at atrial contraction, 0…1; early filling opens it to 1.
        fuses: whether early filling and atrial contraction fuse in a short diastole, so that the valve stays open.
    """

    start_s: Float[np.ndarray, " E"]
    systole_s: Float[np.ndarray, " N"]
    edv_excess: Float[np.ndarray, " E"]
    esv_excess: Float[np.ndarray, " N"]
    early: float
    kick: float
    late_opening: float
    fuses: bool


class Ejection(NamedTuple):
    """V(t) at the frames of one video.

    Attributes:
        time_s: time of each frame; a duplicated frame has the time of the one before.
        volume_ml: V at each frame.
        opening: opening of the mitral valve at each frame, 0…1.
        ed: index of the traced end-diastolic frame.
        es: index of the traced end-systolic frame, of the same beat.
    """

    time_s: Series
    volume_ml: Series
    opening: Series
    ed: int
    es: int

    @property
    def edv_ml(self) -> float:
        """Return the volume at the traced ED frame."""
        return float(self.volume_ml[self.ed])

    @property
    def esv_ml(self) -> float:
        """Return the volume at the traced ES frame."""
        return float(self.volume_ml[self.es])

    @property
    def ef_percent(self) -> float:
        """Return the EF of the traced beat, percent."""
        return 100 * (self.edv_ml - self.esv_ml) / self.edv_ml


def draw_rhythm(seed: int, index: int, look: Look, duration_s: float) -> Rhythm:
    """Draw beats that cover ``duration_s`` and one more beat on either side."""
    rng = stream(seed, index, "rhythm")
    mean, sd, low, high = look.heart_rate
    rate = float(np.clip(rng.normal(mean, sd), low, high))
    irregular, beat_sd = rng.random() < look.irregular, rng.uniform(*look.beat_sd)
    early, kick, duty = rng.uniform(0.70, 0.75), rng.uniform(0.20, 0.25), rng.normal(0, 0.012)
    interval = 60 / rate
    beats = int(np.ceil(duration_s / (0.5 * interval))) + 4
    # streams of their own, so that looks without these variations keep their other draws
    other, filling = rng.spawn(2)
    irregular_sd = other.uniform(*look.irregular_sd)
    stroke_sd = filling.uniform(*(look.irregular_stroke_sd if irregular else look.stroke_sd))
    late_opening = _LATE_OPENING
    if look.kick is not None:
        kick = filling.uniform(*look.kick)
        early = 1 - _PLATEAU - kick
        late_opening *= min(1.0, kick / _USUAL_KICK)
    stretch = np.clip(1 + (irregular_sd if irregular else beat_sd) * rng.standard_normal(beats), 0.62, 1.5)
    excess = stroke_sd * np.clip(rng.standard_normal((2, beats + 1)), -2, 2)
    share = float(np.interp(rate, [50, 60, 110], [0.35, 0.37, 0.49]) + duty)
    if look.systole_s is not None:
        share = other.uniform(*look.systole_s) * min(_SLOW_RATE / rate, 1.0) ** 0.5 / interval
    share = min(share, _LONGEST_SYSTOLE)
    return Rhythm(
        start_s=np.concatenate([[0.0], np.cumsum(interval * stretch)]),
        systole_s=share * interval * np.sqrt(stretch),
        edv_excess=excess[0],
        esv_excess=excess[1, :-1],
        early=0.97 if irregular else early,
        kick=0.0 if irregular else kick,
        late_opening=0.0 if irregular else late_opening,
        fuses=look.systole_s is not None,
    )


def cycle(heart: Heart, rhythm: Rhythm, time_s: Series) -> tuple[Series, Series]:
    """Return V(t) in millilitres, and the opening of the mitral valve (0…1), at times within the beats."""
    beat = np.clip(np.searchsorted(rhythm.start_s, time_s, side="right") - 1, 0, len(rhythm.systole_s) - 1)
    since, systole = time_s - rhythm.start_s[beat], rhythm.systole_s[beat]
    diastole, diastolic = np.diff(rhythm.start_s)[beat] - systole, since >= systole
    emptying = 0.5 * (1 + np.cos(np.pi * np.clip(since / systole, 0, 1)))
    y = np.clip((since - systole) / diastole, 0, 1)
    early_end, kick_start = np.minimum(0.55, 0.24 / diastole), 1 - np.minimum(0.45, 0.16 / diastole)
    early, kick = y / early_end, (y - kick_start) / (1 - kick_start)
    refilled = rhythm.early * ramp(early) + rhythm.kick * ramp(kick) + (1 - rhythm.early - rhythm.kick) * y
    opening = np.maximum(np.maximum(_bump(early), rhythm.late_opening * _bump(kick)), 0.35 * _bump(y))
    if rhythm.fuses:
        opening = np.maximum(opening, (1 - ramp(diastole, *_FUSION_S)) * _bump(y))
    stroke = heart.edv_ml * heart.ef_percent / 100
    low = heart.edv_ml - stroke + stroke * rhythm.esv_excess[beat]
    high = heart.edv_ml + stroke * rhythm.edv_excess[beat + diastolic]
    return np.asarray(low + (high - low) * np.where(diastolic, refilled, emptying)), np.where(diastolic, opening, 0.0)


def draw_ejection(seed: int, index: int, heart: Heart, scan: Scan, look: Look) -> Ejection:
    """Draw the beats, the start of the recording, and the traced beat.

    Args:
        seed: seed of the data set.
        index: number of the video.
        heart: volumes.
        scan: frames and frame rate.
        look: ranges of the rhythm, and the probability of duplicated frames.
    """
    rng = stream(seed, index, "motion")
    rhythm = draw_rhythm(seed, index, look, scan.frames / scan.fps)
    frames = max(scan.frames, int(np.ceil(rhythm.systole_s[1:3].max() * scan.fps)) + 2 * _MARGIN)
    duplicated, count, where = rng.random() < look.duplicates, rng.integers(1, 3), rng.integers(1, frames, 2)
    clock = np.arange(frames) / scan.fps
    if duplicated:
        clock[where[:count]] = clock[where[:count] - 1]
    phase, choice = rng.random(), rng.random()
    # Start within the second beat; if that recording has no whole systole, start just before the third beat.
    time_s = clock + (rhythm.start_s[1] + phase * (rhythm.start_s[2] - rhythm.start_s[1]))
    if not len(_whole_systoles(rhythm, time_s)):
        slack = max(clock[-1] - rhythm.systole_s[2] - _MARGIN / scan.fps, 0.0)
        time_s = clock + (rhythm.start_s[2] - phase * slack)
    traced = _whole_systoles(rhythm, time_s)
    beat = traced[int(choice * len(traced))]
    volume_ml, opening = cycle(heart, rhythm, time_s)
    ed, es = _extrema(volume_ml, time_s, rhythm.start_s[beat], rhythm.systole_s[beat])
    return Ejection(time_s - time_s[0], volume_ml, opening, ed, es)


def _whole_systoles(rhythm: Rhythm, time_s: Series) -> Int[np.ndarray, " B"]:
    """Return the beats whose systole lies within the recording."""
    start = rhythm.start_s[:-1]
    return np.flatnonzero((start >= time_s[0]) & (start + rhythm.systole_s <= time_s[-1]))


def _extrema(volume_ml: Series, time_s: Series, start_s: float, systole_s: float) -> tuple[int, int]:
    """Return the frames of the largest V near a beat's start and of the smallest V near its end of systole."""
    near_ed = np.flatnonzero(np.abs(time_s - start_s) <= 0.25 * systole_s)
    ed = int(near_ed[np.argmax(volume_ml[near_ed])])
    near_es = np.flatnonzero(np.abs(time_s - start_s - systole_s) <= 0.25 * systole_s)
    near_es = near_es[near_es > ed]
    return ed, int(near_es[np.argmin(volume_ml[near_es])])


def _bump(x: Series) -> Series:
    """Return a smooth pulse: 0 at x = 0, 1 at x = 0.5, 0 at x = 1."""
    return np.asarray(np.sin(np.pi * np.clip(x, 0, 1)) ** 0.7)
