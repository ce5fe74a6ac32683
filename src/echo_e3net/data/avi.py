"""Decide whether decord reads a video correctly by index: motion JPEG in AVI with a usable header and index."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

MJPEG_AVI = re.compile(
    rb"RIFF.{4}AVI LIST.{4}hdrlavih\x38\0{3}.{56}LIST.{4}strlstrh[\x30\x38]\0{3}vids.{28}(.{4}).{12,20}strf.{20}MJPG"
    rb".*?LIST.{4}movi",
    re.DOTALL,
)
"""Header of an AVI file whose first stream is motion JPEG, with its number of frames, up to the first of them."""
HEADER_BYTES = 16384
CHUNK_BYTES = 8
INDEX_ENTRY = np.dtype([("chunk", "S4"), ("flags", "<u4"), ("offset", "<u4"), ("size", "<u4")])
KEY_FRAME = 16
"""Flag of an entry of the index."""


def is_mjpeg_avi(path: Path) -> bool:
    """Return whether a file is an AVI of motion JPEG whose header claims a possible number of frames."""
    with path.open("rb") as file:
        header = MJPEG_AVI.match(file.read(HEADER_BYTES))
    # decord allocates what the header claims, and a failure would end the process.
    return header is not None and 0 < CHUNK_BYTES * int.from_bytes(header[1], "little") <= path.stat().st_size


def read_index(path: Path) -> np.ndarray:
    """Return the entries of the index at the end of an AVI file; none if it has no index."""
    with path.open("rb") as avi:
        avi.seek(len(b"RIFF....AVI "))
        while (head := avi.read(8)).strip(b"\0"):
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"idx1":
                data = avi.read(size)
                return np.frombuffer(data[: len(data) // INDEX_ENTRY.itemsize * INDEX_ENTRY.itemsize], INDEX_ENTRY)
            avi.seek(size + size % 2, os.SEEK_CUR)
    return np.empty(0, INDEX_ENTRY)


def is_complete(index: np.ndarray, frames: int) -> bool:
    """Return whether an index lists all frames in order, each as a key frame. FFmpeg makes a missing index."""
    video = index[np.char.endswith(index["chunk"], b"dc") & (index["size"] > 0)]
    if len(index) == 0:
        return frames > 0
    ascending = np.diff(video["offset"].astype(np.int64)) > 0
    return len(video) == frames and bool(ascending.all()) and bool((video["flags"] & KEY_FRAME).all())
