"""``echo-e3net data check``: list every defect of a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from echo_e3net.checks.advice import advise
from echo_e3net.checks.decoding import decode as decode_videos
from echo_e3net.checks.findings import Defect, Finding
from echo_e3net.checks.rules import by_kind, inspect, refused
from echo_e3net.cli.json_option import require_json_place, show
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.records import DataFormat
from echo_e3net.errors import require_at_least

EFFECTS = (
    "refused: training stops. With --data.on_defect exclude it continues without the video, unless only --decode finds "
    "the defect or a whole column is wrong. masked: EF is used, the tracing is not. kept: the video is used unchanged."
)


def check(
    root: Path,
    format: DataFormat | None = None,
    decode: bool = False,
    jobs: int | None = None,
    json: str | None = None,
    rows: int = 3,
) -> None:
    """List every defect of a data set. Exit code 0: no defect, 1: defects, 2: the data set cannot be read.

    Args:
        root: Folder of the data set.
        format: Format of the data set: EchoNetDynamic (the default), EchoNetPediatric or Camus.
        decode: Also decode every frame of every video (minutes for ten thousand videos).
        jobs: Number of processes that decode; by default one per core.
        json: Also write all findings to this JSON file; - writes them to standard output instead of the table.
        rows: Number of findings of each kind in the table.
    """
    require_at_least(1, rows=rows, jobs=jobs)
    require_json_place(json)
    dataset = (format or EchoNetDynamic()).read(root)
    reading = inspect(dataset)
    findings = reading.findings + advise(dataset)
    damaged = decode_videos(reading.records, jobs or os.cpu_count() or 1) if decode else []
    findings += damaged
    usable = len(reading.records) - len({finding.name for finding in refused(damaged)})
    if any(finding.defect is Defect.COLUMN for finding in findings):
        usable = 0
    content = as_json(root, usable, findings, decode)
    show(json, content, lambda: print_findings(root, usable, findings, decode, rows, reading.note))
    if findings:
        raise SystemExit(1)


def as_json(root: Path, usable: int, findings: Sequence[Finding], decoded: bool) -> dict[str, Any]:
    """Return all findings as a value of JSON."""
    return {
        "root": str(root),
        "usable_videos": usable,
        "decoded": decoded,
        "counts": {defect.name.lower(): count for defect, count in by_kind(findings).items()},
        "findings": [
            finding._asdict() | {"defect": finding.defect.name.lower(), "effect": finding.defect.effect.value}
            for finding in findings
        ],
    }


def print_findings(
    root: Path, usable: int, findings: Sequence[Finding], decoded: bool, rows: int, note: str = ""
) -> None:
    """Print the findings by kind with the first ``rows`` of each, and a summary."""
    console = Console()
    if note:
        console.print(f"{root}: {note}.", highlight=False, soft_wrap=True)
    if findings:
        table = Table(title=f"{root}: {len(findings)} findings", show_lines=True)
        for column in ("defect", "effect", "n", f"first {rows}"):
            table.add_column(column, justify="right" if column == "n" else "left", overflow="fold")
        for defect, count in by_kind(findings).items():
            first = [str(finding).replace(f"{root}/", "") for finding in findings if finding.defect is defect][:rows]
            table.add_row(defect.title, defect.effect.value, str(count), "\n".join(first))
        console.print(table)
        console.print(EFFECTS)
    depth = "tables and all frames" if decoded else "tables only; --decode checks the videos too"
    verdict = f"{len(findings) or 'no'} finding{'s' * (len(findings) != 1)}"
    console.print(f"{root}: {usable} usable videos, {verdict} ({depth}).", highlight=False, soft_wrap=True)
