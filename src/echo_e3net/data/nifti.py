"""Read frames and masks of NIfTI files (CAMUS). The only module that uses nibabel, an extra dependency (``camus``).

Arrays in a file are (x, y) or (x, y, frame), with the size of a pixel in mm in the header. They are read as
(frame, row, column) with **square pixels**. Pixels of CAMUS are up to twice as wide as high, so a network that was
trained on square pixels would see the hearts compressed. If the two edges of a pixel differ by more than 1 %, the finer
axis is reduced to the coarser one by averaging areas. Landmarks and sizes of records are in square pixels.
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

DAMAGE = (OSError, EOFError, ValueError, zlib.error)
"""Errors of nibabel and gzip for damaged files."""
SQUARE = 0.01
"""Largest relative difference of the edges of a square pixel."""


class Grid(NamedTuple):
    """Pixels of a file, and of its frames as they are read.

    Attributes:
        frames: number of frames.
        stored: height and width in the file, pixels.
        stored_mm: height and width of a pixel in the file, mm.
        height: height of a frame as it is read, pixels.
        width: width of a frame as it is read, pixels.
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
        """Convert points (x, y) from pixels of the file to pixels as they are read. Centres are integers in both."""
        scale = np.array([self.width / self.stored[1], self.height / self.stored[0]])
        return np.asarray((points + 0.5) * scale - 0.5)


def read_grid(path: Path) -> Grid:
    """Read the header only.

    Raises:
        InputError: the file cannot be read, or is not a picture or sequence with a pixel size.
    """
    return grid_of(path, load(path))


def read_frames(path: Path) -> UInt8[np.ndarray, "T H W"]:
    """Read all frames, grey, with square pixels.

    Raises:
        InputError: the file cannot be read, or has grey values outside 0 to 255.
    """
    image = load(path)
    grid = grid_of(path, image)
    frames = values(path, image, grid)
    if frames.dtype != np.uint8:
        low, high = frames.min(), frames.max()
        if not 0 <= low <= high <= 255:
            raise InputError(f"{path}: grey values are {low:g} to {high:g}; expected 0 to 255. Rescale the file.")
        frames = np.round(frames).astype(np.uint8)
    frames = np.ascontiguousarray(frames)
    if (grid.height, grid.width) == grid.stored:
        return frames
    return np.stack([resize_area(frame, grid.height, grid.width) for frame in frames])


def read_labels(path: Path) -> tuple[Int[np.ndarray, "H W"], Grid]:
    """Read a mask of whole numbers in its stored pixels, and these pixels.

    Raises:
        InputError: the file cannot be read, or is not a single picture of whole numbers.
    """
    image = load(path)
    grid = grid_of(path, image)
    labels = values(path, image, grid)[0]
    if grid.frames != 1 or (labels != np.round(labels)).any():
        raise InputError(
            f"{path}: the file has {grid.frames} frames of {labels.dtype}; expected one frame of whole numbers."
        )
    return labels.astype(np.int64), grid


def library(path: Path) -> Any:  # noqa: ANN401
    """Return nibabel.

    Raises:
        InputError: nibabel is not installed; the message names the path that needs it.
    """
    try:
        import nibabel
    except ImportError as error:
        raise InputError(f"{path}: NIfTI files need nibabel. Install it: pip install 'echo-e3net[camus]'.") from error
    return nibabel


# nibabel has no types.
def load(path: Path) -> Any:  # noqa: ANN401
    """Open a file; pixels are read on demand.

    Raises:
        InputError: nibabel is not installed, or the file is missing or not a NIfTI file.
    """
    nibabel = library(path)
    if not path.is_file():
        raise InputError(f"{path}: {'this is a folder' if path.is_dir() else 'no such file'}; expected a NIfTI file.")
    header_errors = nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError
    try:
        return nibabel.load(path)
    except (*header_errors, *DAMAGE) as error:
        raise InputError(f"{path}: not a readable NIfTI file ({describe(error)}). Copy or remove the file.") from error


def grid_of(path: Path, image: Any) -> Grid:  # noqa: ANN401
    """Return the pixels of a loaded file.

    Raises:
        InputError: it is not a picture or sequence, or has no pixel size.
    """
    shape, zooms = tuple(map(int, image.shape)), image.header.get_zooms()
    flat = shape[:2] + tuple(size for size in shape[2:] if size != 1)
    if not 2 <= len(flat) <= 3 or 0 in shape:
        raise InputError(f"{path}: the array is {'×'.join(map(str, shape))}; expected (x, y) or (x, y, frame).")
    (width, height), (width_mm, height_mm) = shape[:2], map(float, zooms[:2])
    if not (0 < width_mm < np.inf and 0 < height_mm < np.inf):
        raise InputError(f"{path}: pixels are {width_mm:g}×{height_mm:g} mm by the header; expected more than 0.")
    edge, read = max(width_mm, height_mm), (height, width)
    if edge / min(width_mm, height_mm) > 1 + SQUARE:
        read = max(1, round(height * height_mm / edge)), max(1, round(width * width_mm / edge))
    return Grid(flat[2] if len(flat) == 3 else 1, (height, width), (height_mm, width_mm), *read)


def values(path: Path, image: Any, grid: Grid) -> np.ndarray:  # noqa: ANN401
    """Return all values of a loaded file, (frame, row, column), in its stored pixels.

    Raises:
        InputError: the file is damaged.
    """
    try:
        if path.suffix.lower() == ".gz":
            # gzip compares the checksum; nibabel stops reading before it.
            image = type(image).from_bytes(gzip.decompress(path.read_bytes()))
        array = np.asanyarray(image.dataobj)
    except DAMAGE as error:
        raise InputError(f"{path}: the frames cannot be read ({describe(error)}). Copy the file again.") from error
    return np.asarray(array.reshape(grid.stored[1], grid.stored[0], grid.frames, order="F").transpose(2, 1, 0))


def describe(error: Exception) -> str:
    """Return the end of an error message in one line."""
    return " ".join(str(error).split())[-120:] or type(error).__name__
