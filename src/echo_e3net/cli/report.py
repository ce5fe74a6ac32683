"""``echo-e3net report``: a run's results as tables on the screen and as pictures, scores.png and borders.png."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from echo_e3net.clinic.user_videos import read_cropped
from echo_e3net.data.frames import read_frames
from echo_e3net.data.tracings import canonical_contours
from echo_e3net.errors import InputError
from echo_e3net.reporting import BorderPicture, draw_border_sheet, draw_scores
from echo_e3net.tables import read_rows
from echo_e3net.training.run_folder import (
    METRICS,
    PREDICTED_TRACINGS,
    PREDICTIONS,
    TEST_LABELS,
    TEST_TRACINGS,
    TEST_VIDEOS,
)
from echo_e3net.types import PHASES

SCORES, SHEET = "scores.png", "borders.png"


def report(run: Path, videos: int = 6) -> None:
    """Show a run's test scores and predictions as tables, and draw scores.png and borders.png into its folder.

    Args:
        run: the run's folder, runs/<name>.
        videos: videos whose ED and ES frames are drawn with their borders.
    """
    if videos < 1:
        raise InputError(f"videos is {videos}: give at least 1.")
    if not (run / METRICS).is_file() and not (run / PREDICTIONS).is_file():
        raise InputError(
            f"{run}: neither {METRICS} nor {PREDICTIONS} is there. Run echo-e3net test or predict with this --name first."
        )
    console = Console()
    pictures: list[BorderPicture] = []
    if (run / METRICS).is_file():
        metrics, tested = json.loads((run / METRICS).read_text()), read_rows(run / TEST_VIDEOS)
        console.print(score_table(metrics))
        prediction, target = ([float(row[column]) for row in tested] for column in ("ef_percent", "label_ef_percent"))
        draw_scores(run / SCORES, headline(run.name, metrics), prediction, target, learning_curve(run))
        pictures += border_pictures(spread(tested, videos), run / TEST_TRACINGS, run / TEST_LABELS)
    if (run / PREDICTIONS).is_file():
        predictions = read_rows(run / PREDICTIONS)
        console.print(prediction_table(predictions))
        pictures += border_pictures(predictions[:videos], run / PREDICTED_TRACINGS, None)
    if pictures:
        draw_border_sheet(run / SHEET, pictures)
    drawn = [str(run / name) for name in (SCORES, SHEET) if (run / name).is_file()]
    console.print(f"pictures: {', '.join(drawn)}", highlight=False, soft_wrap=True)


def headline(name: str, metrics: Mapping[str, Any]) -> str:
    """The run's name and its scores, as far as they are known."""
    scores = {"R²": metrics.get("ef_r2"), "MAE": metrics.get("ef_mae"), "RMSE": metrics.get("ef_rmse")}
    known = [f"{title} {value:.2f}" for title, value in scores.items() if value is not None]
    return ", ".join([name, *([f"{metrics['n']} test videos"] if metrics else []), *known])


def score_table(metrics: Mapping[str, Any]) -> Table:
    """Test scores of the network, of Simpson's EF from its landmarks, and of predicting the training mean."""
    table = Table(title=f"EF on {metrics['n']} test videos of {metrics['data']} (EF points)")
    for column in ("", "MAE", "RMSE", "R²"):
        table.add_column(column, justify="left" if not column else "right")
    rows = {
        "": "Echo-E³Net",
        "geometry_": "Simpson's EF of its landmarks",
        "training_mean_": "predicting the training mean",
    }
    for prefix, name in rows.items():
        figures = [metrics[f"{prefix}ef_{figure}"] for figure in ("mae", "rmse", "r2")]
        if figures[0] is not None:
            table.add_row(name, *(f"{figure:.2f}" if figure is not None else "-" for figure in figures))
        if not prefix and "ef_mae_95" in metrics:
            table.add_row(
                "  95 % interval over videos",
                *("{:.2f} to {:.2f}".format(*metrics[f"ef_{name}_95"]) for name in ("mae", "rmse", "r2")),
            )
    parts = ["no video with an EF of 40 % or below"]
    if metrics["low_ef_n"]:
        parts = [
            f"EF of 40 % and below: MAE {metrics['low_ef_mae']:.2f}, bias {metrics['low_ef_bias']:+.2f} ({metrics['low_ef_n']} videos)"
        ]
    for border, name in (("endo", "endocardium"), ("epi", "epicardium")):
        if metrics[f"{border}_px"] is not None:
            parts.append(
                f"{name}: landmarks {metrics[f'{border}_px']:.2f} px off, {metrics[f'{border}_border_px']:.2f} px from the border"
            )
    table.caption = "\n".join(parts)
    return table


