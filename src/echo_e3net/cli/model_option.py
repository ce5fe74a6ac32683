"""``--model`` of test, validate, profile and draw: a run, a checkpoint or an exported folder, with its own settings."""

from __future__ import annotations

import argparse
import atexit
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from echo_e3net.errors import InputError
from echo_e3net.models.folder import is_exported
from echo_e3net.models.opening import SHIPPED
from echo_e3net.training.run_folder import CHECKPOINTS, CONFIG

KINDS = "Pass the folder of a run, a checkpoint (.ckpt), an exported folder, or the name shipped."
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
    """Replace ``--model PATH``, or a lone ``--ckpt_path PATH``, by the settings of that run, checkpoint or folder.

    Arguments that follow still win, because the settings come first. ``--trust`` allows classes of other packages.

    Raises:
        InputError: the path is neither a run, nor a checkpoint of one, nor an exported folder.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model")
    parser.add_argument("--trust", nargs="?", const="true", default="false")
    known, rest = parser.parse_known_args(list(args))
    given = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    given.add_argument("--ckpt_path")
    source, trust = known.model or given.parse_known_args(rest)[0].ckpt_path, known.trust == "true"
    if source is not None and (known.model == SHIPPED or is_exported(source)):
        return [*settings_of_exported(source, trust), *rest]
    if source is None or (known.model is None and not Path(source).is_file()):
        return list(args)
    return [*settings_of(Path(source), trust), *rest]


def settings_of_exported(source: str, trust: bool) -> list[str]:
    """Return the arguments for an exported folder: the base configuration, its network and clip, and the weights."""
    from echo_e3net.models.opening import find_model, load_network

    folder = find_model(source)
    description, _ = load_network(folder, trust)
    clip = {name: getattr(description.clip, name) for name in ("frames", "period", "size")}
    file = temporary({"model": {"network": description.network}, "data": {"clip": clip}})
    name = f"exported-{source if source == SHIPPED else folder.resolve().name}"
    trusting = ["--trust", "true"] if trust else []
    return ["--config", "e3net.yaml", "--config", file, "--name", name, "--ckpt_path", str(folder), *trusting]


def settings_of(path: Path, trust: bool) -> list[str]:
    """Return the arguments for a run or a checkpoint: its settings, its folder, and the checkpoint."""
    from echo_e3net.models.building import require_own_classes
    from echo_e3net.models.description import describe
    from echo_e3net.models.run_checkpoints import best_checkpoint, damage_of
    from echo_e3net.models.weights import read_checkpoint

    whole = path.resolve()
    run = whole if whole.is_dir() else whole.parent.parent
    known = (run / CONFIG).is_file() and (whole.is_dir() or whole.parent.name == CHECKPOINTS)
    folder = ["--runs", str(run.parent), "--name", run.name] if known else []
    if whole.is_dir():
        if not known:
            raise InputError(f"{path}: neither a run nor an exported folder. {KINDS}")
        best = best_checkpoint(run / CHECKPOINTS)
        return ["--config", str(run / CONFIG), *folder, *(["--ckpt_path", str(best)] if best else [])]
    if not whole.is_file():
        raise InputError(f"{path}: no such file or folder. {KINDS}")
    if damage := damage_of(path):
        raise InputError(f"{path}: the checkpoint is damaged ({damage}). Copy it again, or use another.")
    content = read_checkpoint(path)
    describe(content)
    kept = chosen(content["settings"])
    if not trust:
        data = kept.get("data", {})
        require_own_classes({"model": kept["model"], "clip": data.get("clip"), "format": data.get("format")}, str(path))
    return ["--config", temporary(kept), "--ckpt_path", str(path), *folder]


def temporary(settings: dict[str, Any]) -> str:
    """Write settings to a YAML file that is deleted at the end of the program; return its path."""
    number, file = tempfile.mkstemp(".yaml", "echo-e3net-")
    atexit.register(Path(file).unlink, missing_ok=True)
    with os.fdopen(number, "w", encoding="utf-8") as written:
        yaml.safe_dump(settings, written)
    return file


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
