"""The cache gives the frames that decoding gives, whatever happens to its files, and to the videos."""

import multiprocessing
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from echo_e3net.data import cache as module
from echo_e3net.data.cache import FrameCache
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.frames import read_frames
from echo_e3net.errors import InputError
from tests.datamodules import data_module

INDEX = np.array([5, 0, 5, 20])


@pytest.fixture
def videos(phantom_root, tmp_path):
    """Three videos that a test may damage."""
    (tmp_path / "videos").mkdir()
    paths = sorted((phantom_root / "Videos").iterdir())[:3]
    return [Path(shutil.copy(path, tmp_path / "videos")) for path in paths]


@pytest.fixture
def filled(videos, tmp_path):
    """A folder that holds them decoded."""
    store = FrameCache(tmp_path / "cache", fill=True)
    for path in videos:
        store.read(path)
    return store.folder


@pytest.fixture
def no_decoding(monkeypatch):
    def refuse(*args):
        raise AssertionError(f"decoded {args}")

    monkeypatch.setattr(module, "read_frames", refuse)


def batches(root, **options):
    data = data_module(root, frames=8, size=64, batch_size=3, **options)
    data.setup("fit")
    loader = data.train_dataloader()
    found = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        found += [*loader, *data.val_dataloader()]
    return found, data.training_statistics()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_are_the_same_cached_filling_and_decoded(phantom_root, tmp_path, workers):
    decoded = batches(phantom_root, workers=0)
    for _ in range(2):  # the first fills, the second reads
        cached = batches(phantom_root, workers=workers, cache=tmp_path / "cache")
        assert cached[1] == decoded[1]
        for a, b in zip(decoded[0], cached[0], strict=True):
            assert all(
                x == y if isinstance(x, list | tuple) else torch.equal(x.nan_to_num(), y.nan_to_num())
                for x, y in zip(a, b, strict=True)
            )


def test_frames_come_from_the_cache(videos, filled, no_decoding):
    for path in videos:
        found = FrameCache(filled).read(path, INDEX)
        np.testing.assert_array_equal(found, read_frames(path, INDEX))
        assert found.flags.writeable
        np.testing.assert_array_equal(FrameCache(filled).read(path), read_frames(path))


def test_a_moved_video_is_found_and_a_changed_one_decoded_anew(videos, filled, monkeypatch):
    moved = videos[0].with_name("moved.avi")
    videos[0].rename(moved)
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_frames", None)
        assert len(FrameCache(filled).read(moved, INDEX)) == len(INDEX)
    shutil.copy(videos[2], videos[1])
    np.testing.assert_array_equal(FrameCache(filled).read(videos[1], INDEX), read_frames(videos[2], INDEX))


def test_a_writer_that_was_killed_loses_its_last_video_alone(videos, filled, no_decoding):
    lines, frames = next(filled.glob("*.jsonl")), next(filled.glob("*.bin"))
    whole = lines.read_bytes()
    lines.write_bytes(whole[: whole[:-1].rfind(b"\n") + 30])
    frames.write_bytes(frames.read_bytes()[:-1000])
    store = FrameCache(filled)
    assert [store.find(path) is not None for path in videos] == [True, True, False]


def test_a_line_whose_frames_are_not_there_is_not_believed(videos, filled):
    frames = next(filled.glob("*.bin"))
    frames.write_bytes(frames.read_bytes()[:-1000])
    assert FrameCache(filled).find(videos[2]) is None


def test_damaged_frames_are_said_and_decoded_again(videos, filled):
    frames = next(filled.glob("*.bin"))
    damaged = bytearray(frames.read_bytes())
    damaged[100] ^= 255
    frames.write_bytes(damaged)
    store = FrameCache(filled, fill=True)
    with pytest.warns(UserWarning, match=r"the frames of .* are damaged; the video is decoded again"):
        found = store.read(videos[0], np.array([0]))
    np.testing.assert_array_equal(found, read_frames(videos[0], np.array([0])))
    np.testing.assert_array_equal(FrameCache(filled).read(videos[0], np.array([0])), found)


