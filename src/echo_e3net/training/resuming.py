"""Compare the settings of a resumed training with those of its checkpoint.

Lightning restores the optimizer, its schedule and the state of callbacks over the settings of the command line. So a
resume refuses other values of these settings. It uses other values of ``trainer`` and notes them in the run's record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_info

from echo_e3net.errors import InputError
from echo_e3net.models.weights import read_checkpoint
from echo_e3net.training.schedules import STEPS

KEPT = ("seed_everything", "init_from", "model", "data", "checkpoint.monitor", "checkpoint.mode", "trainer.callbacks")
"""Settings that a resume cannot change."""
PLACES = ("data.root", "data.cache", "data.loader.workers", "data.loader.start_method", "data.on_defect")
"""Settings of ``data`` that a resume can change. The data module compares the content of ``data.root``."""
NOTED = ("trainer", "data.root", "data.on_defect")
"""Settings whose change is noted in the record."""
WITHOUT_EFFECT = tuple(
    f"trainer.{name}"
    for name in (
        "enable_autolog_hparams",
        "enable_model_summary",
        "enable_progress_bar",
        "log_every_n_steps",
        "logger",
        "num_sanity_val_steps",
        "profiler",
    )
)
"""Settings that do not change a training, and are not noted."""
LENGTH = ("max_epochs", "max_steps", "accumulate_grad_batches", "limit_train_batches", "devices", "num_nodes")
"""Settings of ``trainer`` that change the number of steps of a training."""
ANY_LENGTH = ("echo_e3net.training.system.WarmupCosine",)
"""Schedules that follow a changed number of steps. Others that have the number restore it from the checkpoint."""
UNLIMITED = 1000
"""Epochs of a training without limit, by Lightning."""


class Resumed(NamedTuple):
    """Where a training was resumed.

    Attributes:
        checkpoint: the file.
        epochs: number of finished epochs.
        steps: number of optimizer steps.
        changed: settings that changed, with the value before and now.
        init_from: the model that the training once started from; its weights are not loaded again.
    """

    checkpoint: str
    epochs: int
    steps: int
    changed: dict[str, tuple[Any, Any]]
    init_from: str | None = None

    def __str__(self) -> str:
        """Return one line that names the changed settings."""
        changes = ", ".join(f"{name} {now} (before: {before})" for name, (before, now) in self.changed.items())
        return f"resumed after epoch {self.epochs} (step {self.steps}) with {changes}"


def resume(path: Path, settings: Mapping[str, Any]) -> Resumed:
    """Compare the settings of a resume with those in its checkpoint.

    Raises:
        InputError: a setting differs that the resume would not change, or no epoch is left to train.
        SystemExit: ``auto_resume`` found a finished training; nothing is left to do (exit code 0).
    """
    checkpoint = read_checkpoint(path)
    if not {"loops", "optimizer_states", "settings"} <= checkpoint.keys():
        raise InputError(f"{path}: has weights, but no state and settings of a training, so it cannot be resumed.")
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    steps = checkpoint["global_step"]
    before, now = (dict(leaves(values)) for values in (checkpoint["settings"], settings))
    # a resume need not repeat it, because its weights come from the checkpoint
    now["init_from"] = now.get("init_from") or before.get("init_from")
    changed = {
        name: (before.get(name), now.get(name))
        for name in {**before, **now}
        if before.get(name) != now.get(name) and begins(name, (*KEPT, *NOTED))
    }
    refused = {name: values for name, values in changed.items() if begins(name, KEPT) and not begins(name, PLACES)}
    if refused:
        values = "; ".join(f"{name} is {now}, but was {before}" for name, (before, now) in refused.items())
        advice = "Use the value of the checkpoint, or start a new run with another --name and without --ckpt_path"
        raise InputError(f"{path}: a resume cannot change these settings: {values}. {advice}.")
    schedule = settings["model"]["scheduler"] or {}
    length = next((name for name in LENGTH if f"trainer.{name}" in changed), None)
    automatic = schedule.get("init_args", {}).get(STEPS, "absent") is None
    if length and automatic and schedule["class_path"] not in ANY_LENGTH:
        old, new = changed[f"trainer.{length}"]
        kept = f"model.scheduler {schedule['class_path']} would keep the length of the first training"
        raise InputError(
            f"{path}: trainer.{length} is {new}, but was {old}, and {kept}. "
            "Use the same value, or start a new run with another --name and without --ckpt_path."
        )
    batch = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    if batch["current"]["completed"] > 0 and not batch["is_last_batch"]:
        for name in ("trainer.devices", "trainer.num_nodes"):
            if name in changed:
                old, new = changed[name]
                raise InputError(
                    f"{path}: {name} is {new}, but was {old}, and the checkpoint is from within an epoch, of which "
                    "every process has seen a share. Use the same value, or resume from the end of an epoch."
                )
    require_work(path, checkpoint, settings)
    noted = {name: v for name, v in changed.items() if begins(name, NOTED) and not begins(name, WITHOUT_EFFECT)}
    return Resumed(str(path), epochs, steps, noted, now["init_from"])


def require_work(path: Path, checkpoint: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Check that a resume has something left to train; see :func:`resume` for errors."""
    limits, timer = settings["trainer"], checkpoint.get("callbacks", {}).get("Timer", {})
    done = {
        "max_epochs": checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"],
        "max_steps": checkpoint["global_step"],
        "max_time": timer.get("time_elapsed", {}).get("train", 0),
    }
    asked = {name: limits[name] for name in ("max_epochs", "max_steps")}
    asked["max_time"] = None if limits["max_time"] is None else seconds(limits["max_time"])
    if asked["max_epochs"] is None and asked["max_steps"] == -1 and limits["max_time"] is None:
        asked["max_epochs"] = UNLIMITED
    for name, value in asked.items():
        if value in (None, -1) or done[name] < value:
            continue
        unit = " seconds" if name == "max_time" else ""
        found = f"{path}: trainer.{name} is {value:g}{unit}, and the checkpoint already has {done[name]:g}"
        if settings["auto_resume"] and (done[name] == value or unit):
            rank_zero_info(f"{found}. The training is finished; nothing is left to do.")
            raise SystemExit(0)
        raise InputError(f"{found}: nothing is left to train. Set --trainer.{name} to more than {done[name]:g}{unit}.")


def seconds(time: str | Mapping[str, float]) -> float:
    """Return ``trainer.max_time`` in seconds: DD:HH:MM:SS, or a mapping such as ``{hours: 2}``."""
    if isinstance(time, str):
        parts = [int(part) for part in time.split(":")]
        time = dict(zip(("seconds", "minutes", "hours", "days"), reversed(parts), strict=False))
    return timedelta(**time).total_seconds()


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings by dotted name."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def begins(name: str, groups: tuple[str, ...]) -> bool:
    """Return whether a dotted name is one of the groups or lies in one."""
    return any(name == group or name.startswith(f"{group}.") for group in groups)
