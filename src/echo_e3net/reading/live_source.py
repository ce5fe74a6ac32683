"""Where the frames of a stream come from: a file, a camera, or raw frames from standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from echo_e3net.clinic.clip import RefusedError, refuse_dark
from echo_e3net.clinic.crop import Sector, cut_out, find_sector, refuse_colour
from echo_e3net.clinic.file_kind import NO_VIDEO, kind_of, read_clip
from echo_e3net.clinic.frame_rate import EXPECTED, file_rate, possible
from echo_e3net.clinic.prepare import FORM_PX, USUAL_SIDE
from echo_e3net.conventions import MIN_SIZE
from echo_e3net.data.frames import luma
from echo_e3net.errors import InputError
from echo_e3net.reading.source import doubt

Picture = UInt8[np.ndarray, "H W *C"]
Square = UInt8[np.ndarray, "S S"]
SECTOR_S = 2.0
"""The sector is found in the frames of this time, seconds: more than one beat."""


class LiveSource(NamedTuple):
    """Frames as they come.

    Attributes:
        name: the file, "camera 0", or "standard input".
        pictures: frames, grey (H, W) or red, green, blue (H, W, 3).
        fps: frames per second.
        own_rate: whether frames must be given out at that rate. A camera waits by itself.
        remark: warning about the frame rate; empty if there is none.
    """

    name: str
    pictures: Iterator[Picture]
    fps: float
    own_rate: bool
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
        return LiveSource("standard input", raw_frames(sys.stdin.buffer, *sides(frame_size)), fps, own_rate=True)
    path = Path(source)
    if source.isdecimal() and not path.exists():
        from echo_e3net.data.camera import open_camera

        return LiveSource(f"camera {source}", *open_camera(int(source), fps), own_rate=False)
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
            return LiveSource(str(path), iter(frames), clip.fps, own_rate=True, remark=doubt(clip.fps_from))
    except RefusedError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    fps, fps_from = file_rate(sequential.frame_rate(path))
    return LiveSource(str(path), sequential.pictures(path), fps, own_rate=True, remark=doubt(fps_from))


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


def raw_frames(file: Any, height: int, width: int) -> Iterator[Picture]:  # noqa: ANN401  (binary)
    """Yield grey frames of one byte per pixel.

    Raises:
        InputError: the input ends within a frame.
    """
    size = height * width
    while content := file.read(size):
        if len(content) < size:
            raise InputError(
                f"standard input ended within a frame: {len(content)} of {size} bytes. "
                f"Check that frames are grey, one byte per pixel, {width}x{height}."
            )
        yield np.frombuffer(content, np.uint8).reshape(height, width)


class Framing:
    """Cut the sector out of frames. It is found in the first two seconds; a small square video is not cropped.

    Args:
        fps: frames per second.
        size: side of the clips of the network, pixels; the sector keeps at least so many.
    """

    def __init__(self, fps: float, size: int) -> None:
        self.needed, self.side = int(np.ceil(SECTOR_S * fps)), max(USUAL_SIDE, size)
        self.sector: Sector | None = None
        self.held: list[tuple[int, Picture]] = []
        self.refused = ""

    def add(self, number: int, picture: Picture) -> list[tuple[int, Square]]:
        """Take a frame; return frames that are ready, with their numbers. Until the sector is found, there are none.

        ``refused`` tells why no sector was found in the last two seconds; it is then looked for in the next two.
        """
        height, width = picture.shape[:2]
        if height == width <= FORM_PX:
            return [(number, grey(picture))]
        if self.sector is not None:
            return [(number, self.cut(picture))]
        self.held.append((number, picture))
        return self.find() if len(self.held) >= self.needed else []

    def find(self) -> list[tuple[int, Square]]:
        """Find the sector in the frames held; return them cut, or nothing if there is no sector."""
        held, self.held = self.held, []
        if not held:
            return []
        pictures = np.stack([picture for _, picture in held])
        frames = np.stack([grey(picture) for picture in pictures])
        try:
            sector = find_sector(frames)
            refuse_dark(frames, sector.mask)
            if pictures.ndim == 4:
                refuse_colour(pictures, sector.mask)
        except RefusedError as error:
            self.refused = str(error)
            return []
        self.sector, self.refused = sector, ""
        return [(number, self.cut(picture)) for number, picture in held]

    def cut(self, picture: Picture) -> Square:
        """Return a frame cut to the sector.

        Raises:
            InputError: its size is not that of the first frames.
        """
        if self.sector is None or picture.shape[:2] != self.sector.mask.shape:
            raise InputError(f"the frames change their size to {picture.shape[1]}x{picture.shape[0]}; start again.")
        square: Square = cut_out(grey(picture)[None], self.sector, self.side)[0]
        return square


def grey(picture: Picture) -> UInt8[np.ndarray, "H W"]:
    """Return the luma of a frame."""
    return picture if picture.ndim == 2 else luma(picture[None])[0]
