"""The phantom's tables, in the columns of the released data set. They depend only on the plans.

``FileList.csv`` has one row per video. ``VolumeTracings.csv`` and ``EpiTracings.csv`` have 21 rows per traced frame:
row 0 is the long axis from apex to mitral plane, rows 1…20 are the disc chords from apex to base. As in real files,
the order of the two traced frames is random.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from echo_e3net.conventions import APEX, BASE, LEFT, RIGHT
from echo_e3net.data.layout import FILE_LIST, SUFFIX, TRACINGS
from echo_e3net.phantom.prior import split_of, stream
from echo_e3net.phantom.render import Plan
from echo_e3net.phantom.sector import SIZE

TABLES = (FILE_LIST, *TRACINGS.values())


def table_texts(plans: list[Plan], val_fraction: float, test_fraction: float) -> dict[str, str]:
    """Return the text of each table by file name."""
    rows = {FILE_LIST: ["FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"]}
    rows[FILE_LIST] += [file_row(plan, split_of(plan.seed, plan.index, val_fraction, test_fraction)) for plan in plans]
    for border, name in TRACINGS.items():
        tracings = [row for plan in plans for row in tracing_rows(plan, outer=border == "epi")]
        rows[name] = ["FileName,X1,Y1,X2,Y2,Frame", *tracings]
    return {name: "\n".join(lines) + "\n" for name, lines in rows.items()}


def file_row(plan: Plan, split: str) -> str:
    """Return the row of a video in ``FileList.csv``."""
    beat = plan.ejection
    esv, edv = round(beat.esv_ml, 6), round(beat.edv_ml, 6)
    ef = 100 * (edv - esv) / edv
    return f"{plan.name},{ef:.6f},{esv:.6f},{edv:.6f},{SIZE},{SIZE},{plan.scan.fps},{len(beat.time_s)},{split}"


def tracing_rows(plan: Plan, outer: bool) -> Iterator[str]:
    """Yield the rows of a video in a table of tracings."""
    borders = plan.borders(outer)
    frames = [plan.ejection.ed, plan.ejection.es]
    if stream(plan.seed, plan.index, "name").spawn(1)[0].random() < 0.5:
        frames.reverse()
    for frame in frames:
        border = borders[frame]
        # The long axis, then the chords
        starts, ends = np.vstack([border[APEX], border[LEFT]]), np.vstack([border[BASE], border[RIGHT]])
        for x1, y1, x2, y2 in np.hstack([starts, ends]):
            yield f"{plan.name}{SUFFIX},{x1:.4f},{y1:.4f},{x2:.4f},{y2:.4f},{frame}"
