"""Frames of a video, whatever its file: the one door through which everything else reads pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from echo_e3net.data import video

ReadFrames = Callable[..., UInt8[np.ndarray, "T H W"]]
"""A way to read frames, called as :func:`read_frames` is."""


def count_frames(path: Path) -> int:
    """Frames that the file's index lists.

    Raises:
        InputError: the file is absent or cannot be decoded.
    """
    return video.count_frames(path)


def read_frames(path: Path, index: Int[np.ndarray, " T"] | None = None, listed: int | None = None) -> UInt8[np.ndarray, "T H W"]:
    """Grey frames of a video.

    Args:
        path: the file.
        index: frames wanted, each at least 0, in any order; None for all.
        listed: frames that the table gives the video; a file that holds fewer is refused.

    Raises:
        InputError: the file is absent, cannot be decoded, or holds fewer frames than listed or asked for.
    """
    return video.read_frames(path, index, listed)
