"""Decoded frames of whole videos in memory-mapped files, shared by all workers and ranks.

    <folder>/<content>.npy     grey frames, uint8, (T, H, W), followed by the CRC-32 of these bytes
    <folder>/<place>.npy       symbolic link to the frames of the video at one place

``content`` is the hash of the video file; ``place`` is the hash of its path, size and modification time. The link finds
a known video without reading it, the hash of the content finds a video that was moved. A changed video is decoded
again. Frames are written aside and renamed, so readers need no lock and a writer may be killed at any time.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import shutil
import warnings
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from echo_e3net.data.frames import count_frames, read_frames, requested
from echo_e3net.data.records import VideoRecord
from echo_e3net.errors import InputError
from echo_e3net.files import file_hash, whole

Frames = UInt8[np.ndarray, "T H W"]
DECODER = 2
"""Part of all names; changed when videos are decoded differently, so that older frames are not used."""
CHECKSUM = 4
"""Length of a checksum, bytes."""
USUAL_SIZE = (112, 112)
"""Height and width of a video whose size no table lists, pixels."""


class FrameCache:
    """Read frames of videos, and decode each video only once.

    Args:
        folder: folder of the frames; created when the first video is added.
        fill: whether to add a missing video, whole, when it is first read. If false, only the requested frames of a
            missing video are decoded.
    """

    def __init__(self, folder: Path, fill: bool = False) -> None:
        self.folder, self.fill = folder, fill
        self._maps: dict[Path, Frames] = {}

    def __reduce__(self) -> tuple[type[FrameCache], tuple[Path, bool]]:
        """Send only the settings to a spawned process."""
        return FrameCache, (self.folder, self.fill)

    def read(self, path: Path, index: Int[np.ndarray, " T"] | None = None, listed: int | None = None) -> Frames:
        """Return the same frames as :func:`echo_e3net.data.frames.read_frames`, cached if possible."""
        frames = self.find(path)
        if frames is None and self.fill:
            frames = self.add(path, listed)
        if frames is None:
            return read_frames(path, index, listed)
        return np.asarray(frames[requested(path, len(frames), index, listed)])

    def find(self, path: Path) -> Frames | None:
        """Return the mapped frames, whose checksum is compared once; None if missing or (with a warning) damaged."""
        file = None if path in self._maps else self.lookup(path)
        if file is not None:
            import torch

            try:
                header = np.lib.format.open_memmap(file, mode="r")
                # NumPy keeps one file descriptor open per map, torch does not: 10,000 videos would exhaust them.
                end = header.offset + header.size
                data = torch.from_file(str(file), shared=False, size=end + CHECKSUM, dtype=torch.uint8).numpy()
                if data[end:].tobytes() != checksum(data[:end].data):
                    raise ValueError("wrong checksum")
                self._maps[path] = data[header.offset : end].reshape(header.shape)
            except (OSError, ValueError, RuntimeError) as error:
                what = f"the frames of {path} are damaged ({error})"
                warnings.warn(f"{file}: {what}. The video is decoded again.", stacklevel=2)
        return self._maps.get(path)

    def lookup(self, path: Path) -> Path | None:
        """Return the file that holds the frames of a video, without opening it; None if there is none."""
        if not path.is_file() or not self.folder.is_dir():
            return None
        link = self._place(path)
        if link.exists():
            return link
        file = self._content(path)
        if not file.exists():
            return None
        with suppress(OSError):
            link.symlink_to(file.name)
        return file

    def add(self, path: Path, listed: int | None = None) -> Frames | None:
        """Decode a whole video and write its frames. If that fails, warn, stop filling and return None.

        Raises:
            InputError: the video cannot be decoded, or has fewer frames than listed.
        """
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(read_frames(path, None, listed)))
        try:
            with whole(self._content(path)) as aside:
                aside.write_bytes(buffer.getvalue() + checksum(buffer.getbuffer()))
        except InputError as error:
            warnings.warn(f"{error} Videos are now decoded each time they are read.", stacklevel=2)
            self.fill = False
            return None
        return self.find(path)

    def _place(self, path: Path) -> Path:
        status = path.stat()
        place = os.fsencode(f"{DECODER}\0{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}")
        return self.folder / f"{hashlib.blake2b(place, digest_size=16).hexdigest()}.npy"

    def _content(self, path: Path) -> Path:
        return self.folder / f"{file_hash(path)}.{DECODER}.npy"


def checksum(data: memoryview) -> bytes:
    """Return the CRC-32 of data."""
    return zlib.crc32(data).to_bytes(CHECKSUM, "big")


def require_room(records: Sequence[VideoRecord], cache: FrameCache) -> int:
    """Return how many bytes the videos that are not cached will take.

    Raises:
        InputError: the disk has less free space.
    """
    missing = [record for record in records if cache.lookup(record.path) is None]
    # One byte per pixel.
    need = sum(
        (record.frames or count_frames(record.path)) * math.prod(record.size or USUAL_SIZE) for record in missing
    )
    folder = next(path for path in (cache.folder.absolute(), *cache.folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if need > free:
        raise InputError(
            f"{cache.folder}: {len(missing)} videos take {need / 1e9:.2f} GB decoded, but {free / 1e9:.2f} GB are free."
            " Choose another folder with --data.cache.folder (data cache: --folder), or make room."
        )
    return need
