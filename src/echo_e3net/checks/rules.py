"""Rules that refuse videos or mask their labels. Each rule yields the findings of one kind of fault.

:mod:`echo_e3net.checks.advice` has the rules that only ask for a second look.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from echo_e3net.checks.findings import Defect, Effect, Finding, Reading
from echo_e3net.data.layout import EF_PERCENT, FRAMES, VIDEOS
from echo_e3net.data.records import DataFormat, DataSet, VideoRecord
from echo_e3net.files import file_hash
from echo_e3net.tables import number
from echo_e3net.types import PHASES

POSSIBLE = {"EF": EF_PERCENT, "NumberOfFrames": FRAMES, "NbFrame": FRAMES}
"""Range of each column that every video needs, where the format has it."""


def read_data(format: DataFormat, root: Path) -> Reading:
    """Read a data set for training.

    Raises:
        InputError: a folder, table or column is missing.
    """
    return inspect(format.read(root))


def inspect(dataset: DataSet) -> Reading:
    """Return the usable videos of a data set, and the findings that refuse videos or mask labels."""
    findings = [finding for rule in RULES for finding in rule(dataset)]
    # The first row of a repeated video is used.
    unusable = {finding.name for finding in refused(findings) if finding.defect is not Defect.TWICE}
    findings += [finding for finding in untraced(dataset) if finding.name not in unusable]
    return Reading([v.record for v in dataset.videos if v.record.name not in unusable], findings)


def refused(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that make a video unusable."""
    return [finding for finding in findings if finding.defect.effect is Effect.REFUSED]


def by_kind(findings: Iterable[Finding]) -> dict[Defect, int]:
    """Return the number of findings of each kind, in the order of :class:`Defect`."""
    count = Counter(finding.defect for finding in findings)
    return {defect: count[defect] for defect in Defect if count[defect]}


def bad_values(dataset: DataSet) -> Iterator[Finding]:
    """Find file names outside the data set, and unusable tracings."""
    defects = {"FileName": Defect.OUTSIDE} | dict.fromkeys(PHASES, Defect.VALUE)
    for bad in dataset.bad_values:
        defect = Defect.BEYOND if bad.beyond else defects.get(bad.column, Defect.TRACING_VALUE)
        detail = f"{bad.column} is {bad.text!r}; expected {bad.expected}. Correct or remove the row."
        yield Finding(defect, bad.name, bad.where, detail)


def repetitions(dataset: DataSet) -> Iterator[Finding]:
    """Find further rows of a listed video."""
    for repetition in dataset.repetitions:
        defect, where = (Defect.TWO_SPLITS, " in another split") if repetition.leak else (Defect.TWICE, "")
        detail = f"the video is already listed{where}, in {repetition.first}. Keep one row."
        yield Finding(defect, repetition.name, repetition.where, detail)


def files(dataset: DataSet) -> Iterator[Finding]:
    """Find missing, unreadable and too short files, and links that lead out of the folder of videos.

    The data set or its folder of videos may itself be a link.
    """
    for video in dataset.videos:
        name, path = video.record.name, video.record.path
        if missing := next((file for file in video.files if not file.is_file()), None):
            detail = f"{missing} does not exist. Add the file or remove the video."
            yield Finding(Defect.ABSENT, name, video.where, detail)
        elif path.is_symlink() and path.parent.name == VIDEOS and path.resolve().parent != path.parent.resolve():
            detail = f"{path} links to {path.resolve()}, outside {path.parent}. Link the whole folder or copy the file."
            yield Finding(Defect.OUTSIDE, name, video.where, detail)
        elif video.error:
            yield Finding(Defect.UNDECODABLE, name, str(path), video.error)
        elif video.held is not None and video.held < (video.record.frames or 0):
            detail = f"the file has {video.held} frames, but {video.record.frames} are listed in {video.where}."
            yield Finding(Defect.SHORT, name, str(path), f"{detail} Copy the file again or correct the number.")


def values(dataset: DataSet) -> Iterator[Finding]:
    """Find missing and impossible values that a video needs."""
    for video in dataset.videos:
        for column, (low, high) in POSSIBLE.items():
            text = video.values.get(column)
            if text is None or (column == "EF" and video.unlabelled):
                continue
            if math.isnan(number(text, low, high)):
                detail = f"{column} is {text!r}; expected {low:g} to {high:g}. Correct or remove the row."
                yield Finding(Defect.VALUE, video.record.name, video.where, detail)
        if not video.record.split and not video.unlabelled:
            detail = (
                f"Split is {video.values.get('Split', '')!r}; expected {dataset.splits}. Correct or remove the row."
            )
            yield Finding(Defect.SPLIT, video.record.name, video.where, detail)


def tracings(dataset: DataSet) -> Iterator[Finding]:
    """Find traced frames that make no contour."""
    for video in dataset.videos:
        for frame in video.traced:
            if frame.fault:
                detail = f"{frame.detail}. The tracing is not used."
                yield Finding(Defect[frame.fault.upper()], video.record.name, frame.where, detail)


def untraced(dataset: DataSet) -> Iterator[Finding]:
    """Find labelled videos with more or fewer than two traced frames."""
    for video in dataset.videos if dataset.traced else ():
        frames = sorted(frame.frame for frame in video.traced if frame.border == "endo")
        if video.record.split and len(frames) != len(PHASES):
            defect = {0: Defect.UNTRACED, 1: Defect.ONE_TRACED}.get(len(frames), Defect.MANY_TRACED)
            listed = f" ({', '.join(map(str, frames))})" if frames else ""
            detail = f"{len(frames)} traced frames{listed}; expected 2. EF is used; landmarks and timing are not."
            yield Finding(defect, video.record.name, video.where, detail)


def copies(dataset: DataSet) -> Iterator[Finding]:
    """Find videos whose files have equal content. Only files of equal size are read.

    Across splits one copy stays, so that evaluation keeps its videos: test before val before train.
    """
    by_size, by_content = defaultdict[int, list[VideoRecord]](list), defaultdict[str, list[VideoRecord]](list)
    for video in dataset.videos:
        if video.record.path.is_file():
            by_size[video.record.path.stat().st_size].append(video.record)
    for record in (record for same in by_size.values() if len(same) > 1 for record in same):
        by_content[file_hash(record.path)].append(record)
    for same in by_content.values():
        first, *others = sorted(same, key=lambda record: ("test", "val", "train", "").index(record.split))
        for record in others:
            content = f"same content as {first.path.name} (split {first.split or 'none'})"
            if record.split == first.split:
                yield Finding(Defect.COPY, record.name, str(record.path), f"{content}. Is it the same patient?")
            else:
                detail = f"{content}, but in split {record.split or 'none'}. Remove one of the two."
                yield Finding(Defect.COPY_SPLITS, record.name, str(record.path), detail)


Rule = Callable[[DataSet], Iterator[Finding]]
RULES: tuple[Rule, ...] = (bad_values, repetitions, files, values, tracings, copies)
