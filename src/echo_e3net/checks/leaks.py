"""Rules that find the same patient or the same video in two splits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from echo_e3net.checks.findings import Defect, Finding
from echo_e3net.data.records import DataSet, VideoRecord
from echo_e3net.files import file_hash

PATIENT = ("patient", "patientid")
"""Names of a column of patients in lower case, without spaces and underscores."""
KEPT_FIRST = ("test", "val", "train", "")
"""Order of the splits in which one of several copies stays, so that evaluation keeps its videos."""
SAME_PICTURE = 2.5
"""Largest difference (root mean square, grey values) of the thumbnails of one video.

Videos that were compressed again differ by up to 1.6, phantoms of different hearts by 12.8 and more.
"""
CHUNK = 512
"""Number of videos that are compared with all others at once."""
Item = TypeVar("Item")


def patient_of(values: Mapping[str, str]) -> str:
    """Return the patient that a row names; empty if it names none."""
    found = (text.strip() for name, text in values.items() if re.sub(r"[\s_-]", "", name.lower()) in PATIENT)
    return next(found, "")


def shared_patients(dataset: DataSet) -> Iterator[Finding]:
    """Find videos of patients who have videos in two splits. Videos without patient or split are not compared."""
    known = [video for video in dataset.videos if patient_of(video.values) and video.record.split]
    for videos in groups((patient_of(video.values), video) for video in known):
        first, *others = sorted(videos, key=lambda video: KEPT_FIRST.index(video.record.split))
        for video in others:
            if video.record.split != first.record.split:
                splits = f"patient {patient_of(video.values)!r} is in split {video.record.split} and, in {first.where}"
                detail = f"{splits}, in split {first.record.split}. Move all videos of a patient to one split."
                yield Finding(Defect.PATIENT_SPLITS, video.record.name, video.where, detail)


def copies(dataset: DataSet) -> Iterator[Finding]:
    """Find videos whose files have equal content. Only files of equal size are read."""
    held = [video.record for video in dataset.videos if video.record.path.is_file()]
    same_size = groups((record.path.stat().st_size, record) for record in held)
    for records in groups((file_hash(record.path), record) for same in same_size for record in same):
        yield from copied(records, "same content as")


def copied(records: Sequence[VideoRecord], what: str) -> Iterator[Finding]:
    """Yield a finding for each copy of a video but one; ``what`` tells what is the same."""
    first, *others = sorted(records, key=lambda record: KEPT_FIRST.index(record.split))
    for record in others:
        defect = Defect.COPY if record.split == first.split else Defect.COPY_SPLITS
        splits = f"splits: {record.split or 'none'} and {first.split or 'none'}"
        detail = f"{what} {first.path.name} ({splits}). Remove one of the two."
        yield Finding(defect, record.name, str(record.path), detail)


def same_pictures(records: Sequence[VideoRecord], thumbnails: Mapping[Path, bytes]) -> Iterator[Finding]:
    """Find videos that show the same pictures in other bytes: with another header, or compressed again.

    Args:
        records: the videos.
        thumbnails: small grey frames of each, all of the same number and size; empty for videos that are not compared.
    """
    compared = [record for record in records if thumbnails[record.path]]
    ordered = sorted(compared, key=lambda record: KEPT_FIRST.index(record.split))
    if len(ordered) < 2:
        return
    grey = np.array([np.frombuffer(thumbnails[record.path], np.uint8) for record in ordered], np.float32)
    norms, seen = (grey**2).sum(1), set[int]()
    for start in range(0, len(ordered), CHUNK):
        rows = slice(start, start + CHUNK)
        squares = norms[rows, None] + norms[start:] - 2 * grey[rows] @ grey[start:].T
        near = defaultdict[int, list[int]](list)
        for first, other in np.argwhere(np.triu(squares < grey.shape[1] * SAME_PICTURE**2, 1)).tolist():
            near[start + first].append(start + other)
        for first, others in near.items():
            if first in seen:
                continue
            others = [other for other in others if other not in seen]
            seen.update(others)
            # Files of equal content are already found without decoding.
            content = file_hash(ordered[first].path)
            same = [ordered[other] for other in others if file_hash(ordered[other].path) != content]
            yield from copied([ordered[first], *same], "same pictures as")


def groups(items: Iterable[tuple[Hashable, Item]]) -> list[list[Item]]:
    """Return the items with equal keys, where a key has several."""
    found = defaultdict[Hashable, list[Item]](list)
    for key, item in items:
        found[key].append(item)
    return [same for same in found.values() if len(same) > 1]
