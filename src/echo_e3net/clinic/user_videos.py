"""Videos that a user names for ``predict``. Each is prepared once, as by ``data import``, and stored for the run.

A square video of at most 128 pixels per side already has the form of the data sets and is not cropped: no scanner has
such a screen, and a video of a data set must give the same result when it is named.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from echo_e3net.clinic.clip import RefusedError
from echo_e3net.clinic.file_kind import bare_name, find_files, kind_of
from echo_e3net.clinic.prepare import USUAL_SIDE, in_form, prepare
from echo_e3net.data.frames import count_frames, read_frames
from echo_e3net.data.parallel import each
from echo_e3net.data.raster import Frames
from echo_e3net.data.records import VideoRecord, unlabelled
from echo_e3net.errors import InputError

FEW = 8
"""Number of files up to which starting processes takes longer than it saves."""


class Kept(NamedTuple):
    """One file after preparation.

    Attributes:
        frames: number of frames.
        fps: frames per second; None if the file is used unchanged.
        remark: where the rate comes from, if the user must see it; empty otherwise.
        array: file of the prepared frames; None if the file is used unchanged.
        refused: why it cannot be used; empty if it can.
    """

    frames: int = 0
    fps: float | None = None
    remark: str = ""
    array: Path | None = None
    refused: str = ""


class OwnVideos:
    """Videos and folders of videos that the user names.

    Args:
        sources: files and folders.
        jobs: number of processes if there are more than :data:`FEW` files.

    Raises:
        InputError: one does not exist.
    """

    def __init__(self, sources: Sequence[Path], jobs: int = 1) -> None:
        # Only the owner can read a folder of mkdtemp.
        folder = Path(tempfile.mkdtemp(prefix="echo-e3net-"))
        weakref.finalize(self, remove, folder, os.getpid())
        numbered = list(enumerate(find_files(sources)))
        task = partial(keep, folder=folder)
        kept = dict(each(task, numbered, jobs if len(numbered) > FEW else 1, "reading videos"))
        self.kept = {file: kept[number, file] for number, file in numbered}

    def records(self) -> list[VideoRecord]:
        """Return a record of each usable video, in the order in which they were named."""
        usable = {file: kept for file, kept in self.kept.items() if not kept.refused}
        names = distinct_names(list(usable))
        return [
            unlabelled(file)._replace(name=names[file], frames=kept.frames, cropped=kept.array is not None)
            for file, kept in usable.items()
        ]

    def refused(self) -> dict[Path, str]:
        """Return the reason for each file that cannot be used."""
        return {file: kept.refused for file, kept in self.kept.items() if kept.refused}

    def remarks(self) -> dict[Path, str]:
        """Return a remark for each file whose frame rate is doubtful."""
        return {file: kept.remark for file, kept in self.kept.items() if kept.remark}

    def rates(self) -> list[float]:
        """Return frames per second of the prepared videos, ascending."""
        return sorted(kept.fps for kept in self.kept.values() if kept.fps is not None)

    def read(self, path: Path, index: Int[np.ndarray, " T"] | None = None, listed: int | None = None) -> Frames:
        """Return frames like :func:`echo_e3net.data.frames.read_frames`."""
        array = self.kept[path].array
        if array is None:
            return read_frames(path, index, listed)
        frames = np.load(array, mmap_mode="r")
        return np.array(frames if index is None else frames[index])


def read_cropped(path: Path, index: Int[np.ndarray, " T"]) -> Frames:
    """Read frames of a video again and crop them to the sector.

    Raises:
        InputError: it cannot be read any more.
    """
    try:
        frames = prepare(path, USUAL_SIDE).frames
    except RefusedError as error:
        raise InputError(f"{path}: {error}") from error
    chosen: Frames = frames[index.clip(0, len(frames) - 1)]
    return chosen


def keep(video: tuple[int, Path], folder: Path) -> Kept:
    """Prepare one video, a number and a file, and write its frames to the folder."""
    number, file = video
    try:
        if kind_of(file) == "video" and in_form(file):
            return Kept(count_frames(file))
        clip = prepare(file, USUAL_SIDE)
    except RefusedError as error:
        return Kept(refused=str(error))
    array = folder / f"{number}.npy"
    np.save(array, clip.frames)
    return Kept(len(clip.frames), clip.fps, clip.fps_from if ":" in clip.fps_from else "", array)


def distinct_names(files: Sequence[Path]) -> dict[Path, str]:
    """Return a unique name for each file: the stem, or with suffix and as many folders as necessary."""
    whole = {file: file.absolute().parts for file in files}
    names = {file: bare_name(file) for file in files}
    for folders in range(max(map(len, whole.values()), default=1)):
        count = Counter(names.values())
        names = {
            file: "/".join(whole[file][-1 - folders :]) if count[name] > 1 else name for file, name in names.items()
        }
    return names


def remove(folder: Path, owner: int) -> None:
    """Delete the folder, but only in the process that created it: forked workers hold the object too."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
