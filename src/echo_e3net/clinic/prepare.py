"""One clip of any form → what a network reads. ``data import`` and ``predict`` both go through :func:`prepare`, so that they see the same pixels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from echo_e3net.clinic.clip import Clip
from echo_e3net.clinic.crop import Sector, cut_out, find_sector, refuse_colour
from echo_e3net.clinic.file_kind import read_clip
from echo_e3net.data import raster

WITHIN = 0.97
"""Share of the moving sector that lies in a header's region whose scale was guessed rightly."""


class Prepared(NamedTuple):
    """A clip with everything outside its sector removed.

    Attributes:
        frames: (T, S, S), grey.
        fps: frames a second.
        fps_from: what in the file says so.
        pixel_mm: edge of a pixel of ``frames``; None where it is not known.
        screen: (H, W), the middle frame as it was, for people who compare. **May show a name.**
        outline: (N, 2), corners of what was kept of it, pixels of ``screen``.
    """

    frames: UInt8[np.ndarray, "T S S"]
    fps: float
    fps_from: str
    pixel_mm: float | None
    screen: UInt8[np.ndarray, "H W"]
    outline: Float[np.ndarray, "N 2"]


def prepare(path: Path, size: int) -> Prepared:
    """Read a clip, find its sector, remove the rest, and bring it to ``size`` pixels.

    Raises:
        RefusedError: it is no B-mode clip of a sector; says why.
    """
    clip = read_clip(path)
    sector, trusted = locate(clip)
    if clip.colour is not None:
        refuse_colour(clip.colour, sector.mask)
    pixel_mm = clip.pixel_mm * sector.side / size if clip.pixel_mm and trusted else None
    frames = cut_out(clip.grey, sector, size)
    return Prepared(
        frames, clip.fps, clip.fps_from, pixel_mm, clip.grey[len(clip.grey) // 2], raster.corners(sector.mask)
    )


def locate(clip: Clip) -> tuple[Sector, bool]:
    """The sector, and whether the header's region, and with it its pixel size, can be trusted.

    A region in the file's own pixels is. One that had to be scaled is where it holds what moves.

    Raises:
        RefusedError: there is no sector.
    """
    if clip.region is None or clip.region_scale == 1:
        return find_sector(clip.grey, clip.region), True
    sector = find_sector(clip.grey)
    if (sector.mask & clip.region).sum() < WITHIN * sector.mask.sum():
        return sector, False
    return find_sector(clip.grey, clip.region), True
