"""Pixels in and out of OpenCV: warping, blurring, drawing, and motion-JPEG files.

The only file that imports OpenCV. Arrays are numpy; points are (x, y) with the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from echo_e3net.files import whole

_SUBPIXEL_BITS = 4
"""OpenCV draws with fixed-point coordinates: this many bits of fraction."""


def use_one_thread() -> None:
    """Keep OpenCV to the calling thread: one process a core is faster than many threads on small pictures."""
    cv2.setNumThreads(1)


def remap(
    picture: np.ndarray, x: Float32[np.ndarray, "H W"], y: Float32[np.ndarray, "H W"], mirror: bool = False
) -> np.ndarray:
    """Sample a picture at (x, y), bilinearly.

    Args:
        picture: (h, w) or (h, w, channels <= 4), float32 or uint8.
        x: column of each output pixel, in the picture's pixels.
        y: row of each output pixel.
        mirror: continue the picture by its mirror image; otherwise it is 0 outside.
    """
    border = cv2.BORDER_REFLECT_101 if mirror else cv2.BORDER_CONSTANT
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=border))


def resize_linear(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize bilinearly, pixel edges on pixel edges; for enlarging smooth fields."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR))


def resize_area(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink by averaging the area under each output pixel: no aliasing."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def resize_cubic(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarge smoothly, for pictures that people look at."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC))


def blur(picture: np.ndarray, sigma_x: float, sigma_y: float) -> np.ndarray:
    """Gaussian blur with standard deviations in pixels; the border is mirrored."""
    return np.asarray(
        cv2.GaussianBlur(picture, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y, borderType=cv2.BORDER_REFLECT_101)
    )


def draw_curve(
    picture: np.ndarray,
    points: Float32[np.ndarray, "N 2"],
    value: float | tuple[float, float, float],
    thickness: int = 1,
    closed: bool = False,
) -> None:
    """Draw a smooth-edged poly-line into a uint8 picture, in place.

    Args:
        picture: (h, w) or (h, w, 3), uint8.
        points: (x, y), fractions allowed.
        value: grey value, or the three channels' values.
        thickness: in pixels.
        closed: join the last point to the first.
    """
    fixed = np.round(points * 2**_SUBPIXEL_BITS).astype(np.int32)
    colour = value if isinstance(value, tuple) else (value, value, value)
    cv2.polylines(picture, [fixed.reshape(-1, 1, 2)], closed, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def fill_polygon(shape: tuple[int, int], points: Float32[np.ndarray, "N 2"]) -> Bool[np.ndarray, "H W"]:
    """Pixels inside a closed polygon (or touched by its edge)."""
    picture = np.zeros(shape, np.uint8)
    cv2.fillPoly(picture, [np.round(points * 2**_SUBPIXEL_BITS).astype(np.int32)], 1, cv2.LINE_8, _SUBPIXEL_BITS)
    return picture.astype(bool)


def border_pixels(mask: Bool[np.ndarray, "H W"]) -> Int[np.ndarray, "N 2"]:
    """Outermost pixels (x, y) of the largest connected part of a mask, in order around it; none where the mask is empty."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea, default=np.empty((0, 1, 2), np.int32))
    return np.asarray(largest[:, 0]).astype(np.int64)


def close_gaps(mask: Bool[np.ndarray, "H W"], size: int) -> Bool[np.ndarray, "H W"]:
    """Fill gaps narrower than ``size`` pixels."""
    return _morph(mask, cv2.MORPH_CLOSE, size)


def cut_thin(mask: Bool[np.ndarray, "H W"], size: int) -> Bool[np.ndarray, "H W"]:
    """Remove what is thinner than ``size`` pixels."""
    return _morph(mask, cv2.MORPH_OPEN, size)


def grow(mask: Bool[np.ndarray, "H W"], distance: int) -> Bool[np.ndarray, "H W"]:
    """Add what lies within so many pixels of it."""
    return _morph(mask, cv2.MORPH_DILATE, 2 * distance + 1)


def shrink(mask: Bool[np.ndarray, "H W"], distance: int) -> Bool[np.ndarray, "H W"]:
    """Take away what lies within so many pixels of its edge."""
    return _morph(mask, cv2.MORPH_ERODE, 2 * distance + 1)


