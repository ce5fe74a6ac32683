"""Write the tables and scores of test into the folder of a run.

EF is the mean over the clips of a video. Frames and borders are those of its middle clip, in pixels and frame numbers
of the video. Tables of tracings have EchoNet-Dynamic's columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from echo_e3net import geometry, metrics
from echo_e3net.data.records import VideoRecord
from echo_e3net.errors import InputError
from echo_e3net.files import write_text
from echo_e3net.metrics import shorten
from echo_e3net.tables import write_csv
from echo_e3net.training import run_folder
from echo_e3net.training.system import E3System
from echo_e3net.types import BORDERS, PHASES, E3Output, EchoClip

VIDEO_COLUMNS = ["name", "ef_percent", "label_ef_percent", "geometry_ef_percent", "ed_frame", "es_frame"]
ERRORS = ["ed_traced", "es_traced", *metrics.BORDER_ERRORS, *metrics.TIMING_ERRORS]
TEST_COLUMNS = [*VIDEO_COLUMNS, *ERRORS, "clips", "path"]
Row = dict[str, Any]
TRACING_COLUMNS = ["FileName", "Phase", "Border", "X1", "Y1", "X2", "Y2", "Frame"]


def require_same_test(folder: Path, checkpoint: str, data: Mapping[str, Any]) -> None:
    """Check that a test replaces only results of the same run, data set and clip.

    Raises:
        InputError: the folder holds other results.
    """
    path = folder / run_folder.METRICS
    if not path.is_file():
        return
    before = json.loads(path.read_text())
    pairs = {name: (before[name], data["clip"][name]) for name in ("frames", "period", "size")}
    pairs["data"] = (Path(before["data"]).absolute(), Path(data["root"] or "").absolute())
    old, new = (Path(path).absolute() for path in (before["checkpoint"], checkpoint))
    pairs["checkpoint"] = (old if old.is_dir() else old.parent, new if new.is_dir() else new.parent)
    for name, (old, new) in pairs.items():
        if old != new:
            advice = "Choose another --name with --ckpt_path FILE, or replace the results with --overwrite true."
            raise InputError(f"{path} has results with {name} {old}, not {new}. {advice}")


class ResultWriter(Callback):
    """Write the tables and scores of test."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reset the collected clips."""
        self.clips: list[Row] = []
        self.folder = Path(trainer.default_root_dir)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: EchoClip, *_: object, **__: object
    ) -> None:
        """Collect the values that the tables need. Clips with number -1 only fill the last batch of a rank."""
        found = E3Output(**outputs), batch._replace(video=batch.video[:, :, :0])  # type: ignore[arg-type]
        output, clip = move_data_to_device(found, torch.device("cpu"))
        self.clips += [values for values in metrics.clip_values(output, clip) if values["clip"] >= 0]

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ANN401
        """Write tables and scores."""
        data, values = trainer.datamodule, pl_module.scores.table.compute()[1].cpu()  # type: ignore[attr-defined]
        names, records = (run_folder.TEST_VIDEOS, run_folder.TEST_TRACINGS), data.records["test"]
        rows = self.write_tables(pl_module, records, names, TEST_COLUMNS)
        if not rows:
            return
        write_csv(self.folder / run_folder.TEST_LABELS, [w for r in records for w in labelled_rows(r)], TRACING_COLUMNS)
        scores = metrics.ef_values(values, 100 * pl_module.training_ef.item()) | metrics.row_values(rows)
        scores |= {"checkpoint": pl_module.exported or trainer.ckpt_path, "data": str(data.root), **data.span._asdict()}
        write_text(self.folder / run_folder.METRICS, json.dumps({**scores, "size": data.clip.size}, indent=2) + "\n")

    def write_tables(
        self, system: E3System, records: Sequence[VideoRecord], names: tuple[str, str], columns: list[str]
    ) -> list[Row]:
        """Write both tables on rank 0 and return the rows of the videos; return an empty list on other ranks."""
        parts: list[list[Row]] = [self.clips] * system.trainer.world_size
        if len(parts) > 1:
            dist.all_gather_object(parts, self.clips)
        if not system.trainer.is_global_zero or system.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return []
        by_video: dict[int, list[Row]] = {}
        for clip in sorted((clip for part in parts for clip in part), key=lambda clip: (clip["video"], clip["clip"])):
            by_video.setdefault(clip["video"], []).append(clip)
        # Only borders that the training data labelled: the network did not learn the others.
        learned = system.network.borders_labelled.cpu().expand(len(PHASES), -1)
        rows, tracings = [], []
        for record, clips in ((records[number], clips) for number, clips in by_video.items()):
            known = {"name": record.name, "clips": len(clips), "path": str(record.path), "cropped": record.cropped}
            rows.append(known | metrics.video_values(clips, record.ef, record.traced))
            middle = clips[len(clips) // 2]
            if middle["points"] is not None:
                borders = middle["points"].shape[1]
                tracings += tracing_rows(record, middle["points"], learned[:, :borders], middle["frames"])
        write_csv(self.folder / names[0], [{column: row[column] for column in columns} for row in rows], columns)
        write_csv(self.folder / names[1], tracings, TRACING_COLUMNS)
        return rows


def labelled_rows(record: VideoRecord) -> list[Row]:
    """Return the labelled borders of a video as rows of a table of tracings."""
    points, known = torch.from_numpy(record.landmarks), torch.from_numpy(record.landmark_mask)
    return tracing_rows(record, points, known, record.traced)


def tracing_rows(
    record: VideoRecord, points: Float[Tensor, "P S K 2"], known: Bool[Tensor, "P S"], frames: Sequence[int] | None
) -> list[Row]:
    """Return the known borders of a video as rows of a table of tracings."""
    rows = []
    for p, s in known.nonzero().tolist():
        for segment in geometry.border_segments(points[p, s]).tolist():
            values = (record.name, PHASES[p], BORDERS[s], *map(shorten, segment), frames[p] if frames else None)
            rows.append(dict(zip(TRACING_COLUMNS, values, strict=True)))
    return rows
