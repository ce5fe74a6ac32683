"""Read ultrasound DICOM: pixels, frame rate, pixel size and region. Only this file uses pydicom.

=============  ===========================================================================================
frame rate     FrameTime, or the median step of FrameTimeVector (FrameIncrementPointer names one of them);
               otherwise CineRate, then RecommendedDisplayFrameRate
region         the largest two-dimensional item of SequenceOfUltrasoundRegions, of tissue if there is one
pixel size     PhysicalDeltaX and Y of that region, if they are centimetres and equal
=============  ===========================================================================================

Regions are in pixels of the scanner's screen. Some files were shrunk without their regions, for example the cine inside
pydicom. If a region ends outside the picture, it is divided by the smallest integer that makes it fit, and the caller
compares it with the moving region.

References:
    DICOM PS3.3 C.7.6.5 (Cine), C.7.6.6 (Multi-frame), C.8.5.5 (US Region Calibration).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from echo_e3net.clinic.clip import ASSUMED_FPS, ASSUMPTION, Clip, RefusedError, grey_of, refuse_long
from echo_e3net.data.raster import Mask
from echo_e3net.errors import InputError

try:
    import pydicom
    from pydicom.multival import MultiValue
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array
except ImportError as error:  # pragma: no cover - depends on the installation
    raise InputError(
        "DICOM files need pydicom, which is not installed. Run: pip install 'echo-e3net[dicom]'."
    ) from error

TWO_D, TISSUE, COLOUR_FLOW, CENTIMETRES = 1, 1, 2, 3
"""Codes of RegionSpatialFormat, RegionDataType (two) and PhysicalUnits."""
SAME = 0.02
"""Largest relative difference of width and height of a square pixel."""
FRAME_TIMES = {0x00181063: "FrameTime", 0x00181065: "FrameTimeVector"}


def read_dicom(path: Path) -> Clip:
    """Read the clip of a DICOM file.

    Raises:
        RefusedError: it has no pixels, is a still image, does not decode, or its regions are colour Doppler or not
            two-dimensional.
    """
    with decoding():
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        rows, columns, frames = (int(header.get(name) or 0) for name in ("Rows", "Columns", "NumberOfFrames"))
    if not rows or not columns:
        raise RefusedError("not a video: the DICOM object has no pictures.")
    if max(1, frames) == 1:
        raise RefusedError("still image: it has one frame.")
    refuse_long(frames, rows, columns)
    region = read_region(header, rows, columns)
    fps, fps_from = frame_rate(header)
    with decoding():
        pixels = eight_bit(pixel_array(path), header)
    colour = pixels if pixels.ndim == 4 else None
    grey = grey_of(pixels) if colour is not None else pixels
    return Clip(grey, colour, fps, fps_from, *region)


@contextmanager
def decoding() -> Iterator[None]:
    """Convert errors of pydicom to a reason, and ignore its warnings: pixels, time and scale are checked here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RefusedError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:160] or type(error).__name__
        raise RefusedError(
            f"does not decode: pydicom cannot decode it ({words}). Export it as JPEG-compressed DICOM or as MP4."
        ) from error


def eight_bit(pixels: np.ndarray, header: Any) -> UInt8[np.ndarray, "T H W *C"]:  # noqa: ANN401  (pydicom has no types)
    """Convert decoded pixels to grey or RGB frames of 8 bits. pydicom has converted YBR to RGB already."""
    kind = str(header.get("PhotometricInterpretation", ""))
    bits = int(header.get("BitsStored") or 8)
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, header)
        bits = 8 * pixels.dtype.itemsize
    if pixels.dtype != np.uint8 or bits > 8:
        pixels = (pixels.astype(np.int64) >> max(0, bits - 8)).clip(0, 255).astype(np.uint8)
    return 255 - pixels if kind == "MONOCHROME1" else pixels


def frame_rate(header: Any) -> tuple[float, str]:  # noqa: ANN401
    """Return frames per second, and the field from which it was read."""
    pointed = [FRAME_TIMES[tag] for tag in values(header.get("FrameIncrementPointer")) if tag in FRAME_TIMES]
    for name in dict.fromkeys([*pointed, *FRAME_TIMES.values()]):
        step_ms = frame_step(header, name)
        if step_ms:
            return 1000 / step_ms, f"{name} (median)" if name == "FrameTimeVector" else name
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = number(header.get(name))
        if rate > 0:
            return rate, name
    return ASSUMED_FPS, ASSUMPTION


def frame_step(header: Any, name: str) -> float | None:  # noqa: ANN401
    """Return milliseconds between frames; None if the header gives none."""
    found = [number(step) for step in values(header.get(name))]
    # The first step of a vector is that of the first frame, 0.
    steps = [step for step in (found if name == "FrameTime" else found[1:]) if step > 0]
    return float(np.median(steps)) if steps else None


def values(element: Any) -> list[Any]:  # noqa: ANN401
    """Return the values of an element as a list."""
    return list(element) if isinstance(element, list | tuple | MultiValue) else [] if element is None else [element]


def number(value: Any) -> float:  # noqa: ANN401
    """Return a value of the header as a number; NaN if it is not a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def read_region(header: Any, rows: int, columns: int) -> tuple[float | None, Mask | None, int]:  # noqa: ANN401
    """Return ``pixel_mm``, ``region`` and ``region_scale`` of :class:`Clip`.

    Raises:
        RefusedError: the regions are colour flow, or none is two-dimensional.
    """
    items = list(header.get("SequenceOfUltrasoundRegions") or [])
    if not items:
        return None, None, 1
    flat = [item for item in items if number(item.get("RegionSpatialFormat")) == TWO_D]
    if any(number(item.get("RegionDataType")) == COLOUR_FLOW for item in flat):
        raise RefusedError(
            "colour Doppler: its header describes a region of colour flow. Use the grey clip of the same view."
        )
    if not flat:
        raise RefusedError("no sector: its header describes M-mode or spectral Doppler, but no two-dimensional region.")
    flat = [item for item in flat if number(item.get("RegionDataType")) == TISSUE] or flat
    names = ("RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1")
    corners = [[number(item.get(name)) for name in names] for item in flat]
    sizes = [(x1 - x0) * (y1 - y0) if 0 <= x0 < x1 and 0 <= y0 < y1 else 0 for x0, y0, x1, y1 in corners]
    if not max(sizes):
        return None, None, 1
    largest = int(np.argmax(sizes))
    x0, y0, x1, y1 = corners[largest]
    scale = max(math.ceil((x1 + 1) / columns), math.ceil((y1 + 1) / rows))
    inside = np.zeros((rows, columns), bool)
    inside[int(y0) // scale : int(y1) // scale + 1, int(x0) // scale : int(x1) // scale + 1] = True
    return pixel_size(flat[largest], scale), inside, scale


def pixel_size(region: Any, scale: int) -> float | None:  # noqa: ANN401
    """Return the edge of a pixel of the file, mm; None if it is unknown or differs between the axes."""
    across, down = (abs(number(region.get(f"PhysicalDelta{axis}"))) for axis in "XY")
    units = {number(region.get(f"PhysicalUnits{axis}Direction")) for axis in "XY"}
    if units != {CENTIMETRES} or not across > 0 or not abs(across - down) <= SAME * across:
        return None
    return 10 * (across + down) / 2 * scale
