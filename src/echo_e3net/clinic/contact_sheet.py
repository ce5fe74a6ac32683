"""A contact sheet of an import: each screen with the outline of the kept region, and the video that was made from it.

The left half shows everything that is burned into the pictures, names included.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from echo_e3net.clinic.prepare import Prepared
from echo_e3net.data.raster import card, draw_curve, in_colour, resize_area, resize_cubic, write_png

SHOWN = 6
"""Videos on the sheet."""
_SIDE = 288
_LINE = (255.0, 196.0, 61.0)


def write_preview(path: Path, clips: Sequence[Prepared]) -> None:
    """Write a contact sheet (PNG), one row per clip."""
    cards = [clip_card(clip) for clip in clips]
    width = max(picture.shape[1] for picture in cards)
    write_png(
        path, np.concatenate([np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0))) for picture in cards])
    )


def clip_card(clip: Prepared) -> UInt8[np.ndarray, "h w 3"]:
    """Draw one clip: the screen with the outline, and two frames of the video, half of it apart."""
    height, width = clip.screen.shape
    scale = _SIDE / height
    across = round(width * scale)
    screen = in_colour((resize_area if scale < 1 else resize_cubic)(clip.screen, _SIDE, across))
    draw_curve(screen, ((clip.outline + 0.5) * scale - 0.5).astype(np.float32), _LINE, closed=True)
    after = [in_colour(resize_cubic(clip.frames[t], _SIDE, _SIDE)) for t in (0, len(clip.frames) // 2)]
    count, *size = clip.frames.shape
    pixel = f", {clip.pixel_mm:.2f} mm per pixel" if clip.pixel_mm else ""
    return card(
        [screen, *after],
        f"{width}x{height}, {count} frames at {clip.fps:.4g} per second",
        f"{size[0]}x{size[1]}{pixel}",
    )
