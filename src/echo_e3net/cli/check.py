"""``echo-e3net data check``: everything that is odd about a data set, found by rule.

The tables are checked by the data set's format (``data/formats``), as training does when it starts. ``--decode`` also decodes every frame of every video,
which shows what no table can: files that are cut short, damaged, blank or still.
"""

from __future__ import annotations

import json as json_format
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from echo_e3net.checks.findings import Defect, Finding, Findings, by_kind
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.frames import read_frames
from echo_e3net.data.probe import claimed_frames
from echo_e3net.data.parallel import each
from echo_e3net.data.records import DataFormat, Reading, VideoRecord
from echo_e3net.errors import InputError
from echo_e3net.files import write_text

BLANK_SPREAD = 3
"""Grey values between the darkest and the brightest pixel up to which a video shows nothing."""
STILL_CHANGE = 0.05
"""Mean change from frame to frame, in grey values, below which nothing moves: JPEG noise alone makes more in a moving picture."""


class Probe(NamedTuple):
    """What decoding a whole video showed.

    Attributes:
        error: why it does not decode; empty where it does.
        frames: frames that decode.
        claimed: frames that the header claims; 0 where it claims nothing.
        missing: bytes that the header claims and the file lacks.
        height: of the frames, pixels.
        width: of the frames, pixels.
        spread: brightest minus darkest grey value of the whole video.
        change: mean absolute change from frame to frame, grey values.
    """

    error: str = ""
    frames: int = 0
    claimed: int = 0
    missing: int = 0
    height: int = 0
    width: int = 0
    spread: int = 0
    change: float = 0.0


def check(
    root: Path,
    format: DataFormat | None = None,
    decode: bool = False,
    jobs: int | None = None,
    json: str | None = None,
    rows: int = 3,
) -> None:
    """Find everything that is odd about a data set; exit code 0: nothing, 1: something, 2: it cannot be read.

    Args:
        root: Folder of the data set.
        format: How it lies on the disk: EchoNetDynamic (the default), EchoNetPediatric or Camus.
        decode: Also decode every frame of every video (minutes for ten thousand videos).
        jobs: Processes that decode; by default one a core.
        json: Also write all findings to this JSON file; - writes them to standard output instead of the table.
        rows: Findings of each kind that the table shows.
    """
    if rows < 1 or (jobs is not None and jobs < 1):
        raise InputError(f"rows {rows}, jobs {jobs}: must be at least 1.")
    reading = (format or EchoNetDynamic()).read(root)
    findings = Findings(reading.findings)
    if decode:
        paths = [record.path for record in reading.records]
        probes = dict(each(probe, paths, jobs or os.cpu_count() or 1, "decoding"))
        report_probes(reading.records, [probes[path] for path in paths], findings)
    if json:
        text = json_format.dumps(as_json(root, reading, findings, decode), indent=2) + "\n"
        if json == "-":
            print(text, end="")
        else:
            write_text(Path(json), text)
    if json != "-":
        show(root, reading, findings, decode, rows)
    if findings:
        raise SystemExit(1)


def probe(path: Path) -> Probe:
    """Decode a whole video."""
    try:
        frames = read_frames(path)
    except InputError as error:
        return Probe(str(error).removeprefix(f"{path}: "))
    change = (
        float(np.mean([np.abs(a.astype(np.int16) - b).mean() for a, b in zip(frames[1:], frames[:-1], strict=True)]))
        if len(frames) > 1
        else 0.0
    )
    count, height, width = frames.shape
    return Probe(
        "",
        count,
        claimed_frames(path),
        missing_bytes(path),
        height,
        width,
        int(frames.max()) - int(frames.min()),
        change,
    )


def missing_bytes(path: Path) -> int:
    """Bytes that a RIFF file's header claims and the file lacks; 0 for other files."""
    with path.open("rb") as file:
        head = file.read(8)
    claimed = 8 + int.from_bytes(head[4:], "little") if head[:4] == b"RIFF" else 0
    return max(0, claimed - path.stat().st_size)


