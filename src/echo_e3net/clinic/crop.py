"""Find the sector of a clip and remove everything else. Pure functions of frames.

The screen of a scanner hardly changes outside the tissue: names, scale bars and menus never change, digits change now
and then, and the ECG trace changes each pixel once per sweep. In the sector, speckle changes in every frame. So with
frames I of a clip, the *busyness* of a pixel is the share of steps in which it changes by more than compression noise,
which grows with the contrast of the picture:

    b(x, y) = mean over t of [ |I(t+1, x, y) - I(t, x, y)| ≥ step ]

The sector is the largest connected part of b ≥ BUSY without thin parts. Its convex hull fills the cavities, where
nothing changes; a fan of up to 180° is convex. Compression changes some pixels beyond the edge, so bright and constant
pixels there, such as letters, are removed. The picture is cropped to the smallest square around the hull, and **every
pixel outside the hull becomes 0**.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from echo_e3net.clinic.clip import RefusedError
from echo_e3net.conventions import MIN_FRAMES
from echo_e3net.data import raster
from echo_e3net.data.raster import Frames, Mask

LEVELS_PER_STEP = 28.0
"""Brightness of the bright moving parts per grey value of the smallest change that counts."""
STEPS = (2, 5)
"""Limits of the smallest change that counts, grey values."""
CERTAIN = 3
"""Multiple of that change which compression never causes."""
UNUSUAL = 2.0
"""Multiple of the median changing area above which a step is not a movement of tissue."""
BUSY = 0.03
"""Smallest share of steps in which a pixel of the sector changes. The ECG trace reaches it too, but is thin."""
BLUR = 0.005
"""Standard deviation of the blur that joins speckle, as a share of the shorter side of the picture."""
THIN = 0.025
"""Share of the shorter side below which a moving part is a line or a letter."""
SMALLEST = 0.25
"""Smallest span of a sector, as a share of the shorter side."""
SMALLEST_PX = 48
"""Smallest span of a sector, pixels."""
MOVING = 0.30
"""Smallest share of the sector that moves."""
NARROW = 0.80
"""Largest width of a fan near its narrow end, as a share of its greatest width."""
MARK, STILL = 40, 14
"""A pixel at the edge is a mark if it is at least this bright and changes by at most this much, unlike speckle."""
SATURATED, BRIGHT = 0.6, 60
"""Smallest saturation ((max - min) / max of the channels) and brightness (max) of colour Doppler; tints are paler."""
COLOURED = 0.003
"""Smallest share of the sector that colour Doppler fills, mean over the clip."""
LINE = 0.0125
"""Share of the shorter side below which a coloured part is a line that was drawn into the sector."""
CHROMA_FRAMES = 48
"""Number of frames, evenly spaced, in which colour is searched: more than one beat."""


class Sector(NamedTuple):
    """The sector of a clip, in pixels of the picture.

    Attributes:
        mask: (H, W), true inside.
        top: first row of the square around it. The square may exceed the picture, so it may be negative.
        left: first column of the square.
        side: side of the square.
    """

    mask: Mask
    top: int
    left: int
    side: int


def find_sector(frames: Frames, within: Mask | None = None) -> Sector:
    """Find the moving sector of a clip.

    Args:
        frames: grey frames.
        within: mask of where it may be; None for anywhere.

    Raises:
        RefusedError: the clip is a still image, too short, or has no sector.
    """
    if len(frames) == 1:
        raise RefusedError("still image: it has one frame.")
    if len(frames) < MIN_FRAMES:
        raise RefusedError(f"too few frames: it has {len(frames)} frames; a clip needs {MIN_FRAMES}.")
    step = noise_step(frames)
    part, hull = moving_hull(busyness(frames, step), within)
    if not part.any() and not busyness(frames, 1).any():
        raise RefusedError(f"still image: nothing moves in its {len(frames)} frames.")
    require_fan(part & hull, hull)
    certain = moving_hull(busyness(frames, CERTAIN * step), within)[1]
    mask = hull & ~marks(frames, hull & ~certain)
    rows, columns = np.flatnonzero(hull.any(1)), np.flatnonzero(hull.any(0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    side = int(max(height, width))
    return Sector(mask, int(rows[0] - (side - height) // 2), int(columns[0] - (side - width) // 2), side)


def moving_hull(share: Float32[np.ndarray, "H W"], within: Mask | None) -> tuple[Mask, Mask]:
    """Return the largest busy part, and its convex hull; both are empty if there is none."""
    short = min(share.shape)
    moving = raster.blur(share, BLUR * short, BLUR * short) >= BUSY
    part = largest_part(moving if within is None else moving & within, max(3, round(THIN * short)))
    # The blur has enlarged the part by two standard deviations.
    return part, raster.shrink(raster.convex_hull(part), round(2 * BLUR * short))


def noise_step(frames: Frames) -> int:
    """Return the smallest change of a moving pixel, grey values."""
    ordered = np.sort(frames[:: max(1, len(frames) // 16)], axis=0)
    # The extremes are left out, because the screen may flash.
    varies = ordered[-2] - ordered[1] >= 2 * STEPS[0]
    level = float(np.percentile(ordered[1:-1].mean(0)[varies], 90)) if varies.any() else 0.0
    return int(np.clip(round(level / LEVELS_PER_STEP), *STEPS))


def busyness(frames: Frames, step: int) -> Float32[np.ndarray, "H W"]:
    """Return the share of steps in which each pixel changes by at least ``step`` grey values.

    Steps without any change (repeated frames of a slower scanner) do not count. Neither do steps in which a far larger
    area changes than usual (the screen flashes, or the loop starts again).
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


