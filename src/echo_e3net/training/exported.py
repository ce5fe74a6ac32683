"""Give the Lightning module the network of an exported folder, to test it or to draw its attention."""

from __future__ import annotations

from pathlib import Path

from echo_e3net.models.opening import load_network
from echo_e3net.training.datamodule import EchoDataModule
from echo_e3net.training.system import E3System


def load_exported(system: E3System, data: EchoDataModule, folder: str, trust: bool) -> None:
    """Replace the network of a module by that of an exported folder.

    Args:
        system: the module. It also gets the mean EF of the training videos.
        data: the data module, whose clip must be that of the model.
        folder: the exported folder.
        trust: whether the model may name classes of other packages.

    Raises:
        InputError: the model is damaged, names foreign classes, or reads other clips.
    """
    description, system.network = load_network(Path(folder), trust)
    system.training_ef.fill_(description.ef_mean)
    system.exported = folder
    clip = {name: getattr(description.clip, name) for name in ("frames", "period", "size")}
    data.load_state_dict({"clip": clip, "training": description.fingerprint})
