"""Calibrate the quality limits of a network, and measure the grades.

    python scripts/calibrate_quality.py MODEL FOLDER [--validation FOLDER2] [--negatives 10] [--write] [--force]

FOLDER is a data set in EchoNet-Dynamic's format; its test videos are graded. The validation videos are those of
FOLDER2, or of FOLDER. Negatives (:mod:`negatives`) are clips whose EF must not be trusted. They are made from the first
videos of a split.

The limits are chosen with the validation videos and the calibration negatives. First, the default limits of
:mod:`echo_e3net.reading.quality` are loosened until they include 97.5 % of the validation videos, all but the most
extreme ones. Then more videos are given up, up to 5 % in all, but only if this makes negatives doubtful. The limit that
makes most negatives doubtful per video is tightened first. No limit becomes tighter than the default.

Two kinds of videos do not count here. Videos that are doubtful by a fixed limit, such as short ones, are left out. So
are videos whose EF is wrong by more than 10 points, because they should be doubtful. With few videos, the limits depend
on single videos.

The tables are printed as Markdown: the limits, the grades of validation videos and of calibration negatives, and the
grades of test videos and of the other negatives. These kinds were not used to choose the limits. The held-out ones were
not used to choose the cues either. The last table grades negatives of the scored and held-out kinds that are made from
the real video of pydicom, repeated three times. The ten clips of a kind differ only in their random numbers.
``--write`` stores the limits in config.json of MODEL, an exported folder. It is refused if more than 10 % of the
validation videos with EF within 10 points are not good, or if more than one sixth of the calibration negatives are good
(two of the twelve kinds). ``--force`` stores them nevertheless.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from negatives import CALIBRATION, HELD_OUT, SCORED, Maker
from pydicom import examples

import echo_e3net
from echo_e3net.conventions import NETWORK_CUES
from echo_e3net.data.formats.echonet_dynamic import EchoNetDynamic
from echo_e3net.errors import InputError, require_at_least
from echo_e3net.files import write_text
from echo_e3net.reading.quality import CUES, GRADES, grade
from echo_e3net.reading.reader import Reader
from echo_e3net.reading.reading import Reading

EXTREME, TARGET = 0.025, 0.05
"""Share of validation videos that may be doubtful by the limits of the network: the most extreme ones, and with those
that are given up because negatives are near them."""
MOST_DOUBTFUL, MOST_TRUSTED = 0.1, 1 / 6
"""``--write`` is refused above these shares of validation videos that are not good and of negatives that are good."""
WRONG = 10.0
"""Error of EF above which a reading should be doubtful, points."""
FROM_CINE = 10
"""Number of negatives of each kind that are made from the real video."""
MARGIN = 0.1
"""Additional loosening of a limit, as a share of the necessary loosening."""
Video = tuple[np.ndarray, float]
"""Frames and frame rate."""


class Clip(NamedTuple):
    """A clip that was read: its cues (None if it was refused), and the error of EF in points."""

    values: Mapping[str, float] | None
    error: float = float("nan")


def good_clips(reader: Reader, root: Path, split: str, few: int) -> tuple[list[Clip], list[Video]]:
    """Read the videos of a split. Return a clip per video, and the frames and rates of the first ones that were read.

    Raises:
        InputError: no video of the split could be read.
    """
    records = [video.record for video in EchoNetDynamic().read(root).videos if video.record.split == split]
    clips, videos = [], []
    for record, found in zip(records, reader.read_each([record.path for record in records]), strict=True):
        if isinstance(found, Reading):
            if len(videos) < few:
                videos.append((found.frames, found.fps))
            clips.append(Clip(found.quality.values, found.ef_percent - 100 * record.ef))
        else:
            clips.append(Clip(None))
    if not videos:
        raise InputError(f"{root}: none of the {len(records)} videos of the split {split} could be read.")
    return clips, videos


def negative_clips(reader: Reader, videos: Sequence[Video], kind: str, make: Maker) -> list[Clip]:
    """Make and read negatives of one kind, one per video."""
    clips = []
    for number, (frames, fps) in enumerate(videos):
        made, rate = make(frames, fps, np.random.default_rng([number, zlib.crc32(kind.encode())]))
        try:
            clips.append(Clip(reader.read(made, fps=rate).quality.values))
        except InputError:
            clips.append(Clip(None))
    return clips


def well_read(clips: Sequence[Clip]) -> list[Clip]:
    """Return the clips whose EF is wrong by at most :data:`WRONG` points."""
    return [clip for clip in clips if abs(clip.error) <= WRONG]


def excess(values: Mapping[str, float], name: str) -> float:
    """Return how far a value is beyond the default limit, relative to the distance from typical value to limit."""
    cue = CUES[name]
    return (values.get(name, cue.limit) - cue.limit) / (cue.limit - cue.typical)


def including(kept: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the default limits, loosened until they include all these clips, and by :data:`MARGIN` more."""
    limits = {}
    for name in NETWORK_CUES:
        cue = CUES[name]
        most = max([0.0, *(excess(values, name) for values in kept)]) * (1 + MARGIN)
        limits[name] = round(cue.not_outside(cue.limit + most * (cue.limit - cue.typical)), 4)
    return limits


def share(clips: Sequence[Clip], limits: Mapping[str, float], good: bool) -> float:
    """Return the share of clips that are good, or that are not good; refused clips are not good."""
    graded = [bool(clip.values) and grade(clip.values or {}, limits).grade == "good" for clip in clips]
    return graded.count(good) / max(len(graded), 1)


