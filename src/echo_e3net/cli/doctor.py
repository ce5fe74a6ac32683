r"""``echo-e3net doctor``: check that this machine is ready for training.

A check is a function that yields :class:`Finding`\ s. ``doctor_machine`` checks one machine, ``doctor_cluster`` checks
what it shares with others. The checks install nothing, send no data, and leave no files.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from echo_e3net.cli.doctor_cluster import backends, slurm, threads, tracking
from echo_e3net.cli.doctor_machine import Finding, cpu, disks, gpus, open_files, shared_memory, versions, videos
from echo_e3net.cli.json_option import require_json_place, show

SIGNS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "bad": "[red]✗[/]"}


def doctor(runs: Path = Path("runs"), json: str | None = None) -> None:
    """Check versions, devices, disks, W&B and SLURM. Exit code 1: something does not work.

    Args:
        runs: Folder of all runs, whose disk is checked.
        json: Also write the findings to this JSON file; - writes them to standard output instead of the table.
    """
    require_json_place(json)
    findings = [*versions(), *cpu(), *gpus(), *backends(), *videos(), *disks(runs)]
    findings += [*shared_memory(), *open_files(), *threads(), *tracking(), *slurm()]
    show(json, [finding._asdict() for finding in findings], lambda: print_findings(findings))
    if any(finding.mark == "bad" for finding in findings):
        raise SystemExit(1)


def print_findings(findings: list[Finding]) -> None:
    """Print one line per finding, with the remedy below those that are not ok."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        remedy = f"\n[bold]→ {escape(finding.remedy)}[/]" if finding.mark != "ok" else ""
        table.add_row(SIGNS[finding.mark], finding.name, escape(finding.what) + remedy)
    Console().print(table, highlight=False)
