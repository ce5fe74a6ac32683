"""What a study leaves, written anew after each trial.

===============  ==============================================================================================
results.csv      a row for each trial and test set: settings, code, cost and every figure
videos.csv       what each trial predicted of each test video
summary.csv      a row for each arm and test set: mean and SD over the seeds, difference to the base with its interval
results.md       the same to read; results.tex the same for LaTeX
results.png      MAE, a dot a seed; differences.png the differences with their intervals
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
from echo_e3net.search.intervals import Difference, compare
from echo_e3net.search.study_plan import PROFILE, TIMES, Study, Trial, read_starts
from echo_e3net.search.study_tables import COLUMNS, Row, arm_lines, by_arm, latex, markdown, screen_table, summary_rows
from echo_e3net.search.study_videos import (
    VIDEOS,
    Key,
    Predictions,
    Read,
    errors_by_seed,
    read_predictions,
    save_predictions,
    trial_predictions,
)
from echo_e3net.tables import read_columns, write_csv
from echo_e3net.training.run_folder import METRICS

CSV, TABLE, PICTURE, TEX, SUMMARY, DIFFERENCES = (
    "results.csv",
    "results.md",
    "results.png",
    "results.tex",
    "summary.csv",
    "differences.png",
)
KEYS = ["arm", "seed", "test", "fingerprint", "revision", "code", "parameters", "gmacs", "seconds"]
SINCE = {"code"}
"""Columns that tables of before do not have."""


class Results(NamedTuple):
    """What is known of a study.

    Attributes:
        rows: the figures of each trial and test set.
        predictions: EF of each video, where it is known.
        done: trials that are done.
        trials: trials that there are.
    """

    rows: list[Row]
    predictions: Predictions
    done: int
    trials: int


def trial_rows(trial: Trial) -> list[Row]:
    """The figures of a trial: a row for its own test split, and one for each further data set."""
    cost = json.loads((trial.folder.parent / PROFILE).read_text())
    named = {
        "arm": trial.arm,
        "seed": trial.seed,
        "parameters": cost["parameters"],
        "gmacs": cost["gmacs"],
        "seconds": json.loads((trial.folder / TIMES).read_text())["seconds"],
        "revision": recorded_of(trial.folder, "revision"),
        "code": recorded_of(trial.folder, "code"),
    }
    scores = [(place, json.loads((place.folder / METRICS).read_text())) for place in trial.places]
    return [{**named, "test": place.test, "fingerprint": place.fingerprint, **found} for place, found in scores]


def recorded_of(folder: Path, field: str) -> str:
    """What the starts of a run say of their code; more than one where it changed in between."""
    return " ".join(dict.fromkeys(start[field] for start in read_starts(folder) if start.get(field)))


def recorded_results(out: Path, trials: Sequence[Trial]) -> tuple[dict[Trial, list[Row]], Predictions]:
    """The trials that an earlier results.csv records with all their test sets, and what videos.csv says of them.

    Raises:
        InputError: it records a trial with other settings or data than the study has now.
    """
    found: dict[Trial, list[Row]] = {}
    path = out / CSV
    rows = {(row["arm"], row["seed"], row["test"]): row for row in (read_results(path) if path.is_file() else [])}
    for trial in trials:
        of_trial = [rows.get((trial.arm, trial.seed, place.test)) for place in trial.places]
        for place, row in zip(trial.places, of_trial, strict=True):
            if row is not None and row["fingerprint"] != place.fingerprint:
                what = f"{trial.arm}, seed {trial.seed}, test set {place.test}"
                raise InputError(
                    f"{path}: {what} is of other settings or data than the study has now. Move it away, or give another --out."
                )
        known = [row for row in of_trial if row is not None]
        if len(known) == len(of_trial):
            found[trial] = known
    return found, read_predictions(out / VIDEOS) if found else {}


def collect(trials: Sequence[Trial], recorded: Mapping[Trial, list[Row]], predictions: Predictions) -> Results:
    """What is known of all trials that are done, in the study's order; of what a run left itself, else of what is recorded."""
    rows: list[Row] = []
    known: dict[Key, Mapping[str, Read]] = {}
    done = [trial for trial in trials if trial.done or trial in recorded]
    for trial in done:
        rows += trial_rows(trial) if trial.done else recorded[trial]
        of_trial = {key: found for key, found in predictions.items() if key[:2] == (trial.arm, trial.seed)}
        known.update(trial_predictions(trial) if trial.done else of_trial)
    return Results(rows, known, len(done), len(trials))


