"""Pixel operations by OpenCV: warping, blurring, drawing, and motion-JPEG files.

Arrays are numpy; points are (x, y) with the centre of the first pixel at
(0, 0).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from echo_e3net.files import whole

Mask = Bool[np.ndarray, "H W"]
Frames = UInt8[np.ndarray, "T H W"]
_SUBPIXEL_BITS = 4
"""Fractional bits of the fixed-point coordinates with which OpenCV draws."""
_GAP, _TITLE, _INK = 6, 24, (200.0, 200.0, 200.0)
"""Gap between pictures of a card and height of its titles, pixels; colour of the text."""


def use_one_thread() -> None:
    """Limit OpenCV to the calling thread: for small pictures, one process per core is faster than many threads."""
    cv2.setNumThreads(1)


def remap(
    picture: np.ndarray, x: Float32[np.ndarray, "H W"], y: Float32[np.ndarray, "H W"], mirror: bool = False
) -> np.ndarray:
    """Sample a picture at (x, y) with bilinear interpolation.

    Args:
        picture: (h, w) or (h, w, channels <= 4), float32 or uint8.
        x: column of each output pixel, in the picture's pixels.
        y: row of each output pixel.
        mirror: extend the picture by its mirror image; otherwise it is 0 outside.
    """
    border = cv2.BORDER_REFLECT_101 if mirror else cv2.BORDER_CONSTANT
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=border))


def resize_linear(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize with bilinear interpolation, for enlarging smooth fields. Outer pixel edges coincide."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR))


def resize_area(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink without aliasing: average the area under each output pixel."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def resize_cubic(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize with bicubic interpolation, for pictures that people look at."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC))


def blur(picture: np.ndarray, sigma_x: float, sigma_y: float) -> np.ndarray:
    """Blur with a Gaussian; standard deviations are in pixels, the border is mirrored."""
    return np.asarray(
        cv2.GaussianBlur(picture, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y, borderType=cv2.BORDER_REFLECT_101)
    )


def warp(frames: Frames, matrix: Float[np.ndarray, "2 3"]) -> Frames:
    """Move grey frames by an affine map of points (x, y, 1), with bicubic interpolation; 0 outside."""
    size = frames.shape[:0:-1]
    return np.stack([cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_CUBIC) for frame in frames])


def jpeg(picture: UInt8[np.ndarray, "h w"], quality: int) -> UInt8[np.ndarray, "h w"]:
    """Return a grey picture after JPEG compression of a quality from 1 to 100."""
    _, buffer = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(buffer, cv2.IMREAD_GRAYSCALE))


def draw_curve(
    picture: np.ndarray,
    points: Float32[np.ndarray, "N 2"],
    value: float | tuple[float, float, float],
    thickness: int = 1,
    closed: bool = False,
) -> None:
    """Draw an anti-aliased polyline into a uint8 picture, in place.

    Args:
        picture: (h, w) or (h, w, 3), uint8.
        points: (x, y), fractions allowed.
        value: grey value, or the values of three channels.
        thickness: in pixels.
        closed: join the last point to the first.
    """
    fixed = np.round(points * 2**_SUBPIXEL_BITS).astype(np.int32)
    colour = value if isinstance(value, tuple) else (value, value, value)
    cv2.polylines(picture, [fixed.reshape(-1, 1, 2)], closed, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def fill_polygon(shape: tuple[int, int], points: Float32[np.ndarray, "N 2"]) -> Mask:
    """Return the pixels inside a closed polygon or on its edge."""
    picture = np.zeros(shape, np.uint8)
    cv2.fillPoly(picture, [np.round(points * 2**_SUBPIXEL_BITS).astype(np.int32)], 1, cv2.LINE_8, _SUBPIXEL_BITS)
    return picture.astype(bool)


def border_pixels(mask: Mask) -> Int[np.ndarray, "N 2"]:
    """Return the outermost pixels (x, y) of the largest connected part of a mask, in order; (0, 2) if it is empty."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea, default=np.empty((0, 1, 2), np.int32))
    return np.asarray(largest[:, 0]).astype(np.int64)


def close_gaps(mask: Mask, size: int) -> Mask:
    """Close gaps that are narrower than ``size`` pixels."""
    return _morph(mask, cv2.MORPH_CLOSE, size)


def cut_thin(mask: Mask, size: int) -> Mask:
    """Remove parts that are thinner than ``size`` pixels."""
    return _morph(mask, cv2.MORPH_OPEN, size)


