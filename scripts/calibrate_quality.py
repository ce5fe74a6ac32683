"""Calibrate the quality limits of a network, and measure the grades.

    python scripts/calibrate_quality.py MODEL FOLDER [--negatives 10] [--write]

FOLDER is a data set in EchoNet-Dynamic's format. The limits are chosen with its validation videos. The default
limits of :mod:`echo_e3net.reading.quality` are loosened until they include 97.5 % of these videos, all but the most
extreme ones. Two kinds of videos do not count here. Videos that are doubtful by a fixed limit, such as short ones, are
left out. So are videos whose EF is wrong by more than 10 points, because they should be doubtful. With few videos, the
limits depend on single videos. Negatives (:mod:`negatives`) are clips whose EF must not be trusted. They are made from
the first videos of a split.

The tables are printed as Markdown: the limits, the grades of validation videos and of calibration negatives, and the
grades of test videos and of scored negatives. The scored kinds were not used to choose the limits. ``--write`` stores
the limits in config.json of MODEL, an exported folder.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from negatives import CALIBRATION, SCORED, Maker

import echo_e3net
from echo_e3net.data.formats.echonet_dynamic import EchoNetDynamic
from echo_e3net.errors import InputError
from echo_e3net.files import write_text
from echo_e3net.reading.quality import CUES, grade
from echo_e3net.reading.reader import Reader
from echo_e3net.reading.reading import Reading

TARGET = 0.025
"""Largest share of validation videos that may be doubtful by the limits of the network."""
WRONG = 10.0
"""Error of EF above which a reading should be doubtful, points."""
MARGIN = 0.1
"""Additional loosening of a limit, as a share of the necessary loosening."""
GRADES = ("good", "doubtful", "unusable")


class Clip(NamedTuple):
    """A clip that was read: its cues (None if it was refused), and the error of EF in points."""

    values: Mapping[str, float] | None
    error: float = float("nan")


def good_clips(reader: Reader, root: Path, split: str) -> tuple[list[Clip], list[Reading]]:
    """Read the videos of a split. Return a clip per video, and the readings of the videos that were not refused."""
    records = [video.record for video in EchoNetDynamic().read(root).videos if video.record.split == split]
    clips, readings = [], []
    for record, found in zip(records, reader.read_each([record.path for record in records]), strict=True):
        if isinstance(found, Reading):
            readings.append(found)
            clips.append(Clip(found.quality.values, found.ef_percent - 100 * record.ef))
        else:
            clips.append(Clip(None))
    return clips, readings


def negative_clips(reader: Reader, readings: Sequence[Reading], kind: str, make: Maker) -> list[Clip]:
    """Make and read negatives of one kind, one per reading."""
    clips = []
    for number, reading in enumerate(readings):
        frames, fps = make(reading.frames, reading.fps, np.random.default_rng([number, zlib.crc32(kind.encode())]))
        try:
            clips.append(Clip(reader.read(frames, fps=fps).quality.values))
        except InputError:
            clips.append(Clip(None))
    return clips


def well_read(clips: Sequence[Clip]) -> list[Clip]:
    """Return the clips whose EF is wrong by at most :data:`WRONG` points."""
    return [clip for clip in clips if abs(clip.error) <= WRONG]


def loosened(clips: Sequence[Clip]) -> dict[str, float]:
    """Return the default limits, loosened until at most a share of :data:`TARGET` of the clips is beyond them."""
    cues = {name: cue for name, cue in CUES.items() if cue.typical is not None}
    without = {name: math.inf if cue.beyond == "above" else -math.inf for name, cue in cues.items()}
    kept = [clip.values for clip in well_read(clips) if clip.values and grade(clip.values, without).grade == "good"]

    def excess(values: Mapping[str, float], name: str) -> float:
        """Return how far a value is beyond the default limit, relative to the distance from typical value to limit."""
        cue = cues[name]
        return (values.get(name, cue.limit) - cue.limit) / (cue.limit - cue.typical)

    kept.sort(key=lambda values: max(excess(values, name) for name in cues))
    kept = kept[: math.ceil((1 - TARGET) * len(kept))]
    limits = {}
    for name, cue in cues.items():
        most = max(0.0, *(excess(values, name) for values in kept)) * (1 + MARGIN)
        limits[name] = round(cue.limit + most * (cue.limit - cue.typical), 4)
    return limits


def row(kind: str, clips: Sequence[Clip], limits: Mapping[str, float]) -> str:
    """Return the row of a table of grades."""
    graded = [grade(clip.values, limits) for clip in clips if clip.values is not None]
    number = Counter(quality.grade for quality in graded)
    exceeded = Counter(
        name
        for clip in clips
        for name, value in (clip.values or {}).items()
        if name in CUES and CUES[name].exceeded(value, limits.get(name, CUES[name].limit))
    )
    cues = ", ".join(f"{name} {count}" for name, count in exceeded.most_common(4))
    counts = " | ".join(str(number[name]) for name in GRADES)
    return f"| {kind} | {len(clips)} | {counts} | {len(clips) - len(graded)} | {cues} |"


def table(rows: Mapping[str, Sequence[Clip]], limits: Mapping[str, float]) -> str:
    """Return a table of grades."""
    head = (
        "| clips | number | good | doubtful | unusable | refused | most frequent cues |\n|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *(row(kind, clips, limits) for kind, clips in rows.items())])


def error_table(clips: Sequence[Clip], limits: Mapping[str, float]) -> str:
    """Return the error of EF by grade."""
    lines = ["| grade | videos | MAE, EF points | largest error |", "|---|---|---|---|"]
    for name in GRADES:
        errors = [abs(clip.error) for clip in clips if clip.values and grade(clip.values, limits).grade == name]
        found = f"{np.mean(errors):.2f} | {max(errors):.1f}" if errors else "– | –"
        lines.append(f"| {name} | {len(errors)} | {found} |")
    return "\n".join(lines)


def main() -> None:
    """Calibrate, print the tables, and store the limits if ``--write`` is given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--negatives", type=int, default=10, help="number of negatives of each kind")
    parser.add_argument("--write", action="store_true", help="store the limits in config.json of the model")
    options = parser.parse_args()
    config = options.model / "config.json"
    if options.write and not config.is_file():
        parser.error(f"--write needs an exported folder; {config} does not exist.")
    reader = echo_e3net.load(options.model)
    limits: dict[str, float] = {}
    for split, title, kinds in (("val", "Validation", CALIBRATION), ("test", "Test", SCORED)):
        good, readings = good_clips(reader, options.folder, split)
        if split == "val":
            limits = loosened(good)
            print("## Limits\n| cue | default limit | limit of this network |\n|---|---|---|")
            print("\n".join(f"| {name} | {CUES[name].limit:g} | {limit:g} |" for name, limit in limits.items()))
        few = readings[: options.negatives]
        negatives = {kind: negative_clips(reader, few, kind, make) for kind, make in kinds.items()}
        rows = {f"{split} videos": good, f"… EF within {WRONG:g} points": well_read(good), **negatives}
        print(f"\n## {title}\n{table(rows, limits)}")
        print(f"\n{error_table(good, limits)}", flush=True)
    if options.write:
        content = json.loads(config.read_text(encoding="utf-8"))
        write_text(config, json.dumps({**content, "limits": limits}, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
