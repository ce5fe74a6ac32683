"""Findings of ``echo-e3net doctor``, and how they are printed."""

from __future__ import annotations

from typing import Literal, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

SIGNS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "bad": "[red]✗[/]"}


class Finding(NamedTuple):
    """The result of a check: ok, a warning (works with limits) or bad (does not work), and what to do unless ok."""

    name: str
    mark: Literal["ok", "warning", "bad"]
    what: str
    remedy: str = ""


def judged(name: str, good: bool, what: str, remedy: str, otherwise: Literal["warning", "bad"] = "bad") -> Finding:
    """Return a finding that is ok or has another mark."""
    return Finding(name, "ok" if good else otherwise, what, remedy)


def graded(name: str, value: float, good: float, least: float, what: str, remedy: str) -> Finding:
    """Return a finding that is ok from ``good`` on, and bad below ``least``."""
    return judged(name, value >= good, what, remedy, "warning" if value >= least else "bad")


def print_findings(findings: list[Finding]) -> None:
    """Print one line per finding, with the remedy below those that are not ok."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        remedy = f"\n[bold]→ {escape(finding.remedy)}[/]" if finding.mark != "ok" else ""
        table.add_row(SIGNS[finding.mark], finding.name, escape(finding.what) + remedy)
    Console().print(table, highlight=False)
