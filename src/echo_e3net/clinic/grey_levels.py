"""Convert stored values to grey or RGB pictures of 8 bits. The values themselves decide where a header can be wrong.

==============================  =====================================================================================
bits of full scale              those of the header; if the largest value of the clip (apart from one in 10,000) exceeds
                                them or stays below a quarter of full scale, the smallest of 8, 10, 12, 14 and 16 that
                                holds it
signed or not                   the reading in which neighbours differ less
RGB or YBR                      the reading in which the colours are closer to grey
interleaved or not              the reading in which successive rows differ less
inverted                        a clip without black and with much white is inverted
==============================  =====================================================================================

The limit of a quarter keeps a dim clip dim: its brightest pixel, usually a letter or the grey bar, still has a grey
value of 64 or more. Window and rescale values of a header are not applied.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from echo_e3net.clinic.clip import RefusedError

DEPTHS = (8, 10, 12, 14, 16)
"""Bits per sample of real pictures."""
RARE = 1e-4
"""Largest share of values that do not count for the depth: one damaged value must not darken the clip."""
SAMPLED = 8
"""Number of frames, evenly spaced, from which the reading is decided."""
CLEAR = 0.8
"""Two measures differ clearly if the smaller one is below this fraction of the larger one."""
ALIKE = 0.7
"""Largest difference of successive rows or frames, relative to that of parts of them."""
WHITE, BLACK = 0.3, 0.05
"""Smallest share of white and largest share of black pixels of an inverted clip. Screens are mostly black."""


def some(frames: np.ndarray) -> np.ndarray:
    """Return some frames, evenly spaced, as signed integers."""
    return frames[:: max(1, len(frames) // SAMPLED)].astype(np.int64)


def unsigned(pixels: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Return the values unchanged if none is negative.

    Args:
        pixels: read without sign.
        bits: BitsStored.
        signed: whether PixelRepresentation is 1.

    Raises:
        RefusedError: values really are negative. No rule gives their brightness.
    """
    if not signed or not (pixels >> (bits - 1)).any():
        return pixels
    read, half = some(pixels), 1 << (bits - 1)
    negative = (read + half) % (2 * half) - half
    if roughness(negative) < roughness(read):
        raise RefusedError(
            f"negative values: PixelRepresentation is 1 (signed), and values are {negative.min()} to {negative.max()}. "
            "Export it with PixelRepresentation 0, or as MP4."
        )
    return pixels


def roughness(frames: np.ndarray) -> float:
    """Return the mean difference of pixels that are neighbours in a row."""
    return float(np.abs(np.diff(frames, axis=2)).mean())


def used_bits(pixels: np.ndarray) -> int:
    """Return the number of bits of the largest value, apart from a few damaged ones."""
    used = int(pixels.max()).bit_length()
    while used > 8 and np.count_nonzero(pixels >> (used - 1)) <= RARE * pixels.size:
        used -= 1
    return used


def full_scale(used: int, bits: int) -> int:
    """Return the number of bits of full scale: those of the header, unless the values contradict them.

    Args:
        used: bits of the largest value.
        bits: of full scale according to the header.
    """
    # No scanner has 9, 11, 13 or 15 bits.
    if used == bits or (bits - 2 < used < bits and (bits in DEPTHS or bits < 8)):
        return bits
    return next((depth for depth in DEPTHS if used <= depth), used)


def eight_bit(pixels: np.ndarray, bits: int) -> UInt8[np.ndarray, "T H W *C"]:
    """Scale unsigned values to 8 bits.

    Args:
        pixels: the values.
        bits: of full scale according to the header.
    """
    shift = full_scale(used_bits(pixels), bits) - 8
    if not shift and pixels.dtype == np.uint8:
        return pixels
    scaled = pixels >> shift if shift > 0 else pixels << -shift
    return np.asarray(np.minimum(scaled, 255)).astype(np.uint8)


def interleaved(pixels: np.ndarray, planar: bool) -> np.ndarray:
    """Return colours (T, H, W, 3) of values that were read as interleaved, but may be stored plane after plane.

    Args:
        pixels: (T, H, W, 3).
        planar: whether PlanarConfiguration is 1. It decides only if the pixels do not.
    """
    count, height, width, _ = pixels.shape
    # The next row of a plane begins after one width, that of interleaved colours after three.
    one, three = gaps(pixels.reshape(-1), (width, 3 * width))
    if min(one, three) < CLEAR * max(one, three):
        planar = one < three
    return pixels.reshape(count, 3, height, width).transpose(0, 2, 3, 1) if planar else pixels


def is_ybr(pixels: UInt8[np.ndarray, "T H W 3"], declared: bool) -> bool:
    """Return whether three channels are luma and chroma; ``declared`` decides only if the pixels do not."""
    rgb, ybr = tints(some(pixels))
    return ybr < rgb if min(rgb, ybr) < CLEAR * max(rgb, ybr) else declared


def tints(colour: np.ndarray) -> tuple[float, float]:
    """Return the distance from grey of the greyest quarter of the pixels, read as RGB and as YBR."""
    first, others = colour[..., :1], colour[..., 1:]
    # Chroma of a grey pixel is 128.
    distances = [np.abs(others - grey).max(-1) for grey in (first, 128)]
    return float(np.quantile(distances[0], 0.25)), float(np.quantile(distances[1], 0.25))


def upright(grey: UInt8[np.ndarray, "T H W"], inverted: bool) -> UInt8[np.ndarray, "T H W"]:
    """Return a clip in which tissue is bright.

    Args:
        grey: the clip.
        inverted: whether the header says that 0 is white.
    """
    shown = 255 - grey if inverted else grey
    looked_at = some(shown)
    if (looked_at >= 250).mean() >= WHITE and (looked_at <= 5).mean() <= BLACK:
        return 255 - shown
    return shown


def alike(values: np.ndarray, period: int) -> bool:
    """Return whether rows or frames of ``period`` values are alike, and more so than parts of them are."""
    lags = (period, period // 3, period // 2, period * 3 // 2)
    if len(values) < 3 * period or not all(lags):
        return False
    own, *parts = gaps(values, lags)
    return own <= ALIKE * min(parts)


def gaps(values: np.ndarray, lags: tuple[int, ...]) -> list[float]:
    """Return the mean difference of values that are each of the lags apart."""
    # An odd step visits all columns.
    places = np.arange(0, len(values) - max(lags), len(values) // 1_000_000 | 1)
    start = values[places].astype(np.int64)
    return [float(np.abs(values[places + lag] - start).mean()) for lag in lags]
