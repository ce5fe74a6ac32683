"""Print the scores of each epoch and of an evaluation, one line each, and the command that comes next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from echo_e3net.training.run_folder import CONFIG, METRICS


class ProgressLines(Callback):
    """Print one line per epoch, and the best checkpoint at the end; the scores of validate and test."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start the clock, the mean loss and the rate of an epoch."""
        self.started, self.losses, self.validated = time.monotonic(), torch.zeros(2), False
        self.clips, self.batch_ends = 0, (0.0, 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the first epoch, which may be a resumed part of one."""
        self.restart()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Add the loss of a batch; the sum stays on the device, so nothing waits for it."""
        # Lightning has divided it
        loss = outputs["loss"].detach().float() * trainer.accumulate_grad_batches
        self.losses = self.losses.to(loss.device) + torch.stack([loss, torch.ones_like(loss)])
        now = time.monotonic()
        first = self.batch_ends[0]
        # the rate is measured from the end of the first batch, because that waits for the data
        self.clips += len(batch.ef) * trainer.world_size if first else 0
        self.batch_ends = (first or now, now)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the epoch was validated; print the scores of validate."""
        self.validated = not trainer.sanity_checking
        if trainer.state.fn == "validate":
            say(trainer, scores(trainer, "val"))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the scores of the epoch."""
        total, number = self.losses.tolist()
        # An epoch that was resumed after its last step has no batch.
        parts = [f"train loss {total / number:.4g}"] if number else []
        parts += [scores(trainer, "val")] if self.validated else []
        limit = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        seconds = time.monotonic() - self.started
        first, last = self.batch_ends
        rate = f", {self.clips / (last - first):.3g} clips/s" if last > first else ""
        say(trainer, f"epoch {trainer.current_epoch + 1}{limit}: {'; '.join(parts)} ({seconds:.0f} s{rate})")
        self.restart()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the best score, its checkpoint and the command that tests it."""
        best: Any = trainer.checkpoint_callback
        folder = Path(trainer.default_root_dir)
        if best is not None and best.best_model_path:
            say(trainer, f"best {best.monitor} {float(best.best_model_score):.4g}: {best.best_model_path}")
            say(trainer, f"next: echo-e3net test --config {folder / CONFIG}")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the scores of test and the command that shows them."""
        folder = Path(trainer.default_root_dir)
        say(trainer, scores(trainer, "test"))
        say(trainer, f"written to {folder / METRICS}; next: echo-e3net report {folder}")


def scores(trainer: Trainer, stage: str) -> str:
    """Return the scores of a split in one line, without the terms of the loss."""
    values = ((name.split("/"), value) for name, value in trainer.callback_metrics.items())
    found = [f"{name[1]} {float(value):.4g}" for name, value in values if name[0] == stage and name[1] != "loss"]
    return f"{stage} {', '.join(found)}"


def say(trainer: Trainer, line: str) -> None:
    """Print a line on rank 0, above the progress bar if there is one."""
    bar = trainer.progress_bar_callback
    if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return
    if bar is None:
        print(line, flush=True)
    else:
        bar.print(line)
