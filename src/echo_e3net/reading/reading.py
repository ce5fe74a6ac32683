"""What was read from one video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from echo_e3net.errors import InputError
from echo_e3net.models.clip_reader import ClipReading
from echo_e3net.reading.beats import Beat
from echo_e3net.reading.quality import Quality
from echo_e3net.reading.source import Source

if TYPE_CHECKING:
    from echo_e3net.reading.overlay import OverlayData


@dataclass(frozen=True, eq=False)
class Reading:
    """EF of one video.

    Attributes:
        name: the file, or "frames" for an array.
        ef_percent: mean EF of the beats, or of the windows if no beat was found.
        spread_percent: standard deviation of EF over the beats, or over the windows if no beat was found; None if there
            is only one beat or one window. It is lower than the real uncertainty of EF, because overlapping windows
            share beats.
        simpson_ef_percent: mean EF by Simpson's method from the endocardial landmarks, over the beats, or over the
            windows if no beat was found; None if the network has no border detector.
        beats: the beats, in their order in time. Empty if the network has no border detector, or none was found.
        windows: number of windows that the network read.
        fps: frames per second of the video.
        remark: warning about the frame rate or a short video; empty if there is none.
        frames: (T, H, W), grey frames; landmarks are in their pixels.
        border_names: the borders that the network learned: endo, epi.
        quality: grade (good, doubtful or unusable) with the reasons and the measured cues.
    """

    name: str
    ef_percent: float
    spread_percent: float | None
    simpson_ef_percent: float | None
    beats: tuple[Beat, ...]
    windows: int
    fps: float
    remark: str
    frames: UInt8[np.ndarray, "T H W"] = field(repr=False)
    border_names: tuple[str, ...]
    quality: Quality

    @classmethod
    def of(
        cls,
        source: Source,
        found: ClipReading,
        beats: Sequence[Beat],
        border_names: tuple[str, ...],
        quality: Quality,
    ) -> Reading:
        """Return the reading of a video from its windows and beats."""
        efs = [beat.ef_percent for beat in beats] or (100 * found.ef).tolist()
        simpson = [beat.simpson_ef_percent for beat in beats]
        if not simpson and found.simpson_ef is not None:
            simpson = (100 * found.simpson_ef).tolist()
        return cls(
            name=source.name,
            ef_percent=float(np.mean(efs)),
            spread_percent=float(np.std(efs)) if min(len(efs), len(found.ef)) > 1 else None,
            simpson_ef_percent=float(np.mean(simpson)) if simpson else None,
            beats=tuple(beats),
            windows=len(found.ef),
            fps=source.fps,
            remark=source.remark,
            frames=source.frames,
            border_names=border_names,
            quality=quality,
        )

    def __str__(self) -> str:
        """Return one line: EF with its spread, the beats, Simpson's EF, and the grade with its reasons."""
        number = len(self.beats)
        spread = "" if self.spread_percent is None else f" ± {self.spread_percent:.1f} %"
        found = ("no beat found", "1 beat", f"{number} beats")[min(number, 2)]
        simpson = "" if self.simpson_ef_percent is None else f"; Simpson's EF {self.simpson_ef_percent:.1f} %"
        return f"{self.name}: EF {self.ef_percent:.1f}{spread or ' %'}, {found}{simpson}; {self.quality}"

    def overlay(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the video with its borders and a graph of the volume, and return its path.

        Args:
            path: the file; its suffix is .mp4 or .gif.
            overwrite: whether an existing file is replaced.

        Raises:
            InputError: the suffix is another one, the file exists and is not to be replaced, or it cannot be written.
        """
        from echo_e3net.reading.overlay import write_overlay

        if Path(path).exists() and not overwrite:
            raise InputError(f"{path} exists. Choose another path, or set overwrite=True.")
        return write_overlay(self.overlay_data(), Path(path))

    def overlay_data(self) -> OverlayData:
        """Return what pictures need."""
        from echo_e3net.reading.overlay import OverlayData

        return OverlayData(self.frames, self.fps, self.ef_percent, self.beats, self.border_names, self.quality)

    def _repr_png_(self) -> bytes:
        """Return ED and ES of the first beat with their borders, which a notebook shows."""
        from echo_e3net.reading.overlay import still

        return still(self.overlay_data())
