"""``echo-e3net data cache``: decode every video of a data set once, before training needs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

from rich.console import Console

from echo_e3net.data.cache import FrameCache
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.frames import count_frames
from echo_e3net.data.parallel import each
from echo_e3net.data.records import DataFormat, VideoRecord
from echo_e3net.errors import InputError

FOLDER = "FrameCache"
"""Where a data set's cache is unless it is said: a folder in the data set."""
USUAL_SIZE = (112, 112)
"""Height and width that are reckoned with where no table says them, pixels."""


def cache(
    root: Path,
    folder: Path | None = None,
    format: DataFormat | None = None,
    jobs: int | None = None,
    verify: bool = False,
) -> None:
    """Decode every video once, for --data.cache.folder; run again to go on, or after videos changed. Exit code 1: some videos could not be decoded.

    Args:
        root: Folder of the data set.
        folder: Where the frames go; by default ROOT/FrameCache. A local disk is best.
        format: How the data set lies on the disk: EchoNetDynamic (the default), EchoNetPediatric or Camus.
        jobs: Processes that decode; by default one a core.
        verify: Also compare the frames that are there with their checksums; damaged ones are decoded again.
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs is {jobs}: give at least 1.")
    dataset, store = (format or EchoNetDynamic()).read(root), FrameCache(folder or root / FOLDER)
    records = [record for record in dataset.records if record.path.is_file()]
    console = Console()
    missing = [record for record in records if (store.find if verify else store.lookup)(record.path) is None]
    there = f"{store.folder}: {len(records) - len(missing)} of {len(records)} videos are there"
    console.print(there + room(missing, store.folder), highlight=False, soft_wrap=True)
    failed = 0
    videos = [(record.path, record.frames) for record in missing]
    for _, problem in each(partial(keep, folder=store.folder), videos, jobs or os.cpu_count() or 1, "decoding"):
        if problem:
            failed += 1
            console.print(f"not decoded: {problem}", highlight=False, soft_wrap=True)
    console.print(
        f"{len(missing) - failed} videos decoded. Train with --data.cache.folder {store.folder}",
        highlight=False,
        soft_wrap=True,
    )
    if failed:
        raise SystemExit(1)


def room(missing: Sequence[VideoRecord], folder: Path) -> str:
    """What the missing videos will take, as the end of a sentence.

    Raises:
        InputError: the disk has less.
    """
    if not missing:
        return "."
    need, free = sum(map(frame_bytes, missing)), free_bytes(folder)
    if need > free:
        raise InputError(
            f"{folder}: {len(missing)} videos take {gigabytes(need)} decoded, but {gigabytes(free)} are free. Choose another folder or make room."
        )
    return f"; {len(missing)} more will take {gigabytes(need)} ({gigabytes(free)} are free)."


def frame_bytes(record: VideoRecord) -> int:
    """What a video takes decoded, bytes: a byte a pixel."""
    height, width = record.size or USUAL_SIZE
    return (count_frames(record.path) if record.frames is None else record.frames) * height * width


def free_bytes(folder: Path) -> int:
    """What is free on the disk that a folder is on, or will be on, bytes."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def gigabytes(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count / 1e9:.2f} GB"


def keep(video: tuple[Path, int | None], folder: Path) -> str:
    """Decode one video, a file and its listed number of frames, into the cache; returns what is wrong with it, or nothing."""
    store = open_cache(folder)
    try:
        return "" if store.add(*video) is not None else f"{video[0]}: it cannot be written to {folder}"
    except InputError as error:
        return str(error)


@lru_cache(maxsize=1)
def open_cache(folder: Path) -> FrameCache:
    """The cache that this process adds to."""
    return FrameCache(folder, fill=True)
