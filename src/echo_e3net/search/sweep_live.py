"""Describe the trials of a sweep as text; show a running sweep as one line per new state of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from echo_e3net.search.sweep_file import Sweep
from echo_e3net.search.sweep_search import Row


def show_changes(sweep: Sweep, rows: Sequence[Row], before: Mapping[int, str] | None) -> dict[int, str]:
    """Print one line per trial whose state changed, and return the state of each trial.

    Args:
        sweep: the sweep.
        rows: its trials.
        before: what the last call returned; None skips trials that ended before this command started.
    """
    for row in rows:
        unseen = row.state if before is None and row.state != "running" else "waiting"
        if row.state != (before or {}).get(row.number, unseen):
            print(f"{row.name}: {news(sweep, row)}", flush=True)
    return {row.number: row.state for row in rows}


def news(sweep: Sweep, row: Row) -> str:
    """Return a trial's new state as text."""
    if row.state == "running":
        return "started: " + ", ".join(f"{p.name} {short(row.values.get(p.name))}" for p in sweep.searched)
    if row.notes.get("reason"):
        return f"{row.state}: {row.notes['reason']}"
    return f"{row.state}, {sweep.metric} {short(row.figure)} (epoch {row.epoch})"


def progress(rows: Sequence[Row]) -> str:
    """Return the number of trials per state."""
    states = [row.state for row in rows]
    counts = {state: states.count(state) for state in ("done", "pruned", "failed", "lost", "running")}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "done") + "."


def from_best(sweep: Sweep, rows: Sequence[Row]) -> list[Row]:
    """Return the done trials from best to worst, then the pruned ones."""
    ended = [row for row in rows if row.state in ("done", "pruned") and row.figure is not None]
    return sorted(ended, key=lambda row: (row.state, (row.figure or 0) * (-1 if sweep.maximize else 1)))


def cells(sweep: Sweep, row: Row) -> dict[str, object]:
    """Return the columns that every table of trials has."""
    known = {"trial": row.name, "state": row.state, sweep.metric: row.figure, "epoch": row.epoch}
    return known | {parameter.name: row.values.get(parameter.name) for parameter in sweep.searched}


def short(value: object) -> str:
    """Return a value as short text."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def short_name(name: str, names: Sequence[str]) -> str:
    """Return the last parts of a dotted name that distinguish it from the others."""
    parts = name.split(".")
    endings = (".".join(parts[-count:]) for count in range(1, len(parts)))
    return next((end for end in endings if sum(f".{other}".endswith(f".{end}") for other in names) == 1), name)
