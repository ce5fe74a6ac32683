"""One and two ranks (gloo, on the CPU) train and evaluate alike."""

import json
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from echo_e3net.data.dataset import EvaluationClips, EvaluationSampler
from echo_e3net.data.records import unlabelled
from echo_e3net.data.settings import ClipSettings
from tests.processes import ALONE, end, run, start, weights

RANKS = ("--trainer.devices", 2, "--trainer.strategy", "ddp")
SGD = ("--model.optimizer", "torch.optim.SGD", "--model.optimizer.lr", 0.01)
FROZEN = ("--trainer.callbacks", "tests.frozen_norms.FrozenNorms")
TOLERANCE = 1e-5
"""Tolerance of a weight: gradients are summed in another order. With SGD, because AdamW amplifies the rounding of zero
gradients (biases of attention keys)."""


@pytest.mark.parametrize(("clips", "ranks"), [(5, 2), (4, 2), (1, 3), (7, 3), (3, 1)])
def test_every_clip_is_evaluated_once_in_equal_steps(clips, ranks):
    records = [unlabelled(Path(f"{number}.avi"))._replace(frames=40) for number in range(clips)]
    dealt = [
        list(EvaluationSampler(EvaluationClips(records, ClipSettings(8, 2, 64)), rank, ranks)) for rank in range(ranks)
    ]
    assert len({len(part) for part in dealt}) == 1
    assert sorted(number for part in dealt for number in part if number >= 0) == list(range(clips))


@pytest.fixture
def both(command, tmp_path, tiny):
    """Train with a global batch of 4 clips on one rank and on two ranks; returns both folders.

    Norms use running statistics: those of a batch differ where the batch is split.
    """

    def train(*args):
        one, two = tmp_path / "one", tmp_path / "two"
        words = ("fit", *tiny, "--trainer.precision", "32-true", *SGD, *FROZEN, *args, "--data.loader.batch_size")
        code, error = command(*words, 4, "--runs", one / "runs")
        assert code == 0, error
        two.mkdir()
        path = os.pathsep.join((ALONE["PYTHONPATH"], str(Path(__file__).parents[1])))
        code, output = run(two, *words, 2, *RANKS, PYTHONPATH=path)
        assert code == 0, output
        return one, two

    return train


@pytest.mark.slow
def test_one_and_two_ranks_train_alike(both):
    one, two = both()
    for (name, first), second in zip(weights(one).items(), weights(two).values(), strict=True):
        torch.testing.assert_close(first, second, atol=TOLERANCE, rtol=1e-4, msg=name)
    first, second = (pd.read_csv(folder / "runs/tiny/logs/version_0/metrics.csv") for folder in (one, two))
    assert first["train/loss/total"].notna().sum() == 4
    pd.testing.assert_frame_equal(first, second, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
# one step ends before the validation
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")
def test_unevenly_split_labels_train_alike(both, phantom_root, tmp_path):
    """Every second video is not traced. One step, because rounding errors grow a thousandfold per step."""
    one, two = both("--data.root", half_traced(phantom_root, tmp_path / "half"), "--trainer.max_steps", 1)
    for (name, first), second in zip(weights(one).items(), weights(two).values(), strict=True):
        torch.testing.assert_close(first, second, atol=TOLERANCE, rtol=1e-4, msg=name)


@pytest.mark.slow
def test_two_ranks_test_and_predict_every_video_once_in_order(command, tmp_path, tiny, trained):
    found = {}
    for name, do in (("one", command), ("two", lambda *words: run(tmp_path, *words, *RANKS))):
        for verb in ("test", "predict"):
            code, output = do(verb, *tiny, "--overwrite", "true", "--data.loader.batch_size", 2)
            assert code == 0, output
        files = ("test_videos.csv", "test_tracings.csv", "predictions.csv", "predictions_tracings.csv")
        found[name] = (
            [pd.read_csv(trained / file) for file in files],
            json.loads((trained / "metrics.json").read_text()),
        )
    for first, second in zip(found["one"][0], found["two"][0], strict=True):
        pd.testing.assert_frame_equal(first, second, atol=2e-3)
    first, second = found["one"][1], found["two"][1]
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert second[name] == (pytest.approx(value, abs=2e-3) if isinstance(value, float | list) else value), name


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_the_death_of_a_rank_ends_the_other(tmp_path, tiny, victim):
    process = start(tmp_path, "fit", *tiny, *RANKS, "--trainer.max_epochs", 1000, "--last.every_steps", 1)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/tiny/checkpoints/last.ckpt")):
        assert time.monotonic() < deadline, (tmp_path / "out.txt").read_text()
        time.sleep(0.1)
    other = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    os.kill(process.pid if victim == 0 else other[0], signal.SIGKILL)
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None or any(alive(pid) for pid in other):
            assert time.monotonic() < deadline, (tmp_path / "out.txt").read_text()
            time.sleep(0.1)
    finally:
        end(process)


def alive(pid):
    """Return whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def half_traced(root, to):
    """Write the phantom with tracings of only every second video."""
    to.mkdir()
    for name in ("FileList.csv", "Videos"):
        (to / name).symlink_to(root / name)
    names = sorted(pd.read_csv(root / "FileList.csv")["FileName"])[::2]
    for table in ("VolumeTracings.csv", "EpiTracings.csv"):
        rows = pd.read_csv(root / table)
        rows[rows["FileName"].str.removesuffix(".avi").isin(names)].to_csv(to / table, index=False)
    return to
