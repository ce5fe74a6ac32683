"""Read grey frames of videos. Only this module imports decord; :mod:`echo_e3net.data.nifti` reads NIfTI files.

decord reads motion JPEG in AVI files, as in the data sets. It returns wrong frames of other codecs, so
:mod:`echo_e3net.data.sequential` decodes every other video from its first frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from echo_e3net.data import nifti, sequential
from echo_e3net.data.avi import is_complete, is_mjpeg_avi, read_index
from echo_e3net.errors import InputError

# A function with the arguments and the result of read_frames.
ReadFrames = Callable[..., UInt8[np.ndarray, "T H W"]]
# Frames that take as long to decode as one seek: 112×112 MJPEG, decord 0.6.0 (docs/BENCHMARKS.md).
SEEK_FRAMES = 20


@cache
def library() -> Any:  # noqa: ANN401
    """Import decord on first use. If torch is installed, it must be imported before decord."""
    try:
        if find_spec("torch"):
            import torch  # noqa: F401
        import decord
    except ImportError as error:  # pragma: no cover - depends on the machine
        advice = "Install only one: decord (64-bit Intel and AMD) or decord2 (other machines); both are named decord"
        raise InputError(f"decord cannot be imported ({error}). {advice}.") from error
    # Silence FFmpeg's messages on standard error; our error messages report the same.
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def is_nifti(path: Path) -> bool:
    """Return whether the name of a file is that of a NIfTI file."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def count_frames(path: Path) -> int:
    """Return the number of frames that the file holds."""
    if is_nifti(path):
        return nifti.read_grid(path).frames
    reader = open_video(path)
    return sequential.count(path) if reader is None else len(reader)


def usual_rate(paths: Iterable[Path]) -> float:
    """Return the median number of frames per second of videos; 0 if no file states it."""
    rates = []
    for path in (path for path in paths if not is_nifti(path)):
        reader = open_video(path)
        rates.append(sequential.frame_rate(path) if reader is None else reader.get_avg_fps())
    return float(np.median([rate for rate in rates if rate] or [0]))


def read_frames(
    path: Path, index: Int[np.ndarray, " T"] | None = None, listed: int | None = None
) -> UInt8[np.ndarray, "T H W"]:
    """Read grey frames of a video.

    Args:
        path: the file.
        index: frames to read, each at least 0, in any order; None for all.
        listed: number of frames in the table; a file with fewer is refused.

    Raises:
        InputError: the file is absent, cannot be decoded, or holds fewer frames than listed or asked for.
    """
    reader = None if is_nifti(path) else open_video(path)
    if reader is None:
        frames = nifti.read_frames(path) if is_nifti(path) else grey_of(sequential.pictures(path))
        return np.asarray(frames[requested(path, len(frames), index, listed)])
    wanted = requested(path, len(reader), index, listed)
    decoded = without_small_gaps(wanted)
    with decoding(path):
        frames = reader.get_batch(decoded.tolist()).asnumpy()
    return luma(frames[np.searchsorted(decoded, wanted)])


def requested(path: Path, held: int, index: Int[np.ndarray, " T"] | None, listed: int | None) -> Int[np.ndarray, " T"]:
    """Return which of the ``held`` frames of a video to read; arguments and errors are those of :func:`read_frames`."""
    if listed is not None and held < listed:
        raise InputError(f"{path}: {held} frames decode, but {listed} are listed. Copy it again, or correct the table.")
    wanted = np.arange(held) if index is None else index
    if len(wanted) and (wanted.min() < 0 or wanted.max() >= held):
        raise InputError(f"{path}: frame {wanted.max()} was asked for, but the video has {held} frames.")
    return wanted


def without_small_gaps(index: Int[np.ndarray, " T"]) -> Int[np.ndarray, " M"]:
    """Return the wanted frames and gaps up to ``SEEK_FRAMES``, ascending; decord seeks at every gap."""
    wanted = np.unique(index)
    gaps = np.flatnonzero(np.diff(wanted) > SEEK_FRAMES)
    runs = zip(wanted[np.r_[0, gaps + 1]], wanted[np.r_[gaps, -1]], strict=True) if len(wanted) else []
    return np.concatenate([np.arange(first, last + 1) for first, last in runs] or [wanted])


def luma(frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W"]:
    """Return ITU-R BT.601 luma of RGB frames, (77 R + 150 G + 29 B) / 256 rounded; equal channels keep their value."""
    red, green, blue = (frames[..., c].astype(np.uint16) for c in range(3))
    return ((77 * red + 150 * green + 29 * blue + 128) >> 8).astype(np.uint8)


def grey_of(pictures: Iterable[UInt8[np.ndarray, "H W 3"]]) -> UInt8[np.ndarray, "T H W"]:
    """Return luma of RGB frames. They are converted one by one, since all at once would need six times the memory."""
    return np.stack([luma(picture[None])[0] for picture in pictures])


def open_video(path: Path) -> Any | None:  # noqa: ANN401
    """Return decord's reader of a video, or None if its frames by index may be wrong or it has none.

    Raises:
        InputError: the file is absent or cannot be opened.
    """
    if not path.is_file():
        found = "a folder, not a video file. Name the files in it." if path.is_dir() else "no such video file."
        raise InputError(f"{path}: {found}")
    if not is_mjpeg_avi(path):
        return None
    decord = library()
    with decoding(path):
        # Opened for each read: readers can neither be pickled nor shared between processes. An absolute path is not
        # taken for a protocol.
        reader = decord.VideoReader(str(path.absolute()), num_threads=1)
        return reader if is_complete(read_index(path), len(reader)) else None


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Convert errors of decord to an InputError, which names the damaged frame if strict decoding finds it."""
    try:
        yield
    except Exception as error:
        # torch reports a dead worker from a signal handler, which may run here.
        if isinstance(error, InputError) or "DataLoader worker" in str(error):
            raise
        sequential.count(path)
        raise sequential.refusal(path, "decord fails") from error
