"""What was read from one video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from echo_e3net.models.clip_reader import ClipReading
from echo_e3net.reading.beats import Beat
from echo_e3net.reading.source import Source

if TYPE_CHECKING:
    from echo_e3net.reading.overlay import Shown


@dataclass(frozen=True)
class Reading:
    """EF of one video.

    Attributes:
        name: the file, or "frames" for an array.
        ef_percent: mean EF of the beats; without beats, of the windows.
        spread_percent: standard deviation of EF over the beats, or over the windows without beats; 0 for a single one.
        simpson_ef_percent: mean over the beats of EF by Simpson's method from the endocardial landmarks; None without.
        beats: the beats, in their order in time. Empty if the network has no border detector, or none was found.
        windows: number of windows that the network read.
        fps: frames per second of the video.
        remark: a doubt about the frame rate; empty if there is none.
        frames: (T, H, W), grey frames; borders are in their pixels.
        borders: names of the borders that the network learned: endo, epi.
    """

    name: str
    ef_percent: float
    spread_percent: float
    simpson_ef_percent: float | None
    beats: tuple[Beat, ...]
    windows: int
    fps: float
    remark: str
    frames: UInt8[np.ndarray, "T H W"] = field(repr=False)
    borders: tuple[str, ...]

    @classmethod
    def of(cls, source: Source, found: ClipReading, beats: Sequence[Beat], borders: tuple[str, ...]) -> Reading:
        """Return the reading of a video from its windows and beats."""
        efs = [beat.ef_percent for beat in beats] or (100 * found.ef).tolist()
        simpson = [beat.simpson_ef_percent for beat in beats]
        if not simpson and found.simpson_ef is not None:
            simpson = (100 * found.simpson_ef).tolist()
        return cls(
            name=source.name,
            ef_percent=float(np.mean(efs)),
            spread_percent=float(np.std(efs)),
            simpson_ef_percent=float(np.mean(simpson)) if simpson else None,
            beats=tuple(beats),
            windows=len(found.ef),
            fps=source.fps,
            remark=source.remark,
            frames=source.frames,
            borders=borders,
        )

    def __str__(self) -> str:
        """Return one line: EF, its spread, and the beats."""
        number = len(self.beats)
        spread = f" ± {self.spread_percent:.1f} over {number} beats" if number > 1 else ", 1 beat" if number else ""
        simpson = "" if self.simpson_ef_percent is None else f"; Simpson's EF {self.simpson_ef_percent:.1f} %"
        return f"{self.name}: EF {self.ef_percent:.1f} %{spread}{simpson}"

    def overlay(self, path: str | Path) -> Path:
        """Write the video with borders and volume curve as MP4 or GIF, as the suffix says, and return its path.

        Raises:
            InputError: the suffix is another, or the file cannot be written.
        """
        from echo_e3net.reading.overlay import write_overlay

        return write_overlay(self.shown(), Path(path))

    def shown(self) -> Shown:
        """Return what pictures need."""
        from echo_e3net.reading.overlay import Shown

        return Shown(self.frames, self.fps, self.ef_percent, self.beats, self.borders)

    def _repr_png_(self) -> bytes:
        """Return ED and ES of the first beat with their borders, which a notebook shows."""
        from echo_e3net.reading.overlay import still

        return still(self.shown())
