"""Videos that a user names: unique names, the same frames as an import, and a temporary folder."""

import gc
import pickle
from pathlib import Path

import numpy as np
import pydicom
import pytest

from echo_e3net.clinic import importing as write
from echo_e3net.clinic import user_videos as own
from echo_e3net.clinic.prepare import prepare
from echo_e3net.clinic.user_videos import OwnVideos, distinct_names
from echo_e3net.data.frames import read_frames
from echo_e3net.errors import InputError
from tests.clinic.test_sources import small_screen, write_avi, write_dicom, write_mp4
from tests.datamodules import data_module

CINE = pydicom.examples.get_path("ybr_color")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/x/a.dcm", "/x/b.mp4"], ["a", "b"]),
        (["/x/a.dcm", "/x/a.mp4"], ["a.dcm", "a.mp4"]),
        (["/x/p/a.dcm", "/x/q/a.dcm", "/x/q/b.dcm"], ["p/a.dcm", "q/a.dcm", "b"]),
        (["/x/p/d/a.dcm", "/x/q/d/a.dcm"], ["p/d/a.dcm", "q/d/a.dcm"]),
        (["/x/1.2.3.4", "/x/1.2.3.5"], ["1.2.3.4", "1.2.3.5"]),
        (["/x/a.dcm", "/a"], ["a.dcm", "a"]),
    ],
)
def test_names_are_unique_and_short(paths, names):
    files = [Path(path) for path in paths]
    assert [distinct_names(files)[file] for file in files] == names


def test_frames_are_those_of_an_import(tmp_path):
    clip = write_dicom(tmp_path / "clip.dcm", small_screen())
    videos = OwnVideos([clip])
    (record,) = videos.records()
    frames = videos.read(record.path, None, record.frames)
    assert np.array_equal(frames, prepare(clip, 112).frames)
    assert np.array_equal(videos.read(clip, np.array([3, 1, 1])), frames[[3, 1, 1]])
    write.import_videos([clip], tmp_path / "set", jobs=1)
    stored = read_frames(next((tmp_path / "set/Videos").iterdir()))
    assert np.abs(stored.astype(int) - frames).mean() < 1.5


def test_a_video_of_a_data_set_is_used_unchanged(phantom_root, tmp_path):
    path = min((phantom_root / "Videos").glob("*.avi"))
    square = write_avi(tmp_path / "square.avi", small_screen(shape=(240, 240), corner=(20, 20)))
    videos = OwnVideos([path, square])
    assert np.array_equal(videos.read(path), read_frames(path))
    assert videos.read(square).shape[1:] == (112, 112)


def test_the_temporary_folder_is_private_and_is_deleted(tmp_path):
    videos = OwnVideos([CINE])
    folder = videos.kept[CINE].array.parent
    assert folder.stat().st_mode & 0o077 == 0
    # A spawned worker receives a copy.
    copy = pickle.loads(pickle.dumps(videos))
    assert copy.read(CINE).shape == (30, 112, 112)
    del copy
    gc.collect()
    assert folder.is_dir()
    del videos
    gc.collect()
    assert not folder.exists()


def test_a_forked_worker_does_not_delete_the_folder(tmp_path):
    own.remove(tmp_path, owner=-1)
    assert tmp_path.is_dir()


@pytest.mark.parametrize("workers", [0, 1])
def test_the_data_module_reads_them(tmp_path, workers):
    files = [write_mp4(tmp_path / "a.mp4", small_screen()), CINE]
    data = data_module(videos=files, frames=8, workers=workers, start_method="fork" if workers else None)
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert list(batch.name) == ["a", "examples_ybr_color"]
    index = batch.frame_index[1].numpy()
    assert np.array_equal(batch.video[1, 0].numpy(), prepare(CINE, 112).frames[index])


def test_an_unusual_rate_is_reported(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("echo_e3net.training.predict_videos.rank_zero_info", told.append)
    data_module(videos=CINE).setup("predict")
    assert all(fact in told[0] for fact in ("30 frames", "2.1 s", "1.3 s"))


def test_unusable_files_are_errors_or_excluded(tmp_path):
    still = pydicom.examples.get_path("rgb_color")
    with pytest.raises(InputError, match=r"examples_rgb_color\.dcm.*still image.*--data\.on_defect"):
        data_module(videos=[CINE, still]).setup("predict")
    data = data_module(videos=[CINE, still], on_defect="exclude")
    data.setup("predict")
    assert [record.path for record in data.records["predict"]] == [CINE]
    assert [finding.where for finding in data.excluded] == [str(still)]
    with pytest.raises(InputError, match="still image"):
        data_module(videos=[still], on_defect="exclude").setup("predict")
