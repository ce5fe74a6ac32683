"""NIfTI files: axes, square pixels, grey values, and errors."""

import struct

import nibabel
import numpy as np
import pytest

from echo_e3net.data.frames import count_frames, read_frames
from echo_e3net.data.nifti import read_grid, read_labels
from echo_e3net.data.probe import claimed_frames
from echo_e3net.data.records import unlabelled
from echo_e3net.errors import InputError
from tests.foreign import save

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 30, 20), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_frames_come_back_with_rows_and_columns_in_place(tmp_path, suffix):
    path = tmp_path / f"a.b{suffix}"
    save(path, FRAMES, (0.5, 0.5))
    np.testing.assert_array_equal(read_frames(path), FRAMES)
    np.testing.assert_array_equal(read_frames(path, np.array([4, 0, 4])), FRAMES[[4, 0, 4]])
    assert read_frames(path, np.array([], dtype=int)).shape == (0, 30, 20)
    assert (count_frames(path), claimed_frames(path)) == (5, 0)
    assert unlabelled(path).name == "a.b"


@pytest.mark.parametrize(
    ("zooms", "size"),
    [((0.3, 0.15), (15, 20)), ((0.15, 0.3), (30, 10)), ((0.3, 0.1), (10, 20)), ((0.3, 0.301), (30, 20))],
)
def test_pixels_become_square_without_moving_the_picture(tmp_path, zooms, size):
    """A bright spot keeps its position, and a frame its size in mm."""
    path = tmp_path / "a.nii.gz"
    y, x = np.mgrid[:30, :20]
    save(path, np.exp(-((x - 8) ** 2 + (y - 13) ** 2) / 40)[None] * 255, zooms)
    grid, frame = read_grid(path), read_frames(path)[0].astype(float)
    assert frame.shape == size == (grid.height, grid.width)
    assert grid.pixel_mm == pytest.approx((max(zooms),) * 2, rel=0.01)
    np.testing.assert_allclose(np.array(grid.pixel_mm) * frame.shape, np.array(zooms[::-1]) * (30, 20), rtol=1e-6)
    assert frame.mean() == pytest.approx(read_labels_like(y, x).mean(), rel=0.02)
    v, u = np.mgrid[: size[0], : size[1]]
    centre = np.array([(frame * u).sum(), (frame * v).sum()]) / frame.sum()
    bright = read_labels_like(y, x)
    exact = np.array([[(bright * x).sum(), (bright * y).sum()]]) / bright.sum()
    np.testing.assert_allclose(centre, grid.to_read(exact)[0], atol=0.1)


def read_labels_like(y, x):
    return np.exp(-((x - 8) ** 2 + (y - 13) ** 2) / 40) * 255


def test_other_types_than_bytes(tmp_path):
    path = tmp_path / "a.nii.gz"
    save(path, FRAMES, (1, 1), np.float32)
    np.testing.assert_array_equal(read_frames(path), FRAMES)
    save(path, FRAMES.astype(np.int16) * 4, (1, 1), np.int16)
    with pytest.raises(InputError, match="0 to 1020"):
        read_frames(path)
    save(path, FRAMES[0] * np.nan, (1, 1), np.float32)
    with pytest.raises(InputError, match="nan"):
        read_frames(path)


def test_unreadable_files_are_input_errors(tmp_path):
    path = tmp_path / "a.nii.gz"
    with pytest.raises(InputError, match=r"a\.nii\.gz"):
        count_frames(path)
    save(path, FRAMES, (1, 1))
    whole = path.read_bytes()
    with pytest.raises(InputError, match=r"5 frames.* 9 "):
        read_frames(path, listed=9)
    with pytest.raises(InputError, match=r"frame 5 .*5 frames"):
        read_frames(path, np.array([5]))
    for content in (b"", b"text", whole[:60], whole[: len(whole) // 2], whole[:-8] + bytes(8)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.nii\.gz: .*Copy"):
            read_frames(path)
    with pytest.raises(InputError, match="folder"):
        read_frames(tmp_path.rename(tmp_path.with_suffix(".nii")))


def test_unusable_shapes_and_pixel_sizes(tmp_path):
    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6, 7), np.uint8), np.eye(4)), path)
    with pytest.raises(InputError, match=r"4×5×6×7.*\(x, y, frame\)"):
        count_frames(path)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 1, 7), np.uint8), np.eye(4)), path)
    assert read_frames(path).shape == (7, 5, 4)
    path = tmp_path / "a.nii"
    save(path, FRAMES, (1, 1))
    content = bytearray(path.read_bytes())
    # pixdim[1:3]
    struct.pack_into("<2f", content, 80, np.nan, 1)
    path.write_bytes(content)
    with pytest.raises(InputError, match="nan×1 mm"):
        count_frames(path)


def test_a_mask_is_one_picture_of_whole_numbers(tmp_path):
    path = tmp_path / "a.nii.gz"
    save(path, FRAMES[0] % 4, (0.3, 0.15))
    labels, grid = read_labels(path)
    np.testing.assert_array_equal(labels, FRAMES[0] % 4)
    assert grid.stored == (30, 20)
    save(path, FRAMES, (1, 1))
    with pytest.raises(InputError, match="5 frames"):
        read_labels(path)
    save(path, FRAMES[0] / 3, (1, 1), np.float32)
    with pytest.raises(InputError, match="1 frames of float32"):
        read_labels(path)
