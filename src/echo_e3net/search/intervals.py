"""Is an arm's error larger than the base's, or is it the videos that happened to be in the test split? A paired bootstrap.

With e(a, s, v) = |EF predicted − EF labelled| of arm a, seed s and video v, the difference of arm a to the base b is

    d(v) = mean over the seeds of e(a, s, v) − e(b, s, v),        D = mean over the videos of d(v),

so every video and every seed is compared with itself: what makes a video hard for all networks cancels. Videos are drawn with replacement, as many
as there are, D is computed again, ``RESAMPLES`` times; the interval is from the 2.5th to the 97.5th percentile of what comes.

It says how far D could be off because the test videos are a sample. It does **not** say what another training would give: the seeds are held as they
are, since three of them are too few to draw from. The SD over the seeds stands beside it for that. Videos are taken as independent, which they are not
where a patient has several.

References:
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: percentile intervals.
    Koehn, Statistical significance tests for machine translation evaluation, EMNLP 2004 (the paired test set bootstrap).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 10_000
COVERAGE = 0.95
Errors = Mapping[str, float]
"""Absolute error of EF in points, by the name of the video."""


class Difference(NamedTuple):
    """How much larger an arm's mean absolute error is than the base's, EF points.

    Attributes:
        mean: over the seeds that both have.
        sd: over those seeds; None of one seed.
        low: lower end of the interval over videos; None where what was predicted of each video is not known.
        high: upper end.
        seeds: how many seeds both have.
        videos: how many videos the interval is from.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    seeds: int
    videos: int


def compare(
    arm: Mapping[int, float], base: Mapping[int, float], of_arm: Mapping[int, Errors], of_base: Mapping[int, Errors]
) -> Difference | None:
    """The difference of an arm to the base, seed by seed and video by video; None where they share no seed.

    Args:
        arm: mean absolute error by seed.
        base: the same of the base.
        of_arm: errors of each video by seed; seeds may be missing, and the interval with them.
        of_base: the same of the base.
    """
    shared = [seed for seed in arm if seed in base]
    if not shared:
        return None
    by_seed = [arm[seed] - base[seed] for seed in shared]
    mean, sd = statistics.fmean(by_seed), statistics.stdev(by_seed) if len(shared) > 1 else None
    if not all(seed in of_arm and seed in of_base for seed in shared):
        return Difference(mean, sd, None, None, len(shared), 0)
    videos = [
        name
        for name in of_base[shared[0]]
        if all(name in errors[seed] for errors in (of_arm, of_base) for seed in shared)
    ]
    if not videos:
        return Difference(mean, sd, None, None, len(shared), 0)
    by_video = np.array([[of_arm[seed][name] - of_base[seed][name] for seed in shared] for name in videos]).mean(1)
    return Difference(mean, sd, *bootstrap_interval(by_video), len(shared), len(videos))


def bootstrap_interval(
    values: Float[np.ndarray, " V"], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The percentile interval of the mean of ``values``; the same for the same values.

    Args:
        values: one for each unit that is drawn, at least one.
        resamples: how often all are drawn anew.
        seed: of the draws.
    """
    draw, step = np.random.default_rng(seed), max(1, 1_000_000 // len(values))
    blocks = [
        values[draw.integers(0, len(values), (min(step, resamples - i), len(values)))].mean(1)
        for i in range(0, resamples, step)
    ]
    tail = 100 * (1 - COVERAGE) / 2
    low, high = np.percentile(np.concatenate(blocks), [tail, 100 - tail])
    return float(low), float(high)
