"""Prepare video files or arrays for the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from echo_e3net.conventions import MIN_SIZE
from echo_e3net.errors import InputError
from echo_e3net.reading.picture_cues import lit_region


class Refused(NamedTuple):
    """A video that was not read.

    Attributes:
        name: the file.
        reason: why not, one line.
    """

    name: str
    reason: str


class Source(NamedTuple):
    """Frames that are ready for the network.

    Attributes:
        name: the file, or "frames".
        frames: (T, H, W), grey 0…255, without anything outside the sector.
        fps: frames per second.
        remark: warnings about the frame rate; empty if there are none.
        cropped: whether the file was cropped to its sector.
    """

    name: str
    frames: UInt8[np.ndarray, "T H W"]
    fps: float
    remark: str = ""
    cropped: bool = False

    def with_remark(self, text: str) -> Source:
        """Return the source with a further remark."""
        return self._replace(remark=f"{self.remark}; {text}" if self.remark else text)


def from_file(path: Path, size: int) -> Source | Refused:
    """Read a file and crop it as ``data import`` does. A square video of at most 128 pixels is not cropped.

    Args:
        path: the file.
        size: side of the clips of the network, pixels; the sector keeps at least so many.
    """
    from echo_e3net.clinic.crop import refuse_colour
    from echo_e3net.clinic.file_kind import kind_of, read_clip
    from echo_e3net.clinic.prepare import USUAL_SIDE, in_form, prepare

    try:
        if not path.is_file():
            return Refused(str(path), "a folder, not a video" if path.is_dir() else "no such file")
        if kind_of(path) == "video" and in_form(path):
            clip = read_clip(path)
            sector = lit_region(clip.grey)
            if clip.colour is not None and sector.any():
                refuse_colour(clip.colour, sector)
            return Source(str(path), clip.grey, clip.fps, doubt(clip.fps_from))
        found = prepare(path, max(USUAL_SIDE, size))
    except InputError as error:
        return Refused(str(path), str(error).removeprefix(f"{path}: "))
    except OSError as error:
        return Refused(str(path), f"cannot be read: {error.strerror or error}")
    return Source(str(path), found.frames, found.fps, doubt(found.fps_from), cropped=True)


def doubt(fps_from: str) -> str:
    """Return the note on how the frame rate was found, or an empty text. Notes contain a colon."""
    return f"frame rate {fps_from}" if ":" in fps_from else ""


def from_array(frames: Any, fps: Any) -> Source:  # noqa: ANN401
    """Check frames that the user gives.

    Raises:
        InputError: they are not grey bytes, are too small, or have no frame rate.
    """
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 3:
        found = f"{frames.dtype} of shape {frames.shape}" if isinstance(frames, np.ndarray) else type(frames).__name__
        raise InputError(f"frames are {found}; expected grey values 0 to 255 as uint8 of shape (T, H, W).")
    if min(frames.shape[1:]) < MIN_SIZE:
        raise InputError(
            f"frames are {frames.shape[1]}×{frames.shape[2]} pixels; expected at least {MIN_SIZE} per side."
        )
    from echo_e3net.clinic.frame_rate import EXPECTED, possible

    if not isinstance(fps, int | float) or not possible(fps):
        raise InputError(f"fps is {fps}; {EXPECTED}. Pass the rate of the frames, for example read(frames, fps=50).")
    return Source("frames", frames, float(fps))
