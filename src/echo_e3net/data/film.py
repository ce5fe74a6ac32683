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


class VideoWriter:
    """Writes pictures of one size as frames of a video; used in a ``with`` block.

    Args:
        path: the file that is written; its suffix is .mp4 or .gif.
        fps: frames per second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.gif = path.suffix.lower() == ".gif"
        self.container = av.open(str(path), "w", format="gif" if self.gif else "mp4")
        rate = Fraction(fps).limit_denominator(1000)
        self.stream: Any = self.container.add_stream("gif" if self.gif else "libx264", rate)
        self.begun = False
        self.stream.pix_fmt = "rgb8" if self.gif else "yuv420p"

    def __enter__(self) -> VideoWriter:
        return self

    def add(self, picture: Picture) -> None:
        """Add a frame; height and width are even."""
        if not self.begun:
            self.begun = True
            self.stream.height, self.stream.width = picture.shape[:2]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        self.container.mux(self.stream.encode(frame))

    def __exit__(self, kind: type | None, *_: object) -> None:
        """Finish the file."""
        if kind is None:
            self.container.mux(self.stream.encode())
        self.container.close()


def write_video(path: Path, pictures: Iterable[Picture], fps: float) -> None:
    """Write pictures of one size, with even sides, as a video. A GIF repeats for ever.

    Raises:
        InputError: the suffix is neither .mp4 nor .gif, or the file cannot be written.
    """
    if path.suffix.lower() not in (".mp4", ".gif"):
        raise InputError(f"{path}: a video is written as .mp4 or .gif.")
    with whole(path) as aside, VideoWriter(aside, fps) as writer:
        for picture in pictures:
            writer.add(picture)
