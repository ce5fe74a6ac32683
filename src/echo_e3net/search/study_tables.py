"""Format the results of a study as tables: mean ± SD over the seeds, difference to the base, and cost per arm."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from echo_e3net.search.study_plan import OWN

Row = Mapping[str, Any]
COLUMNS = {
    "ef_mae": ("MAE", 2),
    "ef_rmse": ("RMSE", 2),
    "ef_r2": ("R²", 3),
    "low_ef_mae": ("MAE, EF ≤ 40", 2),
    "geometry_ef_mae": ("Simpson's MAE", 2),
    "endo_n": ("traced in clip, n", 0),
    "endo_px": ("endo px", 2),
    "endo_border_px": ("to border px", 2),
    "endo_axis_percent": ("% of axis", 2),
    "epi_px": ("epi px", 2),
    "timing_n": ("traced beat in clip, n", 0),
    "ed_frames_off": ("ED off within it, frames", 1),
    "es_frames_off": ("ES off within it, frames", 1),
}
"""Scores of metrics.json in the table, with titles and decimals."""
INTERVAL = "95 % interval"
IN_LATEX = ("arm", "M parameters", "GMACs", "MAE", "RMSE", "R²", "MAE, EF ≤ 40", "endo px")
ON_SCREEN = ("arm", "seeds", "MAE")
"""Columns that fit 80 characters."""
LATEX = {"_": r"\_", "%": r"\%", "±": r"$\pm$", "≤": r"$\leq$", "²": "$^2$", "–": "--"}


class Difference(NamedTuple):
    """Mean absolute error of an arm minus that of the base, in EF points.

    Attributes:
        mean: mean over the seeds that both have.
        sd: SD over these seeds; None for one seed.
        low: lower end of the interval over videos; None if the predictions are not known.
        high: upper end.
        seeds: number of seeds that both have.
        videos: number of videos of the interval.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    seeds: int
    videos: int


def summary_row(rows: Sequence[Row], drops: Sequence[float] | None, difference: Difference | None) -> Row:
    """Return the mean and SD of each score over the seeds of an arm, and its difference to the base.

    Args:
        rows: one row per seed.
        drops: MAE minus that on the own test set, by seed; None for the own test set.
        difference: the difference to the base, if there is one.
    """
    line: dict[str, Any] = {name: rows[0][name] for name in ("test", "arm", "parameters", "gmacs")}
    line["seeds"] = len(rows)
    line |= {f"difference_{name}": getattr(difference, name, None) for name in Difference._fields}
    scores = {key: [row[key] for row in rows if row.get(key) is not None] for key in COLUMNS}
    for key, values in (scores if drops is None else {**scores, "drop": drops}).items():
        line[f"{key}_mean"] = statistics.fmean(values) if values else None
        line[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else None
    return line


def arm_lines(summary: Sequence[Row], base: str) -> list[list[str]]:
    """Return the titles and one line per arm, as text."""
    scores = {"drop": (f"MAE - {OWN}", 2), **COLUMNS} if "drop_mean" in summary[0] else COLUMNS
    lines = []
    for row in summary:
        line = {"arm": row["arm"], "seeds": str(row["seeds"])}
        line |= {"M parameters": f"{row['parameters'] / 1e6:.2f}", "GMACs": f"{row['gmacs']:.2f}"}
        for key, (title, digits) in scores.items():
            line[title] = spread(row, key, digits)
            if key == "ef_mae":
                low, high = row["difference_low"], row["difference_high"]
                line[f"MAE - {base}"] = spread(row, "difference", 2, "+")
                line[INTERVAL] = "–" if low is None else f"{low:+.2f} to {high:+.2f}"
        lines.append(line)
    return [list(lines[0]), *(list(line.values()) for line in lines)]


def spread(row: Row, key: str, digits: int, sign: str = "") -> str:
    """Return mean ± SD as text; for one seed only the mean."""
    mean, sd = row[f"{key}_mean"], row[f"{key}_sd"]
    if mean is None:
        return "–"
    return f"{mean:{sign}.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


def chosen(lines: Sequence[Sequence[str]], titles: Sequence[str], base: str) -> list[list[str]]:
    """Return some columns, and the difference to the base with its interval."""
    places = [i for i, title in enumerate(lines[0]) if title in (*titles, f"MAE - {base}", INTERVAL)]
    return [[line[i] for i in places] for line in lines]


def screen_table(title: str, lines: Sequence[Sequence[str]]) -> Table:
    """Return a table for the terminal; the first line holds the titles."""
    table = Table(title=title)
    for i, column in enumerate(lines[0]):
        table.add_column(column, justify="right" if i else "left", overflow="fold")
    for line in lines[1:]:
        table.add_row(*line)
    return table


def markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines of Markdown; the first line holds the titles."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return [rows[0], f"|---|{'---:|' * (len(lines[0]) - 1)}", *rows[1:]]


def latex(caption: str, lines: Sequence[Sequence[str]], base: str) -> list[str]:
    """Return the columns that fit a page as a LaTeX table, which needs the package booktabs."""
    head, *rows = [" & ".join(map(in_latex, line)) + r" \\" for line in chosen(lines, IN_LATEX, base)]
    columns = "l" + "r" * head.count(" & ")
    begin = [r"\begin{table}", r"\centering", rf"\caption{{{in_latex(caption)}}}", rf"\begin{{tabular}}{{{columns}}}"]
    return [*begin, r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}", r"\end{table}"]


def in_latex(text: str) -> str:
    """Return text with LaTeX's special characters escaped; signed numbers become mathematics."""
    for plain, written in LATEX.items():
        text = text.replace(plain, written)
    return " ".join(f"${word}$" if word[:1] in "+-" and word[1:2].isdigit() else word for word in text.split(" "))