def differences(plan: Study, results: Results) -> dict[str, dict[str, Difference]]:
    """The difference of every arm to the base, by test set and arm; of arms that share a seed with it."""
    found: dict[str, dict[str, Difference]] = {}
    for test in dict.fromkeys(row["test"] for row in results.rows):
        mae = {
            arm: {r["seed"]: r["ef_mae"] for r in rows if r["ef_mae"] is not None}
            for arm, rows in by_arm(results.rows, test).items()
        }
        errors = {arm: errors_by_seed(results.predictions, arm, test, seeds) for arm, seeds in mae.items()}
        base, found[test] = plan.reference, {}
        for arm in mae.keys() - {base} if base in mae else ():
            difference = compare(mae[arm], mae[base], errors[arm], errors[base])
            if difference is not None:
                found[test][arm] = difference
    return found


def save_results(out: Path, plan: Study, results: Results) -> None:
    """Write all tables and pictures into a folder."""
    rows = results.rows
    figures = sorted(
        {key for row in rows for key, value in row.items() if isinstance(value, int | float)}.union(COLUMNS).difference(
            KEYS
        )
    )
    write_csv(out / CSV, [{key: row.get(key) for key in (*KEYS, *figures)} for row in rows], [*KEYS, *figures])
    if results.predictions:
        save_predictions(out / VIDEOS, results.predictions)
    compared, base = differences(plan, results), plan.reference
    write_csv(out / SUMMARY, [line for test, found in compared.items() for line in summary_rows(rows, test, found)])
    text = [f"# Study {plan.name}", "", f"{of_trials(results)} {legend(base)}", "", code(rows)]
    tex = [f"% Study {plan.name}: {of_trials(results)} Needs the package booktabs.", f"% {legend(base)}"]
    for test, found in compared.items():
        lines, n = arm_lines(rows, test, base, found), videos_of(rows, test)
        text += ["", f"## Test set: {test} (n = {n})", "", *markdown(lines)]
        tex += latex(
            f"{plan.name}, test set {test} ({n} videos): mean ± SD over the seeds, 95 % bootstrap interval over the videos.",
            lines,
            base,
        )
    write_text(out / TABLE, "\n".join(text) + "\n")
    write_text(out / TEX, "\n".join(tex) + "\n")
    draw_study(out / PICTURE, plan.name, {test: [row for row in rows if row["test"] == test] for test in compared})
    drawn = {test: {arm: found[arm]._asdict() for arm in plan.arms if arm in found} for test, found in compared.items()}
    if any(drawn.values()):
        draw_differences(out / DIFFERENCES, f"{plan.name}: MAE of EF minus that of {base} (points)", drawn)


def show_results(out: Path, plan: Study, results: Results) -> None:
    """Show the table on the screen, and say where the files are."""
    console = Console()
    for test, found in differences(plan, results).items():
        lines = arm_lines(results.rows, test, plan.reference, found)
        console.print(
            screen_table(f"{plan.name}, test set {test} (n = {videos_of(results.rows, test)})", lines, plan.reference)
        )
    console.print(
        f"{of_trials(results)} {out / CSV}, {SUMMARY}, {VIDEOS}, {TABLE}, {TEX}, {PICTURE}",
        highlight=False,
        soft_wrap=True,
    )


def videos_of(rows: Sequence[Row], test: str) -> int:
    """How many videos a test set has."""
    return next(int(row["n"]) for row in rows if row["test"] == test)


def of_trials(results: Results) -> str:
    """How far the study is, as a sentence."""
    return f"{results.done} of {results.trials} trials."


def legend(base: str) -> str:
    """What the table holds."""
    return (
        f"Mean ± SD over the seeds; EF in points, distances in pixels of the video. MAE - {base} is seed by seed; its interval is a paired bootstrap "
        "over the videos (percentiles, 95 %) with the seeds held: what other test videos would say, not what other trainings would."
    )


def code(rows: Sequence[Row]) -> str:
    """Which code the trials ran, as a sentence."""
    runs = {(row["revision"] or "no git", row.get("code") or "") for row in rows}
    named = sorted(
        {
            f"{revision} ({digest})" if digest else revision
            for revision, digest in runs
            if revision != "no git" or digest
        }
    )
    hashes = {digest for _, digest in runs}
    if len(hashes) > 1 or any(" " in digest for digest in hashes) or (hashes == {""} and len(named) > 1):
        return f"**Trials of different code are side by side here**: {', '.join(named)}."
    return f"Code: {', '.join(named)}." if named else "Code: not known (no git)."


def read_results(path: Path) -> list[Row]:
    """The rows of a results.csv, with numbers where there are numbers and None where there is nothing.

    Raises:
        InputError: it cannot be read, or a column is missing.
    """
    rows = read_columns(path, [key for key in KEYS if key not in SINCE]).to_dict("records")
    texts = ("arm", "test", "fingerprint", "revision", "code")
    return [{str(key): value if key in texts else number(value) for key, value in row.items()} for row in rows]


def number(text: str) -> float | int | None:
    """A number of results.csv."""
    return None if not text else int(text) if text.isdigit() else float(text)