def largest_component(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The connected part with the most pixels; empty where there is none."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return np.asarray(labels == 1 + int(areas.argmax())) if len(areas) else np.zeros_like(mask)


def convex_hull(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The smallest convex region that holds it."""
    hull = np.zeros(mask.shape, np.uint8)
    if mask.any():
        points = np.argwhere(mask)[:, ::-1].astype(np.int32)
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    return hull.astype(bool)


def corners(mask: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "N 2"]:
    """The corners (x, y) of a convex region, in order."""
    return np.asarray(cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32))[:, 0], np.float64)


def write_text(
    picture: UInt8[np.ndarray, "H W 3"], text: str, x: int, y: int, value: tuple[float, float, float], size: float
) -> None:
    """Write one line of text into a colour picture, in place; (x, y) is the left end of the base line."""
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, size, value, 1, cv2.LINE_AA)


def best_match(template: Float32[np.ndarray, "h w"], picture: Float32[np.ndarray, "H W"]) -> float:
    """Highest normalised correlation (-1…1) of a template with any place of a larger picture."""
    return float(cv2.matchTemplate(picture, template, cv2.TM_CCOEFF_NORMED).max())


def write_mjpeg_avi(path: Path, frames: UInt8[np.ndarray, "T H W"], fps: float, quality: int = 90) -> None:
    """Write grey frames as a motion-JPEG AVI, grey stored as three equal channels; the file appears whole or not at all.

    Args:
        path: the file to write, ending in .avi.
        frames: grey frames.
        fps: frames a second.
        quality: JPEG quality, 1…100.

    Raises:
        InputError: the file cannot be written.
    """
    with whole(path) as aside:
        _encode(aside, frames, fps, quality)


def claimed_frames(path: Path) -> int:
    """Frames that a video's header claims, without decoding any; 0 where it claims nothing, or is unreadable."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        capture.release()


def read_animation(path: Path) -> tuple[UInt8[np.ndarray, "T H W 3"], float]:
    """Red-green-blue frames, and frames a second, of an animated GIF, which decord does not read; no frame where it cannot be decoded."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        while (read := capture.read())[0]:
            frames.append(read[1][..., ::-1])
    finally:
        capture.release()
    return (np.stack(frames) if frames else np.zeros((0, 1, 1, 3), np.uint8)), rate


def through_jpeg(frame: UInt8[np.ndarray, "H W"], quality: int) -> UInt8[np.ndarray, "H W"]:
    """What is left of a grey picture after it was stored as JPEG."""
    _, buffer = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(buffer, cv2.IMREAD_GRAYSCALE))


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a grey or red-green-blue uint8 picture; the file appears whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    _, buffer = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)
    with whole(path) as aside:
        aside.write_bytes(buffer.tobytes())


def _morph(mask: Bool[np.ndarray, "H W"], operation: int, size: int) -> Bool[np.ndarray, "H W"]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), operation, disc)).astype(bool)


def _encode(path: Path, frames: UInt8[np.ndarray, "T H W"], fps: float, quality: int) -> None:
    height, width = frames.shape[1:]
    # OpenCV's own encoder: the one that honours the quality (by set(), not as an option), and the same bytes whatever codecs the machine has.
    whole_rate = max(1, round(fps))  # all that this encoder knows
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), whole_rate, (width, height), True
    )
    if not writer.isOpened() or not writer.set(cv2.VIDEOWRITER_PROP_QUALITY, quality):
        raise OSError("OpenCV cannot open a motion-JPEG file there")
    try:
        for frame in frames:
            writer.write(np.repeat(frame[..., None], 3, axis=-1))
    finally:
        writer.release()
    if fps != whole_rate:
        _set_rate(path, fps)


def _set_rate(path: Path, fps: float) -> None:
    """Put a frame rate that is no whole number into an AVI's two headers: microseconds a frame, and the stream's scale and rate."""
    exact = Fraction(fps).limit_denominator(100_000)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8, round(1e6 / fps))
    struct.pack_into("<II", data, data.index(b"strh") + 8 + 20, exact.denominator, exact.numerator)
    path.write_bytes(data)
