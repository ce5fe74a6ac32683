"""What the workers of a loader are reading, where the main process can see it: a worker that is killed can say nothing more."""

from __future__ import annotations

from multiprocessing.sharedctypes import RawArray
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from torch.utils.data import get_worker_info

from echo_e3net.data.frames import ReadFrames

ROOM = 1024
"""Bytes of a path that are noted, the last ones of a longer one."""


class Watch:
    """A way to read frames that notes, in memory that all processes share, which file each worker is at.

    Args:
        read: the way to read.
        workers: processes of the loader; 0 where the main process reads.
    """

    def __init__(self, read: ReadFrames, workers: int) -> None:
        self.read = read
        self.slots = RawArray("c", ROOM * max(1, workers))

    def __call__(
        self, path: Path, index: Int[np.ndarray, " T"] | None = None, listed: int | None = None
    ) -> UInt8[np.ndarray, "T H W"]:
        """As :func:`echo_e3net.data.frames.read_frames`."""
        worker = get_worker_info()
        start = ROOM * (worker.id if worker else 0)
        name = str(path).encode()[-ROOM:]
        self.slots[start : start + ROOM] = name.ljust(ROOM, b"\0")
        try:
            return self.read(path, index, listed)
        finally:
            self.slots[start] = b"\0"

    def reading(self) -> list[str]:
        """The files that are being read now, or were when their worker died."""
        slots = self.slots.raw
        found = [
            slots[start : start + ROOM].rstrip(b"\0").decode(errors="replace")
            for start in range(0, len(slots), ROOM)
            if slots[start]
        ]
        return list(dict.fromkeys(found))
