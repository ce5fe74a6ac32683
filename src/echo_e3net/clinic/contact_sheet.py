"""A picture of an import, for people who want to see what was kept: each screen as it was, with the outline of what was kept, beside what became of it.

The left half shows whatever was burned in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from echo_e3net.clinic.prepare import Prepared
from echo_e3net.data import raster

SHOWN = 6
"""Videos on the sheet."""
_SIDE, _GAP, _TITLE = 288, 6, 24
_LINE, _INK = (255.0, 196.0, 61.0), (200.0, 200.0, 200.0)


def write_preview(path: Path, clips: Sequence[Prepared]) -> None:
    """Write a contact sheet, one clip a row."""
    cards = [card(clip) for clip in clips]
    width = max(picture.shape[1] for picture in cards)
    raster.write_png(
        path, np.concatenate([np.pad(picture, ((0, _GAP), (0, width - picture.shape[1]), (0, 0))) for picture in cards])
    )


def card(clip: Prepared) -> UInt8[np.ndarray, "h w 3"]:
    """One clip: the screen with the outline of what was kept, and two frames, half the clip apart, that came of it."""
    height, width = clip.screen.shape
    scale = _SIDE / height
    across = round(width * scale)
    screen = coloured((raster.resize_area if scale < 1 else raster.resize_cubic)(clip.screen, _SIDE, across))
    raster.draw_curve(screen, ((clip.outline + 0.5) * scale - 0.5).astype(np.float32), _LINE, closed=True)
    after = [coloured(raster.resize_cubic(clip.frames[t], _SIDE, _SIDE)) for t in (0, len(clip.frames) // 2)]
    strip = np.concatenate([np.pad(picture, ((0, 0), (0, _GAP), (0, 0))) for picture in (screen, *after)], axis=1)
    title = np.zeros((_TITLE, strip.shape[1], 3), np.uint8)
    size = f"{clip.frames.shape[1]}x{clip.frames.shape[2]}"
    pixel = f", {clip.pixel_mm:.2f} mm a pixel" if clip.pixel_mm else ""
    raster.write_text(
        title, f"{width}x{height}, {len(clip.frames)} frames at {clip.fps:.4g} a second", _GAP, _TITLE - 7, _INK, 0.42
    )
    raster.write_text(title, f"{size}{pixel}", across + 2 * _GAP, _TITLE - 7, _INK, 0.42)
    return np.concatenate([title, strip])


def coloured(picture: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A grey picture in three channels."""
    return np.repeat(picture[..., None], 3, axis=-1)
