"""Find how pixels that are not compressed are stored, from the pixels themselves.

Depth, channels and chroma of a header can be wrong. In the right layout successive frames and rows are
alike (:func:`~echo_e3net.clinic.grey_levels.alike`).

References:
    DICOM PS3.3 C.7.6.3 (Image Pixel).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from echo_e3net.clinic.grey_levels import alike, gaps

NEUTRAL = 16
"""Largest difference from 128 of the chroma of a grey pixel."""
UNEQUAL = 2
"""Largest difference of equal grey values after lossy compression."""


class Layout(NamedTuple):
    """How pixels that are not compressed can be stored.

    Attributes:
        samples: channels.
        bits: allocated per sample.
        halved: whether chroma has half as many columns (YBR_FULL_422).
    """

    samples: int
    bits: int
    halved: bool


def layouts(samples: int, allocated: int, halved: bool) -> list[Layout]:
    """Return the layout of the header, then others: other chroma, other depth, other channels."""
    depths = [bits for bits in dict.fromkeys((allocated, 8, 16)) if bits in (8, 16, 32)]
    chroma = (halved, not halved) if samples == 3 else (False,)
    found = [Layout(samples, bits, half) for bits in depths for half in chroma if bits == 8 or not half]
    return [*found, Layout(3 if samples == 1 else 1, depths[0], False)]


def fits(stored: UInt8[np.ndarray, " N"], layout: Layout, size: int, columns: int) -> bool:
    """Return whether successive frames and rows are alike in a layout with frames of ``size`` bytes."""
    # Neighbouring bytes of 16-bit values differ more than neighbouring values do.
    next_byte, next_value = gaps(stored, (1, 2))
    depth = layout.bits // 8
    if len(stored) % size > 1 or (next_value < 0.9 * next_byte) != (depth > 1):
        return False
    # Two values of luma, then chroma, which is 128 where a picture is grey.
    if layout.halved and np.median(np.abs(stored[2::4].astype(np.int16) - 128)) > NEUTRAL:
        return False
    values = stored[: len(stored) // size * size].view(f"u{depth}")
    rows = [2 * columns] if layout.halved else [columns, 3 * columns][: layout.samples]
    ordered = alike(values, size // depth) and any(alike(values, row) for row in rows)
    return ordered and not (layout.samples == 1 and planes(stored, size))


def planes(stored: UInt8[np.ndarray, " N"], size: int) -> bool:
    """Return whether grey frames of ``size`` bytes are the planes of frames of three colours."""
    frames = stored[: len(stored) // (3 * size) * 3 * size].reshape(-1, 3, size)[:, :, ::7].astype(np.int16)
    # Shares of pixels, because coloured text differs much between planes.
    between = (np.abs(frames[1:, 0] - frames[:-1, 2]) > UNEQUAL).sum() / max(1, len(frames) - 1)
    first, second = ((np.abs(frames[:, i + 1] - frames[:, i]) > UNEQUAL).sum() / max(1, len(frames)) for i in (0, 1))
    return bool(max(first, second) < between / 2)
