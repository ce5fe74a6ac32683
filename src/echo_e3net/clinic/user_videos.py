"""Videos that a user names for ``predict``: each is prepared as ``data import`` would, once, and kept aside for the run.

A square picture of at most :data:`FORM_PX` pixels a side is in the data sets' form already and is taken as it is: no scanner has such a screen, and what a
data set lists must give the same figures when it is named by hand. Everything else is cropped to its sector.
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
from jaxtyping import Int, UInt8

from echo_e3net.clinic.file_kind import bare_name, find_files, kind_of
from echo_e3net.clinic.prepare import prepare
from echo_e3net.clinic.refusal import RefusedError
from echo_e3net.data.frames import count_frames, read_frames
from echo_e3net.data.parallel import each
from echo_e3net.data.records import VideoRecord, unlabelled
from echo_e3net.data.probe import frame_size
from echo_e3net.errors import InputError

FORM_PX = 128
"""Side up to which a square picture is not cropped; EchoNet-Dynamic's and the phantom's is 112."""
SIZE = 112
"""Side that all else is brought to, as by ``data import``; the network's size follows from it as from a data set's."""
FEW = 8
"""Files up to which starting processes takes longer than it saves."""


class Kept(NamedTuple):
    """What became of one file.

    Attributes:
        frames: number of frames.
        fps: frames a second; None where the file is taken as it is.
        array: file of the frames; None where the file is taken as it is.
        refused: why it cannot be used; empty where it can.
    """

    frames: int = 0
    fps: float | None = None
    array: Path | None = None
    refused: str = ""


class OwnVideos:
    """Videos named by the user, and folders of them.

    Args:
        sources: files and folders.
        jobs: processes that prepare them where they are many.

    Raises:
        InputError: one is not there.
    """

    def __init__(self, sources: Sequence[Path], jobs: int = 1) -> None:
        folder = Path(tempfile.mkdtemp(prefix="echo-e3net-"))  # for its owner alone
        weakref.finalize(self, remove, folder, os.getpid())
        files = find_files(sources)
        task = partial(keep, folder=folder)
        numbered = [(number, file) for number, file in enumerate(files)]
        kept = dict(each(task, numbered, jobs if len(files) > FEW else 1, "reading your videos"))
        self.kept = {file: kept[number, file] for number, file in numbered}

    def records(self) -> list[VideoRecord]:
        """A record of each video that can be used, in the order in which they were named."""
        usable = [file for file, kept in self.kept.items() if not kept.refused]
        names = distinct_names(usable)
        kept = [(file, self.kept[file]) for file in usable]
        return [
            unlabelled(file)._replace(name=names[file], frames=found.frames, cropped=found.array is not None)
            for file, found in kept
        ]

    def refused(self) -> dict[Path, str]:
        """The files that cannot be used, and why."""
        return {file: kept.refused for file, kept in self.kept.items() if kept.refused}

    def rates(self) -> list[float]:
        """Frames a second of the videos that were prepared, ascending."""
        return sorted(kept.fps for kept in self.kept.values() if kept.fps is not None)

    def read(
        self, path: Path, index: Int[np.ndarray, " T"] | None = None, listed: int | None = None
    ) -> UInt8[np.ndarray, "T H W"]:
        """As :func:`echo_e3net.data.frames.read_frames`."""
        array = self.kept[path].array
        if array is None:
            return read_frames(path, index, listed)
        frames = np.load(array, mmap_mode="r")
        return np.array(frames if index is None else frames[index])


def read_cropped(path: Path, index: Int[np.ndarray, " T"]) -> UInt8[np.ndarray, "T H W"]:
    """Frames of a video that was cropped to its sector, for whoever looks at it again.

    Raises:
        InputError: it cannot be read any more.
    """
    try:
        frames = prepare(path, SIZE).frames
    except RefusedError as error:
        raise InputError(f"{path}: {error}") from error
    chosen: UInt8[np.ndarray, "T H W"] = frames[index.clip(0, len(frames) - 1)]
    return chosen


def keep(video: tuple[int, Path], folder: Path) -> Kept:
    """Prepare one video, a number and a file, and put its frames into the folder."""
    number, file = video
    try:
        if kind_of(file) == "video" and in_form(file):
            return Kept(count_frames(file))
        clip = prepare(file, SIZE)
    except RefusedError as error:
        return Kept(refused=str(error))
    array = folder / f"{number}.npy"
    np.save(array, clip.frames)
    return Kept(len(clip.frames), clip.fps, array)


def in_form(file: Path) -> bool:
    """Whether a video file has the data sets' form already; one that does not decode has not."""
    height, width = frame_size(file) or (0, 1)
    return height == width <= FORM_PX


def distinct_names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each file: without suffix and folder; with them, or as many folders as it takes, where files share one."""
    whole = {file: (*file.absolute().parts[:-1], file.name) for file in files}
    longest = max((len(parts) for parts in whole.values()), default=1)
    names = {file: bare_name(file) for file in files}
    for folders in range(longest):
        count = Counter(names.values())
        names = {
            file: "/".join(whole[file][-1 - folders :]) if count[name] > 1 else name for file, name in names.items()
        }
    return names


def remove(folder: Path, owner: int) -> None:
    """Delete the folder, in the process that made it: a worker that was forked holds the object too."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
