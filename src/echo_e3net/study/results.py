"""What a study leaves: results.csv with a row for each trial and test set, results.md with mean ± SD over the seeds, and results.png."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from echo_e3net.callbacks import ENVIRONMENT
from echo_e3net.data.tables import read_columns, write_csv
from echo_e3net.errors import InputError
from echo_e3net.figures import draw_study
from echo_e3net.files import write_text
from echo_e3net.results import METRICS
from echo_e3net.study.plan import OWN, PROFILE, TIMES, Trial

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


def trial_rows(trial: Trial) -> list[Row]:
    """The figures of a trial: a row for its own test split, and one for each further data set."""
    cost = json.loads((trial.folder.parent / PROFILE).read_text())
    starts = json.loads((trial.folder / ENVIRONMENT).read_text()) if (trial.folder / ENVIRONMENT).is_file() else [{}]
    named = {
        "arm": trial.arm,
        "seed": trial.seed,
        "parameters": cost["parameters"],
        "gmacs": cost["gmacs"],
        "seconds": json.loads((trial.folder / TIMES).read_text())["seconds"],
        "revision": " ".join(dict.fromkeys(start["revision"] for start in starts if start.get("revision"))),
    }
    scores = [(place, json.loads((place.folder / METRICS).read_text())) for place in trial.places]
    return [{**named, "test": place.test, "fingerprint": place.fingerprint, **found} for place, found in scores]


def recorded_rows(path: Path, trials: Sequence[Trial]) -> dict[Trial, list[Row]]:
    """The trials that an earlier results.csv records with all their test sets.

    Raises:
        InputError: it records a trial with other settings or data than the study has now.
    """
    found: dict[Trial, list[Row]] = {}
    rows = {(row["arm"], row["seed"], row["test"]): row for row in (read_results(path) if path.is_file() else [])}
    for trial in trials:
        of_trial = [rows.get((trial.arm, trial.seed, place.test)) for place in trial.places]
        for place, row in zip(trial.places, of_trial, strict=True):
            if row is not None and row["fingerprint"] != place.fingerprint:
                what = f"{trial.arm}, seed {trial.seed}, test set {place.test}"
                raise InputError(f"{path}: {what} is of other settings or data than the study has now. Move it away, or give another --out.")
        known = [row for row in of_trial if row is not None]
        if len(known) == len(of_trial):
            found[trial] = known
    return found


def collect_rows(trials: Sequence[Trial], recorded: dict[Trial, list[Row]]) -> tuple[list[Row], tuple[int, int]]:
    """The rows of all trials that are done, in the study's order; how many those are, and of how many."""
    done = {trial: trial_rows(trial) if trial.done else recorded[trial] for trial in trials if trial.done or trial in recorded}
    return [row for rows in done.values() for row in rows], (len(done), len(trials))


def save_results(out: Path, name: str, rows: Sequence[Row], progress: tuple[int, int]) -> None:
    """Write the CSV, the table and the picture.

    Args:
        out: folder to write to.
        name: the study.
        rows: the figures of each trial and test set.
        progress: trials that are done, and trials that there are.
    """
    found = {key for row in rows for key, value in row.items() if isinstance(value, int | float)}
    figures = sorted(found.union(COLUMNS).difference(KEYS))
    write_csv(out / CSV, [{key: row.get(key) for key in (*KEYS, *figures)} for row in rows], [*KEYS, *figures])
    text = [f"# Study {name}", "", f"{of_trials(progress)} Mean ± SD over the seeds; EF in points, distances in pixels of the video.", "", code(rows)]
    for test, of_test in by_test(rows).items():
        text += ["", f"## Test set: {test} (n = {of_test[0]['n']})", "", *markdown(arm_lines(rows, test))]
    write_text(out / TABLE, "\n".join(text) + "\n")
    draw_study(out / PICTURE, name, by_test(rows))


def show_results(out: Path, name: str, rows: Sequence[Row], progress: tuple[int, int]) -> None:
    """Show the table on the screen, and say where the files are."""
    console = Console()
    for test, of_test in by_test(rows).items():
        console.print(screen_table(f"{name}, test set {test} (n = {of_test[0]['n']})", arm_lines(rows, test)))
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


def arm_lines(rows: Sequence[Row], test: str) -> list[list[str]]:
    """Title line and a line for each arm of a test set; of a further one also how much worse than on the own it is, seed by seed."""
    own = {(row["arm"], row["seed"]): row["ef_mae"] for row in rows if row["test"] == OWN}
    arms: dict[str, list[Row]] = {}
    for row in rows:
        if row["test"] == test:
            arms.setdefault(row["arm"], []).append(row)
    dropped = [f"MAE - {OWN}"] if test != OWN else []
    lines = [["arm", "seeds", "M parameters", "GMACs", *dropped, *(title for title, _ in COLUMNS.values())]]
    for arm, found in arms.items():
        cost = [f"{found[0]['parameters'] / 1e6:.2f}", f"{found[0]['gmacs']:.2f}"]
        pairs = [(row["ef_mae"], own[arm, row["seed"]]) for row in found]
        drop = [spread([here - there for here, there in pairs if None not in (here, there)], 2)] if dropped else []
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
    """The columns that fit a screen."""
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
