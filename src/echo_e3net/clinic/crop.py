"""Where is the sector, and what is left when all the rest is removed? Pure functions of frames.

A scanner's screen is still but for the tissue: names, scale bars and menus never change, digits change now and then, the ECG trace touches each pixel
once a sweep. In the sector speckle changes from frame to frame. So with frames I of a clip, a pixel's *busyness* is the share of steps in which it
changes by more than compression noise, which grows with the contrast of the picture,

    b(x, y) = mean over t of [ |I(t+1, x, y) - I(t, x, y)| ≥ step ],

the sector is the largest connected part of b ≥ BUSY, thin parts cut off, and its convex hull fills the cavities, where nothing changes. A fan of up to
180° is convex. Compression carries change some pixels beyond the edge: what is bright and still there, letters for instance, is taken away. The picture
is cropped to the smallest square around the hull; **every pixel outside the hull becomes 0**, whatever stood there.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from echo_e3net.clinic.refusal import Reason, RefusedError
from echo_e3net.data import raster

LEVELS_A_STEP = 28.0
"""A change counts from one grey value on for so many of the brightness of the clip's bright moving parts …"""
STEPS = (2, 5)
"""… but at least, and at most, from these."""
CERTAIN = 3
"""Times the step that compression never makes where nothing moves."""
UNUSUAL = 2.0
"""Times the median area that changes, above which a step is no movement of tissue."""
BUSY = 0.03
"""Share of steps in which a pixel of the sector changes, dark corners included; the ECG trace does so too, but is thin."""
BLUR = 0.005
"""Standard deviation of the blur that joins speckle, as a share of the picture's shorter side."""
THIN = 0.025
"""Share of the picture's shorter side below which a moving part is a line or a letter, no tissue."""
SMALLEST = 0.25
"""Share of the picture's shorter side that a sector spans at least."""
SMALLEST_PX = 48
"""Pixels that a sector spans at least."""
MOVING = 0.30
"""Share of the sector that moves at least."""
NARROW = 0.80
"""Width of a fan near its narrow end, as a share of its greatest width, at most."""
MARK, STILL = 40, 14
"""From which brightness on a pixel at the edge is a mark if it changes by no more grey values than this; speckle changes by more."""
FEWEST_FRAMES = 8
"""Frames of the shortest clip that a network can read."""
SATURATED, BRIGHT = 0.6, 60
"""From which saturation ((max - min) / max of the channels) and brightness (max) on a colour is that of Doppler: tints of B-mode are paler."""
COLOURED = 0.003
"""Share of the sector that colour Doppler fills at least, in the mean over the clip."""
LINE = 0.0125
"""Share of the picture's shorter side below which colour is a line, drawn into the sector."""
CHROMA_FRAMES = 48
"""Frames that are looked at for colour, evenly spaced: more than a beat's worth."""


class Sector(NamedTuple):
    """The sector of a clip, pixels of the picture it was found in.

    Attributes:
        mask: (H, W), true inside.
        top: first row of the square around it; may be negative, the square may be larger than the picture.
        left: first column of the square.
        side: of the square.
    """

    mask: Bool[np.ndarray, "H W"]
    top: int
    left: int
    side: int


