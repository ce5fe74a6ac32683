"""Grade a reading: good, doubtful or unusable, with the reasons.

A cue is a measured number that has a limit. A reading is doubtful if a cue is beyond its limit. It is unusable if a cue
is not a number or is beyond its outer limit, where no EF can be right, or if :data:`MANY` cues are beyond their limits.
A reading whose borders could not be measured is never good. The last cue is a sum over the cues that depend on the
network. It finds clips that are near many limits but beyond none.

Limits of the picture, of time and of shape are physical. The others depend on how well a network reads good clips. If
good validation clips exceed them, ``scripts/calibrate_quality.py`` loosens them and stores them in the model. It never
tightens them, because a difference of EF that is usual between human readers is not a reason for doubt. No limit is
looser than the outer limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import UInt8

from echo_e3net.models.clip_reader import ClipReading
from echo_e3net.reading.beats import Beat, Peaks, beats_of_windows, sharpness, uncut
from echo_e3net.reading.border_cues import border_cues
from echo_e3net.reading.picture_cues import lit_region, picture_cues
from echo_e3net.reading.windows import Windows

Grade = Literal["good", "doubtful", "unusable"]
GRADES: tuple[Grade, ...] = get_args(Grade)
SHOWN = 3
"""Number of reasons in one line of text."""
MANY = 4
"""A reading is unusable if at least this many cues are beyond their limits."""


class Cue(NamedTuple):
    """One cue.

    Attributes:
        beyond: on which side of the limit readings are doubtful.
        limit: readings beyond it are doubtful.
        reason: what is wrong then; ``{value}``, ``{limit}`` and ``{percent}`` (of the value) are replaced.
        outer: readings beyond it are unusable; None: no value makes a reading unusable.
        typical: value of a good clip, for cues whose limit depends on the network. Calibration may loosen these limits.
            None for other cues.
    """

    beyond: Literal["above", "below"]
    limit: float
    reason: str
    outer: float | None = None
    typical: float | None = None

    def why(self, value: float, limit: float) -> str:
        """Return the reason for a value beyond the limit."""
        return self.reason.format(value=value, limit=limit, percent=100 * value)

    def exceeded(self, value: float, limit: float | None) -> bool:
        """Return whether a value is beyond a limit; NaN is beyond every limit, and nothing is beyond None."""
        if limit is None:
            return False
        return not (value <= limit if self.beyond == "above" else value >= limit)

    def not_outside(self, limit: float) -> float:
        """Return the limit, or the outer limit if that is stricter."""
        if self.outer is None:
            return limit
        return min(limit, self.outer) if self.beyond == "above" else max(limit, self.outer)


CUES: dict[str, Cue] = {
    "lit": Cue("below", 0.2, "the picture is mostly black", outer=0.02),
    "background": Cue("above", 9.0, "the background is not black (grey value {value:.0f})"),
    "top_width": Cue("above", 0.6, "no sector with the transducer at the top", outer=0.95),
    "change": Cue("below", 2.5, "nothing moves: grey values change by {value:.1f}", outer=1.0),
    "continuity": Cue(
        "below",
        0.65,
        "successive frames do not fit together (correlation {value:.2f}, limit {limit:.2f})",
        0.05,
        typical=0.85,
    ),
    "fps": Cue("below", 20.0, "{value:.4g} frames per second are too few; at least {limit:.0f} are needed"),
    "seconds": Cue("below", 0.7, "{value:.2f} s may be shorter than a beat"),
    "beats": Cue("below", 1.0, "no beat found"),
    "uncut": Cue("below", 1.0, "the video may end before ES"),
    "spread": Cue(
        "above", 4.0, "EF varies by {value:.1f} points between beats or windows (limit {limit:.1f})", typical=1.0
    ),
    "timing": Cue("below", 0.55, "the timing of ED and ES is unclear ({value:.2f}, limit {limit:.2f})", typical=0.8),
    "gap": Cue("above", 3.0, "EF and Simpson's EF differ by {value:.1f} points (limit {limit:.1f})", typical=0.5),
    "detector": Cue("below", 1.0, "the network has no borders to check"),
    "borders": Cue("below", 1.0, "the borders were not checked"),
    "crossing": Cue("above", 0.0, "a border crosses itself"),
    "outside": Cue("above", 0.1, "{percent:.0f} % of the landmarks are outside the sector"),
    "size": Cue("below", 0.04, "the ventricle is too small: {percent:.0f} % of the sector"),
    "large": Cue("above", 0.5, "the ventricle is too large: {percent:.0f} % of the sector"),
    "contrast": Cue(
        "below", 0.15, "blood is hardly darker than the wall (contrast {value:.2f}, limit {limit:.2f})", typical=0.6
    ),
    "bright_blood": Cue(
        "above", 0.9, "bright regions inside the ventricle ({value:.2f} of the wall, limit {limit:.2f})", typical=0.4
    ),
    "atrium": Cue(
        "above", 0.6, "no dark atrium below the mitral plane ({value:.2f} of the wall, limit {limit:.2f})", typical=0.2
    ),
    "below": Cue("below", 0.25, "the picture ends at the mitral plane ({percent:.0f} % of the atrium is visible)"),
    "filling": Cue(
        "below", 0.2, "the walls hardly move inwards from ED to ES ({value:.2f}, limit {limit:.2f})", typical=0.5
    ),
    "together": Cue("above", 5.0, "several cues together are unusual ({value:.1f}, limit {limit:.1f})", typical=1.0),
}
"""All cues, in the order in which reasons are listed. The modules that measure the cues explain their values."""


FARTHEST = 2.0
"""Largest distance of a cue from its typical value that counts in the sum; 1 is the distance of the limit."""


@dataclass(frozen=True)
class Quality:
    """Grade of a reading, with the reasons and the measured cues.

    Attributes:
        grade: good, doubtful or unusable.
        reasons: why it is not good; empty if it is.
        values: the measured cues, by name. Cues that cannot be measured are missing.
    """

    grade: Grade
    reasons: tuple[str, ...]
    values: Mapping[str, float]

    def __str__(self) -> str:
        """Return the grade with its first reasons."""
        more = [f"and {len(self.reasons) - SHOWN} more"] if len(self.reasons) > SHOWN else []
        return ": ".join(filter(None, (self.grade, "; ".join([*self.reasons[:SHOWN], *more]))))


def grade(values: Mapping[str, float], limits: Mapping[str, float] | None = None) -> Quality:
    """Return the quality for measured cues.

    Args:
        values: cues by name.
        limits: limits of the network that replace those of :data:`CUES`, by name.
    """
    reasons, worst = [], False
    for name, cue in CUES.items():
        if name not in values:
            continue
        value, limit = values[name], cue.not_outside((limits or {}).get(name, cue.limit))
        if not math.isfinite(value):
            reasons.append(f"the cue {name} is not a number")
            worst = True
        elif cue.exceeded(value, limit):
            reasons.append(cue.why(value, limit))
            worst = worst or cue.exceeded(value, cue.outer)
    found: Grade = "unusable" if worst or len(reasons) >= MANY else "doubtful" if reasons else "good"
    return Quality(found, tuple(reasons), values)


def together(values: Mapping[str, float]) -> float:
    """Return the sum of the distances of the network's cues from their typical values; 1: default limit."""
    distances = (
        (values[name] - cue.typical) / (cue.limit - cue.typical)
        for name, cue in CUES.items()
        if cue.typical is not None and name in values
    )
    return float(sum(min(max(distance, 0.0), FARTHEST) for distance in distances))


