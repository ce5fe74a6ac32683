"""Read what only imports and checks need of a video file: its size, its colours, and what its header claims."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from echo_e3net.data import sequential
from echo_e3net.data.frames import decoding, is_nifti, open_video
from echo_e3net.errors import InputError


def frame_size(path: Path) -> tuple[int, int] | None:
    """Return height and width of the first frame; None if the file cannot be decoded."""
    try:
        reader = open_video(path)
        with decoding(path):
            height, width = (next(sequential.pictures(path)) if reader is None else reader[0]).shape[:2]
    except InputError:
        return None
    return int(height), int(width)


def read_colour(path: Path, look: Callable[[int, int, int], None]) -> tuple[UInt8[np.ndarray, "T H W 3"], float]:
    """Read all frames in colour (red, green, blue), and the frames per second.

    Args:
        path: the file.
        look: called with number, height and width of the frames before they fill the memory; may raise.

    Raises:
        InputError: the file is absent or cannot be decoded.
    """
    reader = open_video(path)
    if reader is None:
        return read_sequentially(path, look)
    with decoding(path):
        look(len(reader), *reader[0].shape[:2])
        return reader.get_batch(range(len(reader))).asnumpy(), float(reader.get_avg_fps())


def read_sequentially(path: Path, look: Callable[[int, int, int], None]) -> tuple[UInt8[np.ndarray, "T H W 3"], float]:
    """Return the same as :func:`read_colour`, decoded from the first frame."""
    pictures: list[UInt8[np.ndarray, "H W 3"]] = []
    claimed = sequential.claimed_frames(path)
    for picture in sequential.pictures(path):
        pictures.append(picture)
        look(max(claimed, len(pictures)), *picture.shape[:2])
    return np.stack(pictures), sequential.frame_rate(path)


def claimed_frames(path: Path) -> int:
    """Return the number of frames in the header of a video; 0 if it has none, is unreadable, or is not a video."""
    return 0 if is_nifti(path) else sequential.claimed_frames(path)


def damage(path: Path) -> str:
    """Return the error of decoding a video strictly; empty if there is none. decord conceals most damage."""
    try:
        if not is_nifti(path):
            sequential.count(path)
    except InputError as error:
        return str(error).removeprefix(f"{path}: ")
    return ""
