"""Frames of a video file, decoded by decord. The only file that knows decord.

A reader is opened for one read and closed at once: readers can neither be pickled nor shared between processes, and none is leaked. torch is imported
before decord, as decord's own loader needs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: F401  (before decord)
from jaxtyping import Int, UInt8

from echo_e3net.errors import InputError

try:
    import decord
except ImportError as error:  # pragma: no cover - depends on the machine
    raise InputError(
        "decord does not import here. Install decord on 64-bit Intel and AMD machines, decord2 elsewhere (both import as decord), never both: "
        f"`pip install decord` or `pip install decord2` ({error})."
    ) from error


def count_frames(path: Path) -> int:
    """Frames that the file's index lists.

    Raises:
        InputError: the file is absent or cannot be decoded.
    """
    return len(_open(path))


def read_frames(
    path: Path, index: Int[np.ndarray, " T"] | None = None, listed: int | None = None
) -> UInt8[np.ndarray, "T H W"]:
    """Grey frames of a video.

    Colour is turned to luma (ITU-R BT.601, integer arithmetic), so that three equal channels give their own value.

    Args:
        path: the file.
        index: frames wanted, each at least 0, in any order; None for all.
        listed: frames that the table gives the video; a file that holds fewer is refused.

    Raises:
        InputError: the file is absent, cannot be decoded, or holds fewer frames than listed or asked for.
    """
    reader = _open(path)
    held = len(reader)
    if listed is not None and held < listed:
        raise InputError(
            f"{path}: {held} frames decode, but the table lists {listed}. The file is cut short: copy it again or correct NumberOfFrames."
        )
    wanted = np.arange(held) if index is None else index
    if len(wanted) and (wanted.min() < 0 or wanted.max() >= held):
        raise InputError(f"{path}: frame {wanted.max()} was asked for, but the video has {held} frames.")
    decoded = without_small_gaps(wanted)
    try:
        frames = reader.get_batch(decoded.tolist()).asnumpy()
    except Exception as error:
        pass_on(error)
        raise InputError(
            f"{path}: frames {wanted.min()}…{wanted.max()} cannot be decoded ({_first_line(error)}). Copy the file again."
        ) from error
    return luma(frames[np.searchsorted(decoded, wanted)])


def frame_size(path: Path) -> tuple[int, int] | None:
    """Height and width of the first frame; None where the file cannot be decoded."""
    try:
        height, width = _open(path)[0].shape[:2]
        return int(height), int(width)
    except Exception as error:
        pass_on(error)
        return None


def read_colour(path: Path, look: Callable[[int, int, int], None]) -> tuple[UInt8[np.ndarray, "T H W 3"], float]:
    """All frames in colour (red, green, blue), and frames a second.

    Args:
        path: the file.
        look: is called with number, height and width of the frames before all are decoded; may raise.

    Raises:
        InputError: the file is absent or cannot be decoded.
    """
    reader = _open(path)
    try:
        look(len(reader), *reader[0].shape[:2])
        return reader.get_batch(range(len(reader))).asnumpy(), float(reader.get_avg_fps())
    except InputError:
        raise
    except Exception as error:
        pass_on(error)
        raise InputError(
            f"{path}: not all of its frames can be decoded ({_first_line(error)}). Copy the file again."
        ) from error


def without_small_gaps(index: Int[np.ndarray, " T"]) -> Int[np.ndarray, " M"]:
    """The frames to decode for those wanted, ascending: gaps of less than :data:`SEEK_FRAMES` are decoded too, as decord seeks at every gap."""
    wanted = np.unique(index)
    gaps = np.flatnonzero(np.diff(wanted) > SEEK_FRAMES)
    runs = zip(wanted[np.r_[0, gaps + 1]], wanted[np.r_[gaps, -1]], strict=True) if len(wanted) else []
    return np.concatenate([np.arange(first, last + 1) for first, last in runs] or [wanted])


SEEK_FRAMES = 20
"""Frames that take as long to decode as one seek (docs/BENCHMARKS.md): 112×112 MJPEG, decord 0.6.0."""


def luma(frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W"]:
    """Grey of RGB frames: (77 R + 150 G + 29 B) / 256, rounded; equal channels are kept exactly."""
    red, green, blue = (frames[..., c].astype(np.uint16) for c in range(3))
    return ((77 * red + 150 * green + 29 * blue + 128) >> 8).astype(np.uint8)


def pass_on(error: Exception) -> None:
    """Raise what is not of decord: torch tells of a dead worker in a signal handler, wherever Python is at that moment."""
    if "DataLoader worker" in str(error):
        raise error


def _open(path: Path) -> Any:  # noqa: ANN401  (decord has no types)
    if not path.is_file():
        raise InputError(
            f"{path}: {'a folder, not a video file. Name the files in it.' if path.is_dir() else 'no such video file.'}"
        )
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
    except Exception as error:
        pass_on(error)
        raise InputError(
            f"{path}: not a video that can be decoded ({_first_line(error)}). Copy it again, or take it out of the list."
        ) from error
    if len(reader) == 0:
        raise InputError(f"{path}: the video holds no frame. Copy it again, or take it out of the list.")
    return reader


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][-120:] if lines else type(error).__name__
