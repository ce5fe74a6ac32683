"""Fill the Lightning module with an exported model, to test it or to draw its attention without its checkpoint."""

from __future__ import annotations

from pathlib import Path

from echo_e3net.models.folder import fill, is_exported
from echo_e3net.models.opening import load_network
from echo_e3net.training.datamodule import EchoDataModule
from echo_e3net.training.system import E3System


def load_exported(system: E3System, data: EchoDataModule, model: str, trust: bool) -> bool:
    """Load an exported model: its weights and the mean EF of its training videos. Return False for other models.

    Args:
        system: the module that is filled.
        data: the data module, whose clip must be that of the model.
        model: an exported folder; for a checkpoint, nothing is done.
        trust: whether the model may name classes of other packages.

    Raises:
        InputError: the model is damaged, names foreign classes, or is of another network or clip.
    """
    if not is_exported(model):
        return False
    description, network = load_network(Path(model), trust)
    fill(system.network, network.state_dict(), model)
    system.training_ef.fill_(description.ef_mean)
    system.exported = model
    clip = {name: getattr(description.clip, name) for name in ("frames", "period", "size")}
    data.load_state_dict({"clip": clip, "training": description.fingerprint})
    return True