def prediction_table(rows: Sequence[Mapping[str, str]], most: int = 10) -> Table:
    """The first predictions."""
    table = Table(title=f"predictions ({min(most, len(rows))} of {len(rows)})")
    columns = {
        "name": "video",
        "ef_percent": "EF (%)",
        "geometry_ef_percent": "Simpson's EF (%)",
        "ed_frame": "ED frame",
        "es_frame": "ES frame",
    }
    for title in columns.values():
        table.add_column(title, justify="left" if title == "video" else "right")
    for row in rows[:most]:
        table.add_row(*(row[column] for column in columns))
    return table


def learning_curve(run: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Validation RMSE and MAE by epoch from all metrics.csv of the run, in order."""
    points: dict[str, dict[float, float]] = {"val/rmse": {}, "val/mae": {}}
    for path in sorted(run.glob("logs/version_*/metrics.csv"), key=lambda p: int(p.parent.name.rsplit("_", 1)[1])):
        for line in read_rows(path):
            for name, values in points.items():
                if line.get(name):
                    values[float(line["epoch"])] = float(line[name])
    return {name: (list(values), list(values.values())) for name, values in points.items() if values}


def spread(rows: Sequence[Mapping[str, str]], count: int) -> list[Mapping[str, str]]:
    """Some rows from the smallest labelled EF to the largest."""
    ordered = sorted(rows, key=lambda row: float(row["label_ef_percent"]))
    return [ordered[round(i)] for i in np.linspace(0, len(ordered) - 1, min(count, len(ordered)))]


def border_pictures(rows: Sequence[Mapping[str, str]], predicted: Path, labelled: Path | None) -> list[BorderPicture]:
    """The predicted ED and ES frame of each video with its borders; videos that are gone, or without borders, have none.

    Args:
        rows: of the table of videos.
        predicted: table of the predicted borders.
        labelled: table of the labelled borders, where there is one.
    """
    names = {row["name"] for row in rows}
    found, truth = read_borders(predicted, names), read_borders(labelled, names) if labelled else {}
    pictures = []
    for row in rows:
        if not row["ed_frame"] or not Path(row["path"]).is_file():
            continue
        read = read_cropped if row.get("cropped") == "True" else read_frames
        frames = read(Path(row["path"]), np.array([int(row["ed_frame"]), int(row["es_frame"])]))
        for p, phase in enumerate(PHASES):
            label = f", label {float(row['label_ef_percent']):.0f}" if row["label_ef_percent"] else ""
            traced = row.get(f"{phase.lower()}_traced")
            title = f"{row['name'][:10]}: EF {float(row['ef_percent']):.0f}{label}\n{phase} in frame {row[f'{phase.lower()}_frame']}"
            title += f", traced in {traced}" if traced else ""
            pictures.append(
                BorderPicture(
                    frames[p], title, found.get((row["name"], phase), {}), truth.get((row["name"], phase), {})
                )
            )
    return pictures


def read_borders(path: Path, names: Collection[str]) -> dict[tuple[str, str], dict[str, Tensor]]:
    """The landmarks of a table of borders: by video and phase, by border; of some videos alone, and none where there is no table."""
    segments: dict[tuple[str, str, str], list[list[float]]] = {}
    for line in read_rows(path) if path.is_file() else []:
        if line["FileName"] in names:
            segment = [float(line[c]) for c in ("X1", "Y1", "X2", "Y2")]
            segments.setdefault((line["FileName"], line["Phase"], line["Border"]), []).append(segment)
    borders: dict[tuple[str, str], dict[str, Tensor]] = {}
    for (name, phase, border), rows in segments.items():
        borders.setdefault((name, phase), {})[border] = canonical_contours(torch.tensor([rows]))[0]
    return borders
