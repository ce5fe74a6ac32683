"""The paired bootstrap: pairing, known intervals and coverage."""

import numpy as np
import pytest
import torch

from echo_e3net.metrics import bootstrap_means, interval
from echo_e3net.search.study_videos import compare


def by_seed(*rows):
    """Errors of videos a, b, … by seed."""
    return {seed: {chr(97 + v): float(value) for v, value in enumerate(row)} for seed, row in enumerate(rows)}


def means(errors):
    return {seed: float(np.mean(list(of_videos.values()))) for seed, of_videos in errors.items()}


def test_the_difficulty_of_a_video_cancels():
    base = by_seed([1, 20, 3, 50], [2, 30, 1, 40])
    arm = {seed: {name: value + 1.5 for name, value in errors.items()} for seed, errors in base.items()}
    found = compare(means(arm), means(base), arm, base)
    assert found.mean == pytest.approx(1.5)
    assert found.sd == pytest.approx(0)
    assert (found.low, found.high) == (pytest.approx(1.5), pytest.approx(1.5))
    assert (found.seeds, found.videos) == (2, 4)


def test_videos_are_paired_by_name():
    base = by_seed([1, 20, 3])
    arm = {0: dict(reversed([(name, value + 1) for name, value in base[0].items()]))}
    found = compare(means(arm), means(base), arm, base)
    assert found.low == found.high == pytest.approx(1)
    assert found.sd is None


def mean_interval(values, resamples=10_000, seed=0):
    return interval(bootstrap_means(torch.as_tensor(values)[:, None], resamples, seed).flatten())


def test_the_interval_of_two_values_is_known():
    """The mean of two draws from 0 and 1 is 0, ½ or 1, with probability ¼, ½ and ¼."""
    assert mean_interval(np.array([0.0, 1.0])) == (0, 1)
    assert mean_interval(np.array([2.0])) == (2, 2)


def test_the_interval_is_near_that_of_the_normal_distribution_and_repeats():
    values = np.random.default_rng(3).normal(1.0, 2.0, 400)
    low, high = mean_interval(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)
    assert mean_interval(values) == (low, high)


def test_resamples_in_blocks_are_complete_and_columns_stay_together():
    values = torch.arange(8.0).double().reshape(4, 2)
    means = bootstrap_means(values, resamples=1234)
    assert means.shape == (1234, 2)
    torch.testing.assert_close(means[:, 1], means[:, 0] + 1)


def test_the_interval_has_about_its_nominal_coverage():
    draw = np.random.default_rng(0)
    ends = [mean_interval(draw.normal(0.3, 1, 60), resamples=400, seed=i) for i in range(400)]
    assert np.mean([low <= 0.3 <= high for low, high in ends]) == pytest.approx(0.94, abs=0.025)


def test_without_the_videos_there_is_no_interval():
    base, arm = by_seed([1, 2], [3, 4]), by_seed([2, 4], [5, 8])
    found = compare(means(arm), means(base), {0: arm[0]}, base)
    assert found.mean == pytest.approx(2.25)
    assert found.low is found.high is None
    assert compare(means(arm), means(base), arm, by_seed()).low is None
    assert compare({0: 1.0}, {1: 1.0}, {}, {}) is None
    assert compare(means(arm), means(base), {0: {"x": 1.0}, 1: {"x": 1.0}}, base).low is None


def test_a_video_that_one_network_lacks_is_ignored():
    base, arm = by_seed([1, 2, 90], [3, 4, 5]), by_seed([2, 3], [4, 5])
    found = compare({0: 2.5, 1: 4.5}, {0: 31.0, 1: 4.0}, arm, base)
    assert found.videos == 2
    assert found.low == found.high == pytest.approx(1)
