"""Write the results of a sweep: trials.csv, best.yaml (the best trial as an overlay), sweep.md and sweep.png."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import yaml
from jsonargparse import Namespace

from echo_e3net.files import write_text
from echo_e3net.reporting import SweepAxis, draw_sweep
from echo_e3net.search.study_tables import markdown
from echo_e3net.search.sweep_file import Parameter, Sweep
from echo_e3net.search.sweep_live import cells, from_best, progress, short, short_name
from echo_e3net.search.sweep_search import Row
from echo_e3net.tables import write_csv

CSV, BEST, TABLE, PICTURE = "trials.csv", "best.yaml", "sweep.md", "sweep.png"


def save_results(folder: Path, sweep: Sweep, rows: Sequence[Row], importances: Mapping[str, float]) -> None:
    """Write all files, as far as there are trials.

    Args:
        folder: the sweep's folder.
        sweep: the sweep.
        rows: its trials.
        importances: importance of each parameter; empty if unknown.
    """
    started, ranked = [row for row in rows if row.state != "waiting"], from_best(sweep, rows)
    if not started:
        return
    write_csv(folder / CSV, [csv_row(sweep, row) for row in started])
    write_text(folder / TABLE, "\n".join(page(sweep, rows, importances)) + "\n")
    if not ranked:
        return
    if ranked[0].state == "done":
        write_text(folder / BEST, overlay(sweep, ranked[0], len(ranked)))
    names = [parameter.name for parameter in sweep.searched]
    draw_sweep(
        folder / PICTURE,
        f"{sweep.name}: {progress(rows)}",
        sweep.metric,
        [axis(parameter, short_name(parameter.name, names), ranked) for parameter in sweep.searched],
        [row.figure or 0.0 for row in ranked],
        [row.state == "pruned" for row in ranked],
        sweep.maximize,
        {short_name(name, names): share for name, share in importances.items()},
    )


def csv_row(sweep: Sweep, row: Row) -> dict[str, object]:
    """Return a trial as a row of trials.csv."""
    found = cells(sweep, row) | {name: row.notes.get(name) for name in ("seconds", "worker", "retry_of", "reason")}
    # pandas would write a column of whole numbers and None with decimals.
    return {name: "" if value is None else value for name, value in found.items()}


def overlay(sweep: Sweep, best: Row, ended: int) -> str:
    """Return the parameters of the best trial, constants included, as YAML for ``--config``."""
    lines = [
        f"# The best of {ended} trials of {sweep.path.name}: {best.name}, "
        f"{sweep.metric} {best.figure:.6g} at epoch {best.epoch}.",
        "# Lay it over the configuration that the sweep's command names: --config BASE.yaml --config best.yaml",
        yaml.safe_dump(unfold(best.values), sort_keys=False, allow_unicode=True),
    ]
    return "\n".join(lines)


def unfold(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings for dotted names. Texts are read as the command line reads them: "null" is null."""
    found = Namespace()  # type: ignore[no-untyped-call]
    for name, value in values.items():
        found[name] = yaml.safe_load(value) if isinstance(value, str) else value
    return found.as_dict()


def page(sweep: Sweep, rows: Sequence[Row], importances: Mapping[str, float]) -> list[str]:
    """Return the lines of sweep.md: the trials from best to worst, and the failed ones."""
    note = f"{progress(rows)} Method: {sweep.method}. Each trial counts with the best {sweep.metric} of its epochs."
    shares = ", ".join(f"{name} {share:.2f}" for name, share in importances.items())
    lines = [f"# Sweep {sweep.name}", "", note, *(["", f"Importance (PED-ANOVA): {shares}."] if shares else []), ""]
    table = [cells(sweep, row) for row in from_best(sweep, rows)]
    lines += markdown([list(cells(sweep, rows[0])), *(list(map(short, row.values())) for row in table)])
    failed = [row for row in rows if row.state in ("failed", "lost")]
    lines += ["", "## Failed and lost", ""] if failed else []
    return lines + [f"- {row.name}, {row.state}: {row.notes.get('reason')}" for row in failed]


def axis(parameter: Parameter, title: str, rows: Sequence[Row]) -> SweepAxis:
    """Return a parameter as an axis of the picture; choices have equal distances."""
    values, count = [row.values[parameter.name] for row in rows], len(parameter.values)
    if parameter.values:
        marks = {(i + 0.5) / count: shorten(str(v), 24, placeholder=" …") for i, v in enumerate(parameter.values)}
        return SweepAxis(title, [(parameter.values.index(value) + 0.5) / count for value in values], marks)
    scale, inverse = (math.log, math.exp) if parameter.log else (float, float)
    low, high = scale(parameter.low), scale(parameter.high)
    heights = [(scale(value) - low) / (high - low) for value in values]
    return SweepAxis(title, heights, {at: short(inverse(low + at * (high - low))) for at in (0.0, 0.5, 1.0)})