def find_sector(frames: UInt8[np.ndarray, "T H W"], within: Bool[np.ndarray, "H W"] | None = None) -> Sector:
    """The moving sector of a clip.

    Args:
        frames: grey frames.
        within: where it may be, if something is known of that.

    Raises:
        RefusedError: the clip is a still image, too short, or has no sector.
    """
    if len(frames) == 1:
        raise RefusedError(Reason.STILL, "it holds one frame.")
    if len(frames) < FEWEST_FRAMES:
        raise RefusedError(Reason.SHORT, f"it holds {len(frames)} frames; a clip needs {FEWEST_FRAMES}.")
    step = noise_step(frames)
    part, hull = moving_hull(busyness(frames, step), within)
    if not part.any() and not busyness(frames, 1).any():
        raise RefusedError(Reason.STILL, f"nothing moves in its {len(frames)} frames.")
    require_fan(part & hull, hull)
    certain = moving_hull(busyness(frames, CERTAIN * step), within)[1]
    mask = hull & ~marks(frames, hull & ~certain)
    rows, columns = np.flatnonzero(hull.any(1)), np.flatnonzero(hull.any(0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    side = int(max(height, width))
    return Sector(mask, int(rows[0] - (side - height) // 2), int(columns[0] - (side - width) // 2), side)


def moving_hull(
    share: Float32[np.ndarray, "H W"], within: Bool[np.ndarray, "H W"] | None
) -> tuple[Bool[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """The largest part that is busy, and its convex hull; both empty where there is none."""
    short = min(share.shape)
    moving = raster.blur(share, BLUR * short, BLUR * short) >= BUSY
    part = largest_part(moving if within is None else moving & within, max(3, round(THIN * short)))
    return part, raster.shrink(raster.convex_hull(part), round(2 * BLUR * short))  # by what the blur had added


def noise_step(frames: UInt8[np.ndarray, "T H W"]) -> int:
    """From which change on a pixel is taken to move, grey values."""
    ordered = np.sort(frames[:: max(1, len(frames) // 16)], axis=0)
    varies = ordered[-2] - ordered[1] >= 2 * STEPS[0]  # without the extremes: the screen may flash
    level = float(np.percentile(ordered[1:-1].mean(0)[varies], 90)) if varies.any() else 0.0
    return int(np.clip(round(level / LEVELS_A_STEP), *STEPS))


def busyness(frames: UInt8[np.ndarray, "T H W"], step: int) -> Float32[np.ndarray, "H W"]:
    """Share of steps in which each pixel changes by ``step`` grey values or more.

    Steps in which nothing changes (the repeated frames of a slower scanner) do not count, nor those in which far more changes than usual (the screen
    flashes, or the loop starts anew).
    """
    pairs = list(pairwise(frames))
    areas = np.array([changed(*pair, step).sum() for pair in pairs])
    shares = np.zeros(frames.shape[1:], np.float32)
    if not areas.any():
        return shares
    counts = (areas > 0) & (areas <= UNUSUAL * np.median(areas[areas > 0]))
    for number in np.flatnonzero(counts):
        shares += changed(*pairs[number], step)
    shares /= counts.sum()
    return shares


def changed(before: UInt8[np.ndarray, "H W"], after: UInt8[np.ndarray, "H W"], step: int) -> Bool[np.ndarray, "H W"]:
    """Where two frames differ by ``step`` or more."""
    differs: Bool[np.ndarray, "H W"] = np.maximum(before, after) - np.minimum(before, after) >= step
    return differs


def largest_part(moving: Bool[np.ndarray, "H W"], thin: int) -> Bool[np.ndarray, "H W"]:
    """The largest connected part once what is thinner than ``thin`` pixels is cut off, with the tips that this took from it.

    Tips are given back where they lie within half of ``thin``, so that a line that touches the part stays cut off.
    """
    part = raster.largest_component(raster.close_gaps(raster.cut_thin(moving, thin), thin))
    near: Bool[np.ndarray, "H W"] = raster.grow(part, thin // 2) & (moving | part)
    return near


def marks(frames: UInt8[np.ndarray, "T H W"], rim: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Letters and scales in the rim of the hull, where nothing is certain to move: bright, and still but for compression noise, a little more around."""
    brightest, darkest = frames.max(0).astype(np.float32), frames.min(0)
    return raster.grow(rim & (brightest >= MARK) & (brightest - darkest <= STILL), 2)


def require_fan(part: Bool[np.ndarray, "H W"], hull: Bool[np.ndarray, "H W"]) -> None:
    """Refuse what moves but is no sector.

    Raises:
        RefusedError: it is small, sparse, or as wide at both ends as in the middle.
    """
    width_of = hull.sum(1)
    widths = width_of[width_of > 0]
    span = max(len(widths), int(hull.any(0).sum()))
    least = max(SMALLEST_PX, SMALLEST * min(hull.shape))
    if span < least:
        raise RefusedError(
            Reason.NO_SECTOR,
            f"the largest part that moves spans {span} pixels; a sector in this picture spans {least:.0f} or more.",
        )
    if part.sum() < MOVING * hull.sum():
        raise RefusedError(
            Reason.NO_SECTOR,
            f"what moves is scattered: it fills {100 * part.sum() / hull.sum():.0f} % of the region around it.",
        )
    narrow = min(widths[len(widths) // 10], widths[-1 - len(widths) // 10]) / widths.max()
    if narrow > NARROW:
        raise RefusedError(
            Reason.NO_SECTOR,
            f"what moves is no fan: its narrow end is {100 * narrow:.0f} % as wide as its widest place.",
        )


def refuse_colour(frames: UInt8[np.ndarray, "T H W 3"], mask: Bool[np.ndarray, "H W"]) -> None:
    """Refuse colour Doppler: patches of saturated colour in the sector. Thin coloured lines, and a pale tint of the whole, are none.

    Raises:
        RefusedError: there is colour.
    """
    looked_at = frames[np.unique(np.linspace(0, len(frames) - 1, CHROMA_FRAMES).round().astype(int))]
    line = max(5, round(LINE * min(mask.shape)))
    share = float(np.mean([raster.cut_thin(saturated(frame) & mask, line).sum() for frame in looked_at]) / mask.sum())
    if share >= COLOURED:
        raise RefusedError(
            Reason.COLOUR,
            f"{100 * share:.1f} % of its sector is saturated colour. Give the grey clip of the same view.",
        )


def saturated(frame: UInt8[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    """Where a colour frame has the colours of Doppler."""
    most, least = frame.max(-1).astype(np.float32), frame.min(-1)
    strong: Bool[np.ndarray, "H W"] = (most >= BRIGHT) & (most - least >= SATURATED * most)
    return strong


def cut_out(frames: UInt8[np.ndarray, "T H W"], sector: Sector, size: int) -> UInt8[np.ndarray, "T S S"]:
    """The square around the sector, 0 outside the sector, shrunk by averaging areas (or enlarged smoothly) to ``size`` pixels."""
    height, width = sector.mask.shape
    above, before = max(0, -sector.top), max(0, -sector.left)
    rows = slice(max(0, sector.top), min(height, sector.top + sector.side))
    columns = slice(max(0, sector.left), min(width, sector.left + sector.side))
    place = (slice(above, above + rows.stop - rows.start), slice(before, before + columns.stop - columns.start))
    resize = raster.resize_area if sector.side >= size else raster.resize_linear
    out = np.empty((len(frames), size, size), np.uint8)
    for frame, target in zip(frames, out, strict=True):
        square = np.zeros((sector.side, sector.side), np.uint8)
        square[place] = np.where(sector.mask[rows, columns], frame[rows, columns], 0)
        target[:] = resize(square, size, size)
    return out
