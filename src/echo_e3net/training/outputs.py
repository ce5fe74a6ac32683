"""Write what a run leaves in its folder, apart from checkpoints: the record of its starts, tables and scores.

In the tables, EF is the mean over the clips of a video. Frames and borders are those of its middle clip, in pixels and
frame numbers of the video. Tables of tracings have EchoNet-Dynamic's columns.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from echo_e3net import __version__, geometry, metrics
from echo_e3net.data.records import VideoRecord
from echo_e3net.errors import InputError
from echo_e3net.files import write_text
from echo_e3net.metrics import shorten
from echo_e3net.tables import write_csv
from echo_e3net.training import run_folder
from echo_e3net.training.code_hash import code_hash
from echo_e3net.types import BORDERS, PHASES, E3Output

PACKAGES = ("torch", "lightning", "jsonargparse", "torchmetrics", "numpy", "pandas")
FRAMES, TRACED = ("ed_frame", "es_frame"), ("ed_traced", "es_traced")
VIDEO_COLUMNS = ["name", "ef_percent", "label_ef_percent", "geometry_ef_percent", *FRAMES]
TEST_COLUMNS = [*VIDEO_COLUMNS, *TRACED, *metrics.BORDER_ERRORS, *metrics.TIMING_ERRORS, "clips", "path"]
PREDICTION_COLUMNS = [*VIDEO_COLUMNS, "clips", "path", "cropped"]
TRACING_COLUMNS = ["FileName", "Phase", "Border", "X1", "Y1", "X2", "Y2", "Frame"]


class RunRecord(SaveConfigCallback):
    """Writes at each start: the resolved configuration (fit), an entry in environment.json, and excluded.csv."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the record, on one device."""
        if self.already_saved or trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        self.already_saved = True
        folder = Path(trainer.default_root_dir)
        if stage == "fit":
            # Commands that read this file later want the best checkpoint, not the one that this start resumes from.
            record = self.config.clone()
            record["ckpt_path"], record["auto_resume"] = None, False
            write_text(folder / run_folder.CONFIG, self.parser.dump(record, skip_none=False))
            for logger in trainer.loggers:
                logger.log_hyperparams({"config": self.config.as_dict()})
        path = folder / run_folder.ENVIRONMENT
        starts = json.loads(path.read_text()) if path.exists() else []
        write_text(path, json.dumps([*starts, environment(stage, str(trainer.precision))], indent=2) + "\n")
        if excluded := trainer.datamodule.excluded:  # type: ignore[attr-defined]
            rows = [{"name": f.name, "defect": f.defect.title, "where": f.where, "detail": f.detail} for f in excluded]
            write_csv(folder / run_folder.EXCLUDED, rows)


