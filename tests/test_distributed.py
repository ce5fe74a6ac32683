"""One rank and two ranks (gloo, on the CPU) give the same answer."""

import json
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import spawn

from echo_e3net.data.dataset import EvaluationClips, EvaluationSampler
from echo_e3net.data.records import unlabelled
from echo_e3net.data.sampling import CentredClip, ClipSpan
from echo_e3net.errors import InputError
from echo_e3net.training.distributed import any_rank, gather_rows, mean_over_ranks, once
from tests.processes import end, run, start, weights

RANKS = ("--trainer.devices", 2, "--trainer.strategy", "ddp")
SGD = ("--model.optimizer", "torch.optim.SGD", "--model.optimizer.lr", 0.01)
TOLERANCE = 1e-5
"""Of a weight: gradients are summed in another order. With SGD: AdamW divides by a gradient's size, and makes steps of the rounding of gradients that are
zero (biases of attention keys)."""


def beside(rank, folder, body):
    """What a spawned rank does."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        body(rank)
    finally:
        dist.destroy_process_group()


def agree(rank):
    assert mean_over_ranks(torch.tensor([1.0 + rank])).item() == 1.5
    assert any_rank(rank == 1, torch.device("cpu"))
    assert not any_rank(False, torch.device("cpu"))
    assert gather_rows([rank] * (rank + 1)) == [0, 1, 1]
    assert once(lambda: {"from": rank}, "working") == {"from": 0}


def fail(rank):
    def work():
        raise InputError("a.avi: no such video file.")

    with pytest.raises(InputError, match=r"a\.avi"):
        once(work, "failing")


def wait(rank):
    if rank == 0:
        once(lambda: time.sleep(2), "sleeping")
    else:
        with pytest.raises(InputError, match=r"rank 1 waited 0\.01 minutes for rank 0, which is sleeping"):
            once(lambda: None, "sleeping", minutes=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("body", [agree, fail, wait])
def test_ranks_share_what_they_owe_each_other(tmp_path, body):
    spawn(beside, (tmp_path, body), 2)


@pytest.mark.parametrize(("clips", "ranks"), [(5, 2), (4, 2), (1, 3), (7, 3), (3, 1)])
def test_every_clip_is_evaluated_once_and_all_ranks_take_as_many_steps(clips, ranks):
    records = [unlabelled(Path(f"{number}.avi"))._replace(frames=40) for number in range(clips)]
    dealt = [
        list(EvaluationSampler(EvaluationClips(records, ClipSpan(8, 2), 64, CentredClip()), rank, ranks))
        for rank in range(ranks)
    ]
    assert len({len(part) for part in dealt}) == 1
    assert sorted(number for part in dealt for number in part if number >= 0) == list(range(clips))


@pytest.fixture
def both(tmp_path, tiny):
    """Train on one rank and on two with the same global batch: 4 clips on one, 2 on each of two; returns the two folders."""

    def train(*args):
        folders = tmp_path / "one", tmp_path / "two"
        for folder, ranks, batch in zip(folders, ((), RANKS), (4, 2), strict=True):
            folder.mkdir()
            code, output = run(
                folder,
                "fit",
                *tiny,
                "--trainer.precision",
                "32-true",
                *SGD,
                *args,
                "--data.loader.batch_size",
                batch,
                *ranks,
            )
            assert code == 0, output
        return folders

    return train


@pytest.mark.slow
def test_one_and_two_ranks_train_alike(both):
    one, two = both()
    for (name, first), second in zip(weights(one).items(), weights(two).values(), strict=True):
        torch.testing.assert_close(first, second, atol=TOLERANCE, rtol=0, msg=name)
    first, second = (pd.read_csv(folder / "runs/tiny/logs/version_0/metrics.csv") for folder in (one, two))
    assert first["train/loss/total"].notna().sum() == 4
    pd.testing.assert_frame_equal(first, second, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_labels_that_are_shared_out_unevenly_count_alike(both, phantom_root, tmp_path):
    """Every second video is not traced. One step: here rounding grows a thousandfold a step, with two threads instead of two ranks as well."""
    one, two = both("--data.root", half_traced(phantom_root, tmp_path / "half"), "--trainer.max_steps", 1)
    for (name, first), second in zip(weights(one).items(), weights(two).values(), strict=True):
        torch.testing.assert_close(first, second, atol=TOLERANCE, rtol=0, msg=name)


@pytest.mark.slow
def test_two_ranks_test_and_predict_every_video_once_in_order(tmp_path, tiny):
    assert run(tmp_path, "fit", *tiny, "--trainer.max_epochs", 1)[0] == 0
    found = {}
    for name, ranks in (("one", ()), ("two", RANKS)):
        for verb in ("test", "predict"):
            code, output = run(tmp_path, verb, *tiny, *ranks, "--overwrite", "true", "--data.loader.batch_size", 2)
            assert code == 0, output
        files = ("test_videos.csv", "test_tracings.csv", "predictions.csv", "predictions_tracings.csv")
        found[name] = (
            [pd.read_csv(tmp_path / "runs/tiny" / file) for file in files],
            json.loads((tmp_path / "runs/tiny/metrics.json").read_text()),
        )
    for first, second in zip(found["one"][0], found["two"][0], strict=True):
        pd.testing.assert_frame_equal(first, second, atol=2e-3)
    first, second = found["one"][1], found["two"][1]
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert second[name] == (pytest.approx(value, abs=2e-3) if isinstance(value, float) else value), name


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_takes_the_other_down(tmp_path, tiny, victim):
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
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def half_traced(root, to):
    """The phantom with tracings of every second video alone."""
    to.mkdir()
    for name in ("FileList.csv", "Videos"):
        (to / name).symlink_to(root / name)
    names = sorted(pd.read_csv(root / "FileList.csv")["FileName"])[::2]
    for table in ("VolumeTracings.csv", "EpiTracings.csv"):
        rows = pd.read_csv(root / table)
        rows[rows["FileName"].str.removesuffix(".avi").isin(names)].to_csv(to / table, index=False)
    return to
