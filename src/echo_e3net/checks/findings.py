"""What can be wrong with a data set: every kind of defect, what it means for training, and one finding of it.

Formats (``data/formats``) find defects in tables, :mod:`echo_e3net.cli.check` finds those that only decoding shows. Nobody else decides what is a
defect. A file without which nothing can be read (no table, no column) is no finding but an :class:`~echo_e3net.errors.InputError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple


class Effect(Enum):
    """What a defect does to a video."""

    REFUSED = "refused"
    """The video cannot be used: training stops, or leaves it out (``data.on_defect``)."""
    MASKED = "masked"
    """The video is used; the labels concerned are not."""
    KEPT = "kept"
    """The video is used as it is; somebody should look."""


class Defect(Enum):
    """The kinds of defect: what is shown, and the effect."""

    OUTSIDE = ("file name that leads outside the data set", Effect.REFUSED)
    ABSENT = ("listed video that is absent", Effect.REFUSED)
    TWICE = ("video listed twice", Effect.REFUSED)
    TWO_SPLITS = ("video listed in two splits: a leak", Effect.REFUSED)
    COPY = ("same video under two names", Effect.KEPT)
    COPY_SPLITS = ("same video under two names in two splits: a leak", Effect.REFUSED)
    UNLISTED = ("video that no table lists", Effect.KEPT)
    UNLISTED_TRACING = ("tracings of a video that no table lists", Effect.KEPT)
    VALUE = ("value that is missing or of the wrong type", Effect.REFUSED)
    SPLIT = ("split that does not exist", Effect.REFUSED)
    SPELLING = ("split in another spelling", Effect.KEPT)
    RANGE = ("value that is odd", Effect.KEPT)
    VOLUMES = ("EF that is not 100 (EDV - ESV) / EDV", Effect.KEPT)
    TRACING_VALUE = ("tracing with a value that is no number", Effect.REFUSED)
    BEYOND = ("traced frame beyond the end of the video", Effect.REFUSED)
    OUT_OF_FRAME = ("tracing outside the frame", Effect.KEPT)
    UNTRACED = ("video without tracings", Effect.MASKED)
    ONE_TRACED = ("video with one traced frame", Effect.MASKED)
    MANY_TRACED = ("video with more than two traced frames", Effect.MASKED)
    SEGMENTS = ("traced frame with an unusual number of segments", Effect.MASKED)
    MASK = ("mask that is absent, unreadable, or not of its video", Effect.MASKED)
    DEGENERATE = ("contour without extent", Effect.MASKED)
    CROSSING = ("contour that crosses itself", Effect.MASKED)
    AREA = ("ED, by volume, is not the larger area", Effect.KEPT)
    GEOMETRY = ("EF of the tracings far from the labelled EF", Effect.KEPT)
    UNDECODABLE = ("video that does not decode", Effect.REFUSED)
    SHORT = ("video with fewer frames than listed", Effect.REFUSED)
    LONG = ("video with more frames than listed", Effect.KEPT)
    HEADER = ("header that claims other than the file holds", Effect.KEPT)
    SIZE = ("frames of another size than listed", Effect.REFUSED)
    ODD_SIZE = ("frames of an unusual size for this data set", Effect.KEPT)
    NO_CLIP = ("file that is no clip of a sector", Effect.REFUSED)
    BLANK = ("video without a picture", Effect.REFUSED)
    STILL = ("video in which nothing moves", Effect.KEPT)

    def __init__(self, title: str, effect: Effect) -> None:
        self.title, self.effect = title, effect


class Finding(NamedTuple):
    """One defect at one place.

    Attributes:
        defect: its kind.
        name: stem of the video, or what stands in its place.
        where: file, and row as an editor counts it (the header is row 1).
        detail: what was found there, and what to do: one or two sentences.
    """

    defect: Defect
    name: str
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}"


def refused(findings: Iterable[Finding]) -> list[Finding]:
    """The findings for which a video cannot be used."""
    return [finding for finding in findings if finding.defect.effect is Effect.REFUSED]


class Findings(list[Finding]):
    """All findings of a data set, in the order in which they were met."""

    def add(self, defect: Defect, name: str, where: str, detail: str) -> None:
        """Add a finding (:class:`Finding`)."""
        self.append(Finding(defect, name, where, detail))

    def unusable(self) -> set[str]:
        """Names of the videos that cannot be used. A second row of a video is refused, the video is not."""
        return {finding.name for finding in refused(self) if finding.defect is not Defect.TWICE}


def by_kind(findings: Iterable[Finding]) -> dict[Defect, int]:
    """How many there are of each kind, in the order of :class:`Defect`."""
    count = Counter(finding.defect for finding in findings)
    return {defect: count[defect] for defect in Defect if count[defect]}
