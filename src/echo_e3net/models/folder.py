"""A trained network as a folder that Hugging Face and others share: model.safetensors, config.json and a card.

network.yaml is a configuration of the same network and clip, with which a training can start from the model.

It contains no optimizer state, paths or video names. In half precision, kernels and matrices are stored in
float16, and converted to float32 when they are read.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from echo_e3net.errors import InputError
from echo_e3net.files import whole
from echo_e3net.models.building import build_network
from echo_e3net.models.card import card
from echo_e3net.models.description import AGAIN, Description, from_json
from echo_e3net.nn.network import E3Net

WEIGHTS, CONFIG, CARD, NETWORK = "model.safetensors", "config.json", "README.md", "network.yaml"


def write_folder(folder: Path, description: Description, network: E3Net, half: bool = False) -> None:
    """Write a trained network as a new folder, whole or not at all.

    Args:
        folder: the new folder.
        description: of the network.
        network: the network.
        half: whether kernels and matrices are stored in half precision (:func:`halved`).
    """
    weights = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    if half:
        weights = {name: halved(value) for name, value in weights.items()}
    config = json.dumps(description.as_json(), indent=2, allow_nan=False) + "\n"
    clip = description.clip
    settings = {
        "model": {"network": description.network},
        "data": {"clip": {"frames": clip.frames, "period": clip.period, "size": clip.size}},
    }
    with whole(folder) as aside:
        aside.mkdir()
        (aside / NETWORK).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        (aside / WEIGHTS).write_bytes(save(weights, {"format": "pt"}))
        (aside / CARD).write_text(card(description), encoding="utf-8")
        (aside / CONFIG).write_text(config, encoding="utf-8")


def is_exported(path: str | Path) -> bool:
    """Return whether a path is an exported folder."""
    return (Path(path) / CONFIG).is_file()


def halved(value: torch.Tensor) -> torch.Tensor:
    """Return a tensor in half precision if it is a kernel or a matrix that float16 can hold.

    Others stay as they are: tensors with values beyond the range of float16, tensors of so small values that rounding
    changes them by more than a thousandth, and all vectors. Scales and statistics of norms may leave the range of
    float16, and all vectors together are a hundredth of a network.
    """
    if not value.is_floating_point() or value.dim() < 2:
        return value
    half = value.half()
    changed = (half.float() - value).norm()
    return half if changed <= 1e-3 * value.norm() else value


def read_folder(folder: Path, trust: bool = False) -> tuple[Description, E3Net]:
    """Read a trained network.

    Args:
        folder: as :func:`write_folder` writes it.
        trust: whether classes of other packages are allowed.

    Raises:
        InputError: a file is missing, damaged, or of a newer program.
    """
    config, weights = folder / CONFIG, folder / WEIGHTS
    for file in (config, weights):
        if not file.is_file():
            raise InputError(f"{file}: no such file. A model folder holds {CONFIG} and {WEIGHTS}. {AGAIN}")
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{config}: is not JSON ({error}). {AGAIN}") from error
    description = from_json(content, str(config))
    network = build_network(description.network, str(config), trust)
    try:
        found = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{weights}: the file is damaged ({error}). {AGAIN}") from error
    fill(network, found, str(weights))
    return description, network


def fill(network: E3Net, weights: dict[str, torch.Tensor], where: str) -> None:
    """Load all weights into a network.

    Raises:
        InputError: names or shapes do not match the network.
    """
    own = network.state_dict()
    wrong = {name for name in own.keys() | weights.keys() if name not in own or name not in weights}
    wrong |= {name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape}
    if wrong:
        raise InputError(
            f"{where}: {len(wrong)} weights do not match the described network (first: {min(wrong)}). {AGAIN}"
        )
    network.load_state_dict(weights)
