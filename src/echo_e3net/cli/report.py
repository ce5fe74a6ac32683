"""``echo-e3net report``: the results of a run as tables on the screen and as pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from echo_e3net.errors import InputError, require_at_least
from echo_e3net.tables import read_rows
from echo_e3net.training.history import read_history
from echo_e3net.training.run_folder import (
    BORDERS_PICTURE,
    CONFIG,
    METRICS,
    PREDICTED_TRACINGS,
    PREDICTIONS,
    SCORES_PICTURE,
    TEST_LABELS,
    TEST_TRACINGS,
    TEST_VIDEOS,
)

Row = Mapping[str, str]

SOURCES = {
    "": "Echo-E³Net",
    "geometry_": "Simpson's EF from the landmarks",
    "training_mean_": "mean EF of the training split",
}
"""Sources of an EF, by the prefix of their scores in metrics.json."""
PREDICTION_COLUMNS = {
    "name": "video",
    "ef_percent": "EF (%)",
    "geometry_ef_percent": "Simpson's EF (%)",
    "ed_frame": "ED frame",
    "es_frame": "ES frame",
}
SHOWN_PREDICTIONS, SHOWN_RUNS = 10, 5
CURVES = ("val/rmse", "val/mae")
"""Metrics in the learning curve."""


def report(run: Path, videos: int = 6) -> None:
    """Show the test scores and predictions of a run as tables, and draw scores.png and borders.png into its folder.

    Args:
        run: Folder of the run, runs/<name>.
        videos: Number of videos whose ED and ES frames are drawn with their borders.
    """
    from echo_e3net.cli.report_pictures import border_pictures
    from echo_e3net.reporting import BorderPicture, draw_border_sheet, draw_scores

    require_at_least(1, videos=videos)
    if not run.is_dir():
        meant = Path("runs", run)
        raise InputError(f"{run}: no such folder" + (f"; did you mean {meant}?" if meant.is_dir() else ". Check it."))
    if not (run / METRICS).is_file() and not (run / PREDICTIONS).is_file():
        runs = sorted(path.parent for path in run.glob(f"*/{CONFIG}"))
        if runs:
            raise InputError(f"{run} is a folder of runs. Name one of them: {', '.join(map(str, runs[:SHOWN_RUNS]))}.")
        if not (run / CONFIG).is_file():
            raise InputError(f"{run}: not the folder of a run, which has {METRICS} or {PREDICTIONS}. Name one.")
        raise InputError(
            f"{run}: {METRICS} and {PREDICTIONS} are missing. Run test or predict with --config {run / CONFIG} first."
        )
    console = Console()
    pictures: list[BorderPicture] = []
    if (run / METRICS).is_file():
        metrics, tested = read_metrics(run / METRICS), read_rows(run / TEST_VIDEOS, ("ef_percent", "label_ef_percent"))
        console.print(score_table(metrics))
        prediction, label = ([float(row[column]) for row in tested] for column in ("ef_percent", "label_ef_percent"))
        curves = {name: values for name in CURVES if (values := read_history(run, name))}
        draw_scores(run / SCORES_PICTURE, headline(run.name, metrics), prediction, label, curves)
        pictures += border_pictures(spread(tested, videos), run / TEST_TRACINGS, run / TEST_LABELS)
    if (run / PREDICTIONS).is_file():
        predictions = read_rows(run / PREDICTIONS, [*PREDICTION_COLUMNS])
        console.print(prediction_table(predictions))
        pictures += border_pictures(predictions[:videos], run / PREDICTED_TRACINGS)
    if pictures:
        draw_border_sheet(run / BORDERS_PICTURE, pictures)
    drawn = [str(run / name) for name in (SCORES_PICTURE, BORDERS_PICTURE) if (run / name).is_file()]
    console.print(f"pictures: {', '.join(drawn)}", highlight=False, soft_wrap=True)


def read_metrics(path: Path) -> dict[str, Any]:
    """Return the scores of a test."""
    try:
        metrics: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}). Run test again.") from error
    if "ef_mae" not in metrics:
        raise InputError(f"{path}: ef_mae is missing. Run test again.")
    return metrics


def headline(name: str, metrics: Mapping[str, Any]) -> str:
    """Return the name of the run with its scores."""
    scores = {"R²": metrics["ef_r2"], "MAE": metrics["ef_mae"], "RMSE": metrics["ef_rmse"]}
    known = [f"{title} {value:.2f}" for title, value in scores.items() if value is not None]
    return ", ".join([name, f"{metrics['n']} test videos", *known])


def score_table(metrics: Mapping[str, Any]) -> Table:
    """Return the test scores of the network, of Simpson's EF from its landmarks, and of the training mean."""
    from echo_e3net.metrics import LOW_EF_PERCENT

    figures = ("mae", "rmse", "r2")
    table = Table(title=f"EF on {metrics['n']} test videos of {metrics['data']} (EF points)")
    table.add_column()
    for column in ("MAE", "RMSE", "R²"):
        table.add_column(column, justify="right")
    for prefix, name in SOURCES.items():
        scores = [metrics[f"{prefix}ef_{figure}"] for figure in figures]
        if scores[0] is not None:
            table.add_row(name, *("-" if score is None else f"{score:.2f}" for score in scores))
        if not prefix and "ef_mae_95" in metrics:
            known = [metrics.get(f"ef_{figure}_95") for figure in figures]
            intervals = ("-" if ends is None else "{:.2f} to {:.2f}".format(*ends) for ends in known)
            table.add_row("  95 % interval over videos", *intervals)
    low = "MAE {low_ef_mae:.2f}, bias {low_ef_bias:+.2f} ({low_ef_n} videos)".format
    parts = [f"EF of {LOW_EF_PERCENT} % and below: {low(**metrics) if metrics['low_ef_n'] else 'no video'}"]
    for border, name in (("endo", "endocardium"), ("epi", "epicardium")):
        points, lines = metrics[f"{border}_px"], metrics[f"{border}_border_px"]
        if points is not None:
            parts.append(f"{name}: landmark error {points:.2f} px, border error {lines:.2f} px")
    table.caption = "\n".join(parts)
    return table


def prediction_table(rows: Sequence[Row]) -> Table:
    """Return a table of the first predictions."""
    shown = rows[:SHOWN_PREDICTIONS]
    table = Table(title=f"predictions ({len(shown)} of {len(rows)})")
    for title in PREDICTION_COLUMNS.values():
        table.add_column(title, justify="left" if title == "video" else "right")
    for row in shown:
        table.add_row(*(row[column] for column in PREDICTION_COLUMNS))
    return table


def spread(rows: Sequence[Row], count: int) -> list[Row]:
    """Return rows that are evenly spread from the smallest to the largest labelled EF."""
    ordered = sorted(rows, key=lambda row: float(row["label_ef_percent"]))
    return [ordered[round(i)] for i in np.linspace(0, len(ordered) - 1, min(count, len(ordered)))]
