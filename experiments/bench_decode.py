"""How fast clips come off the disk: ours against the field's reference way, on the same files in one run.

    python experiments/bench_decode.py [--root FOLDER] [--videos 40] [--repeats 5]

The reference way reads every frame with OpenCV, converts the video to float32 and then picks the clip's frames. Absolute times on a shared machine mean
little: read the ratios.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from echo_e3net.data.dataset import EvaluationClips
from echo_e3net.data.phantom import phantom
from echo_e3net.data.sampling import CentredClip, ClipSpan
from echo_e3net.data.tables import VideoRecord, read_echonet
from echo_e3net.data.video import read_frames

SPAN = ClipSpan(32, 2)


def reference(record: VideoRecord) -> None:
    """OpenCV reads the whole video, which becomes float32 before the clip is cut."""
    capture, frames = cv2.VideoCapture(str(record.path)), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    video = np.stack(frames).astype(np.float32)
    video[SPAN.indices(CentredClip().starts(len(video), SPAN)[0], len(video))]


def ours(record: VideoRecord) -> None:
    """Decord reads the frames of the clip."""
    index = SPAN.indices(CentredClip().starts(record.frames or 0, SPAN)[0], record.frames or 0)
    read_frames(record.path, index[index >= 0], record.frames)


def whole_item(record: VideoRecord) -> None:
    """The same, framed and labelled: what a DataLoader worker does."""
    EvaluationClips([record], SPAN, 112, CentredClip())[0]


def seconds(way: Callable[[VideoRecord], None], records: list[VideoRecord]) -> float:
    """Mean seconds a video of one pass over all files."""
    start = time.perf_counter()
    for record in records:
        way(record)
    return (time.perf_counter() - start) / len(records)


def main() -> None:
    """Measure every way in turn, repeat, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="data set in EchoNet-Dynamic's format; default: a phantom made for the occasion")
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = args.root or Path(folder) / "phantom"
        if args.root is None:
            phantom(root, n=args.videos)
        records = [r for r in read_echonet(root) if (r.frames or 0) >= SPAN.length][: args.videos]
        ways = {"OpenCV, whole video to float32": reference, "decord, the clip's frames": ours, "decord, framed and labelled": whole_item}
        times = [[seconds(way, records) for way in ways.values()] for _ in range(args.repeats)]
    medians = np.median(times, axis=0)
    table = Table(title=f"clips of 32 frames every 2, {len(records)} videos, one process, median of {args.repeats}")
    for column in ("way", "ms a clip", "times the reference"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, median in zip(ways, medians, strict=True):
        table.add_row(name, f"{1000 * median:.1f}", f"{medians[0] / median:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