def test_a_reader_sees_what_another_process_added(videos, tmp_path):
    reader, writer = FrameCache(tmp_path / "cache"), FrameCache(tmp_path / "cache", fill=True)
    for path in videos:
        assert reader.find(path) is None
        writer.read(path)
        assert reader.find(path) is not None


def test_processes_write_side_by_side(videos, tmp_path):
    store = FrameCache(tmp_path / "cache", fill=True)
    store.read(videos[0])
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(store.read, videos)
    again = pickle.loads(pickle.dumps(store))
    assert len(list(store.folder.glob("*.bin"))) >= 2
    assert all(again.find(path) is not None for path in videos)


def test_a_shard_that_is_full_is_followed_by_another(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_BYTES", 1)
    store = FrameCache(tmp_path / "cache", fill=True)
    for path in videos:
        store.read(path)
    assert len(list(store.folder.glob("*.bin"))) == len(videos)


def test_what_is_asked_for_in_vain(videos, filled):
    store = FrameCache(filled)
    with pytest.raises(InputError, match=r"frame 4000 was asked for, but the video has \d+"):
        store.read(videos[0], np.array([4000]))
    with pytest.raises(InputError, match="the table lists 5000"):
        store.read(videos[0], INDEX, listed=5000)
    with pytest.raises(InputError, match="no such video file"):
        store.read(videos[0].with_name("gone.avi"))


def test_training_goes_on_where_the_cache_cannot_be_written(videos, tmp_path):
    (tmp_path / "file").write_text("")
    store = FrameCache(tmp_path / "file" / "cache", fill=True)
    with pytest.warns(UserWarning, match="nothing more is added to the cache"):
        found = store.read(videos[0], INDEX)
    np.testing.assert_array_equal(found, read_frames(videos[0], INDEX))
    assert not store.fill


def test_a_disk_that_is_too_small_is_refused_beforehand(phantom_root, tmp_path, monkeypatch, command):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 5, 5000))
    code, error = command("data", "cache", phantom_root, "--folder", tmp_path / "cache")
    assert code == 2
    assert "12 videos take 0.01 GB decoded, but 0.00 GB are free" in error
    with pytest.raises(InputError, match="Choose another folder"):
        data_module(phantom_root, frames=8, cache=tmp_path / "cache").setup("fit")
    data_module(phantom_root, frames=8, cache=tmp_path / "cache", fill=False).setup("fit")


def test_the_verb_fills_goes_on_and_verifies(phantom_root, tmp_path, command, capsys):
    folder = tmp_path / "cache"
    one = EchoNetDynamic().read(phantom_root).records[0]
    FrameCache(folder, fill=True).read(one.path)
    assert command("data", "cache", phantom_root, "--folder", folder, "--jobs", 1)[0] == 0
    assert "1 of 12 videos are there; 11 more will take 0.01 GB" in command.output
    assert "11 videos decoded. Train with --data.cache.folder" in command.output
    assert command("data", "cache", phantom_root, "--folder", folder, "--jobs", 2)[0] == 0
    assert "12 of 12 videos are there." in command.output
    frames = sorted(folder.glob("*.bin"))[0]
    frames.write_bytes(bytes(frames.stat().st_size))
    with pytest.warns(UserWarning, match="damaged"):
        assert command("data", "cache", phantom_root, "--folder", folder, "--jobs", 1, "--verify")[0] == 0
    store = FrameCache(folder)
    assert all(store.find(record.path) is not None for record in EchoNetDynamic().read(phantom_root).records)


def test_the_verb_names_what_does_not_decode(phantom_root, tmp_path, command):
    root = Path(shutil.copytree(phantom_root, tmp_path / "copy"))
    bad = sorted((root / "Videos").iterdir())[0]
    bad.write_text("text")
    assert command("data", "cache", root, "--jobs", 1)[0] == 1
    assert f"not decoded: {bad}: not a video" in command.output
    assert "11 videos decoded" in command.output
