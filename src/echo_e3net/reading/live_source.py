"""Where the frames of a stream come from: a file, a camera, or raw frames from standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from echo_e3net.clinic.clip import RefusedError, refuse_dark
from echo_e3net.clinic.crop import Sector, cut_out, find_sector, refuse_colour
from echo_e3net.clinic.file_kind import NO_VIDEO, kind_of, read_clip
from echo_e3net.clinic.frame_rate import ASSUMED_FPS, EXPECTED, file_rate, possible
from echo_e3net.clinic.prepare import FORM_PX, USUAL_SIDE
from echo_e3net.conventions import MIN_FRAMES, MIN_SIZE
from echo_e3net.data import raster
from echo_e3net.data.frames import luma
from echo_e3net.errors import InputError
from echo_e3net.reading.source import doubt

Picture = UInt8[np.ndarray, "H W *C"]
Square = UInt8[np.ndarray, "S S"]
SECTOR_S = 2.0
"""The sector is found in the frames of this time, seconds: more than one beat."""
SEARCHED = 40
"""About this number of them are searched."""
SEARCHED_PX = 400
"""The shorter side of frames is reduced to 400 to 800 pixels."""


class LiveSource(NamedTuple):
    """Frames as they come.

    Attributes:
        name: the file, "camera 0", or "standard input".
        pictures: frames, grey (H, W) or red, green, blue (H, W, 3).
        fps: frames per second.
        kind: a camera gives frames when it has them. Those of a file or a pipe are given out at the frame rate.
        remark: warning about the frame rate; empty if there is none.
    """

    name: str
    pictures: Iterator[Picture]
    fps: float
    kind: Literal["file", "pipe", "camera"]
    remark: str = ""


def open_source(source: str, fps: float | None = None, frame_size: str | None = None) -> LiveSource:
    """Open a source.

    Args:
        source: a video file, the number of a camera, or - for raw grey frames (one byte per pixel) from standard input.
        fps: frames per second, for - and cameras.
        frame_size: width and height of raw frames, such as 640x480; only for -.

    Raises:
        InputError: the source does not exist, or arguments are missing or do not belong to it.
    """
    if fps is not None and not possible(fps):
        raise InputError(f"--fps is {fps:g}; {EXPECTED}.")
    if frame_size is not None and source != "-":
        raise InputError(f"--frame_size is only for raw frames from standard input (-), not for {source}.")
    if source == "-":
        if fps is None or frame_size is None:
            raise InputError("raw frames from standard input need --fps and --frame_size, such as 50 and 640x480.")
        height, width = sides(frame_size)
        return LiveSource("standard input", raw_frames(standard_input(), height, width), fps, "pipe")
    path = Path(source)
    if source.isdecimal() and not path.exists():
        from echo_e3net.data.camera import open_camera

        pictures, stated = open_camera(int(source), fps)
        rate = stated if possible(stated) else fps or ASSUMED_FPS
        remark = f"camera {source} states {stated:g} frames per second; {rate:g} is used" if rate != stated else ""
        if fps is not None and stated != fps:
            remark = f"camera {source} does not give --fps {fps:g}; {rate:g} frames per second are used"
        return LiveSource(f"camera {source}", pictures, rate, "camera", remark)
    if fps is not None:
        raise InputError(f"--fps is only for cameras and raw frames; {source} has its own frame rate.")
    return open_file(path)


def open_file(path: Path) -> LiveSource:
    """Open a video file. A DICOM file is read into memory; others are decoded frame by frame.

    Raises:
        InputError: it is not a video.
    """
    from echo_e3net.data import sequential

    if not path.is_file():
        found = "a folder; name one video" if path.is_dir() else "no such file, and not the number of a camera"
        raise InputError(f"{path}: {found}.")
    try:
        kind = kind_of(path)
        if kind is None:
            raise RefusedError(NO_VIDEO)
        if kind == "DICOM":
            clip = read_clip(path)
            frames = clip.grey if clip.colour is None else clip.colour
            return LiveSource(str(path), iter(frames), clip.fps, "file", doubt(clip.fps_from))
    except RefusedError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    fps, fps_from = file_rate(sequential.frame_rate(path))
    return LiveSource(str(path), sequential.pictures(path), fps, "file", doubt(fps_from))


def sides(frame_size: str) -> tuple[int, int]:
    """Return height and width of a text such as 640x480.

    Raises:
        InputError: the text is not a size, or is too small.
    """
    width, _, height = frame_size.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()) or min(int(width), int(height)) < MIN_SIZE:
        raise InputError(
            f"--frame_size is {frame_size}; expected width and height in pixels, at least {MIN_SIZE}, such as 640x480."
        )
    return int(height), int(width)


def standard_input() -> Any:  # noqa: ANN401  (binary)
    """Return standard input without a buffer: a thread that waits for a buffer would crash the end of the program.

    Raises:
        InputError: it is closed.
    """
    if sys.stdin is None:
        raise InputError("standard input is closed; pipe raw frames into it.")
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def raw_frames(file: Any, height: int, width: int) -> Iterator[Picture]:  # noqa: ANN401  (binary)
    """Yield grey frames of one byte per pixel.

    Raises:
        InputError: the input ends within a frame.
    """
    size = height * width
    while True:
        content = b""
        while len(content) < size and (part := file.read(size - len(content))):
            content += part
        if not content:
            return
        if len(content) < size:
            raise InputError(
                f"standard input ended within a frame: {len(content)} of {size} bytes. "
                f"Check that frames are grey, one byte per pixel, {width}x{height}."
            )
        yield np.frombuffer(content, np.uint8).reshape(height, width)


class Framing:
    """Cut the sector out of frames. It is found in the first two seconds; a small square video is not cropped.

    Large frames are reduced first, so that this takes less time than the frames last.

    Args:
        fps: frames per second.
        size: side of the clips of the network, pixels; the cut frames are at least as large.
    """

    def __init__(self, fps: float, size: int) -> None:
        self.needed, self.side = int(np.ceil(SECTOR_S * fps)), max(USUAL_SIDE, size)
        self.sector: Sector | None = None
        self.shape: tuple[int, ...] = ()
        self.held: list[tuple[int, Picture]] = []
        self.coloured: list[Picture] = []
        self.refused = ""

    def add(self, number: int, picture: Picture) -> list[tuple[int, Square]]:
        """Take a frame; return frames that are ready, with their numbers. Until the sector is found, there are none.

        ``refused`` tells why no sector was found in the last two seconds; it is then looked for in the next two.

        Raises:
            InputError: the size of the frame is not that of the first one.
        """
        self.shape = self.shape or picture.shape
        if picture.shape != self.shape:
            raise InputError(f"the frames change their size to {picture.shape[1]}x{picture.shape[0]}; start again.")
        height, width = picture.shape[:2]
        if height == width <= FORM_PX:
            return [(number, grey(picture))]
        if factor := min(height, width) // SEARCHED_PX:
            picture = raster.resize_area(picture, height // factor, width // factor)
        if self.sector is not None:
            return [(number, cut_out(grey(picture)[None], self.sector, self.side)[0])]
        if picture.ndim == 3 and len(self.held) % max(1, self.needed // SEARCHED) == 0:
            self.coloured.append(picture)
        self.held.append((number, grey(picture)))
        return self.find() if number - self.held[0][0] + 1 >= self.needed else []

    def find(self) -> list[tuple[int, Square]]:
        """Find the sector in the frames held; return them cut, or nothing if there is no sector."""
        held, coloured, self.held, self.coloured = self.held, self.coloured, [], []
        if not held or (self.refused and len(held) < MIN_FRAMES):
            return []
        frames = np.stack([picture for _, picture in held])
        searched = frames[:: max(1, len(frames) // SEARCHED)]
        try:
            sector = find_sector(searched)
            refuse_dark(searched, sector.mask)
            if coloured:
                refuse_colour(np.stack(coloured), sector.mask)
        except RefusedError as error:
            self.refused = str(error)
            return []
        self.sector, self.refused = sector, ""
        return [(number, square) for (number, _), square in zip(held, cut_out(frames, sector, self.side), strict=True)]


def grey(picture: Picture) -> UInt8[np.ndarray, "H W"]:
    """Return the luma of a frame."""
    return picture if picture.ndim == 2 else luma(picture[None])[0]
