"""What a run leaves in its folder, ``runs/<name>/``. Files are written aside and renamed; a former file is never replaced without a word."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, Callback, ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from echo_e3net import geometry
from echo_e3net.data.tables import write_csv
from echo_e3net.data.transforms import Framing
from echo_e3net.errors import InputError
from echo_e3net.metrics import ef_scores
from echo_e3net.system import E3System, geometry_ef
from echo_e3net.types import BORDERS, PHASES, E3Output, EchoClip

CONFIG, ENVIRONMENT, METRICS = "resolved_config.yaml", "environment.json", "metrics.json"
TEST_VIDEOS, PREDICTIONS, PREDICTED_TRACINGS = "test_videos.csv", "predictions.csv", "predictions_tracings.csv"
CHECKPOINTS = "checkpoints"
PACKAGES = ("echo-e3net", "torch", "lightning", "jsonargparse", "torchmetrics", "numpy", "pandas")


class RunRecord(SaveConfigCallback):
    """Writes what a start of the command line was: the resolved configuration (for fit), and a row in environment.json."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write into the run's folder, once a process and on one rank."""
        if self.already_saved or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self.already_saved = True
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        text = self.parser.dump(self.config, skip_none=False)
        if stage == "fit":
            write_text(folder / CONFIG, text)
            for logger in trainer.loggers:
                logger.log_hyperparams({"config": self.config.as_dict()})
        starts = json.loads((folder / ENVIRONMENT).read_text()) if (folder / ENVIRONMENT).exists() else []
        write_text(folder / ENVIRONMENT, json.dumps([*starts, environment(stage, trainer)], indent=2) + "\n")


