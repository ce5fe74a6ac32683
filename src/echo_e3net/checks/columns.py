"""Rules that find implausible columns: wrong units, or constant, swapped or shifted values.

A wrong column concerns every video, so training stops. Excluding videos would not help. If only EF is the same in all
rows, videos can still be tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from echo_e3net.checks.findings import Defect, Finding
from echo_e3net.conventions import APEX, BASE
from echo_e3net.data.layout import EF_PERCENT
from echo_e3net.data.records import DataSet, ListedVideo, TracedFrame
from echo_e3net.tables import number

Column = Float[np.ndarray, " R"]


class Unit(NamedTuple):
    """A range of values, ``low`` to ``high``, that shows that a column is in a wrong unit, and the remedy."""

    column: str
    low: float
    high: float
    unit: str
    remedy: str


TINY = 1e-9
"""Lower limit that skips zeros, which often mean unknown. EF has no such limit: a 0 would be used as a label."""
UNITS = (
    Unit("EF", 0, 1.5, "percent", "Multiply fractions by 100; remove rows without EF."),
    Unit("EDV", TINY, 1, "mL", "Multiply litres by 1000."),
    Unit("ESV", TINY, 0.5, "mL", "Multiply litres by 1000."),
    Unit("EDV", 3000, math.inf, "mL", "Divide microlitres (mm³) by 1000."),
    Unit("ESV", 2000, math.inf, "mL", "Divide microlitres (mm³) by 1000."),
    Unit("FPS", TINY, 1, "frames per second", "Replace seconds per frame by 1 divided by them."),
    Unit("FPS", 1000, math.inf, "frames per second", "Replace microseconds per frame by 1,000,000 divided by them."),
)
"""Ranges that do not occur in the stated unit."""
UNIT_SHARE = 0.1
"""Smallest share of such values that is reported: one hospital of several. Fewer may be typing errors."""
CONSTANT_ROWS = 10
"""Smallest number of rows for the check of a constant EF."""
UNRELATED_ROWS, UNRELATED = 50, 0.2
"""Smallest number of rows, and smallest accepted correlation of two EF of one row. Readers correlate above 0.6."""
SPREAD = 5.0
"""Smallest SD of EF, points, with which the correlation is checked."""
ACROSS_TRACINGS = 5
"""Smallest number of tracings for the check of their direction."""
BEYOND = 0.1
"""Smallest distance beyond the frame that is reported, as a fraction of its size."""


def columns(dataset: DataSet) -> list[Finding]:
    """Return a finding for each implausible column of a data set, at the first row concerned."""
    videos = [video for video in dataset.videos if not video.unlabelled]
    table = {name: np.array([value(video, name) for video in videos]) for name in ("EF", "EDV", "ESV", "FPS")}
    found = [*faults(table), *unrelated(table["EF"], traced_ef(videos), "Simpson's EF of the tracings")]
    findings = [Finding(Defect.COLUMN, "", videos[row].where, detail) for row, detail in found]
    findings += [Finding(Defect.CONSTANT, "", videos[row].where, detail) for row, detail in constant(table["EF"])]
    tracings = [Finding(Defect.COLUMN, "", frame.where, detail) for frame, detail in traced_faults(videos)]
    return findings + tracings


def value(video: ListedVideo, column: str) -> float:
    """Return the value of a video in a column; NaN if it has none, or an EF that is refused anyway."""
    return number(video.values.get(column, ""), *(EF_PERCENT if column == "EF" else ()))


def faults(table: Mapping[str, Column]) -> Iterator[tuple[int, str]]:
    """Yield the implausible columns of a table, each as its first row (from 0) and what is wrong.

    Args:
        table: EF (percent), EDV and ESV (mL) and FPS of all rows; NaN where a row has none.
    """
    for column, low, high, unit, remedy in UNITS:
        values = table.get(column, np.empty(0))
        known, wrong = np.isfinite(values), (values >= low) & (values <= high)
        if wrong.any() and wrong.sum() >= UNIT_SHARE * known.sum():
            shown = f"{column} is {values[wrong].min():g} to {values[wrong].max():g} {of(wrong, known)}"
            yield int(wrong.argmax()), f"{shown}; expected {unit}. {remedy}"
    ef, edv, esv = (table.get(name, np.full(len(table["EF"]), np.nan)) for name in ("EF", "EDV", "ESV"))
    both = (edv > 0) & (esv > 0)
    swapped = both & (esv > edv)
    if swapped.sum() > both.sum() / 2:
        detail = f"ESV is above EDV {of(swapped, both)}. Swap the two columns, or correct them."
        yield int(swapped.argmax()), detail
    else:
        computed = 100 * (1 - np.divide(esv, edv, out=np.full_like(edv, np.nan), where=both))
        yield from unrelated(ef, computed, "100 (EDV - ESV) / EDV")


def constant(ef: Column) -> Iterator[tuple[int, str]]:
    """Find an EF that is the same in all rows. Nothing can be learned from it, but videos can be tested with it."""
    known = np.isfinite(ef)
    if known.sum() >= CONSTANT_ROWS and np.ptp(ef[known]) == 0:
        yield int(known.argmax()), f"EF is {ef[known][0]:g} {of(known, known)}. Enter the EF of each video."


def of(rows: Bool[np.ndarray, " R"], known: Bool[np.ndarray, " R"]) -> str:
    """Return the number of rows for messages."""
    return f"in {rows.sum()} of {known.sum()} rows"


def unrelated(ef: Column, other: Column, source: str) -> Iterator[tuple[int, str]]:
    """Find an EF that is not correlated with another EF of the same rows, as after sorting or shifting one column."""
    known = np.isfinite(ef) & np.isfinite(other)
    if known.sum() < UNRELATED_ROWS or min(ef[known].std(), other[known].std()) < SPREAD:
        return
    correlation = np.corrcoef(ef[known], other[known])[0, 1]
    if correlation < UNRELATED:
        found = f"EF does not follow {source} (correlation {correlation:.2f} over {known.sum()} rows)"
        yield int(known.argmax()), f"{found}. Check that each row has the EF of its own video."


def traced_ef(videos: Sequence[ListedVideo]) -> Column:
    """Return Simpson's EF of the tracings of each video, percent; NaN without tracings."""
    found, rows = np.full(len(videos), np.nan), [row for row, video in enumerate(videos) if video.record.traced]
    if rows:
        import torch

        from echo_e3net import geometry

        landmarks = torch.from_numpy(np.array([videos[row].record.landmarks[:, 0] for row in rows]))
        found[rows] = 100 * geometry.ejection_fraction(landmarks[:, 0], landmarks[:, 1]).numpy()
    return found


