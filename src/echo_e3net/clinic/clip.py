"""What a source gives before anything is cropped: pixels, time and scale, and nothing else. No field of a patient has a place here."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from echo_e3net.clinic.refusal import Reason, RefusedError
from echo_e3net.data.frames import luma

ASSUMED_FPS = 30.0
"""Frames a second where a file says nothing."""
LARGEST_BYTES = 3_000_000_000
"""Colour frames of one clip that are held in memory."""


class Clip(NamedTuple):
    """A clip as its file shows it.

    Attributes:
        grey: (T, H, W).
        colour: (T, H, W, 3), red-green-blue; None where the file is grey.
        fps: frames a second.
        fps_from: what in the file says so.
        pixel_mm: edge of a pixel; None where it is not known.
        region: (H, W), where the file's header puts the two-dimensional picture; None where it does not say.
        region_scale: pixels of the scanner's screen a pixel of the file. Headers count the screen's; other than 1 it is guessed.
    """

    grey: UInt8[np.ndarray, "T H W"]
    colour: UInt8[np.ndarray, "T H W 3"] | None
    fps: float
    fps_from: str
    pixel_mm: float | None = None
    region: Bool[np.ndarray, "H W"] | None = None
    region_scale: int = 1


def colour_clip(colour: UInt8[np.ndarray, "T H W 3"], fps: float, fps_from: str) -> Clip:
    """A clip of colour frames; a frame rate that is none is replaced by the assumed one."""
    known = math.isfinite(fps) and fps > 0
    return Clip(grey_of(colour), colour, *((fps, fps_from) if known else (ASSUMED_FPS, ASSUMPTION)))


ASSUMPTION = f"assumed: the file gives none, {ASSUMED_FPS:g} is taken"


def grey_of(colour: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W"]:
    """Luma, frame by frame: the whole at once would take six times the memory."""
    grey = np.empty(colour.shape[:3], np.uint8)
    for picture, target in zip(colour, grey, strict=True):
        target[:] = luma(picture[None])[0]
    return grey


def refuse_long(frames: int, height: int, width: int) -> None:
    """Refuse what does not fit into memory, before it is decoded.

    Raises:
        RefusedError: it is too long.
    """
    if 3 * frames * height * width > LARGEST_BYTES:
        raise RefusedError(
            Reason.LONG, f"{frames} frames of {height}×{width} do not fit into memory. Cut out the beats that you want."
        )
