"""Kinds of defect of a data set, their effect on training, and findings of them.

A data set that cannot be read at all (a table or column is missing) raises :class:`~echo_e3net.errors.InputError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from echo_e3net.data.records import VideoRecord


class Effect(Enum):
    """Effect of a defect on a video."""

    REFUSED = "refused"
    """The video cannot be used: training stops, or continues without it (``data.on_defect``)."""
    MASKED = "masked"
    """The video is used without the labels concerned."""
    KEPT = "kept"
    """The video is used unchanged; somebody should look at it."""


@dataclass(frozen=True)
class Kind:
    """Title and effect of a kind of defect."""

    title: str
    effect: Effect


class Defect(Kind, Enum):
    """The kinds of defect."""

    COLUMN = ("implausible column", Effect.REFUSED)
    CONSTANT = ("same EF for all videos; training stops", Effect.KEPT)
    OUTSIDE = ("file name outside the data set", Effect.REFUSED)
    ABSENT = ("missing file of a listed video", Effect.REFUSED)
    TWICE = ("video listed twice", Effect.REFUSED)
    TWO_SPLITS = ("video listed in two splits (leak)", Effect.REFUSED)
    COPY = ("same video under two names", Effect.KEPT)
    COPY_SPLITS = ("same video in two splits (leak)", Effect.REFUSED)
    PATIENT_SPLITS = ("same patient in two splits (leak)", Effect.REFUSED)
    UNLISTED = ("video file that no table lists", Effect.KEPT)
    UNLISTED_TRACING = ("tracings of a video that no table lists", Effect.KEPT)
    VALUE = ("missing or unusable value", Effect.REFUSED)
    SPLIT = ("unknown split", Effect.REFUSED)
    SPELLING = ("unusual spelling of a split", Effect.KEPT)
    RANGE = ("unusual value", Effect.KEPT)
    VOLUMES = ("EF that differs from 100 (EDV - ESV) / EDV", Effect.KEPT)
    TRACING_VALUE = ("unusable value in a tracing", Effect.REFUSED)
    BEYOND = ("traced frame beyond the end of the video", Effect.REFUSED)
    OUT_OF_FRAME = ("tracing outside the frame", Effect.KEPT)
    UNTRACED = ("video without tracings", Effect.MASKED)
    ONE_TRACED = ("video with one traced frame", Effect.MASKED)
    MANY_TRACED = ("video with more than two traced frames", Effect.MASKED)
    SEGMENTS = ("traced frame with an unusual number of segments", Effect.MASKED)
    MASK = ("mask that is missing, unreadable or of another video", Effect.MASKED)
    DEGENERATE = ("border without area", Effect.MASKED)
    CROSSING = ("border that crosses itself", Effect.MASKED)
    AREA = ("ED, by volume, has the smaller area", Effect.KEPT)
    GEOMETRY = ("EF of the tracings far from the labelled EF", Effect.KEPT)
    UNDECODABLE = ("video that does not decode", Effect.REFUSED)
    DAMAGED = ("video with damaged frames", Effect.REFUSED)
    SHORT = ("video with fewer frames than listed", Effect.REFUSED)
    LONG = ("video with more frames than listed", Effect.KEPT)
    HEADER = ("header that disagrees with the file", Effect.KEPT)
    SIZE = ("frames of another size than listed", Effect.REFUSED)
    ODD_SIZE = ("frames of an unusual size for this data set", Effect.KEPT)
    NO_CLIP = ("file that cannot be used as a clip", Effect.REFUSED)
    BLANK = ("video without a picture", Effect.REFUSED)
    ODD_FRAME = ("frame unlike those before and after it", Effect.KEPT)
    STILL = ("video without motion", Effect.KEPT)


class Finding(NamedTuple):
    """One defect at one place.

    Attributes:
        defect: its kind.
        name: name of the video or file; empty if it concerns a whole column.
        where: file and row; the header is row 1.
        detail: what is wrong and what to do, in one or two sentences.
    """

    defect: Defect
    name: str
    where: str
    detail: str

    def __str__(self) -> str:
        """Return place and detail in one line."""
        return f"{self.where}: {self.detail}"


class Reading(NamedTuple):
    """The usable, labelled videos of a data set, the findings about all its videos, and the note of its format."""

    records: list[VideoRecord]
    findings: list[Finding]
    note: str = ""
