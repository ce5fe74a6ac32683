"""Measure whether frames can show a beating heart. The network is not used.

A sector is narrow at the top, where the transducer is. Tissue moves, so its grey values change, but little from one
frame to the next. Therefore the changes in neighbouring frames are correlated. The changes of noise, of colour Doppler
and of frames in a wrong order are not correlated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from echo_e3net.data import raster
from echo_e3net.data.raster import Mask

LIT = 10
"""Smallest grey value of a lit pixel, if the background is black."""
LARGE_REGION = 0.05
"""A lit region belongs to the sector if it has at least this share of the pixels of the largest one."""
BACKGROUND_PERCENTILE, BACKGROUND = 1, 40
"""The background is this percentile of the brightest grey value per pixel. If it is brighter than the second number,
the frames have no background. In the limited range of video, black is 16."""
PAIRS = 48
"""Number of pairs of neighbouring frames that are compared."""
SIDE = 128
"""Larger frames are subsampled, so that about this many pixels remain per side."""
REFERENCE_S = 0.02
"""Interval of frames for which the correlation is stated, seconds: the usual one of training videos."""
TOP, BELOW = (0.05, 0.25), (0.50, 0.80)
"""Rows near the transducer and far from it, as shares of the height of the sector."""


class PictureCues(NamedTuple):
    """What frames show.

    Attributes:
        lit: share of pixels in the sector.
        background: grey value of the darkest pixels.
        top_width: width of the sector near its top, relative to that farther down; below 1 for a sector.
        change: SD of grey values over time, mean over the sector.
        continuity: correlation of the changes in neighbouring frames; 0 if nothing changes. It is converted to frames
            that are 20 ms apart, because frames that are farther apart differ more.
    """

    lit: float
    background: float
    top_width: float
    change: float
    continuity: float


def lit_region(frames: UInt8[np.ndarray, "T H W"]) -> Mask:
    """Return the convex hull of the large regions that are lit in any frame: the sector.

    A dark wall or dark blood may divide the sector into several regions. Letters and marks outside are usually smaller;
    larger ones count as part of the sector.
    """
    black = background(frames)
    lit = frames.max(0) >= LIT + (black if black >= LIT else 0)
    return raster.convex_hull(raster.large_components(lit, LARGE_REGION))


def background(frames: UInt8[np.ndarray, "T H W"]) -> float:
    """Return the grey value of the pixels that are dark in all frames; 0 if there are none."""
    black = float(np.percentile(frames.max(0), BACKGROUND_PERCENTILE))
    return black if black <= BACKGROUND else 0.0


def picture_cues(frames: UInt8[np.ndarray, "T H W"], fps: float, lit: Mask) -> PictureCues:
    """Measure the frames of a video.

    Args:
        frames: grey frames.
        fps: frames per second.
        lit: mask of the sector (:func:`lit_region`).
    """
    black = background(frames)
    if not lit.any() or len(frames) < 2:
        return PictureCues(float(lit.mean()), black, 1.0, 0.0, 0.0)
    stride = max(1, min(lit.shape) // SIDE)
    if not lit[::stride, ::stride].any():
        # a few pixels between those that are kept
        stride = 1
    small, inside = frames[:, ::stride, ::stride], lit[::stride, ::stride]
    first = np.unique(np.linspace(0, len(small) - 2, PAIRS).round().astype(int))
    now, following = (small[places][:, inside].astype(np.float32) for places in (first, first + 1))
    mean = (now.mean(0) + following.mean(0)) / 2
    now, following = now - mean, following - mean
    scale = float(np.sqrt((now**2).mean() * (following**2).mean()))
    correlation = float((now * following).mean()) / scale if scale > 0 else 0.0
    continuity = max(correlation, 0.0) ** (REFERENCE_S * fps)
    return PictureCues(float(lit.mean()), black, top_width(lit), float(now.std(0).mean()), continuity)


def top_width(lit: Mask) -> float:
    """Return the width of a region near its top, relative to that farther down."""
    widths = lit.sum(1)[lit.any(1)]
    top, below = (widths[int(start * len(widths)) : int(end * len(widths)) + 1] for start, end in (TOP, BELOW))
    return float(top.mean() / below.mean())
