"""A picture of a data set: some hearts at end-diastole and end-systole, bare and with their borders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from echo_e3net.data.raster import draw_curve, resize_cubic, write_png, write_text
from echo_e3net.geometry import APEX, LEFT, RIGHT
from echo_e3net.phantom.render import Plan, render
from echo_e3net.phantom.sector import SIZE

_ZOOM = 2
_COLUMNS, _ROWS = 2, 5
_GAP, _TITLE = 6, 24
_ENDO, _EPI = (255.0, 196.0, 61.0), (88.0, 190.0, 255.0)
_INK = (200.0, 200.0, 200.0)


def write_preview(path: Path, plans: list[Plan]) -> None:
    """Write a contact sheet of the first videos.

    Args:
        path: the PNG file.
        plans: videos; the first ten are shown.
    """
    cards = [_card(plan) for plan in plans[: _COLUMNS * _ROWS]]
    blank = np.zeros_like(cards[0])
    cards += [blank] * (-len(cards) % _COLUMNS if len(cards) > 1 else 0)
    columns = min(_COLUMNS, len(cards))
    rows = [np.concatenate(cards[start : start + columns], axis=1) for start in range(0, len(cards), columns)]
    write_png(path, np.concatenate(rows, axis=0))


def _card(plan: Plan) -> UInt8[np.ndarray, "h w 3"]:
    """ED and ES of one video, bare and traced, under a line that says what it is."""
    inner, outer = plan.borders(), plan.borders(outer=True)
    bare, traced = [], []
    for t in (plan.ejection.ed, plan.ejection.es):
        picture = _enlarged(render(plan, t, t + 1)[0])
        bare.append(picture)
        traced.append(_traced(picture, inner[t], outer[t]))
    strip = np.concatenate([_framed(picture) for picture in (*bare, *traced)], axis=1)
    title = np.zeros((_TITLE, strip.shape[1], 3), np.uint8)
    beat = plan.ejection
    text = f"EF {beat.ef_percent:.0f} %   EDV {beat.edv_ml:.0f} mL   ESV {beat.esv_ml:.0f} mL   ED {beat.ed}, ES {beat.es} of {len(beat.time_s)} frames"
    write_text(title, text, _GAP, _TITLE - 7, _INK, 0.42)
    return np.concatenate([title, strip], axis=0)


def _enlarged(frame: UInt8[np.ndarray, "112 112"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.repeat(resize_cubic(frame, SIZE * _ZOOM, SIZE * _ZOOM)[..., None], 3, axis=-1)


def _traced(
    picture: UInt8[np.ndarray, "h w 3"], inner: Float[np.ndarray, "42 2"], outer: Float[np.ndarray, "42 2"]
) -> UInt8[np.ndarray, "h w 3"]:
    picture = picture.copy()
    for border, colour in ((outer, _EPI), (inner, _ENDO)):
        around = np.concatenate([border[LEFT][::-1], border[APEX : APEX + 1], border[RIGHT]])
        draw_curve(picture, ((around + 0.5) * _ZOOM - 0.5).astype(np.float32), colour)
    return picture


def _framed(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    return np.pad(picture, ((0, _GAP), (0, _GAP), (0, 0)))
