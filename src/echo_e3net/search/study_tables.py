"""The table of a study's results: mean ± SD over the seeds, difference to the base and cost of each arm; for the screen, Markdown, LaTeX and CSV."""

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
LATEX = {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "±": r"$\pm$", "≤": r"$\leq$", "²": "$^2$", "–": "--"}


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


def by_arm(rows: Sequence[Row], test: str) -> dict[str, list[Row]]:
    """Return the rows of a test set by arm."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["test"] == test:
            found.setdefault(row["arm"], []).append(row)
    return found


def arm_lines(rows: Sequence[Row], test: str, base: str, differences: Mapping[str, Difference]) -> list[list[str]]:
    """Return the titles and one line per arm of a test set.

    For a further test set there is a column with the mean difference to the own test set over the seeds.
    """
    own = {(row["arm"], row["seed"]): row["ef_mae"] for row in rows if row["test"] == OWN}
    further = [f"MAE - {OWN}"] if test != OWN else []
    first, *others = [title for title, _ in COLUMNS.values()]
    lines = [["arm", "seeds", "M parameters", "GMACs", *further, first, f"MAE - {base}", INTERVAL, *others]]
    for arm, found in by_arm(rows, test).items():
        cost = [f"{found[0]['parameters'] / 1e6:.2f}", f"{found[0]['gmacs']:.2f}"]
        pairs = [(row["ef_mae"], own.get((arm, row["seed"]))) for row in found]
        drop = [spread([here - there for here, there in pairs if None not in (here, there)], 2)] if further else []
        mae, *scores = [spread([row.get(key) for row in found], digits) for key, (_, digits) in COLUMNS.items()]
        lines.append([arm, str(len(found)), *cost, *drop, mae, *difference_words(differences.get(arm)), *scores])
    return lines


def summary_rows(rows: Sequence[Row], test: str, differences: Mapping[str, Difference]) -> list[dict[str, object]]:
    """Return the table as numbers, one row per arm: mean and SD of each score, and the difference to the base."""
    lines = []
    for arm, found in by_arm(rows, test).items():
        line: dict[str, object] = {"test": test, "arm": arm, "seeds": len(found)}
        line |= {key: found[0][key] for key in ("parameters", "gmacs")}
        for name in Difference._fields:
            value = getattr(differences.get(arm), name, None)
            line[f"difference_{name}"] = round(value, 4) if isinstance(value, float) else value
        for key in COLUMNS:
            known = [row[key] for row in found if row.get(key) is not None]
            line[f"{key}_mean"] = round(statistics.fmean(known), 4) if known else None
            line[f"{key}_sd"] = round(statistics.stdev(known), 4) if len(known) > 1 else None
        lines.append(line)
    return lines


def difference_words(difference: Difference | None) -> list[str]:
    """Return a difference with the SD over its seeds, and its interval, as text."""
    if difference is None:
        return ["–", "–"]
    over_seeds = f"{difference.mean:+.2f}" + (f" ± {difference.sd:.2f}" if difference.sd is not None else "")
    return [over_seeds, "–" if difference.low is None else f"{difference.low:+.2f} to {difference.high:+.2f}"]


def spread(values: Sequence[float | None], digits: int) -> str:
    """Return mean ± SD of the known values as text; for one value only the mean."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = f"{statistics.fmean(known):.{digits}f}"
    return f"{mean} ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else mean


def chosen(lines: Sequence[Sequence[str]], titles: Sequence[str], base: str) -> list[list[str]]:
    """Return some columns, with the difference and its interval after MAE."""
    wanted = [name for title in titles for name in (title, *((f"MAE - {base}", INTERVAL) if title == "MAE" else ()))]
    return [[line[lines[0].index(column)] for column in wanted] for line in lines]


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
