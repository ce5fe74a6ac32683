"""Checkpoints of a run, and how a run is stopped and goes on.

    <run>/checkpoints/epoch=007-rmse=6.12.ckpt   the best by validation (:class:`Checkpoints`)
    <run>/checkpoints/last.ckpt                  where the run is (:class:`LastCheckpoint`): after each epoch, within one as asked for, at a stop
    <run>/checkpoints/before_last.ckpt           the last.ckpt before it, for when that is damaged

Each is written aside and renamed. A run that goes on from last.ckpt ends with the weights that it would have had: clips are functions of (seed, epoch,
number), chance inside the network of (seed, step, rank), and a checkpoint in the middle of an epoch knows which batches the epoch has had.

SIGTERM and SIGUSR1 (what SLURM sends before the time is up) end the training after its current step with a checkpoint and exit code
:data:`STOPPED`; the caller starts it again with ``--auto_resume true``.
"""

from __future__ import annotations

import io
import os
import re
import signal
import time
import zipfile
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from echo_e3net.errors import InputError
from echo_e3net.files import whole
from echo_e3net.training.distributed import any_rank
from echo_e3net.training.run_folder import BEFORE_LAST, CHECKPOINTS, LAST, STOP_SIGNALS, STOPPED


class Stopped(SystemExit):
    """Ends the command with :data:`STOPPED`."""

    def __init__(self) -> None:
        super().__init__(STOPPED)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint aside, on the same disk, then renames it; the last.ckpt that it replaces is kept as before_last.ckpt.

    Lightning's own writes to the system's folder of temporary files first, which may be another disk or full.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:  # noqa: ANN401
        """Write a checkpoint.

        Raises:
            InputError: it cannot be written; the former one is as it was.
        """
        path = Path(path)
        content = io.BytesIO()  # torch.save hides a full disk behind an error of its own
        torch.save(checkpoint, content)
        with whole(path) as aside:
            with aside.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            if path.name == LAST and path.exists():
                path.replace(path.with_name(BEFORE_LAST))


class Checkpoints(ModelCheckpoint):
    """Keeps the best checkpoints, named by epoch and figure.

    Args:
        monitor: the logged figure that decides.
        mode: min or max.
        keep: how many of the best are kept.
    """

    def __init__(self, monitor: str = "val/rmse", mode: str = "min", keep: int = 1) -> None:
        figure = monitor.rsplit("/", 1)[-1]
        filename = f"epoch={{epoch:03d}}-{figure}={{{monitor}:.2f}}"
        super().__init__(monitor=monitor, mode=mode, save_top_k=keep, filename=filename, auto_insert_metric_name=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Put the checkpoints into the run's folder."""
        self.dirpath = str(Path(trainer.default_root_dir) / CHECKPOINTS)
        super().setup(trainer, pl_module, stage)


class LastCheckpoint(Callback):
    """Keeps last.ckpt: from the end of every epoch, and within an epoch as asked for; ends the training with one on SIGTERM and SIGUSR1.

    Not ModelCheckpoint's own ``save_last``: Lightning 2.6 leaves that file as it was whenever an epoch is not among the best, and a run that is resumed
    from it trains those epochs again.

    Args:
        every_steps: also after every so many optimiser steps.
        every_minutes: also when so many minutes have passed since the last one.
    """

    def __init__(self, every_steps: int | None = None, every_minutes: float | None = None) -> None:
        if (every_steps is not None and every_steps < 1) or (every_minutes is not None and every_minutes <= 0):
            raise InputError(
                f"last.every_steps {every_steps}, last.every_minutes {every_minutes}: must be at least 1, and above 0; null for none."
            )
        self.every_steps, self.every_minutes = every_steps, every_minutes
        self.asked: int | None = None
        self.saved_at = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen for the signals; Lightning's own handlers would end the run without a checkpoint, and it puts back what was there at the end."""
        self.saved_at = time.monotonic()

        def stop(number: int, frame: FrameType | None) -> None:
            first, self.asked = self.asked is None, number
            launcher = trainer.strategy.launcher
            if first and launcher is not None:
                launcher.kill(number)  # the ranks that this process started

        for number in STOP_SIGNALS:
            signal.signal(number, stop)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Make chance inside the network a function of (seed, step, rank): Lightning's checkpoints do not hold the state of the generators."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        step = trainer.current_epoch * 1_000_003 + batch_idx
        torch.manual_seed((seed * 1_000_000_007 + step * 10_007 + trainer.global_rank) % 2**63)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:  # noqa: ANN401
        """Save where it is due. The last batch of an epoch is left to the epoch's end, which comes after the validation."""
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch or not stepped:
            return
        stop = any_rank(self.asked is not None, pl_module.device)
        due = self.every_steps is not None and trainer.global_step % self.every_steps == 0
        if self.every_minutes is not None:
            due |= any_rank(time.monotonic() - self.saved_at >= 60 * self.every_minutes, pl_module.device)
        if due or stop:
            self.save(trainer)
        if stop:
            self.stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; comes after the validation, so that the checkpoint knows the best of the same epoch."""
        self.save(trainer)
        if any_rank(self.asked is not None, pl_module.device):
            self.stop(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write last.ckpt."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(Path(trainer.default_root_dir) / CHECKPOINTS / LAST)
        self.saved_at = time.monotonic()

    def stop(self, trainer: Trainer) -> None:
        """End the training.

        Raises:
            Stopped: always.
        """
        name = signal.Signals(self.asked).name if self.asked else "a signal to another rank"
        rank_zero_info(
            f"stopped by {name} in epoch {trainer.current_epoch} after step {trainer.global_step}; --ckpt_path last goes on from there"
        )
        raise Stopped


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint whose file name says the smallest figure; None where there is none."""
    named = {path: re.search(r"=(-?[\d.]+?)(-v\d+)?\.ckpt$", path.name) for path in folder.glob("epoch=*.ckpt")}
    figures = {path: float(match[1]) for path, match in named.items() if match}
    return min(figures, key=lambda path: (figures[path], path.name)) if figures else None


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole of last.ckpt and the one before it; None where there is neither.

    Raises:
        InputError: all that there are are damaged.
    """
    there = [path for path in (folder / LAST, folder / BEFORE_LAST) if path.is_file()]
    for path in there:
        damage = damage_of(path)
        if not damage:
            return path
        rank_zero_warn(f"{path} is damaged ({damage}); the checkpoint before it is used where there is one.")
    if there:
        raise InputError(
            f"{folder}: {' and '.join(path.name for path in there)} are damaged. Go on from another checkpoint with --ckpt_path FILE."
        )
    return None


def damage_of(path: Path) -> str:
    """What is wrong with a checkpoint file, by the checksums that it holds of all its parts; empty where nothing is."""
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return str(error).strip(".").lower() or type(error).__name__
    return f"its part {part} fails its checksum" if part else ""
