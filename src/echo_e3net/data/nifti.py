"""Frames and masks of NIfTI files, CAMUS' format. The only file that knows nibabel, which comes with the extra ``camus``.

Arrays in the file are (x, y) or (x, y, frame), with a pixel size in the header, in mm. Here they are (frame, row, column), and **pixels are made square**:
CAMUS' are up to twice as wide as high, and a network that learned hearts from square pixels would see them pressed flat. Where the two edges of a pixel
differ by more than 1 %, the finer axis is shrunk to the coarser one by averaging areas; nothing is enlarged. Landmarks and sizes of records are those of
the square pixels.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from echo_e3net.data.raster import resize_area
from echo_e3net.errors import InputError

SQUARE = 0.01
"""Share by which the edges of a pixel may differ for it to count as square."""


class Grid(NamedTuple):
    """How the pixels of a file lie, and how those that are made of them.

    Attributes:
        frames: number of frames.
        stored: height and width in the file, pixels.
        stored_mm: height and width of a pixel in the file, mm.
        height: of a frame as it is read, pixels.
        width: of a frame as it is read, pixels.
    """

    frames: int
    stored: tuple[int, int]
    stored_mm: tuple[float, float]
    height: int
    width: int

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Height and width of a pixel as it is read, mm."""
        return self.stored_mm[0] * self.stored[0] / self.height, self.stored_mm[1] * self.stored[1] / self.width

    def to_read(self, points: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
        """Points (x, y) from the file's pixels to those that are read; centres are whole numbers in both."""
        scale = np.array([self.width / self.stored[1], self.height / self.stored[0]])
        return np.asarray((points + 0.5) * scale - 0.5)


def count_frames(path: Path) -> int:
    """Frames that the header lists.

    Raises:
        InputError: the file is absent or cannot be read.
    """
    return read_grid(path).frames


def read_grid(path: Path) -> Grid:
    """What the header says; the pixels are not read.

    Raises:
        InputError: the file is absent, cannot be read, or is no picture or sequence with a pixel size.
    """
    return grid_of(path, load(path))


def read_frames(
    path: Path, index: Int[np.ndarray, " T"] | None = None, listed: int | None = None
) -> UInt8[np.ndarray, "T H W"]:
    """Grey frames with square pixels, as :func:`echo_e3net.data.frames.read_frames`.

    Raises:
        InputError: the file is absent or cannot be read, holds fewer frames than listed or asked for, or other than grey values from 0 to 255.
    """
    image = load(path)
    grid = grid_of(path, image)
    if listed is not None and grid.frames < listed:
        raise InputError(
            f"{path}: it holds {grid.frames} frames, but {listed} are listed. Copy the file again, or correct the list."
        )
    wanted = np.arange(grid.frames) if index is None else index
    if len(wanted) and (wanted.min() < 0 or wanted.max() >= grid.frames):
        raise InputError(f"{path}: frame {wanted.max()} was asked for, but the video has {grid.frames} frames.")
    frames = values(path, image, grid)[wanted]
    if frames.dtype != np.uint8:
        low, high = (frames.min(), frames.max()) if frames.size else (0, 0)
        if not 0 <= low <= high <= 255:
            raise InputError(
                f"{path}: grey values are from {low:g} to {high:g}. They must be from 0 to 255; scale them before."
            )
        frames = np.round(frames).astype(np.uint8)
    if (grid.height, grid.width) == grid.stored:
        return np.ascontiguousarray(frames)
    return (
        np.stack([resize_area(frame, grid.height, grid.width) for frame in np.ascontiguousarray(frames)])
        if len(frames)
        else frames
    )


def read_labels(path: Path) -> tuple[Int[np.ndarray, "H W"], Grid]:
    """A mask of whole numbers as it is stored, not made square, and how its pixels lie.

    Raises:
        InputError: the file is absent, cannot be read, or is no single picture of whole numbers.
    """
    image = load(path)
    grid = grid_of(path, image)
    labels = values(path, image, grid)[0]
    if grid.frames != 1 or (labels != np.round(labels)).any():
        raise InputError(
            f"{path}: a mask must be one picture of whole numbers; this one has {grid.frames} frames of {labels.dtype}."
        )
    return labels.astype(np.int64), grid


def library(path: Path) -> Any:  # noqa: ANN401
    """Nibabel itself.

    Raises:
        InputError: it is not installed; the message names what is to be read.
    """
    try:
        import nibabel
    except ImportError as error:
        raise InputError(f"{path}: NIfTI files need nibabel. Install it: pip install 'echo-e3net[camus]'.") from error
    return nibabel


def load(path: Path) -> Any:  # noqa: ANN401  (nibabel has no types)
    """The file, opened; its pixels are read on demand.

    Raises:
        InputError: nibabel is not installed, or the file is absent or no NIfTI file.
    """
    nibabel = library(path)
    if not path.is_file():
        raise InputError(
            f"{path}: {'a folder, not a NIfTI file. Name the files in it.' if path.is_dir() else 'no such NIfTI file.'}"
        )
    try:
        return nibabel.load(path)
    except (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        OSError,
        EOFError,
        ValueError,
        zlib.error,
    ) as error:
        raise InputError(
            f"{path}: not a NIfTI file that can be read ({describe(error)}). Copy it again, or take it out of the list."
        ) from error


def grid_of(path: Path, image: Any) -> Grid:  # noqa: ANN401
    """How the pixels of a loaded file lie.

    Raises:
        InputError: it is no picture or sequence, or says no pixel size.
    """
    shape, zooms = tuple(map(int, image.shape)), image.header.get_zooms()
    flat = shape[:2] + tuple(size for size in shape[2:] if size != 1)
    if not 2 <= len(flat) <= 3 or 0 in shape:
        raise InputError(f"{path}: the array is {'×'.join(map(str, shape))}. It must be (x, y) or (x, y, frame).")
    (width, height), (width_mm, height_mm) = shape[:2], map(float, zooms[:2])
    if not (0 < width_mm < np.inf and 0 < height_mm < np.inf):
        raise InputError(
            f"{path}: the header says pixels of {width_mm:g}×{height_mm:g} mm. They must be larger than 0."
        )
    edge = max(width_mm, height_mm)
    if edge / min(width_mm, height_mm) <= 1 + SQUARE:
        edge_w, edge_h = width_mm, height_mm
    else:
        edge_w = edge_h = edge
    read = max(1, round(height * height_mm / edge_h)), max(1, round(width * width_mm / edge_w))
    return Grid(flat[2] if len(flat) == 3 else 1, (height, width), (height_mm, width_mm), *read)


def values(path: Path, image: Any, grid: Grid) -> np.ndarray:  # noqa: ANN401
    """All values of a loaded file, (frame, row, column), in the file's own pixels.

    Raises:
        InputError: the file is damaged.
    """
    try:
        if path.suffix.lower() == ".gz":
            image = type(image).from_bytes(
                gzip.decompress(path.read_bytes())
            )  # compares the checksum, which nibabel never reaches
        array = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: the frames cannot be read ({describe(error)}). Copy the file again.") from error
    return np.asarray(array.reshape(grid.stored[1], grid.stored[0], grid.frames, order="F").transpose(2, 1, 0))


def describe(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[-120:] or type(error).__name__
