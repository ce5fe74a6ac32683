"""What a study leaves: results.csv with a row a trial and test set, results.md with mean ± SD over the seeds, and results.png."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from echo_e3net.data.tables import read_columns, write_csv
from echo_e3net.figures import draw_study
from echo_e3net.files import write_text

CSV, TABLE, PICTURE = "results.csv", "results.md", "results.png"
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

KEYS = ["arm", "seed", "test", "fingerprint", "revision", "parameters", "gmacs", "seconds"]
Row = Mapping[str, Any]


def save_results(out: Path, name: str, rows: Sequence[Row], progress: tuple[int, int]) -> None:
    """Write the CSV, the table and the picture.

    Args:
        out: folder to write to.
        name: the study.
        rows: the figures of each trial and test set.
        progress: trials that are done, and trials that there are.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = {key for row in rows for key, value in row.items() if isinstance(value, int | float)}
    figures = sorted(found.union(COLUMNS).difference(KEYS))
    write_csv(out / CSV, [{key: row.get(key) for key in (*KEYS, *figures)} for row in rows], [*KEYS, *figures])
    text = [f"# Study {name}", "", f"{of_trials(progress)} Mean ± SD over the seeds; EF in points, distances in pixels of the video.", "", code(rows)]
    for test, of_test in by_test(rows).items():
        text += ["", f"## Test set: {test} (n = {of_test[0]['n']})", "", *markdown(arm_lines(of_test, by_test(rows)[rows[0]["test"]]))]
    write_text(out / TABLE, "\n".join(text) + "\n")
    draw_study(out / PICTURE, name, by_test(rows))


def show_results(out: Path, name: str, rows: Sequence[Row], progress: tuple[int, int]) -> None:
    """Show the table on the screen, and say where the files are."""
    console = Console()
    for test, of_test in by_test(rows).items():
        lines = arm_lines(of_test, by_test(rows)[rows[0]["test"]])
        console.print(screen_table(f"{name}, test set {test} (n = {of_test[0]['n']})", lines))
    console.print(f"{of_trials(progress)} {out / CSV}, {TABLE}, {PICTURE}", highlight=False, soft_wrap=True)


def by_test(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each test set."""
    return {test: [row for row in rows if row["test"] == test] for test in dict.fromkeys(row["test"] for row in rows)}


def of_trials(progress: tuple[int, int]) -> str:
    """How far the study is, as a sentence."""
    return f"{progress[0]} of {progress[1]} trials."


def code(rows: Sequence[Row]) -> str:
    """Which code the trials ran, as a sentence."""
    revisions = sorted({row["revision"] for row in rows if row["revision"]})
    if len(revisions) > 1:
        return f"**Trials of different code are side by side here**: {', '.join(revisions)}."
    return f"Code: {revisions[0]}." if revisions else "Code: not known (no git)."


def read_results(path: Path) -> list[Row]:
    """The rows of a results.csv, with numbers where there are numbers and None where there is nothing.

    Raises:
        InputError: it cannot be read, or a column is missing.
    """
    rows = read_columns(path, KEYS).to_dict("records")
    texts = ("arm", "test", "fingerprint", "revision")
    return [{str(key): value if key in texts else number(value) for key, value in row.items()} for row in rows]


def number(text: str) -> float | int | None:
    """A number of results.csv."""
    return None if not text else int(text) if text.isdigit() else float(text)


def arm_lines(rows: Sequence[Row], own: Sequence[Row]) -> list[list[str]]:
    """Title line and a line for each arm, in the order in which the arms come.

    Args:
        rows: of one test set.
        own: of the trials' own test set, which the drop in MAE is measured from, seed by seed.
    """
    base = {(row["arm"], row["seed"]): row["ef_mae"] for row in own}
    arms: dict[str, list[Row]] = {}
    for row in rows:
        arms.setdefault(row["arm"], []).append(row)
    dropped = [] if rows[0]["test"] == own[0]["test"] else [f"MAE - {own[0]['test']}"]
    lines = [["arm", "seeds", "M parameters", "GMACs", *dropped, *(title for title, _ in COLUMNS.values())]]
    for arm, found in arms.items():
        cost = [f"{found[0]['parameters'] / 1e6:.2f}", f"{found[0]['gmacs']:.2f}"]
        pairs = [(row["ef_mae"], base.get((row["arm"], row["seed"]))) for row in found]
        drop = [spread([here - there for here, there in pairs if here is not None and there is not None], 2)] if dropped else []
        lines.append([arm, str(len(found)), *cost, *drop, *(spread([row.get(key) for row in found], digits) for key, (_, digits) in COLUMNS.items())])
    return lines


def spread(values: Sequence[float | None], digits: int) -> str:
    """Mean ± SD of the values that are there; the mean alone of one."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = f"{statistics.fmean(known):.{digits}f}"
    return f"{mean} ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else mean


def screen_table(title: str, lines: Sequence[Sequence[str]]) -> Table:
    """The lines as a table on the screen, without the borders' details."""
    table = Table(title=title)
    shown = [lines[0].index(column) for column in ("arm", "seeds", "MAE", "RMSE", "R²", "MAE, EF ≤ 40", "Simpson's MAE", "endo px")]
    for i in shown:
        table.add_column(lines[0][i], justify="left" if not i else "right", no_wrap=not i)
    for line in lines[1:]:
        table.add_row(*(line[i] for i in shown))
    return table


def markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines as a Markdown table."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return [rows[0], f"|---|{'---:|' * (len(lines[0]) - 1)}", *rows[1:]]
