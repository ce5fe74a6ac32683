"""A contact sheet of a data set: hearts at end-diastole and end-systole, without and with their borders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from echo_e3net.conventions import APEX, LEFT, RIGHT
from echo_e3net.data.raster import card, draw_curve, in_colour, resize_cubic, write_png
from echo_e3net.phantom.render import Plan, render
from echo_e3net.phantom.sector import SIZE

_ZOOM = 2
_COLUMNS, _ROWS = 2, 5
_ENDO, _EPI = (255.0, 196.0, 61.0), (88.0, 190.0, 255.0)


def write_preview(path: Path, plans: list[Plan]) -> None:
    """Write a contact sheet (PNG) of the first ten videos."""
    cards = [_card(plan) for plan in plans[: _COLUMNS * _ROWS]]
    columns = min(_COLUMNS, len(cards))
    cards += [np.zeros_like(cards[0])] * (-len(cards) % columns)
    rows = [np.concatenate(cards[start : start + columns], axis=1) for start in range(0, len(cards), columns)]
    write_png(path, np.concatenate(rows))


def _card(plan: Plan) -> UInt8[np.ndarray, "h w 3"]:
    beat, borders = plan.ejection, ((plan.borders(outer=True), _EPI), (plan.borders(), _ENDO))
    bare, traced = [], []
    for t in (beat.ed, beat.es):
        picture = in_colour(resize_cubic(render(plan, t, t + 1)[0], SIZE * _ZOOM, SIZE * _ZOOM))
        bare.append(picture.copy())
        for border, colour in borders:
            around = np.concatenate([border[t, LEFT][::-1], border[t, APEX : APEX + 1], border[t, RIGHT]])
            draw_curve(picture, ((around + 0.5) * _ZOOM - 0.5).astype(np.float32), colour)
        traced.append(picture)
    title = (
        f"EF {beat.ef_percent:.0f} %   EDV {beat.edv_ml:.0f} mL   ESV {beat.esv_ml:.0f} mL   "
        f"ED {beat.ed}, ES {beat.es} of {len(beat.time_s)} frames"
    )
    return card([*bare, *traced], title)
