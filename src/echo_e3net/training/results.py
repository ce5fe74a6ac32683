"""What test and predict leave: one row a video, the borders, and the scores.

=====================  =========================================================================================
test_videos.csv        a row a video of the test split: prediction and label
test_tracings.csv      the predicted borders of these videos, in EchoNet-Dynamic's own columns
test_labels.csv        the labelled borders of these videos, in the same columns
metrics.json           MAE, RMSE and R² of EF, of Simpson's EF from the predicted borders, and of the training mean; EF of 40 % and
                       below on its own; errors of borders and timing
predictions.csv        as test_videos.csv, for predict; cropped: whether borders and frames are those of the sector cut out of the file
predictions_tracings.csv
=====================  =========================================================================================

EF is the mean over a video's clips; frames and borders are those of its middle clip, in the video's own pixels and frame numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, Callback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from echo_e3net import geometry
from echo_e3net.data.records import VideoRecord
from echo_e3net.data.transforms import Framing
from echo_e3net.errors import InputError
from echo_e3net.files import write_text
from echo_e3net.losses import in_traced_beat
from echo_e3net.metrics import ef_scores, score_intervals
from echo_e3net.tables import write_csv
from echo_e3net.training.distributed import gather_rows
from echo_e3net.training.run_folder import (
    METRICS,
    PREDICTED_TRACINGS,
    PREDICTIONS,
    TEST_LABELS,
    TEST_TRACINGS,
    TEST_VIDEOS,
)
from echo_e3net.training.system import E3System, geometry_ef
from echo_e3net.types import BORDERS, PHASES, E3Output, EchoClip

VIDEO_COLUMNS = [
    "name",
    "ef_percent",
    "label_ef_percent",
    "geometry_ef_percent",
    "ed_frame",
    "es_frame",
    "clips",
    "path",
]
PREDICTION_COLUMNS = [*VIDEO_COLUMNS, "cropped"]
BORDER_ERRORS = [f"{border}_{error}" for border in BORDERS for error in ("px", "border_px", "axis_percent")]
TIMING_ERRORS = [f"{phase.lower()}_frames_off" for phase in PHASES]
TRACED = [f"{phase.lower()}_traced" for phase in PHASES]
TEST_COLUMNS = [*VIDEO_COLUMNS[:-2], *TRACED, *BORDER_ERRORS, *TIMING_ERRORS, *VIDEO_COLUMNS[-2:]]
LOW_EF_PERCENT = 40.0
TRACING_COLUMNS = ["FileName", "Phase", "Border", "X1", "Y1", "X2", "Y2", "Frame"]


class TestReport(Callback):
    """Leaves metrics.json, test_videos.csv and test_tracings.csv after a test."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with nothing."""
        self.clips: list[dict[str, Any]] = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: EchoClip,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what the tables need of a batch."""
        assert isinstance(outputs, Mapping)  # E3System.test_step gives one
        self.clips += [
            clip for clip in split_batch(outputs["output"], batch, labelled_borders(pl_module)) if clip["clip"] >= 0
        ]

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the scores of the network and of predicting the training mean, and one row a video."""
        if trainer.fast_dev_run or not isinstance(pl_module, E3System):  # type: ignore[attr-defined]
            return
        values = pl_module.tables["test"].compute()[1]
        metrics = test_metrics(values, 100 * pl_module.network.ef_mean.item())
        clips = gather_rows(self.clips)
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        folder = Path(trainer.default_root_dir)
        if (folder / METRICS).exists():
            rank_zero_info(f"replacing {folder / METRICS} and its tables, of an earlier test")
        rows = write_videos(clips, data.records["test"], folder / TEST_VIDEOS, folder / TEST_TRACINGS, TEST_COLUMNS)
        write_csv(
            folder / TEST_LABELS,
            [row for record in data.records["test"] for row in label_rows(record)],
            TRACING_COLUMNS,
        )
        clip = {"frames": data.span.frames, "period": data.span.period, "size": data.clip.size}
        metrics |= summary(rows) | {"checkpoint": str(trainer.ckpt_path), "data": str(data.root), **clip}
        write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")


