"""The cache returns the frames that decoding returns, whatever happens to its files and to the videos."""

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
    """Copy three videos, which a test may damage."""
    (tmp_path / "videos").mkdir()
    paths = sorted((phantom_root / "Videos").iterdir())[:3]
    return [Path(shutil.copy(path, tmp_path / "videos")) for path in paths]


@pytest.fixture
def filled(videos, tmp_path):
    """Fill a cache with them and return its folder."""
    store = FrameCache(tmp_path / "cache", fill=True)
    for path in videos:
        store.read(path)
    return store.folder


@pytest.fixture
def no_decoding(monkeypatch):
    """Make decoding fail."""

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
    # The first pass fills the cache, the second reads it.
    for _ in range(2):
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


def test_a_moved_video_is_found_and_a_changed_one_is_decoded_again(videos, filled, monkeypatch):
    moved = videos[0].with_name("moved.avi")
    videos[0].rename(moved)
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_frames", None)
        assert len(FrameCache(filled).read(moved, INDEX)) == len(INDEX)
    shutil.copy(videos[2], videos[1])
    np.testing.assert_array_equal(FrameCache(filled).read(videos[1], INDEX), read_frames(videos[2], INDEX))


def frames_file(folder, path):
    """Return the file that holds the frames of a video."""
    return FrameCache(folder).lookup(path).resolve()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1000],
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"x" + data[1:],
        lambda data: data[:1000] + bytes([data[1000] ^ 255]) + data[1001:],
    ],
    ids=["cut", "cut in the checksum", "empty", "header", "one byte of a frame"],
)
def test_a_damaged_file_is_decoded_again_with_a_warning(videos, filled, damage):
    file = frames_file(filled, videos[0])
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match=file.parent.name + r"/[\w.]+.npy"):
        found = FrameCache(filled, fill=True).read(videos[0], INDEX)
    np.testing.assert_array_equal(found, read_frames(videos[0], INDEX))
    np.testing.assert_array_equal(FrameCache(filled).read(videos[0], INDEX), found)


def test_a_killed_writer_leaves_nothing_that_is_read(videos, tmp_path, monkeypatch):
    """A process that is killed between writing and renaming leaves only a hidden file."""
    folder = tmp_path / "cache"

    class Killed(BaseException):
        pass

    def stop(self, target):
        shutil.copy(self, self.with_name(".left" + self.name))
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stop)
        with pytest.raises(Killed):
            FrameCache(folder, fill=True).read(videos[0])
    assert [path.name[0] for path in folder.iterdir()] == ["."]
    assert FrameCache(folder).find(videos[0]) is None
    assert len(FrameCache(folder, fill=True).read(videos[0], INDEX)) == len(INDEX)


def test_a_known_video_is_found_without_reading_it(videos, filled, monkeypatch):
    monkeypatch.setattr(module, "file_hash", None)
    assert all(FrameCache(filled).lookup(path) for path in videos)


def test_maps_keep_no_file_open(videos, filled):
    store, before = FrameCache(filled), len(list(Path("/proc/self/fd").iterdir()))
    for path in videos:
        store.read(path, INDEX)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_reader_finds_what_another_process_added(videos, tmp_path):
    reader, writer = FrameCache(tmp_path / "cache"), FrameCache(tmp_path / "cache", fill=True)
    for path in videos:
        assert reader.find(path) is None
        writer.read(path)
        assert reader.find(path) is not None


@pytest.mark.slow
def test_processes_fill_one_cache(videos, tmp_path):
    store = FrameCache(tmp_path / "cache", fill=True)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(store.read, videos * 2)
    again = pickle.loads(pickle.dumps(store))
    assert all(again.find(path) is not None for path in videos)
    assert len(list(store.folder.iterdir())) == 2 * len(videos)


def test_errors_name_the_file_and_the_value(videos, filled):
    store = FrameCache(filled)
    for path, index, listed, fact in [
        (videos[0], np.array([4000]), None, "4000"),
        (videos[0], INDEX, 5000, "5000"),
        (videos[0].with_name("gone.avi"), None, None, "gone.avi"),
    ]:
        with pytest.raises(InputError, match=fact) as error:
            store.read(path, index, listed)
        assert str(path) in str(error.value)


def test_reading_continues_if_the_cache_cannot_be_written(videos, tmp_path):
    (tmp_path / "file").write_text("")
    store = FrameCache(tmp_path / "file" / "cache", fill=True)
    with pytest.warns(UserWarning, match=str(store.folder)):
        found = store.read(videos[0], INDEX)
    np.testing.assert_array_equal(found, read_frames(videos[0], INDEX))
    assert not store.fill


def test_a_disk_that_is_too_small_is_an_error_before_decoding(phantom_root, tmp_path, monkeypatch, command):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 5, 5000))
    code, error = command("data", "cache", phantom_root, "--folder", tmp_path / "cache")
    assert code == 2
    assert all(fact in error for fact in ("cache", "12 videos", "0.01 GB", "0.00 GB", "--folder"))
    with pytest.raises(InputError, match=r"--data.cache.folder"):
        data_module(phantom_root, frames=8, cache=tmp_path / "cache").setup("fit")
    data_module(phantom_root, frames=8, cache=tmp_path / "cache", fill=False).setup("fit")


def test_the_command_fills_resumes_and_verifies(phantom_root, tmp_path, command):
    folder = tmp_path / "cache"
    records = EchoNetDynamic().read(phantom_root).records
    FrameCache(folder, fill=True).read(records[0].path)
    assert command("data", "cache", phantom_root, "--folder", folder, "--jobs", 1)[0] == 0
    assert "1 of 12 videos are cached; the others take 0.01 GB" in command.output
    assert f"11 videos decoded. Train with --data.cache.folder {folder}" in command.output
    file = frames_file(folder, records[3].path)
    file.write_bytes(file.read_bytes()[:500] + bytes(file.stat().st_size - 500))
    with pytest.warns(UserWarning, match=file.parent.name + r"/[\w.]+.npy"):
        assert command("data", "cache", phantom_root, "--folder", folder, "--jobs", 1, "--verify")[0] == 0
    assert "11 of 12 videos" in command.output
    assert all(FrameCache(folder).find(record.path) is not None for record in records)


def test_the_command_names_a_video_that_does_not_decode(phantom_root, tmp_path, command):
    root = Path(shutil.copytree(phantom_root, tmp_path / "copy"))
    bad = sorted((root / "Videos").iterdir())[0]
    bad.write_text("text")
    assert command("data", "cache", root, "--jobs", 1)[0] == 1
    assert str(bad) in command.output
    assert "11 videos decoded" in command.output
