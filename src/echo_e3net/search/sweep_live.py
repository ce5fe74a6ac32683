"""Show a running sweep: a live table on a terminal, one line per trial elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from echo_e3net.search.study_tables import screen_table
from echo_e3net.search.sweep_file import Sweep
from echo_e3net.search.sweep_search import Row

SHOWN = 20
"""Trials in the live table: all that run, and the latest of the others."""


class Screen:
    """The screen of a sweep; a context.

    Args:
        sweep: the sweep.
        console: where to print; None: standard output.
    """

    def __init__(self, sweep: Sweep, console: Console | None = None) -> None:
        self.sweep, self.console = sweep, console or Console()
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        self.states: dict[int, str] | None = None

    def __enter__(self) -> Screen:
        """Start the live table."""
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the live table; its last state stays visible."""
        if self.live:
            self.live.stop()

    def show(self, rows: Sequence[Row]) -> None:
        """Show all trials. Without a terminal, print those whose state changed since the last call."""
        before, self.states = self.states, {row.number: row.state for row in rows}
        if self.live:
            self.live.update(trial_table(self.sweep, rows), refresh=True)
            return
        for row in rows:
            # The first call skips trials that ended before this command started.
            unseen = row.state if before is None and row.state != "running" else "waiting"
            if row.state != (before or {}).get(row.number, unseen):
                line = f"trial{row.number:04d}: {news(self.sweep, row)}"
                self.console.print(line, highlight=False, soft_wrap=True)


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
    values = {parameter.name: row.values.get(parameter.name) for parameter in sweep.searched}
    return {
        "trial": f"trial{row.number:04d}",
        "state": row.state,
        sweep.metric: row.figure,
        "epoch": row.epoch,
    } | values


def trial_table(sweep: Sweep, rows: Sequence[Row]) -> Table:
    """Return the running trials and the latest of the others as a table."""
    best = [f" Best: trial{row.number:04d}, {short(row.figure)}." for row in from_best(sweep, rows)[:1]]
    running = [row for row in rows if row.state == "running"]
    others = [row for row in rows if row.state not in ("running", "waiting")]
    shown = sorted([*others[-max(1, SHOWN - len(running)) :], *running], key=lambda row: row.number)
    names = [parameter.name for parameter in sweep.searched]
    titles = ["trial", "state", sweep.metric, "epoch", *(short_name(name, names) for name in names)]
    lines = [list(map(short, cells(sweep, row).values())) for row in shown]
    return screen_table(f"{sweep.name}: {progress(rows)}{''.join(best)}", [titles, *lines])


def short(value: object) -> str:
    """Return a value as short text."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def short_name(name: str, names: Sequence[str]) -> str:
    """Return the last parts of a dotted name that distinguish it from the others."""
    parts = name.split(".")
    endings = (".".join(parts[-count:]) for count in range(1, len(parts)))
    return next((end for end in endings if sum(f".{other}".endswith(f".{end}") for other in names) == 1), name)
