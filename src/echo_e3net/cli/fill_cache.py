"""``echo-e3net data cache``: decode every video of a data set once, before training."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

from rich.console import Console

from echo_e3net.checks.rules import read_data
from echo_e3net.data.cache import FrameCache, require_room
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.layout import FRAME_CACHE
from echo_e3net.data.parallel import each
from echo_e3net.data.records import DataFormat
from echo_e3net.errors import InputError, require_at_least


def cache(
    root: Path,
    folder: Path | None = None,
    format: DataFormat | None = None,
    jobs: int | None = None,
    verify: bool = False,
) -> None:
    """Decode every video once, for --data.cache.folder. Run it again to resume, or after videos changed.

    Exit code 1 means that some videos could not be decoded.

    Args:
        root: Folder of the data set.
        folder: Folder of the decoded frames; default ROOT/FrameCache. A local disk is best.
        format: Format of the data set: EchoNetDynamic (default), EchoNetPediatric or Camus.
        jobs: Number of processes; default one per core.
        verify: Also compare cached frames with their checksums, and decode damaged videos again.
    """
    require_at_least(1, jobs=jobs)
    records = read_data(format or EchoNetDynamic(), root).records
    store = FrameCache(folder or root / FRAME_CACHE)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    look = store.find if verify else store.lookup
    missing = [record for record in records if look(record.path) is None]
    console.print(
        f"{store.folder}: {len(records) - len(missing)} of {len(records)} videos are cached; "
        f"the others take {require_room(records, store) / 1e9:.2f} GB."
    )
    videos = [(record.path, record.frames) for record in missing]
    problems = [problem for _, problem in each(partial(keep, folder=store.folder), videos, jobs, "decoding") if problem]
    for problem in problems:
        console.print(f"not decoded: {problem}")
    console.print(f"{len(missing) - len(problems)} videos decoded. Train with --data.cache.folder {store.folder}")
    if problems:
        raise SystemExit(1)


def keep(video: tuple[Path, int | None], folder: Path) -> str:
    """Add one video to the cache; return what is wrong with it, or an empty text.

    Args:
        video: the file and its listed number of frames.
        folder: folder of the cache.
    """
    try:
        return "" if open_cache(folder).add(*video) is not None else f"{video[0]}: {folder} cannot be written"
    except InputError as error:
        return str(error)


@lru_cache(maxsize=1)
def open_cache(folder: Path) -> FrameCache:
    """Return the cache that this process fills."""
    return FrameCache(folder, fill=True)
