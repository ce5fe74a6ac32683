"""Write the results of a study.

===============  ==============================================================================================
results.csv      one row per trial and test set: settings, code, cost and all scores
videos.csv       what each trial predicted for each test video
summary.csv      one row per arm and test set: mean and SD over the seeds, difference to the base with its interval
results.md       the summary as Markdown; results.tex: as LaTeX
results.png      MAE, one dot per seed; differences.png: the differences with their intervals
===============  ==============================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from echo_e3net.errors import InputError
from echo_e3net.files import write_text
from echo_e3net.reporting import draw_differences, draw_study
from echo_e3net.search.study_plan import OWN, PROFILE, TIMES, Study, Trial
from echo_e3net.search.study_tables import (
    COLUMNS,
    ON_SCREEN,
    Row,
    arm_lines,
    chosen,
    latex,
    markdown,
    screen_table,
    summary_row,
)
from echo_e3net.search.study_videos import (
    VIDEOS,
    Key,
    Predictions,
    Read,
    compare,
    errors_by_seed,
    read_predictions,
    save_predictions,
    trial_predictions,
)
from echo_e3net.tables import read_rows, write_csv
from echo_e3net.training.run_folder import METRICS

CSV, TABLE, PICTURE, TEX = "results.csv", "results.md", "results.png", "results.tex"
SUMMARY, DIFFERENCES = "summary.csv", "differences.png"
KEYS = ["arm", "seed", "test", "fingerprint", "revision", "code", "parameters", "gmacs", "seconds"]
TEXTS = ("arm", "test", "fingerprint", "revision", "code")
"""Columns that are not numbers."""


class Results(NamedTuple):
    """The results of a study.

    Attributes:
        rows: scores of each trial and test set.
        predictions: EF of each video, where it is known.
        done: number of finished trials.
        trials: number of all trials.
    """

    rows: list[Row]
    predictions: Predictions
    done: int
    trials: int

    def __str__(self) -> str:
        """Return the number of finished trials as text."""
        return f"{self.done} of {self.trials} trials."


def trial_rows(trial: Trial) -> list[Row]:
    """Return the scores of a trial, one row per test set."""
    cost = json.loads((trial.folder.parent / PROFILE).read_text())
    shared = {"arm": trial.arm, "seed": trial.seed} | {name: cost[name] for name in ("parameters", "gmacs")}
    shared |= json.loads((trial.folder / TIMES).read_text())
    shared |= {name: " ".join(trial.places[0].recorded(name)) for name in ("revision", "code")}
    scores = [json.loads((place.folder / METRICS).read_text()) for place in trial.places]
    return [
        {**shared, "test": place.test, "fingerprint": place.fingerprint, **found}
        for place, found in zip(trial.places, scores, strict=True)
    ]


def recorded_results(out: Path, trials: Sequence[Trial]) -> tuple[dict[Trial, list[Row]], Predictions]:
    """Return the trials that an earlier results.csv records with all test sets, and the predictions of videos.csv.

    Raises:
        InputError: a trial is recorded with other settings or data than the study has now.
    """
    found: dict[Trial, list[Row]] = {}
    path = out / CSV
    rows = {(row["arm"], row["seed"], row["test"]): row for row in (read_results(path) if path.is_file() else [])}
    for trial in trials:
        keys = [(trial.arm, trial.seed, place.test) for place in trial.places]
        for place, key in zip(trial.places, keys, strict=True):
            if key in rows and rows[key]["fingerprint"] != place.fingerprint:
                raise InputError(
                    f"{path}: {trial}, test set {place.test} has other settings or data than the study has now. "
                    "Move the file away, or choose another --out."
                )
        if rows.keys() >= set(keys):
            found[trial] = [rows[key] for key in keys]
    return found, read_predictions(out / VIDEOS) if found else {}


def collect(trials: Sequence[Trial], recorded: Mapping[Trial, list[Row]], predictions: Predictions) -> Results:
    """Return the results of all finished trials, from their folders or else from an earlier results.csv."""
    rows: list[Row] = []
    known: dict[Key, Mapping[str, Read]] = {}
    done = [trial for trial in trials if trial.done or trial in recorded]
    for trial in done:
        rows += trial_rows(trial) if trial.done else recorded[trial]
        found = trial_predictions(trial) if trial.done else predictions
        known |= {key: videos for key, videos in found.items() if key[:2] == (trial.arm, trial.seed)}
    return Results(rows, known, len(done), len(trials))


def summaries(plan: Study, results: Results) -> dict[str, list[Row]]:
    """Return the rows of summary.csv by test set, the own test set first."""
    found: dict[str, list[Row]] = {}
    own: dict[str, dict[int, float]] = {}
    by_test: dict[str, dict[str, list[Row]]] = {}
    for row in results.rows:
        by_test.setdefault(row["test"], {}).setdefault(row["arm"], []).append(row)
    for test, arms in by_test.items():
        mae = {arm: {r["seed"]: r["ef_mae"] for r in rows if r["ef_mae"] is not None} for arm, rows in arms.items()}
        errors = {arm: errors_by_seed(results.predictions, arm, test, seeds) for arm, seeds in mae.items()}
        own, base, found[test] = own or mae, plan.reference, []
        for arm, rows in arms.items():
            compared = arm != base and base in arms
            difference = compare(mae[arm], mae[base], errors[arm], errors[base]) if compared else None
            drops = [error - own[arm][seed] for seed, error in mae[arm].items() if seed in own[arm]]
            found[test].append(summary_row(rows, None if test == OWN else drops, difference))
    return found


def save_results(out: Path, plan: Study, results: Results) -> None:
    """Write all tables and pictures."""
    rows, base, by_test = results.rows, plan.reference, summaries(plan, results)
    numbers = {key for row in rows for key, value in row.items() if isinstance(value, int | float)} | COLUMNS.keys()
    columns = [*KEYS, *sorted(numbers - set(KEYS))]
    write_csv(out / CSV, rows, columns)
    if results.predictions:
        save_predictions(out / VIDEOS, results.predictions)
    write_csv(out / SUMMARY, [rounded(line) for summary in by_test.values() for line in summary])
    text = [f"# Study {plan.name}", "", f"{results} {legend(base)}", "", code(rows)]
    tex = [f"% Study {plan.name}: {results} Needs the package booktabs.", f"% {legend(base)}"]
    for test, summary in by_test.items():
        lines, n = arm_lines(summary, base), videos_of(rows, test)
        text += ["", f"## Test set: {test} (n = {n})", "", *markdown(lines)]
        note = "mean ± SD over the seeds, 95 % bootstrap interval over the videos."
        tex += latex(f"{plan.name}, test set {test} ({n} videos): {note}", lines, base)
    write_text(out / TABLE, "\n".join(text) + "\n")
    write_text(out / TEX, "\n".join(tex) + "\n")
    draw_study(out / PICTURE, plan.name, {test: [row for row in rows if row["test"] == test] for test in by_test})
    ends = ("mean", "low", "high")
    drawn = {
        test: {row["arm"]: {end: row[f"difference_{end}"] for end in ends} for row in found if row["difference_seeds"]}
        for test, found in by_test.items()
    }
    if any(drawn.values()):
        draw_differences(out / DIFFERENCES, f"{plan.name}: MAE of EF minus that of {base} (points)", drawn)


def show_results(out: Path, plan: Study, results: Results) -> None:
    """Print the tables and the names of the files."""
    console = Console()
    for test, summary in summaries(plan, results).items():
        lines = arm_lines(summary, plan.reference)
        title = f"{plan.name}, test set {test} (n = {videos_of(results.rows, test)})"
        console.print(screen_table(title, chosen(lines, ON_SCREEN, plan.reference)))
    files = ", ".join((SUMMARY, VIDEOS, TABLE, TEX, PICTURE))
    console.print(f"{results} {out / CSV}, {files}", highlight=False, soft_wrap=True)


def rounded(row: Row) -> dict[str, object]:
    """Return a row for summary.csv."""
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def videos_of(rows: Sequence[Row], test: str) -> int:
    """Return the number of videos of a test set."""
    return next(int(row["n"]) for row in rows if row["test"] == test)


def legend(base: str) -> str:
    """Return the explanation of the table."""
    return (
        "Mean ± SD over the seeds; EF in points, distances in pixels of the video. "
        f"MAE - {base} is the mean difference over the seeds. "
        "Its interval is a paired bootstrap over the videos (percentiles, 95 %): "
        "it covers the choice of test videos, but not the variation between trainings."
    )


def code(rows: Sequence[Row]) -> str:
    """Return which code ran the trials, as text."""
    runs = {(row["revision"], row.get("code") or "") for row in rows} - {("", "")}
    names = ", ".join(sorted(f"{revision or 'no git'} ({digest})" if digest else revision for revision, digest in runs))
    hashes = {digest for _, digest in runs}
    if len(hashes) > 1 or any(" " in digest for digest in hashes) or (hashes == {""} and len(runs) > 1):
        return f"**The trials ran different code**: {names}."
    return f"Code: {names or 'unknown (no git)'}."


def read_results(path: Path) -> list[Row]:
    """Return the rows of a results.csv; empty fields are None.

    Raises:
        InputError: the file cannot be read, or a column is missing.
    """
    # Tables of earlier versions have no code hash.
    rows = read_rows(path, [key for key in KEYS if key != "code"])
    return [{key: value if key in TEXTS else json.loads(value or "null") for key, value in row.items()} for row in rows]
