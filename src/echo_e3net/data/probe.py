"""Read what only imports and checks need of a video file: its size, its colours, and what its header claims."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from echo_e3net.data import raster
from echo_e3net.data.frames import decoding, is_nifti, open_video
from echo_e3net.errors import InputError


def frame_size(path: Path) -> tuple[int, int] | None:
    """Return height and width of the first frame; None if the file cannot be decoded."""
    try:
        reader = open_video(path)
        with decoding(path):
            height, width = reader[0].shape[:2]
    except InputError:
        return None
    return int(height), int(width)


def read_colour(path: Path, look: Callable[[int, int, int], None]) -> tuple[UInt8[np.ndarray, "T H W 3"], float]:
    """Read all frames in colour (red, green, blue), and the frames per second.

    Args:
        path: the file.
        look: called with number, height and width of the frames before all are decoded; may raise.

    Raises:
        InputError: the file is absent or cannot be decoded.
    """
    reader = open_video(path)
    with decoding(path):
        look(len(reader), *reader[0].shape[:2])
        return reader.get_batch(range(len(reader))).asnumpy(), float(reader.get_avg_fps())


def claimed_frames(path: Path) -> int:
    """Return the number of frames in the header of a video; 0 if it has none, is unreadable, or is not a video."""
    return 0 if is_nifti(path) else raster.claimed_frames(path)
