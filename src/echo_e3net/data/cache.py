"""Decode once: grey frames of whole videos in memory-mapped files, shared by all workers and ranks.

    <folder>/<writer>.bin     frames of many videos, uint8, (T, H, W) one after another
    <folder>/<writer>.jsonl   one line a video: :class:`Entry`

Each process that writes has files of its own and only ever appends: first the frames, then the line. A line that is whole names frames that are whole, so
a writer may be killed at any moment, several may write at a time, and readers need no lock. A video is known by the content of its file: one that was
moved is found again, one that was changed is decoded anew. Frames are verified by checksum when a process first uses them.
"""

from __future__ import annotations

import json
import os
import socket
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from lightning.pytorch.utilities import rank_zero_warn

from echo_e3net.data.frames import read_frames
from echo_e3net.data.records import VideoRecord
from echo_e3net.errors import InputError
from echo_e3net.files import file_hash

SHARD_BYTES = 1 << 30
"""Size at which a writer begins a new file."""


class Entry(NamedTuple):
    """Where the frames of a video are, and which file they were decoded from.

    Attributes:
        key: of the file's content (:func:`~echo_e3net.files.file_hash`).
        path: the file, absolute, when it was decoded.
        size: of the file, bytes.
        mtime_ns: when the file was last changed.
        offset: of the first frame in the shard, bytes.
        frames: number of frames.
        height: of a frame, pixels.
        width: of a frame, pixels.
        crc: CRC-32 of the frames.
        shard: name of the shard, without suffix; not in the file.
    """

    key: str
    path: str
    size: int
    mtime_ns: int
    offset: int
    frames: int
    height: int
    width: int
    crc: int
    shard: str = ""

    @property
    def end(self) -> int:
        """Offset behind the last frame, bytes."""
        return self.offset + self.frames * self.height * self.width