class Checkpoints(ModelCheckpoint):
    """Keeps the best checkpoint, named by epoch and figure, and the last.

    Args:
        monitor: the logged figure that decides.
        mode: min or max.
        keep: how many of the best are kept.
    """

    def __init__(self, monitor: str = "val/rmse", mode: str = "min", keep: int = 1) -> None:
        figure = monitor.rsplit("/", 1)[-1]
        filename = f"epoch={{epoch:03d}}-{figure}={{{monitor}:.2f}}"
        super().__init__(monitor=monitor, mode=mode, save_top_k=keep, save_last=True, filename=filename, auto_insert_metric_name=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Put the checkpoints into the run's folder."""
        self.dirpath = str(Path(trainer.default_root_dir) / CHECKPOINTS)
        super().setup(trainer, pl_module, stage)


class TestReport(Callback):
    """Leaves metrics.json and test_videos.csv after a test."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the scores of the network and of predicting the training mean, and one row a video."""
        if trainer.fast_dev_run or not isinstance(pl_module, E3System):  # type: ignore[attr-defined]
            return
        index, values = pl_module.tables["test"].compute()
        if not trainer.is_global_zero:
            return
        records = trainer.datamodule.records["test"]  # type: ignore[attr-defined]
        folder = Path(trainer.default_root_dir)
        if (folder / METRICS).exists():
            rank_zero_info(f"replacing {folder / METRICS} of an earlier test")
        metrics = test_metrics(values, 100 * pl_module.network.ef_mean.item())
        for name, value in trainer.callback_metrics.items():
            if name == "test/landmark_px":
                metrics["landmark_px"] = value.item()
        metrics["checkpoint"] = str(trainer.ckpt_path)
        metrics["data"] = str(trainer.datamodule.root)  # type: ignore[attr-defined]
        write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")
        columns = ["name", "ef_percent", "label_ef_percent", "geometry_ef_percent"]
        rows = [[records[int(i)].name, *map(shorten, row.tolist())] for i, row in zip(index, values, strict=True)]
        write_csv(folder / TEST_VIDEOS, [dict(zip(columns, row, strict=True)) for row in rows], columns)


class PredictionWriter(BasePredictionWriter):
    """Leaves predictions.csv, one row a video, and the borders in EchoNet-Dynamic's own columns in predictions_tracings.csv.

    EF is the mean over the video's clips; frames and borders are those of its middle clip, in the video's pixels.

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
            raise InputError(f"{target} exists. Move it away, pass another --name, or allow it with --overwrite true.")

    def write_on_epoch_end(self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]) -> None:
        """Write both tables."""
        clips = [clip for output, batch in predictions for clip in split_batch(output, batch)]
        videos: dict[int, list[dict[str, Any]]] = {}
        for clip in clips:
            videos.setdefault(clip["index"], []).append(clip)
        folder = Path(trainer.default_root_dir)
        chosen = [sorted(found, key=lambda c: c["clip"]) for _, found in sorted(videos.items())]
        tracings = [row for found in chosen for row in found[len(found) // 2]["tracings"]]
        write_csv(folder / PREDICTED_TRACINGS, tracings, ["FileName", "Phase", "Border", "X1", "Y1", "X2", "Y2", "Frame"])
        write_csv(folder / PREDICTIONS, [video_row(found) for found in chosen])
        rank_zero_info(f"{len(chosen)} videos → {folder / PREDICTIONS}")


def video_row(clips: list[dict[str, Any]]) -> dict[str, object]:
    """The row of one video in predictions.csv."""
    middle = clips[len(clips) // 2]

    def mean(name: str) -> float | None:
        return shorten(sum(c[name] for c in clips) / len(clips))

    return {
        "name": middle["name"],
        "ef_percent": mean("ef_percent"),
        "geometry_ef_percent": mean("geometry_ef_percent"),
        "ed_frame": middle["frames"][0],
        "es_frame": middle["frames"][1],
        "clips": len(clips),
    }


def split_batch(output: E3Output, batch: EchoClip) -> list[dict[str, Any]]:
    """Each clip of a batch as plain numbers, borders in the video's pixels."""
    simpson = 100 * geometry_ef(output)
    rows = []
    for i, name in enumerate(batch.name):
        frames: list[int | None] = [None, None]
        tracings: list[dict[str, object]] = []
        if output.landmarks is not None and output.phase_logits is not None:
            frames = [int(batch.frame_index[i, k]) for k in output.phase_logits[i].argmax(-1)]
            points = Framing(*batch.framing[i].tolist()).to_video(output.landmarks[i].float())
            tracings = tracing_rows(name, points, frames)
        ef_percent = 100 * output.ef[i].item()
        rows.append(
            {
                "name": name,
                "index": int(batch.index[i]),
                "clip": int(batch.clip[i]),
                "ef_percent": ef_percent,
                "geometry_ef_percent": simpson[i].item(),
                "frames": frames,
                "tracings": tracings,
            }
        )
    return rows


def tracing_rows(name: str, points: Tensor, frames: Sequence[int | None]) -> list[dict[str, object]]:
    """Landmarks (P, S, K, 2) as rows of a tracings table: the long axis, then the discs from the apex, left end first."""
    rows: list[dict[str, object]] = []
    for p, phase in enumerate(PHASES):
        for s in range(points.shape[1]):
            contour = points[p, s]
            first = torch.cat([contour[None, geometry.APEX], contour[geometry.LEFT]])
            second = torch.cat([contour[None, geometry.BASE], contour[geometry.RIGHT]])
            for segment in torch.cat([first, second], -1).tolist():
                ends = {column: shorten(value) for column, value in zip(("X1", "Y1", "X2", "Y2"), segment, strict=True)}
                rows.append({"FileName": name, "Phase": phase, "Border": BORDERS[s], **ends, "Frame": frames[p]})
    return rows


def test_metrics(values: Tensor, training_mean: float) -> dict[str, Any]:
    """The content of metrics.json from the table (V, 3) of predicted, labelled and geometry EF in percent."""
    scores = ef_scores(values[:, 0], values[:, 1])
    baseline = ef_scores(torch.full_like(values[:, 1], training_mean), values[:, 1])
    simpson = ef_scores(values[:, 2], values[:, 1])
    named = {"": scores, "training_mean_": baseline, "geometry_": simpson}
    figures: dict[str, Any] = {"n": scores.n, "training_mean_ef_percent": training_mean}
    for prefix, part in named.items():
        figures |= {f"{prefix}ef_{name}": shorten(getattr(part, name), 6) for name in ("mae", "rmse", "r2")}
    return figures


def environment(stage: str, trainer: Trainer) -> dict[str, Any]:
    """Versions, device, code revision and command line of a start."""
    revision = subprocess.run(["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "stage": stage,
        "command": sys.argv,
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
        "revision": revision.stdout.strip() or None,
    }


def write_text(path: Path, text: str) -> None:
    """Write a text file aside and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".partial")
    aside.write_text(text)
    aside.replace(path)


def shorten(value: float, digits: int = 3) -> float | None:
    """A number for a table; None (an empty field, or null) for NaN."""
    return round(value, digits) if value == value else None
