"""Read the region of the picture and the size of a pixel from the header of an ultrasound DICOM file.

==========  ================================================================================================
region      the largest two-dimensional item of SequenceOfUltrasoundRegions, of tissue if there is one
pixel size  PhysicalDeltaX and Y of that region, if they are centimetres and equal
==========  ================================================================================================

Regions are in pixels of the scanner's screen. Some files were shrunk without their regions, for example the cine inside
pydicom. If a region ends outside the picture, it is divided by the smallest integer that makes it fit, and the caller
compares it with the moving region.

References:
    DICOM PS3.3 C.8.5.5 (US Region Calibration).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echo_e3net.clinic.clip import RefusedError
from echo_e3net.clinic.frame_rate import number
from echo_e3net.data.raster import Mask

TWO_D, TISSUE, COLOUR_FLOW, CENTIMETRES = 1, 1, 2, 3
"""Codes of RegionSpatialFormat, RegionDataType (two) and PhysicalUnits."""
SAME = 0.02
"""Largest relative difference of width and height of a square pixel."""


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
