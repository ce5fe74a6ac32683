"""Rule that finds copies of videos by their pictures, also with another header or another compression."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from echo_e3net.checks.findings import Finding
from echo_e3net.checks.leaks import KEPT_FIRST, copied
from echo_e3net.data import raster
from echo_e3net.data.raster import Frames
from echo_e3net.data.records import VideoRecord
from echo_e3net.files import file_hash

BLANK_SPREAD = 3
"""Largest range of grey values of a video without a picture."""
THUMBNAILS, THUMBNAIL_PX = 8, 8
"""Number and side of the small frames that are compared between videos."""
SAME_PICTURE = 2.5
"""Largest difference (root mean square, grey values) of the thumbnails of one video.

Videos that were compressed again differ by up to 1.6, phantoms of different hearts by 12.8 and more.
"""
CONTRAST = 20.0
"""SD of thumbnails, grey values, below which the largest difference is reduced; dark videos differ less."""
CHUNK = 512
"""Number of videos that are compared with all others at once."""


def thumbnails(frames: Frames) -> bytes:
    """Return small frames of a video; nothing if it has no picture."""
    if np.ptp(frames) <= BLANK_SPREAD:
        return b""
    chosen = np.linspace(0, len(frames) - 1, THUMBNAILS).round().astype(int)
    return b"".join(raster.resize_area(frames[number], THUMBNAIL_PX, THUMBNAIL_PX).tobytes() for number in chosen)


def same_pictures(records: Sequence[VideoRecord], thumbnails: Mapping[Path, bytes]) -> Iterator[Finding]:
    """Find videos that show the same pictures in other bytes: with another header, or compressed again.

    Args:
        records: the videos.
        thumbnails: small grey frames of each, all of the same number and size; empty for videos that are not compared.
    """
    compared = [record for record in records if thumbnails[record.path]]
    ordered = sorted(compared, key=lambda record: KEPT_FIRST.index(record.split))
    if len(ordered) < 2:
        return
    grey = np.array([np.frombuffer(thumbnails[record.path], np.uint8) for record in ordered], np.float32)
    norms, seen = (grey**2).sum(1), set[int]()
    limits = grey.shape[1] * (SAME_PICTURE * np.minimum(1, grey.std(1) / CONTRAST)) ** 2
    for start in range(0, len(ordered), CHUNK):
        rows = slice(start, start + CHUNK)
        squares = norms[rows, None] + norms[start:] - 2 * grey[rows] @ grey[start:].T
        near = defaultdict[int, list[int]](list)
        for first, other in np.argwhere(np.triu(squares < limits[rows, None], 1)).tolist():
            near[start + first].append(start + other)
        for first, others in near.items():
            if first in seen:
                continue
            others = [other for other in others if other not in seen]
            seen.update(others)
            # Files of equal content are already found without decoding.
            content = file_hash(ordered[first].path)
            same = [ordered[other] for other in others if file_hash(ordered[other].path) != content]
            yield from copied([ordered[first], *same], "same pictures as")