def environment(stage: str, precision: str) -> dict[str, Any]:
    """Return versions, device, code revision and command line of this start; null for what is unknown."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "stage": stage,
        "command": sys.argv,
        "packages": {"echo-e3net": __version__, **{name: installed(name) for name in PACKAGES}},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "revision": revision or None,
        "code": code_hash(),
    }


def installed(package: str) -> str | None:
    """Return the version in the metadata of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_name() -> str:
    """Return the name of the CPU and the number of its cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{[*names, platform.processor() or platform.machine()][0]}, {os.cpu_count()} cores"


class ResultWriter(Callback):
    """Writes tables after test and predict, and metrics.json after test.

    Args:
        overwrite: whether predict may replace earlier predictions.
    """

    def __init__(self, overwrite: bool = False) -> None:
        self.overwrite = overwrite

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse to replace predictions, before anything is computed."""
        self.clips: list[dict[str, Any]] = []
        self.folder = Path(trainer.default_root_dir)
        target = self.folder / run_folder.PREDICTIONS
        if stage == "predict" and target.exists() and not self.overwrite:
            advice = "Move it away, choose another --name with --ckpt_path FILE, or add --overwrite true."
            raise InputError(f"{target} exists. {advice}")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        *_: Any,
        **__: Any,  # noqa: ANN401
    ) -> None:
        """Keep what the tables need of a batch; fillers are skipped."""
        clip = batch._replace(video=batch.video[:, :, :0])
        output, clip = move_data_to_device((E3Output(**outputs), clip), torch.device("cpu"))
        self.clips += [figures for figures in metrics.clip_figures(output, clip) if figures["clip"] >= 0]

    on_predict_batch_end = on_test_batch_end

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ANN401
        """Write tables and scores."""
        values = pl_module.scores["test"].table.compute()[1].cpu()
        rows = self.write_tables(trainer, pl_module, run_folder.TEST_VIDEOS, run_folder.TEST_TRACINGS, TEST_COLUMNS)
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        labels = [row for r in data.records["test"] for row in tracing_rows(r, r.landmarks, r.landmark_mask, r.traced)]
        write_csv(self.folder / run_folder.TEST_LABELS, labels, TRACING_COLUMNS)
        scores = metrics.ef_figures(values, 100 * pl_module.network.ef_mean.item()) | metrics.row_figures(rows)
        scores |= {"checkpoint": str(trainer.ckpt_path), "data": str(data.root), **data.span._asdict()}
        write_text(self.folder / run_folder.METRICS, json.dumps({**scores, "size": data.clip.size}, indent=2) + "\n")

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ANN401
        """Write tables."""
        names = run_folder.PREDICTIONS, run_folder.PREDICTED_TRACINGS
        rows = self.write_tables(trainer, pl_module, *names, PREDICTION_COLUMNS)
        rank_zero_info(f"EF of {len(rows)} videos: {self.folder / run_folder.PREDICTIONS}")

    def write_tables(
        self,
        trainer: Trainer,
        pl_module: Any,
        videos: str,
        tracings: str,
        columns: list[str],  # noqa: ANN401
    ) -> list[dict[str, Any]]:
        """Write the tables of videos and tracings on one device; return the rows of videos there, otherwise none."""
        parts: list[list[dict[str, Any]]] = [self.clips] * trainer.world_size
        if trainer.world_size > 1:
            dist.all_gather_object(parts, self.clips)
        if not trainer.is_global_zero:
            return []
        by_video: dict[int, list[dict[str, Any]]] = {}
        for clip in sorted((clip for part in parts for clip in part), key=lambda clip: (clip["video"], clip["clip"])):
            by_video.setdefault(clip["video"], []).append(clip)
        records = trainer.datamodule.records["test" if trainer.testing else "predict"]  # type: ignore[attr-defined]
        # Borders that training did not label were not learned.
        learned = pl_module.network.borders_labelled.cpu()
        rows, borders = [], []
        for number, clips in by_video.items():
            rows.append(video_row(records[number], clips))
            middle = clips[len(clips) // 2]
            if middle["points"] is not None:
                known = learned[: middle["points"].shape[1]].expand(len(PHASES), -1)
                borders += tracing_rows(records[number], middle["points"], known, middle["frames"])
        write_csv(self.folder / videos, [{column: row[column] for column in columns} for row in rows], columns)
        write_csv(self.folder / tracings, borders, TRACING_COLUMNS)
        return rows


def video_row(record: VideoRecord, clips: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of a video: EF averaged over its clips; frames and errors of its middle clip."""
    middle, traced = clips[len(clips) // 2], record.traced or (None, None)
    pairs = zip(middle["beat"], traced, strict=True)
    off = [None if None in (found, frame) else abs(found - frame) for found, frame in pairs]
    means = {name: sum(clip[name] for clip in clips) / len(clips) for name in ("ef_percent", "geometry_ef_percent")}
    errors = {name: middle["errors"].get(name, math.nan) for name in metrics.BORDER_ERRORS}
    numbers = {**means, "label_ef_percent": 100 * record.ef, **errors}
    frames = dict(zip((*FRAMES, *TRACED, *metrics.TIMING_ERRORS), (*middle["frames"], *traced, *off), strict=True))
    known = {"name": record.name, "clips": len(clips), "path": str(record.path), "cropped": record.cropped}
    return known | frames | {name: shorten(value) for name, value in numbers.items()}


def tracing_rows(
    record: VideoRecord,
    points: Float[Tensor, "P S K 2"],
    known: Bool[Tensor, "P S"],
    frames: Sequence[int | None] | None,
) -> list[dict[str, Any]]:
    """Return the known borders of a video as rows: the long axis, then the discs from the apex, left end first."""
    rows = []
    for p, s in known.nonzero().tolist():
        contour, frame = points[p, s], frames[p] if frames else None
        first = torch.cat([contour[None, geometry.APEX], contour[geometry.LEFT]])
        second = torch.cat([contour[None, geometry.BASE], contour[geometry.RIGHT]])
        for segment in torch.cat([first, second], -1).tolist():
            values = (record.name, PHASES[p], BORDERS[s], *map(shorten, segment), frame)
            rows.append(dict(zip(TRACING_COLUMNS, values, strict=True)))
    return rows
