"""The one table that a study ends in: mean ± SD over the seeds, the difference to the base, and what an arm costs; for a reader, LaTeX and a program."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from echo_e3net.search.intervals import Difference
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
"""Figures of metrics.json that are shown, with their titles and decimals."""
INTERVAL = "95 % interval"
IN_LATEX = ("arm", "M parameters", "GMACs", "MAE", "RMSE", "R²", "MAE, EF ≤ 40", "endo px")
ON_SCREEN = ("arm", "seeds", "MAE")
LATEX = {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "±": r"$\pm$", "≤": r"$\leq$", "²": "$^2$", "–": "--"}


def by_arm(rows: Sequence[Row], test: str) -> dict[str, list[Row]]:
    """The rows of a test set by arm."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["test"] == test:
            found.setdefault(row["arm"], []).append(row)
    return found


def arm_lines(rows: Sequence[Row], test: str, base: str, differences: Mapping[str, Difference]) -> list[list[str]]:
    """Title line and a line for each arm of a test set; of a further one also how much worse than on the own it is, seed by seed."""
    own = {(row["arm"], row["seed"]): row["ef_mae"] for row in rows if row["test"] == OWN}
    dropped = [f"MAE - {OWN}"] if test != OWN else []
    titles = [title for title, _ in COLUMNS.values()]
    lines = [["arm", "seeds", "M parameters", "GMACs", *dropped, titles[0], of_base(base), INTERVAL, *titles[1:]]]
    for arm, found in by_arm(rows, test).items():
        cost = [f"{found[0]['parameters'] / 1e6:.2f}", f"{found[0]['gmacs']:.2f}"]
        pairs = [(row["ef_mae"], own.get((arm, row["seed"]))) for row in found]
        drop = [spread([here - there for here, there in pairs if None not in (here, there)], 2)] if dropped else []
        figures = [spread([row.get(key) for row in found], digits) for key, (_, digits) in COLUMNS.items()]
        lines.append(
            [arm, str(len(found)), *cost, *drop, figures[0], *difference_words(differences.get(arm)), *figures[1:]]
        )
    return lines


def summary_rows(rows: Sequence[Row], test: str, differences: Mapping[str, Difference]) -> list[dict[str, object]]:
    """The same as numbers, a row an arm: mean and SD of each figure, and the difference of MAE to the base with its interval."""
    lines = []
    for arm, found in by_arm(rows, test).items():
        line: dict[str, object] = {
            "test": test,
            "arm": arm,
            "seeds": len(found),
            "parameters": found[0]["parameters"],
            "gmacs": found[0]["gmacs"],
        }
        difference = differences.get(arm)
        for name in ("mean", "sd", "low", "high", "seeds", "videos"):
            value = getattr(difference, name, None)
            line[f"difference_{name}"] = round(value, 4) if isinstance(value, float) else value
        for key in COLUMNS:
            known = [row[key] for row in found if row.get(key) is not None]
            line[f"{key}_mean"] = round(statistics.fmean(known), 4) if known else None
            line[f"{key}_sd"] = round(statistics.stdev(known), 4) if len(known) > 1 else None
        lines.append(line)
    return lines


def of_base(base: str) -> str:
    """Title of the column of differences."""
    return f"MAE - {base}"


def difference_words(difference: Difference | None) -> list[str]:
    """A difference with the SD over its seeds, and its interval over the videos."""
    if difference is None:
        return ["–", "–"]
    over_seeds = f"{difference.mean:+.2f}" + (f" ± {difference.sd:.2f}" if difference.sd is not None else "")
    return [over_seeds, "–" if difference.low is None else f"{difference.low:+.2f} to {difference.high:+.2f}"]


def spread(values: Sequence[float | None], digits: int) -> str:
    """Mean ± SD of the values that are there; the mean alone of one."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = f"{statistics.fmean(known):.{digits}f}"
    return f"{mean} ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else mean


def chosen(lines: Sequence[Sequence[str]], titles: Sequence[str], base: str) -> list[list[str]]:
    """Some columns, the difference and its interval after MAE."""
    wanted = [
        column for title in titles for column in ((title, of_base(base), INTERVAL) if title == "MAE" else (title,))
    ]
    return [[line[lines[0].index(column)] for column in wanted] for line in lines]


def screen_table(title: str, lines: Sequence[Sequence[str]], base: str) -> Table:
    """The columns that fit 80 characters."""
    table, shown = Table(title=title), chosen(lines, ON_SCREEN, base)
    for i, column in enumerate(shown[0]):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    for line in shown[1:]:
        table.add_row(*line)
    return table


def markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines as a Markdown table."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return [rows[0], f"|---|{'---:|' * (len(lines[0]) - 1)}", *rows[1:]]


def latex(caption: str, lines: Sequence[Sequence[str]], base: str) -> list[str]:
    """The columns that fit a page as a LaTeX table; needs the package booktabs."""
    shown = [" & ".join(map(in_latex, line)) + r" \\" for line in chosen(lines, IN_LATEX, base)]
    columns = "l" + "r" * (shown[0].count(" & "))
    head = [r"\begin{table}", r"\centering", rf"\caption{{{in_latex(caption)}}}", rf"\begin{{tabular}}{{{columns}}}"]
    return [*head, r"\toprule", shown[0], r"\midrule", *shown[1:], r"\bottomrule", r"\end{tabular}", r"\end{table}"]


def in_latex(text: str) -> str:
    """Text with what LaTeX would take for commands; a sign before a number becomes mathematics."""
    for plain, written in LATEX.items():
        text = text.replace(plain, written)
    return " ".join(f"${word}$" if word[:1] in "+-" and word[1:2].isdigit() else word for word in text.split(" "))