def picture_values(frames: UInt8[np.ndarray, "T H W"], fps: float, beats: Sequence[Beat] | None) -> dict[str, float]:
    """Measure the cues that need only frames and the borders of beats.

    Args:
        frames: grey frames.
        fps: frames per second.
        beats: beats with landmarks in pixels of the frames; None: the network has no border detector.
    """
    lit = lit_region(frames)
    # rounded, so that the reason never says that 20 frames per second are fewer than 20
    values = {**picture_cues(frames, fps, lit)._asdict(), "fps": round(fps, 2), "detector": float(beats is not None)}
    if beats is None:
        return values
    borders = border_cues(frames, lit, beats)
    if borders is None:
        return {**values, "borders": 0.0}
    return {**values, "borders": 1.0, **borders._asdict(), "large": borders.size}


def quality_values(
    frames: UInt8[np.ndarray, "T H W"],
    fps: float,
    found: ClipReading,
    windows: Windows,
    beats: Sequence[Beat],
    peaks: Peaks | None,
) -> dict[str, float]:
    """Measure all cues of a reading. Without a beat, the borders of all windows are measured.

    Args:
        frames: grey frames.
        fps: frames per second.
        found: output of the network for the windows.
        windows: the windows.
        beats: beats with landmarks in pixels of the frames.
        peaks: the ED and ES frames; None: the network has no border detector.
    """
    measured = None if peaks is None else beats or beats_of_windows(found, windows)
    values = picture_values(frames, fps, measured) | network_values(found, windows, len(frames), fps, beats, peaks)
    return {**values, "seconds": len(frames) / fps, "together": together(values)}


def network_values(
    found: ClipReading, windows: Windows, frames: int, fps: float, beats: Sequence[Beat], peaks: Peaks | None
) -> dict[str, float]:
    """Measure how well the outputs of the network agree with each other. One window has no spread."""
    efs = ([beat.ef_percent for beat in beats], 100 * found.ef) if len(found.ef) > 1 else ()
    values = {"spread": float(max(np.std(several) for several in efs if len(several)))} if efs else {}
    if found.simpson_ef is None or found.timing is None or peaks is None:
        return values
    simpson = [beat.simpson_ef_percent for beat in beats] or (100 * found.simpson_ef).tolist()
    network = [beat.ef_percent for beat in beats] or (100 * found.ef).tolist()
    if beats:
        values["uncut"] = float(bool(uncut(beats, frames, fps)))
    return values | {
        "beats": float(len(beats)),
        "timing": sharpness(found.timing, windows, peaks, frames, fps),
        "gap": float(abs(np.mean(network) - np.mean(simpson))),
    }
