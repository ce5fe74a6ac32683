"""Frames per second of a file. A rate outside :data:`LIMITS` is never used without a remark.

Sources of a rate are texts such as ``FrameTime``. A colon begins a remark, which the user must see:
``CineRate: 30 is used; FrameTime is 0.033 …``.

References:
    DICOM PS3.3 C.7.6.5 (Cine), C.7.6.6 (Multi-frame).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

LIMITS = (5.0, 300.0)
"""Possible frames per second of a clip of the heart."""
EXPECTED = f"expected {LIMITS[0]:g} to {LIMITS[1]:g} per second"
ASSUMED_FPS = 30.0
"""Frames per second if a file gives no possible rate."""
FRAME_TIMES = {0x00181063: "FrameTime", 0x00181065: "FrameTimeVector"}
RATES = ("CineRate", "RecommendedDisplayFrameRate")
UNITS = {"seconds": 1000.0, "microseconds": 0.001}
"""Milliseconds in the units with which writers of files confuse them."""
AGREE = 1.25
"""Largest ratio of two fields that agree."""
UNEVEN = 0.1
"""Largest share of the steps of FrameTimeVector that differ from their median by more than a quarter."""


class Given(NamedTuple):
    """What one field of a header says.

    Attributes:
        name: of the field.
        text: its value.
        fps: frames per second; NaN if the value is not a positive number.
        remark: further doubts; empty if there are none.
    """

    name: str
    text: str
    fps: float
    remark: str = ""


def possible(fps: float) -> bool:
    """Return whether a clip of the heart can have this rate."""
    return LIMITS[0] <= fps <= LIMITS[1]


def file_rate(fps: float) -> tuple[float, str]:
    """Return the rate of a video file and its source; replace an impossible one by the assumed one."""
    if possible(fps):
        return fps, "the file's frame rate"
    none = math.isnan(fps) or fps == 0
    return ASSUMED_FPS, assumption("the file gives none" if none else f"the file gives {fps:g}; {EXPECTED}")


def assumption(reason: str) -> str:
    """Return the source of the assumed rate."""
    return f"assumed: {reason}; {ASSUMED_FPS:g} is used"


def header_rate(header: Any, frames: int) -> tuple[float, str]:  # noqa: ANN401  (pydicom has no types)
    """Return the rate of a DICOM file and its source.

    The first field with a possible rate is used: the one to which FrameIncrementPointer points, FrameTime,
    FrameTimeVector, CineRate, RecommendedDisplayFrameRate. If no field has one, but another unit makes a frame time
    possible, that unit is used.
    """
    given = list(given_rates(header, frames))
    wrong = [field for field in given if not possible(field.fps)]
    doubts = [f"{field.name} is {field.text}{as_rate(field.fps)}; {EXPECTED}" for field in wrong]
    for field in given:
        if possible(field.fps):
            contrary = [f"{o.name} gives {o.fps:.4g}" for o in others(field, given)]
            remarks = [text for text in (*doubts, field.remark, *contrary) if text]
            return field.fps, f"{field.name}: {field.fps:.4g} is used; {'; '.join(remarks)}" if remarks else field.name
    for field in wrong:
        for unit, factor in UNITS.items():
            if field.name in FRAME_TIMES.values() and possible(field.fps / factor):
                fps = field.fps / factor
                return fps, f"{field.name}: {fps:.4g} is used; {'; '.join(doubts)}; it was read as {unit}"
    return ASSUMED_FPS, assumption("; ".join(doubts) or "the file gives none")


def as_rate(fps: float) -> str:
    """Return a remark on a rate; empty if there is none."""
    return "" if math.isnan(fps) else f" ({fps:.6g} frames per second)"


def others(field: Given, given: Sequence[Given]) -> list[Given]:
    """Return the other fields whose rate contradicts this one. The display rate is ignored."""
    rates = [o for o in given if o.name != RATES[1] and field.name != RATES[1] and possible(o.fps)]
    return [o for o in rates if max(o.fps, field.fps) > AGREE * min(o.fps, field.fps)]


def given_rates(header: Any, frames: int) -> Iterator[Given]:  # noqa: ANN401
    """Yield the fields that are neither absent nor 0, the most reliable first."""
    pointed = [FRAME_TIMES[tag] for tag in values(field_value(header, "FrameIncrementPointer")) if tag in FRAME_TIMES]
    for name in dict.fromkeys([*pointed, *FRAME_TIMES.values(), *RATES]):
        found = values(field_value(header, name))
        numbers = [number(value) for value in found]
        if not any(numbers):
            continue
        text = ", ".join(map(str, found[:4])) + (" …" if len(found) > 4 else "")
        if name == "FrameTimeVector":
            yield vector_rate(numbers, text, frames)
            continue
        first = numbers[0]
        rate = (1000 / first if name == "FrameTime" else first) if first > 0 else math.nan
        yield Given(name, text, rate)


def vector_rate(times: list[float], text: str, frames: int) -> Given:
    """Return the rate of FrameTimeVector, from the median of its steps."""
    held = np.array([time for time in times if math.isfinite(time)])
    # The first value is that of the first frame, 0. If all increase, they are times since the start, not steps.
    grows = len(held) > 3 and bool(np.all(np.diff(held) > 0))
    steps = np.diff(held) if grows else held[1:] if len(held) > 1 else held
    if not (steps > 0).any():
        return Given("FrameTimeVector", text, math.nan)
    middle = float(np.median(steps[steps > 0]))
    remarks = ["its values were read as times since the first frame"] if grows else []
    if len(held) != frames:
        remarks.append(f"it has {len(held)} numbers for {frames} frames")
    if np.mean(np.abs(steps - middle) > middle / 4) > UNEVEN:
        remarks.append(f"its steps are uneven, {steps.min():g} to {steps.max():g} ms")
    return Given("FrameTimeVector", text, 1000 / middle, "; ".join(remarks))


def field_value(header: Any, name: str) -> Any:  # noqa: ANN401
    """Return a value of the header; its text if pydicom cannot convert it; None if it is absent."""
    try:
        return header.get(name)
    except (ValueError, TypeError, ArithmeticError):
        return bytes(header.get_item(name).value).decode("latin-1").strip("\0 ")


def values(element: Any) -> list[Any]:  # noqa: ANN401
    """Return the values of an element as a list."""
    if element is None or element == "":
        return []
    return list(element) if isinstance(element, Sequence) and not isinstance(element, str) else [element]


def number(value: Any) -> float:  # noqa: ANN401
    """Return a value of the header as a number; NaN if it is not a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
