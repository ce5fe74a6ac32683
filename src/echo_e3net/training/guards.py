"""Stop a training whose monitored score cannot be used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from difflib import get_close_matches

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from echo_e3net.errors import InputError

SCORES = {f"val/{name}" for name in ("mae", "rmse", "r2", "geometry_mae", "landmark_px")}
"""Scores that may be missing in the sanity check, which uses few videos."""


class MonitoredScores(Callback):
    """Stops a training whose monitored score is unknown, missing or not a number.

    Lightning would use the last known value, or report each case differently. Must be the first callback.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the scores of the last epoch, which Lightning keeps if a new one is missing."""
        for name in [name for name in trainer.callback_metrics if name.startswith("val/")]:
            del trainer.callback_metrics[name]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check scores of the validation; after the sanity check only their names."""
        check_scores(trainer, "val/", SCORES if trainer.sanity_checking else set())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check scores of the training."""
        check_scores(trainer, "train/", set())


def check_scores(trainer: Trainer, stage: str, accepted: set[str]) -> None:
    """Check the monitored scores of a stage, and those of no stage, which are never measured.

    Raises:
        InputError: a score is not in ``accepted`` and was not measured, or is not a number.
    """
    scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
    diverged = math.isnan(scores.get(f"{stage}loss/total", 0.0)) and not accepted
    for where, monitor in monitors(trainer):
        if monitor in (*accepted, "epoch", "step") or (
            monitor.startswith(("val/", "train/")) and not monitor.startswith(stage)
        ):
            continue
        if diverged or math.isnan(scores.get(monitor, 0.0)):
            raise InputError(
                f"{where} {monitor} is not a number in epoch {trainer.current_epoch + 1}. If the training diverged, "
                "lower --model.optimizer.lr, or set --trainer.gradient_clip_val."
            )
        if monitor not in scores:
            near = get_close_matches(monitor, scores, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise InputError(f"{where} {monitor} was not measured{hint}. Measured: {', '.join(sorted(scores))}.")


def monitors(trainer: Trainer) -> Iterator[tuple[str, str]]:
    """Yield every monitored score and the argument that names it."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if monitor := getattr(callback, "monitor", None):
            kind = type(callback).__name__
            yield ("checkpoint.monitor" if kind == "Checkpoints" else f"trainer.callbacks: {kind}.monitor"), monitor
    for schedule in trainer.lr_scheduler_configs:
        if schedule.reduce_on_plateau and schedule.monitor:
            yield "model.scheduler.monitor", schedule.monitor
