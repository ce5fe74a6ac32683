"""Rules that refuse videos or mask their labels. :mod:`echo_e3net.checks.advice` has the other rules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from echo_e3net.checks.columns import columns
from echo_e3net.checks.findings import Defect, Effect, Finding, Reading
from echo_e3net.checks.leaks import copies, shared_patients
from echo_e3net.conventions import PHASES
from echo_e3net.data.layout import EF_PERCENT, FRAMES, VIDEOS
from echo_e3net.data.records import DataFormat, DataSet, ListedVideo
from echo_e3net.tables import number

POSSIBLE = {"EF": EF_PERCENT, "NumberOfFrames": FRAMES, "NbFrame": FRAMES}
"""Range of each column that a video needs, in the formats that have the column."""


def read_data(format: DataFormat, root: Path) -> Reading:
    """Read and inspect a data set."""
    return inspect(format.read(root))


def inspect(dataset: DataSet) -> Reading:
    """Return the usable videos of a data set, and the findings that refuse videos or mask labels."""
    findings = [*columns(dataset), *rejected_rows(dataset), *apply(VIDEO_RULES, dataset), *tracings(dataset)]
    findings += [*copies(dataset), *shared_patients(dataset)]
    # The first row of a repeated video is used.
    unusable = {finding.name for finding in refused(findings) if finding.defect is not Defect.TWICE}
    if any(video.traced for video in dataset.videos):
        findings += [finding for finding in apply([untraced], dataset) if finding.name not in unusable]
    elif dataset.traced:
        dataset = dataset._replace(note="; ".join(filter(None, (dataset.note, "no video has tracings"))))
    return Reading([v.record for v in dataset.videos if v.record.name not in unusable], findings, dataset.note)


VideoRule = Callable[[ListedVideo], Iterator[tuple[Defect, str]]]
"""A rule that yields the defects of one video, each with its detail."""


def apply(rules: Iterable[VideoRule], dataset: DataSet) -> list[Finding]:
    """Return the findings of rules about single videos."""
    return [
        Finding(defect, video.record.name, video.where, detail)
        for rule in rules
        for video in dataset.videos
        for defect, detail in rule(video)
    ]


def refused(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that make a video unusable."""
    return [finding for finding in findings if finding.defect.effect is Effect.REFUSED]


def by_kind(findings: Iterable[Finding]) -> dict[Defect, int]:
    """Return the number of findings of each kind, in the order of :class:`Defect`."""
    count = Counter(finding.defect for finding in findings)
    return {defect: count[defect] for defect in Defect if count[defect]}


def rejected_rows(dataset: DataSet) -> Iterator[Finding]:
    """Find repeated videos, file names outside the data set, and unusable rows of tracings."""
    for row in dataset.repetitions:
        defect, other = (Defect.TWO_SPLITS, " in another split") if row.leak else (Defect.TWICE, "")
        yield Finding(defect, row.name, row.where, f"the video is already listed{other}, in {row.first}. Keep one row.")
    defects = {"FileName": Defect.OUTSIDE} | dict.fromkeys(PHASES, Defect.VALUE)
    for bad in dataset.bad_values:
        defect = Defect.BEYOND if bad.beyond else defects.get(bad.column, Defect.TRACING_VALUE)
        detail = f"{bad.column} is {bad.text!r}; expected {bad.expected}. Correct or remove the row."
        yield Finding(defect, bad.name, bad.where, detail)


def files(video: ListedVideo) -> Iterator[tuple[Defect, str]]:
    """Find missing, unreadable and too short files, and links that lead out of the folder of videos."""
    path = video.record.path
    if missing := next((file for file in video.files if not file.is_file()), None):
        yield Defect.ABSENT, f"{missing} does not exist. Add the file or remove the video."
    elif path.is_symlink() and path.parent.name == VIDEOS and path.resolve().parent != path.parent.resolve():
        yield Defect.OUTSIDE, f"{path} is a link to {path.resolve()}. Copy the file, or link the whole folder."
    elif video.error:
        yield Defect.UNDECODABLE, video.error
    elif video.held is not None and video.held < (video.record.frames or 0):
        frames = f"has {video.held} frames, but {video.record.frames} are listed"
        yield Defect.SHORT, f"{path} {frames}. Copy the file again or correct the number."


def values(video: ListedVideo) -> Iterator[tuple[Defect, str]]:
    """Find missing and impossible values that a video needs."""
    for column, (low, high) in POSSIBLE.items():
        text = video.values.get(column)
        if text is None or (column == "EF" and video.unlabelled):
            continue
        value, whole = number(text, low, high), "a whole number from " if column != "EF" else ""
        if math.isnan(value) or (whole and not value.is_integer()):
            yield Defect.VALUE, f"{column} is {text!r}; expected {whole}{low:g} to {high:g}. Correct or remove the row."
    if not (video.record.split or video.unlabelled):
        yield (
            Defect.SPLIT,
            f"Split is {video.values.get('Split', '')!r}; expected {video.splits}. Correct or remove the row.",
        )


def untraced(video: ListedVideo) -> Iterator[tuple[Defect, str]]:
    """Find labelled videos with more or fewer than two traced frames."""
    frames = sorted(frame.frame for frame in video.traced if frame.border == "endo")
    if video.record.split and len(frames) != len(PHASES):
        defect = {0: Defect.UNTRACED, 1: Defect.ONE_TRACED}.get(len(frames), Defect.MANY_TRACED)
        yield defect, f"traced frames are {frames}; expected two. EF is used; landmarks and timing are not."


def tracings(dataset: DataSet) -> Iterator[Finding]:
    """Find traced frames without a usable contour."""
    for video in dataset.videos:
        for frame in video.traced:
            if frame.fault:
                defect, detail = Defect[frame.fault.upper()], f"{frame.detail}. The tracing is not used."
                yield Finding(defect, video.record.name, frame.where, detail)


VIDEO_RULES: tuple[VideoRule, ...] = (files, values)