class PredictionWriter(BasePredictionWriter):
    """Leaves predictions.csv and predictions_tracings.csv after predict.

    Args:
        overwrite: whether predictions of an earlier run may be replaced.
    """

    def __init__(self, overwrite: bool = False) -> None:
        super().__init__("epoch")
        self.overwrite = overwrite

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse to replace predictions, before anything is computed."""
        target = Path(trainer.default_root_dir) / PREDICTIONS
        if stage == "predict" and target.exists() and not self.overwrite:
            raise InputError(
                f"{target} exists. Move it away, pass another --name with --ckpt_path FILE, or allow it with --overwrite true."
            )

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Write both tables."""
        read = [
            clip for output, batch in predictions for clip in split_batch(output, batch, labelled_borders(pl_module))
        ]
        clips = gather_rows([clip for clip in read if clip["clip"] >= 0])
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        records = trainer.datamodule.records["predict"]  # type: ignore[attr-defined]
        rows = write_videos(clips, records, folder / PREDICTIONS, folder / PREDICTED_TRACINGS, PREDICTION_COLUMNS)
        rank_zero_info(f"EF of {len(rows)} video{'s' if len(rows) > 1 else ''} → {folder / PREDICTIONS}")


def write_videos(
    clips: Sequence[Mapping[str, Any]],
    records: Sequence[VideoRecord],
    videos_csv: Path,
    tracings_csv: Path,
    columns: list[str],
) -> list[dict[str, object]]:
    """Join clips to videos and write both tables; returns the rows of the videos."""
    by_video: dict[int, list[Mapping[str, Any]]] = {}
    for clip in sorted(clips, key=lambda c: (c["index"], c["clip"])):
        by_video.setdefault(clip["index"], []).append(clip)
    tracings = [row for found in by_video.values() for row in found[len(found) // 2]["tracings"]]
    write_csv(tracings_csv, tracings, TRACING_COLUMNS)
    rows = [video_row(found, records[index]) for index, found in by_video.items()]
    write_csv(videos_csv, [{column: row[column] for column in columns} for row in rows], columns)
    return rows


def video_row(clips: Sequence[Mapping[str, Any]], record: VideoRecord) -> dict[str, object]:
    """The row of one video: means over its clips; frames, and errors where it is traced, of its middle clip."""
    middle = clips[len(clips) // 2]
    off = dict.fromkeys(TIMING_ERRORS)
    if record.traced is not None and None not in middle["beat"]:
        off = {
            name: abs(found - traced)
            for name, found, traced in zip(TIMING_ERRORS, middle["beat"], record.traced, strict=True)
        }

    def mean(name: str) -> float | None:
        return shorten(sum(c[name] for c in clips) / len(clips))

    return {
        "name": record.name,
        "ef_percent": mean("ef_percent"),
        "label_ef_percent": shorten(100 * record.ef),
        "geometry_ef_percent": mean("geometry_ef_percent"),
        "ed_frame": middle["frames"][0],
        "es_frame": middle["frames"][1],
        **dict(zip(TRACED, record.traced or (None, None), strict=True)),
        **{name: shorten(middle["errors"].get(name, math.nan)) for name in BORDER_ERRORS},
        **off,
        "clips": len(clips),
        "path": str(record.path),
        "cropped": record.cropped,
    }


def labelled_borders(system: LightningModule) -> list[bool]:
    """Which borders the training labelled: outlines of the others were never learned, and must not pass for findings."""
    assert isinstance(system, E3System)
    return system.network.borders_labelled.tolist()


def split_batch(output: E3Output, batch: EchoClip, labelled: Sequence[bool]) -> list[dict[str, Any]]:
    """Each clip of a batch as plain numbers, borders in the video's pixels; tracings of the borders that training labelled."""
    simpson, traced_beat = 100 * geometry_ef(output), in_traced_beat(batch)
    rows = []
    for i, name in enumerate(batch.name):
        frames: list[int | None] = [None, None]
        beat: list[int | None] = [None, None]
        tracings: list[dict[str, object]] = []
        errors: dict[str, float] = {}
        if output.landmarks is not None and output.phase_logits is not None:
            frames = [int(batch.frame_index[i, k]) for k in output.phase_logits[i].argmax(-1)]
            if batch.phase_position[i].isfinite().all():
                within = output.phase_logits[i].masked_fill(~traced_beat[i], -torch.inf)
                beat = [int(batch.frame_index[i, k]) for k in within.argmax(-1)]
            framing = Framing(*batch.framing[i].tolist())
            points = framing.to_video(output.landmarks[i].float())
            errors = border_errors(points, framing.to_video(batch.landmarks[i]), batch.landmark_mask[i])
            tracings = tracing_rows(
                name, points, frames, torch.tensor(labelled)[: points.shape[1]].expand(len(PHASES), -1)
            )
        figures = {"ef_percent": 100 * output.ef[i].item(), "geometry_ef_percent": simpson[i].item()}
        place = {"index": int(batch.video_number[i]), "clip": int(batch.clip_number[i])}
        rows.append({**place, "frames": frames, "beat": beat, "tracings": tracings, "errors": errors, **figures})
    return rows


def border_errors(
    predicted: Float[Tensor, "P S K 2"], labelled: Float[Tensor, "P 2 K 2"], known: Bool[Tensor, "P 2"]
) -> dict[str, float]:
    """How far the landmarks of each border are off, means over the labelled phases, for the columns of ``BORDER_ERRORS``.

    px: from each landmark to the labelled one of its number, video pixels. border_px: from each landmark but the middle of the mitral plane to the
    nearest place on the labelled border. axis_percent: px as a share of the labelled long axis of that border and phase.
    """
    errors = {}
    for s, border in enumerate(BORDERS[: predicted.shape[1]]):
        found, truth = predicted[known[:, s], s], labelled[known[:, s], s]
        if len(found):
            apart = (found - truth).norm(dim=-1).mean(-1)
            on_border = torch.arange(geometry.LANDMARKS) != geometry.BASE
            errors[f"{border}_px"] = apart.mean().item()
            errors[f"{border}_border_px"] = geometry.border_distance(found[:, on_border], truth).mean().item()
            errors[f"{border}_axis_percent"] = (100 * apart / geometry.long_axis(truth)).mean().item()
    return errors


def label_rows(record: VideoRecord) -> list[dict[str, object]]:
    """The labelled landmarks of a video as rows of a tracings table."""
    return tracing_rows(record.name, record.landmarks, record.traced or (None, None), record.landmark_mask)


def tracing_rows(
    name: str, points: Float[Tensor, "P S K 2"], frames: Sequence[int | None], known: Bool[Tensor, "P S"]
) -> list[dict[str, object]]:
    """Landmarks as rows of a tracings table: the long axis, then the discs from the apex, left end first; of known borders alone."""
    rows: list[dict[str, object]] = []
    for p, s in known.nonzero().tolist():
        contour = points[p, s]
        first = torch.cat([contour[None, geometry.APEX], contour[geometry.LEFT]])
        second = torch.cat([contour[None, geometry.BASE], contour[geometry.RIGHT]])
        for segment in torch.cat([first, second], -1).tolist():
            ends = {column: shorten(value) for column, value in zip(("X1", "Y1", "X2", "Y2"), segment, strict=True)}
            rows.append({"FileName": name, "Phase": PHASES[p], "Border": BORDERS[s], **ends, "Frame": frames[p]})
    return rows


def test_metrics(values: Tensor, training_mean: float) -> dict[str, Any]:
    """The figures of metrics.json from the table (V, 3) of predicted, labelled and geometry EF in percent."""
    named = {
        "": values[:, 0],
        "training_mean_": torch.full_like(values[:, 1], training_mean),
        "geometry_": values[:, 2],
    }
    figures: dict[str, Any] = {
        "n": ef_scores(values[:, 0], values[:, 1]).n,
        "training_mean_ef_percent": shorten(training_mean),
    }
    for prefix, prediction in named.items():
        scores = ef_scores(prediction, values[:, 1])
        figures |= {f"{prefix}ef_{name}": shorten(getattr(scores, name), 4) for name in ("mae", "rmse", "r2")}
    intervals = score_intervals(values[:, 0], values[:, 1])
    figures |= {f"ef_{name}_95": [shorten(low, 4), shorten(high, 4)] for name, (low, high) in intervals.items()}
    return figures


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures over the rows of the videos: EF where it is low, mean border errors, and median timing errors.

    Timing errors are of the frames found within the traced beat, in frames of the video, where the clip holds that beat: another beat is not wrong.
    """
    scored = [row for row in rows if row["label_ef_percent"] is not None and row["ef_percent"] is not None]
    low = [row for row in scored if row["label_ef_percent"] <= LOW_EF_PERCENT]
    wrong = torch.tensor([row["ef_percent"] - row["label_ef_percent"] for row in low])
    figures: dict[str, Any] = {
        "low_ef_n": len(low),
        "low_ef_mae": shorten(wrong.abs().mean().item(), 4),
        "low_ef_bias": shorten(wrong.mean().item(), 4),
    }
    for names, middle in ((BORDER_ERRORS, torch.mean), (TIMING_ERRORS, partial(torch.quantile, q=0.5))):
        for name in names:
            known = torch.tensor([float(row[name]) for row in rows if row[name] is not None])
            figures[name] = shorten(middle(known).item(), 4) if len(known) else None
    for name, column in (("endo_n", "endo_px"), ("epi_n", "epi_px"), ("timing_n", TIMING_ERRORS[0])):
        figures[name] = sum(row[column] is not None for row in rows)
    return figures


def shorten(value: float, digits: int = 3) -> float | None:
    """A number for a table; None (an empty field, or null) for NaN."""
    return round(value, digits) if value == value else None
