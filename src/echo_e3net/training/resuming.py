"""Compare the settings of a resumed training with those of its checkpoint.

Lightning restores the optimizer, its schedule and the state of callbacks over the settings of the command line. So a
resume refuses other values of these settings. It uses other values of ``trainer`` and notes them in the run's record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_info

from echo_e3net.errors import InputError
from echo_e3net.training.schedules import STEPS
from echo_e3net.training.weights import read_checkpoint

KEPT = ("seed_everything", "model", "data", "checkpoint.monitor", "checkpoint.mode", "trainer.callbacks")
"""Settings that a resume cannot change."""
PLACES = ("data.root", "data.cache", "data.loader.workers", "data.loader.start_method", "data.on_defect")
"""Settings of ``data`` that a resume can change. The data module compares the content of ``data.root``."""
NOTED = ("trainer", "data.root", "data.on_defect")
"""Settings whose change is noted in the record."""
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
    """

    checkpoint: str
    epochs: int
    steps: int
    changed: dict[str, tuple[Any, Any]]

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
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    steps = checkpoint["global_step"]
    before, now = (dict(leaves(values)) for values in (checkpoint.get("settings", settings), settings))
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
    if length and STEPS in schedule.get("init_args", {}) and schedule["class_path"] not in ANY_LENGTH:
        old, new = changed[f"trainer.{length}"]
        kept = f"model.scheduler {schedule['class_path']} would keep the length of the first training"
        raise InputError(
            f"{path}: trainer.{length} is {new}, but was {old}, and {kept}. "
            "Use the same value, or start a new run with another --name and without --ckpt_path."
        )
    require_work(path, epochs, steps, settings)
    return Resumed(str(path), epochs, steps, {name: v for name, v in changed.items() if begins(name, NOTED)})


def require_work(path: Path, epochs: int, steps: int, settings: Mapping[str, Any]) -> None:
    """Check that a resume has something left to train; see :func:`resume` for errors."""
    limits = settings["trainer"]
    done = {"max_epochs": epochs, "max_steps": steps}
    asked = {"max_epochs": limits["max_epochs"], "max_steps": limits["max_steps"]}
    if asked["max_epochs"] is None and asked["max_steps"] == -1 and limits["max_time"] is None:
        asked["max_epochs"] = UNLIMITED
    for name, value in asked.items():
        if value in (None, -1) or done[name] < value:
            continue
        found = f"{path}: trainer.{name} is {value}, and the checkpoint already has {done[name]}"
        if settings["auto_resume"] and done[name] == value:
            rank_zero_info(f"{found}. The training is finished; nothing is left to do.")
            raise SystemExit(0)
        raise InputError(f"{found}: nothing is left to train. Set --trainer.{name} to more than {done[name]}.")


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
