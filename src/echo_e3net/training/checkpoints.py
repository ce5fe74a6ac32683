"""Save checkpoints, stop on a signal, and find checkpoints to resume from (names: :mod:`.run_folder`).

A resumed run ends with the same weights as an uninterrupted one: clips depend on (seed, epoch, number), the network on
(seed, step, rank), and a checkpoint within an epoch holds the number of batches done. On SIGTERM and SIGUSR1, which
SLURM sends before the time is up, training ends after the current step with a checkpoint and exit code 75. On SIGINT
(Ctrl-C) it does the same with exit code 130; a second SIGINT ends it at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from echo_e3net.errors import InputError, require_at_least
from echo_e3net.files import whole
from echo_e3net.models.run_checkpoints import damage_of
from echo_e3net.models.weights import read_checkpoint
from echo_e3net.training.run_folder import BEFORE_LAST, CHECKPOINTS, LAST, STOP_SIGNALS, STOPPED


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints to a temporary file beside them, because Lightning's temporary folder may be on a full disk.

    Reads them without unpickling; ``--weights_only`` is ignored.
    """

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any = None,  # noqa: ANN401
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint."""
        return read_checkpoint(Path(path), map_location)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: object = None
    ) -> None:
        """Write a checkpoint, and keep the previous last.ckpt; an error leaves it unchanged."""
        # Saved to memory first, because torch.save hides a full disk behind an error of its own.
        path, content = Path(path), io.BytesIO()
        torch.save(checkpoint, content)
        with whole(path) as aside:
            with aside.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            if path.name == LAST and path.exists():
                path.replace(path.with_name(BEFORE_LAST))


class Checkpoints(ModelCheckpoint):
    """Keeps the best checkpoints, named by epoch and score.

    Args:
        monitor: logged score that decides.
        mode: min or max.
        keep: how many of the best are kept.
    """

    def __init__(self, monitor: str = "val/rmse", mode: str = "min", keep: int = 1) -> None:
        filename = f"epoch={{epoch:03d}}-{monitor.rsplit('/', 1)[-1]}={{{monitor}:.4f}}"
        super().__init__(monitor=monitor, mode=mode, save_top_k=keep, filename=filename, auto_insert_metric_name=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set the folder to that of the run."""
        self.dirpath = str(Path(trainer.default_root_dir) / CHECKPOINTS)
        super().setup(trainer, pl_module, stage)


class LastCheckpoint(Checkpoint):
    """Writes last.ckpt after every epoch, which ``save_last`` of Lightning 2.6 does not; stops training on a signal.

    Lightning calls callbacks of the type Checkpoint last and in order. So this one, listed after :class:`Checkpoints`,
    stops only after the best checkpoint of an epoch is written, and last.ckpt contains its score.

    Args:
        every_steps: write also after every so many optimizer steps.
        every_minutes: write also when so many minutes have passed since the last time.
    """

    def __init__(self, every_steps: int | None = None, every_minutes: float | None = None) -> None:
        require_at_least(1, last__every_steps=every_steps)
        require_at_least(0, last__every_minutes=every_minutes)
        self.every_steps, self.every_minutes = every_steps, every_minutes
        self.signal: int | None = None
        self.handler: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's handlers, which end without a checkpoint. Processes started here get the signal too."""
        self.saved_at = time.monotonic()

        def stop(number: int, frame: FrameType | None) -> None:
            first, self.signal = self.signal is None, number
            if number == signal.SIGINT:
                if not first:
                    raise KeyboardInterrupt
                print("\nStopping after this step. Press Ctrl-C again to stop at once.", file=sys.stderr, flush=True)
            elif first and trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(number)

        for number in STOP_SIGNALS:
            signal.signal(number, stop)
        # A background job of a shell ignores SIGINT.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, stop)
            self.handler = stop

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore Python's handler of SIGINT."""
        if self.handler is not None and signal.getsignal(signal.SIGINT) is self.handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say how to continue after a second Ctrl-C."""
        last = Path(trainer.default_root_dir) / CHECKPOINTS / LAST
        if isinstance(exception, KeyboardInterrupt) and last.is_file():
            rank_zero_info(f"The last checkpoint is {last}. --ckpt_path last continues.")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Seed torch by (seed, step, rank), because checkpoints do not hold the state of the generators."""
        seed, step = int(os.environ.get("PL_GLOBAL_SEED", 0)), trainer.current_epoch * 1_000_003 + batch_idx
        torch.manual_seed((seed * 1_000_000_007 + step * 10_007 + trainer.global_rank) % 2**63)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Write a checkpoint if one is due; on_train_epoch_end does after the last batch."""
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch or not stepped:
            return
        due = self.every_steps is not None and trainer.global_step % self.every_steps == 0
        if self.every_minutes is not None:
            late = time.monotonic() - self.saved_at >= 60 * self.every_minutes
            due |= trainer.strategy.reduce_boolean_decision(late, all=False)
        self.finish(trainer, due)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a checkpoint after the validation."""
        self.finish(trainer, due=True)

    def finish(self, trainer: Trainer, due: bool) -> None:
        """Write last.ckpt if it is due or a device was told to stop, and stop in the latter case."""
        stop = trainer.strategy.reduce_boolean_decision(self.signal is not None, all=False)
        if (due or stop) and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.lightning_module.update_norms()  # type: ignore[operator]
            trainer.save_checkpoint(Path(trainer.default_root_dir) / CHECKPOINTS / LAST, weights_only=False)
            self.saved_at = time.monotonic()
        if stop:
            name = signal.Signals(self.signal).name if self.signal else "a signal to another process"
            finished = trainer.fit_loop.epoch_progress.current.processed == trainer.max_epochs  # type: ignore[attr-defined]
            advice = "The training is finished." if finished else "--ckpt_path last continues."
            rank_zero_info(f"Stopped by {name} after step {trainer.global_step}. {advice}")
            raise SystemExit(130 if self.signal == signal.SIGINT else STOPPED)


def last_checkpoint(folder: Path) -> Path | None:
    """Return last.ckpt, or if it is damaged the one before it; None without either. Damage to all is an InputError."""
    present = [path for path in (folder / LAST, folder / BEFORE_LAST) if path.is_file()]
    for path in present:
        if not (damage := damage_of(path)):
            return path
        rank_zero_warn(f"{path} is damaged ({damage}); trying the checkpoint before it.")
    if names := " and ".join(path.name for path in present):
        raise InputError(f"{folder}: damaged: {names}. Resume from another checkpoint with --ckpt_path FILE.")
    return None
