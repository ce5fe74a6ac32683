r"""``echo-e3net doctor``: check that this machine is ready for training.

A check is a function that yields :class:`Finding`\ s. ``doctor_machine`` checks one machine, ``doctor_cluster`` what it
shares with others. The checks install nothing, send no data, and leave no files.
"""

from __future__ import annotations

import json as json_text
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from echo_e3net.cli.doctor_cluster import backends, slurm, threads, tracking
from echo_e3net.cli.doctor_machine import Finding, cpu, disks, gpus, open_files, shared_memory, versions, videos
from echo_e3net.files import require_place, write_text

SIGNS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "bad": "[red]✗[/]"}


def doctor(runs: Path = Path("runs"), json: Path | None = None) -> None:
    """Check versions, devices, disks, W&B and SLURM. Exit code 1: something does not work.

    Args:
        runs: Folder of all runs, whose disk is checked.
        json: Also write the findings to this JSON file.
    """
    if json is not None:
        require_place(json)
    findings = [*versions(), *cpu(), *gpus(), *backends(), *videos(), *disks(runs)]
    findings += [*shared_memory(), *open_files(), *threads(), *tracking(), *slurm()]
    show(findings)
    if json is not None:
        found = [finding._asdict() for finding in findings]
        write_text(json, json_text.dumps(found, indent=2, ensure_ascii=False) + "\n")
    if any(finding.mark == "bad" for finding in findings):
        raise SystemExit(1)


def show(findings: list[Finding]) -> None:
    """Print one line per finding, with the remedy below those that are not ok."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        remedy = f"\n[bold]→ {escape(finding.remedy)}[/]" if finding.mark != "ok" else ""
        table.add_row(SIGNS[finding.mark], finding.name, escape(finding.what) + remedy)
    Console().print(table, highlight=False)