class FrameCache:
    """Frames of videos, decoded once.

    Args:
        folder: where the frames are; made when the first video is added.
        fill: whether a video that is not there is decoded whole and added when it is first read; otherwise only the frames asked for are decoded.
    """

    def __init__(self, folder: Path, fill: bool = False) -> None:
        self.folder, self.fill = folder, fill
        self._begin()

    def _begin(self) -> None:
        self._by_path: dict[str, Entry] = {}
        self._by_key: dict[str, Entry] = {}
        self._read_to: dict[str, int] = {}
        self._maps: dict[str, UInt8[np.ndarray, " N"]] = {}
        self._trusted: dict[Path, Entry] = {}
        self._writer = ("", 0)

    def __getstate__(self) -> tuple[Path, bool]:
        """A process that is spawned begins with the folder alone."""
        return self.folder, self.fill

    def __setstate__(self, state: tuple[Path, bool]) -> None:
        self.folder, self.fill = state
        self._begin()

    def read(
        self, path: Path, index: Int[np.ndarray, " T"] | None = None, listed: int | None = None
    ) -> UInt8[np.ndarray, "T H W"]:
        """As :func:`echo_e3net.data.frames.read_frames`: the same frames, from the cache where it has them.

        Raises:
            InputError: as there.
        """
        entry = self.find(path)
        if entry is None and self.fill:
            entry = self.add(path, listed)
        if entry is None or (listed is not None and entry.frames < listed):
            return read_frames(path, index, listed)
        frames = self._frames(entry)
        if index is None:
            index = np.arange(entry.frames)
        if len(index) and (index.min() < 0 or index.max() >= entry.frames):
            raise InputError(f"{path}: frame {index.max()} was asked for, but the video has {entry.frames} frames.")
        chosen: UInt8[np.ndarray, "T H W"] = frames[index]
        return chosen

    def find(self, path: Path) -> Entry | None:
        """The entry of a video whose file is as it was when it was decoded, and whose frames are as they were written; or None."""
        if path in self._trusted:
            return self._trusted[path]
        entry = self.lookup(path)
        if entry is not None and zlib.crc32(self._frames(entry).data) != entry.crc:
            rank_zero_warn(
                f"{self.folder / entry.shard}.bin: the frames of {path} are damaged; the video is decoded again."
            )
            del self._by_key[entry.key]
            self._by_path.pop(str(path.absolute()), None)
            return None
        if entry is not None:
            self._trusted[path] = entry
        return entry

    def lookup(self, path: Path) -> Entry | None:
        """The entry of a video whose file is as it was when it was decoded; its frames are not looked at."""
        if not path.is_file():
            return None  # reading it says what is wrong
        known = self._known(path)
        return known if known is not None or not self._refresh() else self._known(path)

    def _known(self, path: Path) -> Entry | None:
        status = path.stat()
        entry = self._by_path.get(str(path.absolute()))
        if entry is not None and (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return entry
        return self._by_key.get(file_hash(path)) if self._by_key else None

    def add(self, path: Path, listed: int | None = None) -> Entry | None:
        """Decode a video whole and keep it; None where the disk is full, after a warning, and from then on nothing more is added.

        Raises:
            InputError: it cannot be decoded, or holds fewer frames than listed.
        """
        status, key = path.stat(), file_hash(path)
        frames = np.ascontiguousarray(read_frames(path, None, listed))
        shard = self._shard()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / f"{shard}.bin").open("ab") as file:
                offset = file.tell()
                file.write(frames.data)
            count, height, width = frames.shape
            entry = Entry(
                key,
                str(path.absolute()),
                status.st_size,
                status.st_mtime_ns,
                offset,
                count,
                height,
                width,
                zlib.crc32(frames.data),
            )
            line = json.dumps(entry._asdict() | {"shard": None}) + "\n"
            with (self.folder / f"{shard}.jsonl").open("a") as file_of_lines:
                file_of_lines.write(line)
        except OSError as error:
            rank_zero_warn(
                f"{self.folder}: nothing more is added to the cache ({error.strerror or error}); videos are decoded as they are read."
            )
            self.fill = False
            return None
        entry = entry._replace(shard=shard)
        self._by_path[entry.path] = self._by_key[key] = self._trusted[path] = entry
        return entry

    def _shard(self) -> str:
        """The shard that this process writes to: a new one for a new process, and where the last is full."""
        name, owner = self._writer
        full = (
            name
            and (self.folder / f"{name}.bin").is_file()
            and (self.folder / f"{name}.bin").stat().st_size >= SHARD_BYTES
        )
        if owner != os.getpid() or full:
            name = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
            self._writer = (name, os.getpid())
        return name

    def _frames(self, entry: Entry) -> UInt8[np.ndarray, "T H W"]:
        """The frames of an entry, mapped; a shard that has grown is mapped anew."""
        mapped = self._maps.get(entry.shard)
        if mapped is None or len(mapped) < entry.end:
            mapped = self._maps[entry.shard] = np.memmap(self.folder / f"{entry.shard}.bin", np.uint8, "r").view(
                np.ndarray
            )
        return mapped[entry.offset : entry.end].reshape(entry.frames, entry.height, entry.width)

    def _refresh(self) -> bool:
        """Read the lines that were written since the last time; returns whether there were any."""
        found = False
        for path in sorted(self.folder.glob("*.jsonl")):
            shard, start = path.stem, self._read_to.get(path.stem, 0)
            if path.stat().st_size <= start:
                continue
            with path.open("rb") as file:
                file.seek(start)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read_to[shard] = start + len(whole)
            held = path.with_suffix(".bin").stat().st_size if path.with_suffix(".bin").is_file() else 0
            for line in whole.splitlines():
                entry = read_entry(line, shard)
                if entry is not None and entry.end <= held:
                    self._by_path[entry.path] = self._by_key[entry.key] = entry
                    found = True
        return found


def read_entry(line: bytes, shard: str) -> Entry | None:
    """The entry of a line; None where the line is damaged."""
    try:
        return Entry(**(json.loads(line) | {"shard": shard}))
    except (ValueError, TypeError):
        return None


def require_room(records: list[VideoRecord], cache: FrameCache) -> None:
    """Check that the videos that are missing from a cache fit on its disk."""
    from echo_e3net.data.fill_cache import room

    room([record for record in records if cache.lookup(record.path) is None], cache.folder)
