"""Build the Lightning module of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule

from echo_e3net.errors import InputError
from echo_e3net.models.building import require_own_classes
from echo_e3net.models.description import describe
from echo_e3net.models.run_checkpoints import damage_of
from echo_e3net.models.weights import read_checkpoint

System = TypeVar("System", bound="Restorable")


class Restorable(LightningModule):
    """A Lightning module that a checkpoint of ``echo-e3net fit`` describes."""

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls: type[System],
        checkpoint_path: str | Path,
        map_location: Any = "cpu",  # noqa: ANN401
        trust: bool = False,
        **parts: Any,  # noqa: ANN401
    ) -> System:
        """Return the trained module of a checkpoint.

        Args:
            checkpoint_path: a checkpoint that ``echo-e3net fit`` wrote.
            map_location: device of the module, as in ``torch.load``.
            trust: whether the checkpoint may name classes of other packages, which can run code.
            parts: arguments of the class, such as ``loss``, that replace those of the checkpoint.

        Raises:
            InputError: the checkpoint is damaged, of another network, or names foreign classes.
        """
        return restore(cls, Path(checkpoint_path), map_location, trust, **parts)


def restore(kind: type[System], path: Path, map_location: Any, trust: bool, **parts: Any) -> System:  # noqa: ANN401
    """Return what :meth:`Restorable.load_from_checkpoint` returns, of the class ``kind``."""
    if damage := damage_of(path):
        raise InputError(f"{path}: not a whole checkpoint ({damage}). Copy it again, or use another.")
    content = read_checkpoint(path, map_location)
    if not parts.keys() >= {"network", "loss"}:
        # the checkpoint must have a configuration
        describe(content)
    tree = {name: value for name, value in content.get("settings", {}).get("model", {}).items() if name not in parts}
    if not trust:
        require_own_classes(tree, str(path))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "model", instantiate=False, skip=set(parts))
    try:
        built = parser.instantiate_classes(parser.parse_object({"model": tree})).model
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: the module cannot be built: {reason[:300].rstrip('.')}.") from error
    system = kind(**{**vars(built), **parts})
    system.on_load_checkpoint(content)
    system.load_state_dict(content["state_dict"])
    return system.to(map_location) if isinstance(map_location, str | torch.device) else system
