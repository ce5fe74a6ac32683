"""Rules that find the same patient or the same video in two splits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TypeVar

from echo_e3net.checks.findings import Defect, Finding
from echo_e3net.data.records import DataSet, VideoRecord
from echo_e3net.files import file_hash

PATIENT = ("patient", "patientid")
"""Names of a column of patients in lower case, without spaces and underscores."""
UNKNOWN_PATIENT = ("", "0", "-", "?", "na", "n/a", "nan", "none", "null", "unknown", "anonymous", "anonymized")
"""Values in lower case that name no patient."""
KEPT_FIRST = ("test", "val", "train", "")
"""Order of the splits in which one of several copies stays, so that evaluation keeps its videos."""
Item = TypeVar("Item")


def patient_of(values: Mapping[str, str]) -> str:
    """Return the patient that a row names; empty if it names none."""
    found = (text.strip() for name, text in values.items() if is_patient(name))
    patient = next(found, "")
    return "" if patient.lower() in UNKNOWN_PATIENT else patient


@cache
def is_patient(column: str) -> bool:
    """Return whether a column names patients."""
    return re.sub(r"[\s_-]", "", column.lower()) in PATIENT


def shared_patients(dataset: DataSet) -> Iterator[Finding]:
    """Find videos of patients who have videos in two splits. Videos without patient or split are not compared."""
    known = [(patient_of(video.values), video) for video in dataset.videos if video.record.split]
    for videos in groups((patient, video) for patient, video in known if patient):
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


def groups(items: Iterable[tuple[Hashable, Item]]) -> list[list[Item]]:
    """Return the items with equal keys, where a key has several."""
    found = defaultdict[Hashable, list[Item]](list)
    for key, item in items:
        found[key].append(item)
    return [same for same in found.values() if len(same) > 1]
