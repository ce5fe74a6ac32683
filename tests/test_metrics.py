import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as reference

from echo_e3net.metrics import SplitScores, VideoTable, average_clips, ef_scores, score_intervals


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    index = np.repeat(np.arange(20), 3)
    clip = np.tile(np.arange(3), 20)
    target = np.repeat(rng.normal(55, 12, 20), 3)
    values = np.stack([target + rng.normal(0, 5, 60), target, target + rng.normal(0, 8, 60)], -1)
    return torch.tensor(index), torch.tensor(clip), torch.tensor(values, dtype=torch.float32)


def test_scores_agree_with_scikit_learn(clips):
    _, values = average_clips(*clips)
    prediction, target = values[:, 0].numpy(), values[:, 1].numpy()
    scores = ef_scores(values[:, 0], values[:, 1])
    assert scores.n == 20
    assert scores.mae == pytest.approx(reference.mean_absolute_error(target, prediction), rel=1e-5)
    assert scores.rmse == pytest.approx(reference.mean_squared_error(target, prediction) ** 0.5, rel=1e-5)
    assert scores.r2 == pytest.approx(reference.r2_score(target, prediction), rel=1e-5)


def fill(table, clips, rows):
    index, clip, values = (x[rows] for x in clips)
    table.update(index, clip, values)


def test_batches_order_and_repeats_do_not_matter(clips):
    whole, parts = VideoTable(), VideoTable()
    fill(whole, clips, torch.arange(60))
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    for rows in (*shuffled.split(7), torch.tensor([0, 1, 2, 59])):
        fill(parts, clips, rows)
    for a, b in zip(whole.compute(), parts.compute(), strict=True):
        torch.testing.assert_close(a, b)


def test_merged_replicas_equal_the_whole(clips):
    whole, first, second = VideoTable(), VideoTable(), VideoTable()
    fill(whole, clips, torch.arange(60))
    fill(first, clips, torch.arange(0, 60, 2))
    fill(second, clips, torch.arange(1, 60, 2))
    first.merge_state(second)
    torch.testing.assert_close(whole.compute()[1], first.compute()[1])


def test_unlabelled_videos_and_single_videos():
    scores = ef_scores(torch.tensor([50.0, 60.0]), torch.tensor([torch.nan, 55.0]))
    assert (scores.n, scores.mae) == (1, 5.0)
    assert scores.r2 != scores.r2
    assert ef_scores(torch.tensor([50.0]), torch.tensor([torch.nan])).n == 0


@pytest.mark.slow
def test_intervals_agree_with_scipy(clips):
    _, values = average_clips(*clips)
    prediction, target = values[:, 0].numpy(), values[:, 1].numpy()
    found = score_intervals(values[:, 0], values[:, 1])
    functions = {
        "mae": reference.mean_absolute_error,
        "rmse": lambda t, p: reference.mean_squared_error(t, p) ** 0.5,
        "r2": reference.r2_score,
    }
    for name, function in functions.items():
        theirs = stats.bootstrap(
            (target, prediction), function, paired=True, vectorized=False, n_resamples=3000, method="percentile", rng=1
        )
        spread = theirs.confidence_interval.high - theirs.confidence_interval.low
        assert found[name] == pytest.approx(theirs.confidence_interval, abs=0.12 * spread)


def test_r2_of_one_ef_for_all_videos_is_not_defined():
    prediction, target = torch.linspace(40, 70, 12), torch.full((12,), 60.0)
    assert torch.tensor(ef_scores(prediction, target).r2).isnan()
    assert set(score_intervals(prediction, target)) == {"mae", "rmse"}


def test_intervals_depend_on_the_table_alone(clips):
    _, values = average_clips(*clips)
    values = torch.cat([values, torch.tensor([[50.0, torch.nan, 50.0]])])
    before = torch.get_rng_state()
    assert score_intervals(values[:, 0], values[:, 1]) == score_intervals(values[:-1, 0], values[:-1, 1])
    assert torch.equal(torch.get_rng_state(), before)
    assert score_intervals(values[:1, 0], values[:1, 1]) == {}


def test_scores_are_not_part_of_checkpoints():
    assert not SplitScores().state_dict()