def loosened(clips: Sequence[Clip], negatives: Sequence[Clip]) -> dict[str, float]:
    """Return limits that include nearly all clips and, of these limits, leave few negatives good.

    Give up the most extreme clips, a share of :data:`EXTREME`. Then tighten the limit that makes most negatives
    doubtful per clip that is given up, and repeat while at most a share of :data:`TARGET` of the clips is given up.

    Raises:
        InputError: no clip can be used.
    """
    without = {name: math.inf if CUES[name].beyond == "above" else -math.inf for name in NETWORK_CUES}
    usable = [clip.values for clip in well_read(clips) if clip.values and grade(clip.values, without).grade == "good"]
    if not usable:
        raise InputError(
            f"none of the {len(clips)} validation videos can be used: all were refused, are doubtful by a fixed limit, "
            f"or have an EF that is wrong by more than {WRONG:g} points. Use a better network or other videos."
        )
    usable.sort(key=lambda values: max(excess(values, name) for name in NETWORK_CUES))
    kept = usable[: math.ceil((1 - EXTREME) * len(usable))]
    limits = including(kept)
    while True:
        spare = len(kept) - math.ceil((1 - TARGET) * len(usable))
        steps = []
        before = share(negatives, limits, good=True)
        for name in NETWORK_CUES:
            ordered = sorted(kept, key=lambda values: excess(values, name))
            for lost in range(1, spare + 1):
                tighter = including(ordered[:-lost])
                steps.append(((before - share(negatives, tighter, good=True)) / lost, -lost, ordered[:-lost], tighter))
        best = max(steps, key=lambda step: step[:2], default=None)
        if best is None or best[0] <= 0:
            return limits
        *_, kept, limits = best


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


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--validation", type=Path, help="data set of the validation videos; default: FOLDER")
    parser.add_argument("--negatives", type=int, default=10, help="number of negatives of each kind, at least 1")
    parser.add_argument("--write", action="store_true", help="store the limits in config.json of the model")
    parser.add_argument("--force", action="store_true", help="store them even if the shares are above their bounds")
    options = parser.parse_args(words)
    require_at_least(1, negatives=options.negatives)
    return options


def refuse(doubtful: float, trusted: float) -> None:
    """Check the limits.

    Raises:
        InputError: too many good clips are doubtful, or too many negatives are good.
    """
    if doubtful > MOST_DOUBTFUL or trusted > MOST_TRUSTED:
        raise InputError(
            f"the limits are not stored: {doubtful:.1%} of the validation videos with EF within {WRONG:g} points are "
            f"not good (at most {MOST_DOUBTFUL:.0%}) and {trusted:.1%} of the calibration negatives are good (at most "
            f"{MOST_TRUSTED:.1%}). Train longer, or add --force."
        )


def main(words: Sequence[str] | None = None) -> None:
    """Calibrate, print the tables, and store the limits if ``--write`` is given."""
    try:
        calibrate(parse(words))
    except InputError as error:
        print(f"calibrate_quality: error: {error}", file=sys.stderr)
        sys.exit(2)


def calibrate(options: argparse.Namespace) -> None:
    """Calibrate a network.

    Raises:
        InputError: the network or the videos cannot be used, or the limits should not be stored.
    """
    config = options.model / "config.json"
    if options.write and not config.is_file():
        raise InputError(f"--write needs an exported folder; {config} does not exist.")
    reader = echo_e3net.load(options.model)
    limits: dict[str, float] = {}
    shares = (0.0, 0.0)
    for split, title, kinds in (("val", "Validation", CALIBRATION), ("test", "Test", {**SCORED, **HELD_OUT})):
        root = options.validation if split == "val" and options.validation else options.folder
        good, videos = good_clips(reader, root, split, options.negatives)
        negatives = {
            f"{kind} (held out)" if kind in HELD_OUT else kind: negative_clips(reader, videos, kind, make)
            for kind, make in kinds.items()
        }
        every = [clip for clips in negatives.values() for clip in clips]
        if split == "val":
            limits = loosened(good, every)
            print("## Limits\n| cue | default limit | limit of this network |\n|---|---|---|")
            print("\n".join(f"| {name} | {CUES[name].limit:g} | {limit:g} |" for name, limit in limits.items()))
        rows = {f"{split} videos": good, f"… EF within {WRONG:g} points": well_read(good), **negatives}
        print(f"\n## {title}\n{table(rows, limits)}")
        print(f"\n{error_table(good, limits)}")
        doubtful, trusted = share(well_read(good), limits, good=False), share(every, limits, good=True)
        shares = (doubtful, trusted) if split == "val" else shares
        print(
            f"\n{doubtful:.1%} of the videos with EF within {WRONG:g} points are not good; {trusted:.1%} of the "
            "negatives are good.",
            flush=True,
        )
    cine = reader.read(examples.get_path("ybr_color"))
    clip = (np.tile(cine.frames, (3, 1, 1)), cine.fps)
    kinds = {**SCORED, **HELD_OUT}.items()
    negatives = {kind: negative_clips(reader, [clip] * FROM_CINE, kind, make) for kind, make in kinds}
    print(f"\n## Negatives made from the real video of pydicom\n{table(negatives, limits)}")
    if options.write:
        if not options.force:
            refuse(*shares)
        content = json.loads(config.read_text(encoding="utf-8"))
        write_text(config, json.dumps({**content, "limits": limits}, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
