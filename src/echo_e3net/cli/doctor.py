r"""``echo-e3net doctor``: is this machine ready? Versions, devices, processes that talk to each other, videos, room, limits, W&B and SLURM.

A check is a function that gives :class:`Finding`\ s; each is a tick, a warning (it works, but less well or not for long) or a cross (it will not work),
and says what to do. Nothing is installed, sent or left behind. ``machine`` looks at one machine, ``cluster`` at what it shares with others.
"""

from __future__ import annotations

import json as json_text
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from echo_e3net.cli.doctor_cluster import backends, slurm, threads, tracking
from echo_e3net.cli.doctor_finding import Finding
from echo_e3net.cli.doctor_machine import cpu, disks, gpus, open_files, shared_memory, versions, videos
from echo_e3net.files import require_place, write_text

SIGNS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "bad": "[red]✗[/]"}


def doctor(runs: Path = Path("runs"), json: str | None = None) -> None:
    """Look at versions, devices, disks and the cluster's variables; ends with 1 where something will not work.

    Args:
        runs: folder of all runs, whose disk is looked at.
        json: also write what was found to this file; - for standard output, and nothing else there.
    """
    if json not in (None, "-"):
        require_place(Path(json))
    checks: list[Callable[[], Iterator[Finding]]] = [versions, cpu, gpus, backends, videos, lambda: disks(runs)]
    findings = [
        finding for check in (*checks, shared_memory, open_files, threads, tracking, slurm) for finding in check()
    ]
    if json != "-":
        show(findings)
    if json is not None:
        text = json_text.dumps([finding._asdict() for finding in findings], indent=2, ensure_ascii=False) + "\n"
        print(text, end="") if json == "-" else write_text(Path(json), text)
    if any(finding.mark == "bad" for finding in findings):
        raise SystemExit(1)


def show(findings: list[Finding]) -> None:
    """A line a finding, and what to do under those that are not well."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        table.add_row(
            SIGNS[finding.mark],
            finding.name,
            escape(finding.what) + (f"\n[bold]→ {escape(finding.remedy)}[/]" if finding.mark != "ok" else ""),
        )
    Console().print(table, highlight=False)
