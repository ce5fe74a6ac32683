"""The annotated video of a stream. It follows the stream by :data:`BEHIND_S`, since borders need the next beat."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from echo_e3net.data import raster
from echo_e3net.data.film import VideoWriter
from echo_e3net.errors import InputError
from echo_e3net.files import writing
from echo_e3net.reading.live import GradedBeat
from echo_e3net.reading.live_source import Square
from echo_e3net.reading.overlay import (
    BRIGHT,
    MARGIN,
    SIDE,
    KeyFrame,
    borders_at,
    draw_quality,
    key_frames_of,
    volume_graph,
)
from echo_e3net.reading.overlay import with_borders as draw_borders

BEHIND_S = 2.5
"""Time from a frame to its picture, seconds: a diastole, a systole, and the time until the beat is read."""
SHOWN_S = 5.0
"""Length of the graph of the volume, seconds."""
STALE_S = 1.5
"""Borders are shown until this time after the last ED or ES, seconds."""


class LiveVideo:
    """Writes the frames of a stream with borders, EF, quality and a graph of the volume; used in a ``with`` block.

    Args:
        path: a new MP4 file; None for Matroska to standard output.
        fps: frames per second.
        border_names: the borders that the network learned.

    Raises:
        InputError: the file cannot be written; also by the other methods.
    """

    def __init__(self, path: Path | None, fps: float, border_names: tuple[str, ...]) -> None:
        self.path, self.fps, self.border_names = path or Path("standard output"), fps, border_names
        with writing(self.path):
            self.file: Any = path.open("xb", buffering=0) if path else sys.stdout.buffer
            self.writer = VideoWriter(self.file, ".mp4" if path else ".mkv", fps, live=True)
        self.frames: deque[tuple[int, Square]] = deque()
        self.beats: deque[GradedBeat] = deque()
        self.start: int | None = None
        self.failed, self.last = False, -1

    def __enter__(self) -> LiveVideo:
        return self

    def __exit__(self, *_: object) -> None:
        """Write the frames that are left, and finish the video."""
        self.write(0)
        with self.writing():
            self.writer.__exit__(None)
        if self.file is not sys.stdout.buffer:
            self.file.close()

    def add(self, frames: list[tuple[int, Square]], beats: list[GradedBeat]) -> bool:
        """Take new frames and beats, and write frames that are old enough; return False if the player was closed."""
        self.frames.extend(frames)
        self.beats.extend(beats)
        self.write(round(BEHIND_S * self.fps))
        return not self.failed

    def write(self, behind: int) -> None:
        """Write all frames that are at least ``behind`` frames older than the newest."""
        if not self.frames:
            return
        newest = self.frames[-1][0]
        self.start = self.frames[0][0] if self.start is None else self.start
        oldest = self.frames[0][0] - (SHOWN_S + STALE_S) * self.fps
        while self.beats and self.beats[0].beat.es_frame < oldest:
            self.beats.popleft()
        key_frames = key_frames_of(beat for beat, _ in self.beats)
        while self.frames and self.frames[0][0] <= newest - behind:
            number, frame = self.frames.popleft()
            if self.failed or number <= self.last:
                continue
            with self.writing():
                self.writer.add(self.draw(number, frame, key_frames), number - self.start)
            self.last = number

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Note that the player of standard output was closed; other errors are those of the file."""
        try:
            with writing(self.path):
                yield
        except InputError as error:
            self.failed = True
            if not isinstance(error.__cause__, BrokenPipeError):
                raise

    def draw(self, number: int, frame: Square, key_frames: list[KeyFrame]) -> np.ndarray:
        """Return the picture of a frame."""
        stale = STALE_S * self.fps
        near = [key for key in key_frames if number - 2 * stale <= key.frame <= number + 2 * stale]
        known = bool(near) and near[0].frame <= number <= near[-1].frame + stale
        picture = draw_borders(frame, borders_at(near, number) if known else None, self.border_names)
        graded = next((graded for graded in reversed(self.beats) if graded.beat.ed_frame <= number), None)
        if graded is not None and known:
            raster.draw_text(picture, f"EF {graded.beat.ef_percent:.0f} %", MARGIN, SIDE - MARGIN, BRIGHT)
            draw_quality(picture, graded.quality)
        raster.draw_text(picture, f"{number / self.fps:.1f} s", SIDE - 70, SIDE - MARGIN, BRIGHT)
        length = round(SHOWN_S * self.fps)
        shown = [key._replace(frame=key.frame - (number - length)) for key in key_frames]
        return np.concatenate([picture, volume_graph(shown, length, self.fps, (f"-{SHOWN_S:g} s", "now"))])