def report_probes(records: Sequence[VideoRecord], probes: Sequence[Probe], findings: Findings) -> None:
    """Findings from what decoding showed, video by video."""
    sizes = Counter((found.height, found.width) for found in probes if not found.error)
    usual = next((size for size, count in sizes.most_common(1) if 2 * count > sizes.total()), None)
    for record, found in zip(records, probes, strict=True):
        for defect, detail in probe_defects(record, found, usual).items():
            findings.add(defect, record.name, str(record.path), detail)


def probe_defects(record: VideoRecord, found: Probe, usual: tuple[int, int] | None) -> dict[Defect, str]:
    """What is wrong with a decoded video, given what the tables say of it and the size that most videos have, if most have one."""
    if found.error:
        return {Defect.UNDECODABLE: found.error}
    size, defects = (found.height, found.width), {}
    listed = record.frames or found.frames
    if found.frames < listed:
        defects[Defect.SHORT] = (
            f"{found.frames} frames decode, the table lists {listed}. Copy the file again or correct NumberOfFrames."
        )
    elif found.frames > listed:
        defects[Defect.LONG] = (
            f"{found.frames} frames decode, the table lists {listed}: the rest is never read. Correct NumberOfFrames."
        )
    if found.claimed not in (0, found.frames):
        defects[Defect.HEADER] = (
            f"the header claims {found.claimed} frames, {found.frames} decode: other programs may be misled."
        )
    elif found.missing:
        defects[Defect.HEADER] = (
            f"the header claims {found.missing} bytes more than the file holds: it is cut short at the end, though all frames decode."
        )
    if record.size is not None and record.size != size:
        wrong = f"frames are {size[0]}×{size[1]}, the table lists {record.size[0]}×{record.size[1]} (height × width): tracings would not fit."
        defects[Defect.SIZE] = wrong
    elif usual is not None and size != usual:
        defects[Defect.ODD_SIZE] = (
            f"frames are {size[0]}×{size[1]}, most others {usual[0]}×{usual[1]}: they are cropped to a square and resized."
        )
    if found.spread <= BLANK_SPREAD:
        defects[Defect.BLANK] = (
            f"all pixels of all frames are within {found.spread} grey values of each other. Copy the file again."
        )
    elif found.frames > 1 and found.change < STILL_CHANGE:
        defects[Defect.STILL] = (
            f"frames change by {found.change:.2f} grey values on average: a still picture has no EF."
        )
    return defects


def as_json(root: Path, reading: Reading, findings: Sequence[Finding], decoded: bool) -> Mapping[str, object]:
    """Everything that was found, for programs."""
    return {
        "root": str(root),
        "usable_videos": len(reading.records),
        "decoded": decoded,
        "counts": {defect.name.lower(): count for defect, count in by_kind(findings).items()},
        "findings": [
            {
                "defect": f.defect.name.lower(),
                "effect": f.defect.effect.value,
                "name": f.name,
                "where": f.where,
                "detail": f.detail,
            }
            for f in findings
        ],
    }


def show(root: Path, reading: Reading, findings: Sequence[Finding], decoded: bool, rows: int) -> None:
    """The findings by kind, with the first of each."""
    console = Console()
    depth = "tables and every frame" if decoded else "tables; --decode looks into the videos too"
    if findings:
        table = Table(title=f"{root}: {len(findings)} findings", show_lines=True)
        for column in ("what", "videos are", "n", f"the first {rows}"):
            table.add_column(column, justify="right" if column == "n" else "left", overflow="fold")
        for defect, count in by_kind(findings).items():
            first = [str(finding).replace(f"{root}/", "") for finding in findings if finding.defect is defect][:rows]
            table.add_row(defect.title, defect.effect.value, str(count), "\n".join(first))
        console.print(table)
        console.print(
            "refused: training stops, or --data.on_defect exclude goes on without the video; masked: EF is used, the tracing is not; kept: used as it is."
        )
    verdict = "nothing is wrong" if not findings else f"{len(findings)} findings"
    console.print(
        f"{root}: {len(reading.records)} usable videos, {verdict} ({depth}).", highlight=False, soft_wrap=True
    )
