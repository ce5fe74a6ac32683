"""The data module: stages in any order, settings and statistics."""

import shutil

import numpy as np
import pytest
import torch

from echo_e3net.data.frames import read_frames
from echo_e3net.data.records import unlabelled
from echo_e3net.data.settings import VideoSource
from echo_e3net.errors import InputError
from echo_e3net.training import datamodule
from tests.datamodules import data_module


class Bright:
    """A source of one bright video."""

    def __init__(self, path):
        self.path = path

    def records(self):
        return [unlabelled(self.path)._replace(frames=16)]

    def refused(self):
        return {}

    def remarks(self):
        return {}

    def rates(self):
        return []

    def read(self, path, index=None, listed=None):
        return np.full((len(index), 64, 64), 250, np.uint8)


@pytest.fixture
def data(phantom_root, tmp_path):
    data = data_module(phantom_root, frames=8, size=64, workers=0)
    data.videos = Bright(tmp_path / "own.avi")
    return data


def names(loader):
    return [name for batch in loader for name in batch.name]


@pytest.mark.parametrize("stages", [("predict", "test"), ("test", "predict"), ("predict", "test", "predict")])
def test_own_videos_of_predict_do_not_change_what_test_reads(data, stages):
    assert isinstance(data.videos, VideoSource)
    for stage in stages:
        data.setup(stage)
    listed = [record.name for record in data.records["test"]]
    assert listed
    batch = next(iter(data.test_dataloader()))
    frames = read_frames(data.records["test"][0].path, batch.frame_index[0].numpy())
    assert torch.equal(batch.video[0, 0], data.test_dataloader().dataset[0].video[0])
    assert batch.video[0].max() > 0
    assert not (batch.video == 250).all()
    assert frames.shape[0] == 8
    assert names(data.test_dataloader()) == listed
    assert names(data.predict_dataloader()) == ["own"]
    assert (next(iter(data.predict_dataloader())).video == 250).all()


def test_predict_reads_the_test_split_or_videos_without_a_split(phantom_root):
    data = data_module(phantom_root, frames=8, size=64, workers=0)
    data.setup("predict")
    assert data.records["predict"] == data.records["test"]
    data.records["test"], data.records[""] = [], data.records["val"]
    data.setup("predict")
    assert data.records["predict"] == data.records["val"]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"frames": 7}, "data.clip.frames"),
        ({"size": 63}, "data.clip.size"),
        ({"period": 0}, "data.clip.period"),
        ({"batch_size": 0}, "data.loader.batch_size"),
        ({"workers": -1}, "data.loader.workers"),
        ({"statistics_videos": 0}, "data.statistics_videos"),
    ],
)
def test_settings_below_their_bounds_are_refused(settings, key):
    with pytest.raises(InputError, match=key):
        data_module(**settings)


def test_statistics_are_those_of_the_frames(phantom_root):
    data = data_module(phantom_root, frames=8, size=64, workers=0)
    data.setup("fit")
    found = data.training_statistics()
    records = data.records["train"]
    index = [np.unique(np.linspace(0, record.frames - 1, 8).astype(int)) for record in records]
    grey = np.concatenate([read_frames(r.path, i).ravel() for r, i in zip(records, index, strict=True)])
    assert found.grey_mean == pytest.approx(grey.mean())
    assert found.grey_sd == pytest.approx(grey.std())
    assert found.ef_mean == pytest.approx(np.mean([record.ef for record in records]))
    assert found.borders == (True, True)


def test_the_frame_rate_is_the_median_of_several_hundred_videos(phantom_root, monkeypatch):
    """The median of 32 videos of the look mixed was 46.5 or 52.5 frames per second instead of 50."""
    data = data_module(phantom_root, frames=8, size=64, workers=0)
    data.setup("fit")
    records = [*data.records["train"][:1] * 400, *data.records["train"][1:2] * 500]
    data.records["train"] = records
    read = []
    monkeypatch.setattr(datamodule, "usual_rate", lambda paths: read.extend(paths) or 50.0)
    assert data.training_statistics().fps == 50
    assert len(read) == 500
    assert read.count(records[0].path) == pytest.approx(500 * 400 / 900, abs=1)


class TestTrainVideos:
    def chosen(self, root, number):
        data = data_module(root, frames=8, size=64, workers=0, train_videos=number)
        data.setup("fit")
        return data, [record.name for record in data.records["train"]]

    def test_a_larger_number_adds_videos(self, phantom_root):
        every = self.chosen(phantom_root, None)[1]
        few, more, all_of_them = (self.chosen(phantom_root, n)[1] for n in (2, 4, len(every)))
        assert len(few) == 2
        assert len(more) == 4
        assert set(few) < set(more) < set(every)
        assert all_of_them == every
        assert more == [name for name in every if name in more]

    def test_the_statistics_are_those_of_the_chosen_videos(self, phantom_root):
        data, _ = self.chosen(phantom_root, 2)
        assert data.training_statistics().ef_mean == pytest.approx(np.mean([r.ef for r in data.records["train"]]))
        assert data.state_dict()["videos"] == 2

    def test_checkpoints_tell_a_phantom_from_other_data(self, phantom_root, tmp_path):
        shutil.copytree(phantom_root, tmp_path / "data")
        (tmp_path / "data/phantom.json").unlink()
        found = [self.chosen(root, None)[0].state_dict()["synthetic"] for root in (phantom_root, tmp_path / "data")]
        assert found == [True, False]

    def test_only_fit_chooses(self, phantom_root):
        data = data_module(phantom_root, frames=8, size=64, workers=0, train_videos=999)
        data.setup("test")
        assert data.records["train"]
        with pytest.raises(InputError, match=r"data\.train_videos is 999"):
            data.setup("fit")

    def test_more_than_there_are_is_refused(self, phantom_root):
        with pytest.raises(InputError, match=r"data\.train_videos is 999, but .* has \d+ training videos"):
            self.chosen(phantom_root, 999)


def test_norms_are_estimated_from_a_share_of_many_videos(phantom_root):
    data = data_module(phantom_root, frames=8, size=64, workers=0)
    data.setup("fit")
    few = data.records["train"]
    assert sum(len(video) for video, _ in data.norm_batches()) == len(few)
    data.records["train"] = few * (1200 // len(few))
    assert sum(len(video) for video, _ in data.norm_batches()) == len(data.records["train"]) // 32 > 32
