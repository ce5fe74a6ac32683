"""Decode videos of any codec from the first frame to the last, strictly, with PyAV. Only this module imports av.

A decoder that seeks, such as decord, returns shifted or repeated frames for files with B-frames, open groups of
pictures, edit lists or a late start. One pass over the file gives the frames that players show:

* Frames are counted, not times: with a variable frame rate, frame 10 is the eleventh picture.
* A rotation or mirroring in the header is applied.
* Damaged data is an error. By default, FFmpeg replaces it by parts of other frames.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import av
import av.logging
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from echo_e3net.errors import InputError

Picture = UInt8[np.ndarray, "H W 3"]
CONTAINERS = "avi,mov,matroska,mpeg,mpegts,mpegvideo,asf,flv,ogg,gif"
"""Demuxers of FFmpeg that may open a file. Others take any text for a video, or open further files."""
BT601 = 5
"""FFmpeg's number of the BT.601 matrix. PyAV needs a value; it has no effect on RGB."""
STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}
ADVICE = "Copy it again, convert it to a motion-JPEG AVI, or remove it."

# By default, FFmpeg does not log a repeated error, so the error in the next file would be missed.
av.logging.set_skip_repeated(False)


def pictures(path: Path) -> Iterator[Picture]:
    """Yield all frames in colour (red, green, blue), as players show them.

    Raises:
        InputError: the file cannot be decoded, or is damaged.
    """
    first: tuple[int, ...] = ()
    # A converter per frame would start threads for each of them.
    converter = VideoReformatter()
    with closing(frames(path)) as decoded:
        for number, frame in enumerate(decoded):
            try:
                picture = upright(frame, converter)
            except ValueError as error:
                raise refusal(path, str(error)) from error
            first = first or picture.shape
            if picture.shape != first:
                raise refusal(path, f"frame {number} has another size than frame 0")
            yield picture


def count(path: Path) -> int:
    """Return the number of frames that decode; errors are those of :func:`pictures`."""
    return sum(1 for _ in frames(path))


def frames(path: Path) -> Generator[VideoFrame, None, None]:
    """Yield all frames in order; errors are those of :func:`pictures`."""
    held = 0
    with opened(path) as (container, stream), errors() as log:
        # The errors of other threads would not be captured.
        stream.codec_context.thread_count = 1
        stream.codec_context.options = STRICT
        try:
            for packet in container.demux(stream):
                decoded = packet.decode()
                if log or packet.is_corrupt or any(frame.is_corrupt for frame in decoded):
                    raise ValueError("damaged data")
                held += len(decoded)
                yield from decoded
        except (av.FFmpegError, ValueError) as error:
            reason = log[-1][2].strip() if log else getattr(error, "strerror", None) or str(error)
            raise refusal(path, f"{stream.codec_context.name}, after {held} frames: {reason}") from error
    if not held:
        raise refusal(path, "it has no frames")


def frame_rate(path: Path) -> float:
    """Return the mean number of frames per second; 0 if it is unknown."""
    with opened(path) as (_, stream):
        return float(stream.average_rate or stream.guessed_rate or 0)


def claimed_frames(path: Path) -> int:
    """Return the number of frames in the header of a video; 0 if it has none or is unreadable."""
    try:
        with opened(path) as (_, stream):
            return max(0, stream.frames)
    except InputError:
        return 0


def upright(frame: VideoFrame, converter: VideoReformatter) -> Picture:
    """Return a frame in colour, turned and mirrored as its display matrix says.

    Raises:
        ValueError: the matrix is not one of quarter turns and mirroring.
    """
    # Releases before 17 neglect the matrix and the range of the colours if they are not named.
    colour: Any = {"format": "rgb24", "src_color_range": int(frame.color_range), "dst_colorspace": BT601}
    picture = converter.reformat(frame, **colour).to_ndarray()
    sides: Any = frame.side_data
    found = sides.get("DISPLAYMATRIX")
    if found is None:
        return picture
    # x' = a x + c y and y' = b x + d y
    a, b, _, c, d = np.frombuffer(bytes(found), np.int32)[:5]
    if bool(a or d) == bool(b or c):
        raise ValueError("its header has a rotation that is not a multiple of 90°")
    turned = picture if a else picture.swapaxes(0, 1)
    return np.ascontiguousarray(turned[:: np.sign(d or b), :: np.sign(a or c)])


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its main video; errors are InputErrors."""
    try:
        # An absolute path is not taken for a protocol, whatever the name of the file.
        # The argument ``options`` crashes releases before 18.
        container = av.open(str(path.absolute()), container_options={"format_whitelist": CONTAINERS})
    except (av.FFmpegError, ValueError, OSError) as error:
        other = f"its container is none of {CONTAINERS}" if getattr(error, "errno", 0) == errno.EINVAL else ""
        raise refusal(path, other or getattr(error, "strerror", None) or str(error)) from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            raise refusal(path, "it has no video stream that FFmpeg can decode")
        yield container, stream


@contextmanager
def errors() -> Iterator[list[tuple[int, str, str]]]:
    """Collect the errors that FFmpeg logs in this thread."""
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as log:
            yield log
    finally:
        av.logging.set_level(None)


def refusal(path: Path, reason: str) -> InputError:
    """Return the error of a video that cannot be used."""
    return InputError(f"{path}: the video cannot be decoded ({reason}). {ADVICE}")
