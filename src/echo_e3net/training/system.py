"""The Lightning module: network, loss, optimiser and scores around one shared step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from echo_e3net import geometry
from echo_e3net.errors import InputError
from echo_e3net.losses import E3Loss
from echo_e3net.metrics import VideoTable, ef_scores
from echo_e3net.nn.network import E3Net
from echo_e3net.training.distributed import mean_over_ranks, once
from echo_e3net.training.schedule import WarmupCosine
from echo_e3net.types import E3Output, EchoClip


class E3System(LightningModule):
    """Trains and evaluates an Echo-E³Net.

    Args:
        network: the network.
        loss: the combined loss.
        optimizer: makes the optimizer from the network's parameters.
        scheduler: makes the schedule from the optimizer and the run's number of optimiser steps; stepped once a step. Null keeps the rate.
    """

    def __init__(
        self,
        network: E3Net,
        loss: E3Loss,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = AdamW,
        scheduler: Callable[[Optimizer, int], LRScheduler] | None = WarmupCosine,
    ) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        if network.detector is None and (blind := set(loss.terms) - {"ef"}):
            raise InputError(
                f"the network has no detector, so the loss terms {sorted(blind)} have nothing to judge: set them to null too."
            )
        self.tables = {"val": VideoTable(), "test": VideoTable()}
        self.val_table, self.test_table = self.tables["val"], self.tables["test"]
        self.apart = {"val": MeanMetric(), "test": MeanMetric()}
        self.val_apart, self.test_apart = self.apart["val"], self.apart["test"]
        self.register_buffer("measured", torch.tensor(False))

    measured: Tensor

    def configure_optimizers(self) -> Any:  # noqa: ANN401  (Lightning's own union)
        """The injected optimizer, and its schedule stepped once an optimiser step."""
        optimizer = self.make_optimizer(self.network.parameters())
        if self.make_scheduler is None:
            return optimizer
        schedule = self.make_scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Measure the training split once; a resumed run has its figures from the checkpoint."""
        if not self.measured:
            statistics = once(self.trainer.datamodule.training_statistics, "measuring the training split")  # type: ignore[attr-defined]
            self.network.adopt(statistics)
            self.measured.fill_(True)
            shown = (
                f"grey {statistics.grey_mean:.1f} ± {statistics.grey_sd:.1f}, mean EF {100 * statistics.ef_mean:.1f} %"
            )
            if not all(statistics.borders) and self.network.detector is not None and self.network.detector.borders > 1:
                rank_zero_info(
                    "no video of the training split has a traced epicardium: it is not learned, and not written with the results"
                )
            rank_zero_info(
                f"training split: {shown}; network: {sum(p.numel() for p in self.network.parameters()):,} parameters"
            )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another network with one sentence instead of a page of keys."""
        own, theirs = self.state_dict(), checkpoint["state_dict"]
        missing, extra = own.keys() - theirs.keys(), theirs.keys() - own.keys()
        other = [k for k in own.keys() & theirs.keys() if own[k].shape != theirs[k].shape]
        if missing or extra or other:
            example = min(other or missing or extra)
            shapes = " and ".join(str(tuple(d[example].shape)) if example in d else "absent" for d in (theirs, own))
            raise InputError(
                f"the checkpoint is of another network: {len(missing)} weights are missing, {len(extra)} are unknown, {len(other)} have another "
                f"shape (first: {example}, {shapes}). Pass the configuration it was trained with: --config runs/<name>/resolved_config.yaml."
            )

    def step(self, clip: EchoClip, stage: str) -> tuple[E3Output, Tensor]:
        """Network and loss on a batch; logs every term."""
        output = self.network(clip.video, clip.frame_mask)
        parts = self.loss(output, clip)
        shown = mean_over_ranks(torch.stack([value.detach() for value in parts.values()]))
        self.log_dict(
            {f"{stage}/loss/{name}": value for name, value in zip(parts, shown, strict=True)}, batch_size=len(clip.ef)
        )
        return output, parts["total"]

    def training_step(self, clip: EchoClip, batch_index: int) -> Tensor:
        """One optimiser step's loss."""
        return self.step(clip, "train")[1]

    def validation_step(self, clip: EchoClip, batch_index: int) -> None:
        """Collect a batch of the validation split."""
        self.evaluate(clip, "val")

    def test_step(self, clip: EchoClip, batch_index: int) -> Mapping[str, Any]:
        """Collect a batch of the test split; the output is for the tables of videos."""
        return {"output": self.evaluate(clip, "test")}

    def predict_step(self, clip: EchoClip, batch_index: int) -> tuple[E3Output, EchoClip]:
        """What the network says of a batch, with the batch, for the writer of predictions."""
        return self.network(clip.video, clip.frame_mask), clip._replace(video=clip.video[:, :, :0])

    def evaluate(self, clip: EchoClip, stage: str) -> E3Output:
        """Collect a batch for the scores over videos."""
        output, _ = self.step(clip, stage)
        real = clip.clip_number >= 0
        columns = (clip.video_number, clip.clip_number, 100 * output.ef, 100 * clip.ef, 100 * geometry_ef(output))
        self.tables[stage].update(*(column[real] for column in columns))
        if output.landmarks is not None:
            borders = output.landmarks.shape[2]
            apart = (output.landmarks - clip.landmarks[:, :, :borders]).norm(dim=-1).mean(-1)
            self.apart[stage].update(apart.float(), clip.landmark_mask[:, :, :borders].float())
        return output

    def on_validation_epoch_end(self) -> None:
        """Score the validation videos."""
        self.finish("val")

    def on_test_epoch_end(self) -> None:
        """Score the test videos."""
        self.finish("test")

    def finish(self, stage: str) -> None:
        """Log the scores over the videos; the table stays until the next epoch for callbacks to read."""
        values = self.tables[stage].compute()[1]
        scores = {
            **ef_scores(values[:, 0], values[:, 1])._asdict(),
            "geometry_mae": ef_scores(values[:, 2], values[:, 1]).mae,
        }
        if self.network.detector is not None:
            scores["landmark_px"] = float(self.apart[stage].compute())
        shown = {name: value for name, value in scores.items() if name != "n" and math.isfinite(value)}
        self.log_dict({f"{stage}/{name}": value for name, value in shown.items()}, prog_bar=True)

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch's clips."""
        self.forget("val")

    def on_test_epoch_start(self) -> None:
        """Forget the last run's clips."""
        self.forget("test")

    def forget(self, stage: str) -> None:
        """Begin the tables of a stage anew."""
        self.tables[stage].reset()
        self.apart[stage].reset()


def geometry_ef(output: E3Output) -> Tensor:
    """EF by Simpson's method from the predicted endocardial landmarks, (B,), fraction; NaN without landmarks."""
    if output.landmarks is None:
        return torch.full_like(output.ef, torch.nan)
    return geometry.ejection_fraction(output.landmarks[:, 0, 0], output.landmarks[:, 1, 0])
