"""``--model`` of test, validate, profile and draw: a run or a checkpoint, with its own settings."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from echo_e3net.errors import InputError
from echo_e3net.training.run_folder import CHECKPOINTS, CONFIG

KEPT = (
    "model",
    "name",
    "checkpoint",
    "data.clip",
    "data.format",
    "data.root",
    "data.cache",
    "data.loader",
    "data.on_defect",
)
"""Settings of a checkpoint that are used without a configuration."""


def with_model(args: Sequence[str]) -> list[str]:
    """Replace ``--model PLACE`` or a lone ``--ckpt_path FILE`` by the settings of that run or checkpoint.

    Arguments that follow still win, because the settings come first.

    Raises:
        InputError: the place holds neither a run nor a checkpoint of one.
    """
    args = list(args)
    for number, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name not in ("--model", "--ckpt_path"):
            continue
        value = value if equals else args[number + 1] if number + 1 < len(args) else ""
        place = Path(value)
        if name == "--ckpt_path" and not place.is_file():
            continue
        rest = args[:number] + args[number + (1 if equals else 2) :]
        return [*settings_of(place), *rest]
    return args


def settings_of(place: Path) -> list[str]:
    """Return the arguments for a run or a checkpoint: its settings, its folder, and the checkpoint."""
    run = place if place.is_dir() else place.absolute().parent.parent
    known = (run / CONFIG).is_file() and (place.is_dir() or place.absolute().parent.name == CHECKPOINTS)
    folder = ["--runs", str(run.parent), "--name", run.name] if known else []
    if place.is_dir():
        if not known:
            raise InputError(f"{place}: holds no run. --model names the folder of a run, or a checkpoint (.ckpt).")
        return ["--config", str(run / CONFIG), *folder]
    if not place.is_file():
        raise InputError(
            f"{place}: no such file or folder. --model names the folder of a run, or a checkpoint (.ckpt)."
        )
    from echo_e3net.models.building import require_own_classes
    from echo_e3net.models.description import describe
    from echo_e3net.models.run_checkpoints import damage_of
    from echo_e3net.models.weights import read_checkpoint

    if damage := damage_of(place):
        raise InputError(f"{place}: the checkpoint is damaged ({damage}). Copy it again, or use another.")
    content = read_checkpoint(place)
    describe(content)
    kept = chosen(content["settings"])
    require_own_classes({name: kept.get(name) for name in ("model", "data")}, str(place))
    number, file = tempfile.mkstemp(".yaml", "echo-e3net-")
    atexit.register(Path(file).unlink, missing_ok=True)
    with os.fdopen(number, "w", encoding="utf-8") as written:
        yaml.safe_dump(kept, written)
    return ["--config", file, "--ckpt_path", str(place), *folder]


def chosen(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings under the names of :data:`KEPT`."""
    found: dict[str, Any] = {}
    for name in KEPT:
        group, _, rest = name.partition(".")
        if not rest and group in settings:
            found[group] = settings[group]
        elif rest in settings.get(group, {}):
            found.setdefault(group, {})[rest] = settings[group][rest]
    return found