def changed(before: UInt8[np.ndarray, "H W"], after: UInt8[np.ndarray, "H W"], step: int) -> Mask:
    """Return where two frames differ by at least ``step``."""
    differs: Mask = np.maximum(before, after) - np.minimum(before, after) >= step
    return differs


def largest_part(moving: Mask, thin: int) -> Mask:
    """Return the largest connected part, without parts that are thinner than ``thin`` pixels.

    Tips within half of ``thin`` are restored; lines that touch the part are not.
    """
    part = raster.largest_component(raster.close_gaps(raster.cut_thin(moving, thin), thin))
    near: Mask = raster.grow(part, thin // 2) & (moving | part)
    return near


def marks(frames: Frames, rim: Mask) -> Mask:
    """Return bright and constant pixels in the rim of the hull, such as letters and scales, and their neighbours."""
    brightest, darkest = frames.max(0).astype(np.float32), frames.min(0)
    return raster.grow(rim & (brightest >= MARK) & (brightest - darkest <= STILL), 2)


def require_fan(part: Mask, hull: Mask) -> None:
    """Check that the moving part is a sector.

    Raises:
        RefusedError: it is small, sparse, or as wide at both ends as in the middle.
    """
    width_of = hull.sum(1)
    widths = width_of[width_of > 0]
    span = max(len(widths), int(hull.any(0).sum()))
    least = max(SMALLEST_PX, SMALLEST * min(hull.shape))
    if span < least:
        raise RefusedError(
            f"no sector: the largest moving part spans {span} pixels; a sector here spans at least {least:.0f}.",
        )
    if part.sum() < MOVING * hull.sum():
        raise RefusedError(
            f"no sector: the moving part is scattered; it fills {100 * part.sum() / hull.sum():.0f} % of its hull.",
        )
    narrow = min(widths[len(widths) // 10], widths[-1 - len(widths) // 10]) / widths.max()
    if narrow > NARROW:
        raise RefusedError(
            f"no sector: the moving region is not a fan: its narrow end has {100 * narrow:.0f} % of its largest width.",
        )


def refuse_colour(frames: UInt8[np.ndarray, "T H W 3"], mask: Mask) -> None:
    """Check that the sector has no patches of saturated colour. Thin lines and a pale tint are allowed.

    Raises:
        RefusedError: the clip is colour Doppler.
    """
    looked_at = frames[np.unique(np.linspace(0, len(frames) - 1, CHROMA_FRAMES).round().astype(int))]
    line = max(5, round(LINE * min(mask.shape)))
    share = float(np.mean([raster.cut_thin(saturated(frame) & mask, line).sum() for frame in looked_at]) / mask.sum())
    if share >= COLOURED:
        raise RefusedError(
            f"colour Doppler: {100 * share:.1f} % of it is saturated colour. Use the grey clip of the same view.",
        )


def saturated(frame: UInt8[np.ndarray, "H W 3"]) -> Mask:
    """Return where a frame has the colours of Doppler."""
    most, least = frame.max(-1).astype(np.float32), frame.min(-1)
    strong: Mask = (most >= BRIGHT) & (most - least >= SATURATED * most)
    return strong


def cut_out(frames: Frames, sector: Sector, size: int) -> UInt8[np.ndarray, "T S S"]:
    """Crop to the square around the sector, set everything else to 0, and resize to ``size`` pixels."""
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
