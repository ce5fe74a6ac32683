"""Convert a clip of any kind to what a network reads.

``data import`` and ``predict`` both call :func:`prepare`, so they see the same pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from echo_e3net.clinic.clip import Clip, refuse_dark
from echo_e3net.clinic.crop import Sector, cut_out, find_sector, refuse_colour
from echo_e3net.clinic.file_kind import read_clip
from echo_e3net.data import raster
from echo_e3net.data.probe import frame_size

WITHIN = 0.97
"""Share of the moving sector inside a scaled region from which the guessed scale is trusted."""
FORM_PX = 128
"""Largest side of a square video that is not cropped. EchoNet-Dynamic and the phantom have 112."""
USUAL_SIDE = 112
"""Side of the videos that are made for prediction, and by default for data sets, pixels."""


class Prepared(NamedTuple):
    """A clip without anything outside its sector.

    Attributes:
        frames: (T, S, S), grey.
        fps: frames per second.
        fps_from: the field of the file from which it was read, and remarks.
        pixel_mm: edge of a pixel of ``frames``; None if unknown.
        screen: (H, W), the original middle frame, for visual comparison. **It may show a name.**
        outline: (N, 2), corners of the kept region, pixels of ``screen``.
    """

    frames: UInt8[np.ndarray, "T S S"]
    fps: float
    fps_from: str
    pixel_mm: float | None
    screen: UInt8[np.ndarray, "H W"]
    outline: Float[np.ndarray, "N 2"]


def prepare(path: Path, size: int) -> Prepared:
    """Read a clip, find its sector, remove the rest, and resize it to ``size`` pixels.

    Raises:
        RefusedError: it is not a B-mode clip of a sector.
    """
    clip = read_clip(path)
    sector, trusted = locate(clip)
    refuse_dark(clip.grey, sector.mask)
    if clip.colour is not None:
        refuse_colour(clip.colour, sector.mask)
    pixel_mm = clip.pixel_mm * sector.side / size if clip.pixel_mm and trusted else None
    frames, screen = cut_out(clip.grey, sector, size), clip.grey[len(clip.grey) // 2]
    return Prepared(frames, clip.fps, clip.fps_from, pixel_mm, screen, raster.corners(sector.mask))


def locate(clip: Clip) -> tuple[Sector, bool]:
    """Return the sector, and whether the region and the pixel size of the header can be trusted.

    A region in pixels of the file is trusted. A scaled region is trusted if it contains the moving sector.

    Raises:
        RefusedError: there is no sector.
    """
    if clip.region is not None and clip.region_scale != 1:
        sector = find_sector(clip.grey)
        if (sector.mask & clip.region).sum() < WITHIN * sector.mask.sum():
            return sector, False
    return find_sector(clip.grey, clip.region), True


def in_form(file: Path) -> bool:
    """Return whether a video file decodes and already has the form of the data sets."""
    height, width = frame_size(file) or (0, 1)
    return height == width <= FORM_PX
