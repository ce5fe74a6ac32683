"""What a sweep shows while it works: a live table on a terminal, a line for each trial that ends elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from echo_e3net.search.sweep_file import Sweep
from echo_e3net.search.sweep_search import Row

SHOWN = 20
"""Trials in the live table: those that run or wait to be retried, and the latest of the others."""


class Screen:
    """The screen of a sweep; a context.

    Args:
        sweep: the sweep.
        console: where to print.
    """

    def __init__(self, sweep: Sweep, console: Console) -> None:
        self.sweep, self.console = sweep, console
        self.live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self.told: dict[int, str] = {}

    def __enter__(self) -> Screen:
        """Begin."""
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the last table where it is."""
        if self.live:
            self.live.stop()

    def show(self, rows: Sequence[Row]) -> None:
        """Show how things stand; what had ended before the first look is not told one by one."""
        if self.live:
            self.live.update(trial_table(self.sweep, rows), refresh=True)
        elif not self.told:
            self.console.print(f"{progress(rows)} {len(rows)} trials in the journal.", highlight=False, soft_wrap=True)
        else:
            for row in rows:
                if row.state != self.told.get(row.number, row.state if row.state == "waiting" else ""):
                    self.console.print(
                        f"trial{row.number:04d}: {told(self.sweep, row)}", highlight=False, soft_wrap=True
                    )
        self.told = {-1: "", **{row.number: row.state for row in rows}}


def told(sweep: Sweep, row: Row) -> str:
    """A trial's state as a phrase."""
    found = (
        f", {sweep.metric} {row.figure:.4g} (epoch {row.epoch})"
        if row.figure is not None and row.epoch is not None
        else ""
    )
    if row.state == "running":
        return "begun: " + ", ".join(f"{name} {short(value)}" for name, value in row.values.items())
    return f"{row.state}{': ' + str(row.notes['reason']) if row.notes.get('reason') else found}"


def progress(rows: Sequence[Row]) -> str:
    """How far the sweep is, as a sentence."""
    counts = {
        state: sum(row.state == state for row in rows) for state in ("done", "pruned", "failed", "lost", "running")
    }
    text = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "done")
    return f"{text}."


def best_row(sweep: Sweep, rows: Sequence[Row]) -> Row | None:
    """The best of the trials that are done."""
    done = [row for row in rows if row.state == "done" and row.figure is not None]
    return min(done, key=lambda row: sign(sweep) * (row.figure or 0.0), default=None)


def sign(sweep: Sweep) -> float:
    """1 where less is better, -1 where more is."""
    return -1.0 if sweep.maximize else 1.0


def trial_table(sweep: Sweep, rows: Sequence[Row], shown: int = SHOWN) -> Table:
    """The latest trials as a table, the best one marked."""
    best = best_row(sweep, rows)
    title = f"{sweep.name}: {progress(rows)}" + (f" Best: trial{best.number:04d}, {best.figure:.4g}." if best else "")
    table = Table(title=title)
    names = [parameter.name for parameter in sweep.parameters if not parameter.constant]
    for name in ("trial", "state", "epoch", sweep.metric, *(short_name(name, names) for name in names)):
        table.add_column(name, justify="left" if name in ("trial", "state") else "right", overflow="fold")
    open_ones = [row for row in rows if row.state == "running"]
    latest = [row for row in rows if row.state not in ("running", "waiting")][-max(1, shown - len(open_ones)) :]
    for row in sorted([*latest, *open_ones], key=lambda row: row.number):
        figure = "" if row.figure is None else f"{row.figure:.4g}"
        cells = [f"{row.number:04d}", row.state, "" if row.last is None else str(row.last), figure]
        table.add_row(
            *cells, *(short(row.values.get(name, "")) for name in names), style="bold" if row is best else None
        )
    return table


def short(value: object) -> str:
    """A value in few characters."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def short_name(name: str, names: Sequence[str]) -> str:
    """The last parts of a dotted name that tell it from the others."""
    parts = name.split(".")
    for count in range(1, len(parts)):
        ending = ".".join(parts[-count:])
        if sum(other == ending or other.endswith(f".{ending}") for other in names) == 1:
            return ending
    return name
