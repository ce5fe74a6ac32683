"""Frames of a video, whatever its file: the one door through which everything else reads pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt8

from echo_e3net.data import nifti, raster, video

ReadFrames = Callable[..., UInt8[np.ndarray, "T H W"]]
"""A way to read frames, called as :func:`read_frames` is."""


@runtime_checkable
class Decoder(Protocol):
    """A module that reads one kind of file."""

    def count_frames(self, path: Path) -> int:
        """As :func:`count_frames`."""

    def read_frames(
        self, path: Path, index: Int[np.ndarray, " T"] | None = None, listed: int | None = None
    ) -> UInt8[np.ndarray, "T H W"]:
        """As :func:`read_frames`."""


DECODERS: dict[str, Decoder] = {".nii": nifti, ".nii.gz": nifti}
"""What reads files of a suffix; everything else is a video."""


def decoder(path: Path) -> Decoder:
    """What reads a file, by its name."""
    return next((module for suffix, module in DECODERS.items() if path.name.lower().endswith(suffix)), video)


def count_frames(path: Path) -> int:
    """Frames that the file's index lists.

    Raises:
        InputError: the file is absent or cannot be decoded.
    """
    return decoder(path).count_frames(path)


def read_frames(
    path: Path, index: Int[np.ndarray, " T"] | None = None, listed: int | None = None
) -> UInt8[np.ndarray, "T H W"]:
    """Grey frames of a video.

    Args:
        path: the file.
        index: frames wanted, each at least 0, in any order; None for all.
        listed: frames that the table gives the video; a file that holds fewer is refused.

    Raises:
        InputError: the file is absent, cannot be decoded, or holds fewer frames than listed or asked for.
    """
    return decoder(path).read_frames(path, index, listed)


def claimed_frames(path: Path) -> int:
    """Frames that a video's header claims, without decoding any; 0 where it claims nothing, is unreadable, or the file is no video."""
    return raster.claimed_frames(path) if decoder(path) is video else 0
