"""The content of a file before cropping: pixels, time and scale; and the reasons to refuse a file.

No field describes a patient.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from echo_e3net.clinic.frame_rate import file_rate
from echo_e3net.data.frames import grey_of
from echo_e3net.data.raster import Frames, Mask
from echo_e3net.errors import InputError

LARGEST_BYTES = 3_000_000_000
"""Largest size of the colour frames of one clip in memory."""
DARKEST = 32
"""Smallest grey value of the brightest hundredth of a usable sector."""


class RefusedError(InputError):
    """A file is not a B-mode clip of a sector. The message lacks the name of the file, which the caller knows."""


class Clip(NamedTuple):
    """A clip as it is stored in its file.

    Attributes:
        grey: (T, H, W).
        colour: (T, H, W, 3), RGB; None if the file is grey.
        fps: frames per second.
        fps_from: the field of the file from which it was read, and remarks (:mod:`~echo_e3net.clinic.frame_rate`).
        pixel_mm: edge of a pixel; None if unknown.
        region: (H, W), the two-dimensional region according to the header; None if unknown.
        region_scale: pixels of the scanner's screen per pixel of the file, in which headers count. Values other than 1
            are a guess.
    """

    grey: Frames
    colour: UInt8[np.ndarray, "T H W 3"] | None
    fps: float
    fps_from: str
    pixel_mm: float | None = None
    region: Mask | None = None
    region_scale: int = 1


def colour_clip(colour: UInt8[np.ndarray, "T H W 3"], fps: float) -> Clip:
    """Return a clip of colour frames; replace an impossible frame rate by the assumed one."""
    return Clip(grey_of(colour), colour, *file_rate(fps))


def refuse_long(frames: int, height: int, width: int) -> None:
    """Check that a clip fits into memory before it is decoded.

    Raises:
        RefusedError: it is too long.
    """
    if 3 * frames * height * width > LARGEST_BYTES:
        raise RefusedError(
            f"too long: {frames} frames of {height}×{width} do not fit into memory. Cut the clip to a few beats."
        )


def refuse_large(path: Path) -> None:
    """Check that a file fits into memory before it is read.

    Raises:
        RefusedError: it is too large.
    """
    if path.stat().st_size > LARGEST_BYTES:
        raise RefusedError(
            f"too long: {path.stat().st_size} bytes do not fit into memory. Cut the clip to a few beats."
        )


def refuse_dark(sector: Frames, inside: Mask) -> None:
    """Check that a sector is not nearly black.

    Args:
        sector: the frames.
        inside: mask of the sector.

    Raises:
        RefusedError: it is.
    """
    brightest = float(np.percentile(sector[:, inside], 99))
    if brightest < DARKEST:
        raise RefusedError(
            f"nearly black: 99 % of the sector is not brighter than {brightest:.0f} of 255; expected at least "
            f"{DARKEST}. Check the gain and the export."
        )
