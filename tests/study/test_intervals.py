"""The paired bootstrap: pairs cancel what they share, the interval is the textbook's, and covers as often as it says."""

import numpy as np
import pytest

from echo_e3net.search.intervals import bootstrap_interval, compare


def by_seed(*rows):
    """Errors of videos a, b, … by seed."""
    return {seed: {chr(97 + v): float(value) for v, value in enumerate(row)} for seed, row in enumerate(rows)}


def means(errors):
    return {seed: float(np.mean(list(of_videos.values()))) for seed, of_videos in errors.items()}


def test_what_a_video_has_of_all_networks_cancels():
    base = by_seed([1, 20, 3, 50], [2, 30, 1, 40])
    arm = {seed: {name: value + 1.5 for name, value in errors.items()} for seed, errors in base.items()}
    found = compare(means(arm), means(base), arm, base)
    assert found.mean == pytest.approx(1.5)
    assert found.sd == pytest.approx(0)
    assert (found.low, found.high) == (pytest.approx(1.5), pytest.approx(1.5))
    assert (found.seeds, found.videos) == (2, 4)


def test_pairs_are_by_name_not_by_place():
    base = by_seed([1, 20, 3])
    arm = {0: dict(reversed([(name, value + 1) for name, value in base[0].items()]))}
    found = compare(means(arm), means(base), arm, base)
    assert found.low == found.high == pytest.approx(1)
    assert found.sd is None


def test_the_interval_of_two_values_is_known():
    """Of 0 and 1 drawn twice, the mean is 0, ½ or 1, with ¼, ½ and ¼."""
    assert bootstrap_interval(np.array([0.0, 1.0])) == (0, 1)
    assert bootstrap_interval(np.array([2.0])) == (2, 2)


def test_the_interval_is_near_that_of_the_normal_distribution_and_repeats():
    values = np.random.default_rng(3).normal(1.0, 2.0, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)
    assert bootstrap_interval(values) == (low, high)


def test_draws_in_blocks_are_the_draws_at_once():
    values = np.random.default_rng(1).normal(size=700)  # 1,428 resamples a block
    draw = np.random.default_rng(0).integers(0, 700, (3000, 700))
    assert bootstrap_interval(values, 3000) == pytest.approx(tuple(np.percentile(values[draw].mean(1), [2.5, 97.5])))


def test_it_covers_the_truth_about_as_often_as_it_says():
    draw = np.random.default_rng(0)
    ends = [bootstrap_interval(draw.normal(0.3, 1, 60), resamples=400, seed=i) for i in range(400)]
    assert np.mean([low <= 0.3 <= high for low, high in ends]) == pytest.approx(0.94, abs=0.025)


def test_without_the_videos_there_is_no_interval():
    base, arm = by_seed([1, 2], [3, 4]), by_seed([2, 4], [5, 8])
    found = compare(means(arm), means(base), {0: arm[0]}, base)
    assert found.mean == pytest.approx(2.25)
    assert found.low is found.high is None
    assert compare(means(arm), means(base), arm, by_seed()).low is None
    assert compare({0: 1.0}, {1: 1.0}, {}, {}) is None
    assert compare(means(arm), means(base), {0: {"x": 1.0}, 1: {"x": 1.0}}, base).low is None


def test_a_video_that_one_network_lacks_is_compared_in_none():
    base, arm = by_seed([1, 2, 90], [3, 4, 5]), by_seed([2, 3], [4, 5])
    found = compare({0: 2.5, 1: 4.5}, {0: 31.0, 1: 4.0}, arm, base)
    assert found.videos == 2
    assert found.low == found.high == pytest.approx(1)
