"""Write RGB videos as MP4 (H.264) or GIF, by PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import UInt8

from echo_e3net.errors import InputError
from echo_e3net.files import whole

Picture = UInt8[np.ndarray, "H W 3"]
GIF_FPS = 50.0
"""Highest frame rate of a GIF that common viewers support, frames per second."""


FORMATS = {".mp4": "mp4", ".gif": "gif", ".mkv": "matroska"}
LIVE = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
"""An MP4 with these options can be played while it is written, and after its writer was killed."""
FAST = {"preset": "ultrafast", "tune": "zerolatency"}


class Sink:
    """Passes bytes on to a file. Keeps the first error, because FFmpeg crashes the program after a failed write.

    Args:
        file: a binary file.
    """

    def __init__(self, file: Any) -> None:  # noqa: ANN401
        self.file = file
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        """Write."""
        if self.error is None:
            try:
                self.file.write(content)
                self.file.flush()
            except OSError as error:
                self.error = error
        return len(content)

    def check(self) -> None:
        """Raise the error that was kept."""
        if self.error is not None:
            raise self.error


class SeekableSink(Sink):
    """A sink for formats whose header is written at the end."""

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place."""
        return int(self.file.seek(place, whence))

    def tell(self) -> int:
        """Return the place."""
        return int(self.file.tell())


class VideoWriter:
    """Writes pictures of one size as frames of a video; used in a ``with`` block.

    Args:
        file: an open binary file.
        kind: .mp4, .gif or .mkv.
        fps: frames per second.
        live: write so that the video can be played meanwhile, with little compression because it is faster.

    Raises:
        OSError: the file cannot be written; also by the methods.
    """

    def __init__(self, file: Any, kind: str, fps: float, live: bool = False) -> None:  # noqa: ANN401
        self.sink = SeekableSink(file) if kind == ".mp4" and not live else Sink(file)
        sink: Any = self.sink
        self.container = av.open(
            sink, "w", format=FORMATS[kind], container_options=LIVE if live and kind == ".mp4" else {}
        )
        rate = Fraction(fps).limit_denominator(1000)
        self.stream: Any = self.container.add_stream("gif" if kind == ".gif" else "libx264", rate)
        if live:
            options: dict[str, Any] = FAST | {"g": str(round(fps))}
            self.stream.options = options
        self.begun = False
        self.stream.pix_fmt = "rgb8" if kind == ".gif" else "yuv420p"
        self.step = 1 / rate

    def __enter__(self) -> VideoWriter:
        return self

    def add(self, picture: Picture, number: int | None = None) -> None:
        """Add a frame; height and width are even.

        Args:
            picture: red, green, blue.
            number: place of the frame, in frames; None for the next one.
        """
        if not self.begun:
            self.begun = True
            self.stream.height, self.stream.width = picture.shape[:2]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        if number is not None:
            frame.pts, frame.time_base = number, self.step
        self.container.mux(self.stream.encode(frame))
        self.sink.check()

    def __exit__(self, kind: type | None, *_: object) -> None:
        """Finish the file."""
        try:
            if kind is None and self.begun:
                self.container.mux(self.stream.encode())
        finally:
            self.container.close()
        if kind is None:
            self.sink.check()


def write_video(path: Path, pictures: Iterable[Picture], fps: float) -> None:
    """Write pictures of one size, with even sides, as a video. A GIF repeats for ever.

    Raises:
        InputError: the suffix is neither .mp4 nor .gif, or the file cannot be written.
    """
    if path.suffix.lower() not in (".mp4", ".gif"):
        raise InputError(f"{path}: a video is written as .mp4 or .gif.")
    with (
        whole(path) as aside,
        aside.open("wb", buffering=0) as file,
        VideoWriter(file, path.suffix.lower(), fps) as writer,
    ):
        for picture in pictures:
            writer.add(picture)