def traced_faults(videos: Sequence[ListedVideo]) -> Iterator[tuple[TracedFrame, str]]:
    """Find tracings that are mostly without area, across the picture, or outside the frames."""
    frames = [(frame, video.record.size) for video in videos for frame in video.traced if frame.border == "endo"]
    flat = [frame for frame, _ in frames if frame.fault == "degenerate"]
    if len(flat) > len(frames) / 2:
        yield flat[0], f"{len(flat)} of {len(frames)} tracings have no area. Coordinates must be pixels of the frames."
    usable = [
        (frame, frame.landmarks, size) for frame, size in frames if frame.landmarks is not None and not frame.fault
    ]
    if not usable:
        return
    points = np.array([landmarks for _, landmarks, _ in usable])
    x, y = np.abs(points[:, APEX] - points[:, BASE]).T
    across = [frame for (frame, _, _), lies in zip(usable, (x > y).tolist(), strict=True) if lies]
    if len(across) > len(usable) / 2 and len(usable) >= ACROSS_TRACINGS:
        detail = f"the long axis lies across the picture in {len(across)} of {len(usable)} tracings. Swap X and Y."
        yield across[0], detail
    extent = points.max(1).tolist()
    beyond = [
        (frame, f"{right:.0f}×{bottom:.0f}", f"{size[1]}×{size[0]}")
        for (frame, _, size), (right, bottom) in zip(usable, extent, strict=True)
        if size and (right > (1 + BEYOND) * size[1] or bottom > (1 + BEYOND) * size[0])
    ]
    if len(beyond) > len(usable) / 2:
        frame, reached, size = beyond[0]
        found = f"{len(beyond)} of {len(usable)} tracings leave the frames"
        yield frame, f"{found}: this one reaches {reached} of {size} pixels. Scale them to the frames."