def grow(mask: Mask, distance: int) -> Mask:
    """Add the pixels within a distance of the mask."""
    return _morph(mask, cv2.MORPH_DILATE, 2 * distance + 1)


def shrink(mask: Mask, distance: int) -> Mask:
    """Remove the pixels within a distance of the edge of the mask."""
    return _morph(mask, cv2.MORPH_ERODE, 2 * distance + 1)


def largest_component(mask: Mask) -> Mask:
    """Return the connected part with the most pixels; empty if there is none."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return np.asarray(labels == 1 + int(areas.argmax())) if len(areas) else np.zeros_like(mask)


def large_components(mask: Mask, share: float) -> Mask:
    """Return the connected parts with at least this share of the pixels of the largest one; empty if there is none."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA]
    # the first label is the background
    areas[0] = 0
    return np.asarray(((areas >= share * areas.max()) & (areas > 0))[labels])


def convex_hull(mask: Mask) -> Mask:
    """Return the smallest convex region that contains the mask."""
    hull = np.zeros(mask.shape, np.uint8)
    if mask.any():
        cv2.fillConvexPoly(hull, corners(mask).astype(np.int32), 1)
    return hull.astype(bool)


def corners(mask: Mask) -> Float[np.ndarray, "N 2"]:
    """Return the corners (x, y) of a convex region, in order."""
    return np.asarray(cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32))[:, 0], np.float64)


def in_colour(picture: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return a grey picture in three equal channels."""
    return np.repeat(picture[..., None], 3, axis=-1)


def card(pictures: Sequence[UInt8[np.ndarray, "h _ 3"]], *titles: str) -> UInt8[np.ndarray, "H W 3"]:
    """Place colour pictures of equal height side by side, with titles above the first of them."""
    strip = np.concatenate([np.pad(picture, ((0, _GAP), (0, _GAP), (0, 0))) for picture in pictures], axis=1)
    line = np.zeros((_TITLE, strip.shape[1], 3), np.uint8)
    x = _GAP
    for picture, title in zip(pictures, titles, strict=False):
        draw_text(line, title, x, _TITLE - 7)
        x += picture.shape[1] + _GAP
    return np.concatenate([line, strip])


def draw_text(
    picture: UInt8[np.ndarray, "h w 3"], text: str, x: int, y: int, value: tuple[float, float, float] = _INK
) -> None:
    """Write a line of text into a colour picture, in place; (x, y) is where its base line begins. Only ASCII.

    A black outline keeps it readable on bright tissue.
    """
    for colour, thickness in (((0, 0, 0), 3), (value, 1)):
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, 0.42, colour, thickness, cv2.LINE_AA)


def png(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Return a colour picture (red, green, blue) as the content of a PNG file."""
    return bytes(cv2.imencode(".png", picture[..., ::-1])[1])


def write_mjpeg_avi(path: Path, frames: Frames, fps: float, quality: int = 90) -> None:
    """Write grey frames as a motion-JPEG AVI with three equal channels. The write is atomic.

    Args:
        path: the file; its suffix is .avi.
        frames: grey frames.
        fps: frames per second.
        quality: JPEG quality, 1…100.

    Raises:
        InputError: the file cannot be written.
    """
    with whole(path) as aside:
        _encode(aside, frames, fps, quality)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a grey or RGB uint8 picture as PNG. The write is atomic.

    Raises:
        InputError: the file cannot be written.
    """
    _, buffer = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)
    with whole(path) as aside:
        aside.write_bytes(buffer.tobytes())


def _morph(mask: Mask, operation: int, size: int) -> Mask:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), operation, disc)).astype(bool)


def _encode(path: Path, frames: Frames, fps: float, quality: int) -> None:
    height, width = frames.shape[1:]
    # OpenCV's own encoder respects the quality (by set(), not as an option) and gives the same bytes on every machine.
    # It knows only integer frame rates.
    whole_rate = max(1, round(fps))
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), whole_rate, (width, height), True
    )
    if not writer.isOpened() or not writer.set(cv2.VIDEOWRITER_PROP_QUALITY, quality):
        raise OSError("OpenCV cannot open a motion-JPEG file here")
    try:
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    finally:
        writer.release()
    if fps != whole_rate:
        _set_rate(path, fps)


def _set_rate(path: Path, fps: float) -> None:
    """Write a fractional frame rate into the headers of an AVI: microseconds per frame, and scale and rate."""
    exact = Fraction(fps).limit_denominator(100_000)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8, round(1e6 / fps))
    struct.pack_into("<II", data, data.index(b"strh") + 8 + 20, exact.denominator, exact.numerator)
    path.write_bytes(data)
