"""Check arguments of the trainer that Lightning accepts without a message, or refuses without naming the argument."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from echo_e3net.errors import InputError, require_at_least

NOTHING = {
    "fit": {"limit_train_batches": "trained", "max_epochs": "trained", "max_steps": "trained"},
    "validate": {"limit_val_batches": "scored"},
    "test": {"limit_test_batches": "scored"},
    "predict": {"limit_predict_batches": "predicted"},
}
"""Limits that must not be 0, by command, with the verb for the message."""
UNSUITABLE = {
    "LearningRateFinder": "Search the rate with `echo-e3net sweep experiments/sweeps/learning_rate.yaml`",
    "BatchSizeFinder": "Set --data.loader.batch_size",
    "Timer": "Set --trainer.max_time",
    "GradientAccumulationScheduler": "Set --trainer.accumulate_grad_batches",
    "StochasticWeightAveraging": "Its mean would not be in any checkpoint",
}
"""Callbacks of Lightning that do not work here, and the alternative."""


def check_trainer(command: str, trainer: Namespace, monitor: str) -> None:
    """Check the arguments of the trainer before anything is made.

    Args:
        command: fit, validate, test or predict.
        trainer: the arguments by name.
        monitor: the score that decides which checkpoint is the best.

    Raises:
        InputError: they contradict each other or the command.
    """
    for name, verb in NOTHING[command].items():
        if trainer[name] == 0 and not isinstance(trainer[name], bool):
            raise InputError(f"trainer.{name} is 0, so nothing would be {verb}. Remove it, or set another value.")
    require_at_least(
        1,
        trainer__accumulate_grad_batches=trainer["accumulate_grad_batches"],
        trainer__check_val_every_n_epoch=trainer["check_val_every_n_epoch"],
    )
    require_at_least(0, trainer__gradient_clip_val=trainer["gradient_clip_val"])
    if trainer["enable_checkpointing"] is False:
        raise InputError(
            "trainer.enable_checkpointing is false, but every run must write checkpoints. Remove it. "
            "To try one step without writing files, use --trainer.fast_dev_run true."
        )
    if trainer["barebones"]:
        raise InputError("trainer.barebones is true, but a run needs its log and checkpoints. Remove it.")
    if command == "fit" and trainer["limit_val_batches"] == 0 and monitor.startswith("val/"):
        raise InputError(
            f"trainer.limit_val_batches is 0, so checkpoint.monitor {monitor} is never measured. Allow the validation, "
            "or set --checkpoint.monitor train/loss/total."
        )
    every, epochs = trainer["check_val_every_n_epoch"] or 0, trainer["max_epochs"]
    if command == "fit" and epochs is not None and 0 < epochs < every:
        raise InputError(
            f"trainer.check_val_every_n_epoch is {every}, but trainer.max_epochs is {epochs}, so no epoch is validated."
        )
    if str(trainer["strategy"]).partition("_")[0] in ("fsdp", "deepspeed"):
        raise InputError(
            f"trainer.strategy is {trainer['strategy']}, but the norms need all weights on each device. Use ddp."
        )
    precision = str(trainer["precision"])
    if precision.endswith("true") and precision != "32-true":
        raise InputError(f"trainer.precision is {precision}; expected 32-true, 16-mixed or bf16-mixed.")
    if trainer["default_root_dir"] is not None:
        raise InputError("trainer.default_root_dir is set, but runs are in <runs>/<name>. Set --runs instead.")
    check_callbacks(trainer["callbacks"])
    if trainer["plugins"] is None:
        check_launch(trainer["num_nodes"], os.environ)


def check_callbacks(callbacks: Any) -> None:  # noqa: ANN401
    """Refuse callbacks that do not work here."""
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        name = "" if callback is None else callback.class_path.rpartition(".")[2]
        if name in UNSUITABLE:
            raise InputError(f"trainer.callbacks: {name} does not work with echo-e3net. {UNSUITABLE[name]}.")


def check_launch(nodes: int, environment: Mapping[str, str]) -> None:
    """Check that srun or torchrun started the processes of a run with several."""
    started = environment.keys() & {"SLURM_STEP_ID", "TORCHELASTIC_RUN_ID"}
    tasks, job = environment.get("SLURM_NTASKS", "1"), environment.get("SLURM_JOB_NAME")
    if tasks != "1" and not started and job not in ("bash", "interactive"):
        raise InputError(
            f"SLURM_NTASKS is {tasks}, but srun did not start this process. Start it with `srun echo-e3net …`, or as "
            "one process with `SLURM_JOB_NAME=interactive echo-e3net …`."
        )
    if nodes > 1 and not started and "MASTER_ADDR" not in environment:
        raise InputError(
            f"trainer.num_nodes is {nodes}, but neither srun nor torchrun started this process. docs/CLUSTERS.md "
            "describes both."
        )


def run_name(name: str) -> str:
    """Return the name of a run, which is a folder inside the folder of all runs."""
    parts = Path(name).parts
    if not parts or ".." in parts or Path(name).is_absolute():
        raise InputError(f"--name is {name!r}; expected a folder inside --runs, such as first or group/first.")
    return name
