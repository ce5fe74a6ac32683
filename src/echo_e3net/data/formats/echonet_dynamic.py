"""EchoNet-Dynamic's format, which is also the phantom's: two or three tables and a folder of AVI files.

``FileList.csv`` has one row per video. ``VolumeTracings.csv`` has one row per segment of the endocardium, and
``EpiTracings.csv`` (optional, phantom) the same for the epicardium. The tables are joined by the file name without
suffix. The order of rows, of frames and of the ends of a segment does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from echo_e3net.conventions import DISCS
from echo_e3net.data.formats.echonet_tables import add_tracings, read_list, split_of
from echo_e3net.data.layout import FILE_LIST, FRAMES, TRACINGS
from echo_e3net.data.records import SPLITS, DataFormat, DataSet, ListedVideo, TracedFrame
from echo_e3net.tables import number

COLUMNS = ("FileName", "EF", "NumberOfFrames", "Split")
TRACING_COLUMNS = ("X1", "Y1", "X2", "Y2")
SEGMENTS = 1 + DISCS
CHUNK = 1024
"""Number of contours that are sorted at a time, to save memory."""


class EchoNetDynamic(DataFormat):
    """EchoNet-Dynamic's format: FileList.csv, VolumeTracings.csv and Videos/; optionally EpiTracings.csv.

    References:
        Ouyang et al., Nature 580, 252-256 (2020); https://echonet.github.io/dynamic/
    """

    listed_in = FILE_LIST

    def read(self, root: Path) -> DataSet:
        """Read the tables.

        Raises:
            InputError: the folder, a table or a column is missing.
        """
        from echo_e3net.data.tracings import label_videos

        dataset = read_list(root, COLUMNS, "TRAIN, VAL or TEST")
        dataset = dataset._replace(videos=[listed_video(video) for video in dataset.videos])
        for border, name in TRACINGS.items():
            if border == "endo" or (root / name).exists():
                dataset = add_tracings(dataset, border, root / name, TRACING_COLUMNS, contours)
        return dataset._replace(videos=label_videos(dataset.videos))


def listed_video(video: ListedVideo) -> ListedVideo:
    """Return the video with its number of frames, size and split."""
    frames = number(video.values["NumberOfFrames"], *FRAMES)
    height, width = (number(video.values.get(column, ""), *FRAMES) for column in ("FrameHeight", "FrameWidth"))
    split = split_of(video.values)
    record = video.record._replace(
        frames=int(frames) if frames.is_integer() else None,
        size=(int(height), int(width)) if height > 0 and width > 0 else None,
        split=split if split in SPLITS else "",
    )
    return video._replace(record=record, spelling=split.upper())


def contours(frames: list[TracedFrame], points: list[np.ndarray]) -> Iterator[TracedFrame]:
    """Yield traced frames with their landmarks, given the segments (M, 4) of each."""
    from echo_e3net.data.tracings import canonical_contours

    whole = [segments for segments in points if len(segments) == SEGMENTS]
    parts = (canonical_contours(np.array(whole[i : i + CHUNK], np.float32)) for i in range(0, len(whole), CHUNK))
    landmarks = chain.from_iterable(parts)
    for frame, rows in zip(frames, points, strict=True):
        if len(rows) == SEGMENTS:
            yield frame._replace(landmarks=next(landmarks))
        else:
            yield frame._replace(fault="segments", detail=f"{len(rows)} segments; expected {SEGMENTS}")
