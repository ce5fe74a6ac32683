"""The phantom's tables, in the released data set's columns; a function of the plans alone.

``FileList.csv`` has one row a video. ``VolumeTracings.csv`` and ``EpiTracings.csv`` have 21 rows a traced frame: row 0 is the long axis from apex to
mitral plane, rows 1…20 are the disc chords from apex to base. Which of the two frames comes first is drawn, as real files mix it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from echo_e3net.geometry import APEX, BASE, LEFT, RIGHT
from echo_e3net.phantom.prior import split_of, stream
from echo_e3net.phantom.render import Plan
from echo_e3net.phantom.sector import SIZE

FILE_LIST = "FileList.csv"
VOLUME_TRACINGS = "VolumeTracings.csv"
EPI_TRACINGS = "EpiTracings.csv"
TABLES = (FILE_LIST, VOLUME_TRACINGS, EPI_TRACINGS)

_FILE_COLUMNS = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"
_TRACING_COLUMNS = "FileName,X1,Y1,X2,Y2,Frame"


def table_texts(plans: list[Plan], val_fraction: float, test_fraction: float) -> dict[str, str]:
    """The three tables, by file name."""
    files = [_file_row(plan, split_of(plan.seed, plan.index, val_fraction, test_fraction)) for plan in plans]
    inner = [row for plan in plans for row in _tracing_rows(plan, outer=False)]
    outer = [row for plan in plans for row in _tracing_rows(plan, outer=True)]
    return {
        FILE_LIST: _lines([_FILE_COLUMNS, *files]),
        VOLUME_TRACINGS: _lines([_TRACING_COLUMNS, *inner]),
        EPI_TRACINGS: _lines([_TRACING_COLUMNS, *outer]),
    }


def segments(border: Float[np.ndarray, "42 2"]) -> Float[np.ndarray, "21 4"]:
    """Landmarks → (X1, Y1, X2, Y2) rows: the long axis, then the chords."""
    axis = np.concatenate([border[APEX], border[BASE]])[None]
    return np.concatenate([axis, np.concatenate([border[LEFT], border[RIGHT]], axis=-1)])


def _file_row(plan: Plan, split: str) -> str:
    beat = plan.ejection
    esv, edv = round(beat.esv_ml, 6), round(beat.edv_ml, 6)
    ef = 100 * (edv - esv) / edv
    return f"{plan.name},{ef:.6f},{esv:.6f},{edv:.6f},{SIZE},{SIZE},{plan.scan.fps},{len(beat.time_s)},{split}"


def _tracing_rows(plan: Plan, outer: bool) -> Iterator[str]:
    borders = plan.borders(outer)
    frames = [plan.ejection.ed, plan.ejection.es]
    if stream(plan.seed, plan.index, "name").spawn(1)[0].random() < 0.5:
        frames.reverse()
    for frame in frames:
        for x1, y1, x2, y2 in segments(borders[frame]):
            yield f"{plan.name}.avi,{x1:.4f},{y1:.4f},{x2:.4f},{y2:.4f},{frame}"


def _lines(rows: list[str]) -> str:
    return "\n".join(rows) + "\n"
