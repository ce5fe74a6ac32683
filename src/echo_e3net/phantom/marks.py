"""What a scanner adds after the picture: marks outside the sector, and blocks of a video codec."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8

from echo_e3net.data.codec import through_h264
from echo_e3net.phantom.look import Look
from echo_e3net.phantom.prior import stream
from echo_e3net.phantom.sector import SIZE, Sector

Frames = UInt8[np.ndarray, "T 112 112"]
_QUALITY = (16, 29)
"""Constant rate factor of H.264; more is coarser."""


def add_marks(seed: int, index: int, look: Look, sector: Sector, frames: Frames) -> None:
    """Draw ticks of a depth scale and blocks like letters into the frames, outside the sector."""
    np.maximum(frames, draw_marks(seed, index, look, sector), out=frames)


def draw_marks(seed: int, index: int, look: Look, sector: Sector) -> UInt8[np.ndarray, "112 112"]:
    """Return the picture of the marks, black in the sector; all black without marks."""
    rng = stream(seed, index, "marks")
    picture = np.zeros((SIZE, SIZE), np.uint8)
    if rng.random() >= look.marks:
        return picture
    grey, column, step, start = rng.integers([90, 0, 6, 0], [230, 4, 16, 8])
    column = column if rng.random() < 0.5 else SIZE - 2 - column
    picture[start::step, column : column + 2] = grey
    for _ in range(rng.integers(0, 4)):
        y, x, height, width = rng.integers([0, 0, 3, 4], [106, 100, 7, 16])
        picture[y : y + height, x : x + width] = grey * (rng.random((height, width)) < 0.5)[: SIZE - y, : SIZE - x]
    picture[inside(sector)] = 0
    return picture


def inside(sector: Sector) -> Bool[np.ndarray, "112 112"]:
    """Return the pixels of the sector and one pixel around it."""
    axis = np.arange(SIZE)
    x, depth = np.meshgrid(axis - sector.scan.origin_px[0], axis - sector.scan.origin_px[1])
    edge = 1.5 / np.maximum(np.hypot(x, depth), 1.0)
    return np.asarray((depth > -1) & (np.abs(np.arctan2(x, depth)) < sector.half_angle + edge))


def compress_video(seed: int, index: int, look: Look, frames: Frames, fps: int) -> Frames:
    """Return the frames after compression by H.264 with a random quality, or unchanged."""
    rng = stream(seed, index, "marks").spawn(1)[0]
    happens, quality = rng.random() < look.blocks, int(rng.integers(*_QUALITY))
    if not happens:
        return frames
    return through_h264(frames, fps, quality)
