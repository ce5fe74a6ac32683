"""What a sweep leaves: trials.csv, the best trial as an overlay (best.yaml), a table (sweep.md) and a picture (sweep.png)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import yaml

from echo_e3net.cli.sweep import CSV
from echo_e3net.files import write_text
from echo_e3net.reporting import SweepAxis, draw_sweep
from echo_e3net.search.sweep_file import Sweep
from echo_e3net.search.sweep_live import best_row, progress, short, short_name, sign
from echo_e3net.search.sweep_search import Row
from echo_e3net.search.sweep_space import Choices, coordinate, nested_values
from echo_e3net.tables import write_csv

BEST, TABLE, PICTURE = "best.yaml", "sweep.md", "sweep.png"


def save_results(folder: Path, sweep: Sweep, rows: Sequence[Row], importances: Mapping[str, float]) -> None:
    """Write all files.

    Args:
        folder: the sweep's folder.
        sweep: the sweep.
        rows: its trials.
        importances: share of each parameter in what makes figures good; empty: not known.
    """
    write_csv(folder / CSV, [csv_row(sweep, row) for row in rows if row.state != "waiting"])
    best = best_row(sweep, rows)
    if best is not None:
        write_text(folder / BEST, best_overlay(sweep, best, len([row for row in rows if row.ended])))
    write_text(folder / TABLE, "\n".join(markdown(sweep, rows, importances)) + "\n")
    shown = [row for row in rows if row.ended and row.figure is not None]
    if shown:
        names = [parameter.name for parameter in sweep.parameters if not parameter.constant]
        axes = [parameter_axis(sweep, name, short_name(name, names), shown) for name in names]
        figures = [row.figure or 0.0 for row in shown]
        title = f"{sweep.name}: {progress(rows)}"
        shares = {short_name(name, names): share for name, share in importances.items()}
        draw_sweep(
            folder / PICTURE,
            title,
            sweep.metric,
            axes,
            figures,
            [row.state == "pruned" for row in shown],
            sweep.maximize,
            shares,
        )


def csv_row(sweep: Sweep, row: Row) -> dict[str, object]:
    """A trial as a row."""
    named = {
        "trial": f"trial{row.number:04d}",
        "state": row.state,
        sweep.metric: row.figure,
        "epoch": row.epoch,
        "last_epoch": row.last,
    }
    notes = {name: row.notes.get(name) for name in ("seconds", "worker", "retry_of", "reason")}
    return {
        name: "" if value is None else value for name, value in {**named, **notes, **row.values}.items()
    }  # so that whole numbers stay whole


def best_overlay(sweep: Sweep, best: Row, ended: int) -> str:
    """The parameters of the best trial, constants too, as YAML for ``--config``."""
    lines = [
        f"# The best of {ended} trials of {sweep.path.name}: {sweep.metric} {best.figure:.6g} at epoch {best.epoch}, trial{best.number:04d}.",
        "# Lay it over the configuration that the sweep's command names: --config BASE.yaml --config best.yaml",
    ]
    overlay: str = yaml.safe_dump(
        unfold(nested_values(sweep.parameters, best.point)), sort_keys=False, allow_unicode=True
    )
    return "\n".join(lines) + "\n" + overlay


def unfold(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as nested mappings, and texts as the command line would read them: "null" is null."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        here = found
        *above, last = name.split(".")
        for part in above:
            here = here.setdefault(part, {})
        here[last] = (
            unfold(value) if isinstance(value, dict) else yaml.safe_load(value) if isinstance(value, str) else value
        )
    return found


def markdown(sweep: Sweep, rows: Sequence[Row], importances: Mapping[str, float]) -> list[str]:
    """The sweep as a page: how far it is, the trials from best to worst, and what failed."""
    names = [parameter.name for parameter in sweep.parameters if not parameter.constant]
    ended = sorted(
        (row for row in rows if row.ended and row.figure is not None),
        key=lambda row: (row.state, sign(sweep) * (row.figure or 0.0)),
    )
    lines = [
        f"# Sweep {sweep.name}",
        "",
        f"{progress(rows)} Method: {sweep.method}. The figure is the best {sweep.metric} of a trial's epochs.",
    ]
    if importances:
        lines += [
            "",
            "Importance (PED-ANOVA): " + ", ".join(f"{name} {share:.2f}" for name, share in importances.items()) + ".",
        ]
    lines += [
        "",
        f"| trial | state | {sweep.metric} | epoch | {' | '.join(names)} |",
        f"|---|---|{'---:|' * (len(names) + 2)}",
    ]
    for row in ended:
        cells = [
            f"trial{row.number:04d}",
            row.state,
            f"{row.figure:.4g}",
            str(row.epoch),
            *(short(row.values[name]) for name in names),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    failed = [row for row in rows if row.state in ("failed", "lost")]
    lines += ["", "## Failed and lost", ""] if failed else []
    return lines + [f"- trial{row.number:04d}, {row.state}: {row.notes.get('reason')}" for row in failed]


def parameter_axis(sweep: Sweep, name: str, title: str, rows: Sequence[Row]) -> SweepAxis:
    """A parameter as an axis of the picture: logarithmic where it is searched so, its values side by side where they are no numbers."""
    values = [row.values[name] for row in rows]
    found = next(coordinate(parameter) for parameter in sweep.parameters if parameter.name == name)
    if isinstance(found, Choices) or not all(isinstance(value, int | float) for value in values):
        texts = sorted(
            {str(value): value for value in values}.items(),
            key=lambda pair: (isinstance(pair[1], str | list | dict), order(pair[1])),
        )
        places = {text: (place + 0.5) / len(texts) for place, (text, _) in enumerate(texts)}
        return SweepAxis(
            title,
            [places[str(value)] for value in values],
            {place: shorten(text, 24, placeholder=" …") for text, place in places.items()},
        )
    log = min(values) > 0 and (found.log or max(values) / min(values) > 30)
    low, high = (math.log(f(values)) if log else f(values) for f in (min, max))
    span = (high - low) or 1.0
    heights = [((math.log(value) if log else value) - low) / span for value in values]
    ticks = {at: low + at * (high - low) for at in (0.0, 0.5, 1.0)} if high > low else {0.0: low}
    return SweepAxis(title, heights, {at: short(float(math.exp(tick) if log else tick)) for at, tick in ticks.items()})


def order(value: Any) -> Any:  # noqa: ANN401  (whatever a sweep file holds)
    """What values are sorted by: numbers by size, the rest as texts."""
    return value if isinstance(value, int | float) else str(value)
