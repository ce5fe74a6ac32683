import numpy as np
import pytest

from echo_e3net.data import raster
from echo_e3net.data.frames import read_frames
from echo_e3net.errors import InputError


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return (
        raster.blur(rng.integers(0, 256, (112, 112, 4)).astype(np.float32), 2.0, 2.0)
        .transpose(2, 0, 1)
        .astype(np.uint8)
    )


def test_a_written_video_reads_back_grey(tmp_path, frames):
    path = tmp_path / "a.avi"
    raster.write_mjpeg_avi(path, frames, fps=47, quality=95)
    back = read_frames(path)
    assert back.shape == frames.shape
    assert np.abs(back.astype(int) - frames).mean() < 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.avi"]


def test_quality_is_respected(tmp_path, frames):
    for quality in (30, 90):
        raster.write_mjpeg_avi(tmp_path / f"{quality}.avi", frames, fps=50, quality=quality)
    assert (tmp_path / "30.avi").stat().st_size < 0.9 * (tmp_path / "90.avi").stat().st_size


def test_a_failed_write_leaves_no_file(tmp_path, frames, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(raster, "_encode", fail)
    with pytest.raises(InputError, match=r"a\.avi.*disk full"):
        raster.write_mjpeg_avi(tmp_path / "a.avi", frames, fps=50)
    assert not list(tmp_path.iterdir())


def test_remap_samples_between_pixels():
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    x, y = np.array([[0.5, 3.0]], np.float32), np.array([[1.0, 1.5]], np.float32)
    np.testing.assert_allclose(raster.remap(picture, x, y), [[4.5, 9.0]])


def test_shrinking_averages():
    picture = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_allclose(raster.resize_area(picture, 2, 2), [[2.5, 4.5], [10.5, 12.5]])


def test_polygon_covers_its_area():
    square = np.array([[2, 3], [12, 3], [12, 9], [2, 9]], np.float32)
    assert raster.fill_polygon((16, 16), square).sum() == 11 * 7
