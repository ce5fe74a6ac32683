"""Build the networks of the presets without a trainer, a data module or their libraries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from echo_e3net.files import shipped
from echo_e3net.nn.network import E3Net

PRESETS = {
    "version 1": ("e3net.yaml",),
    "lite": ("e3net.yaml", "e3net_lite.yaml"),
    "small": ("e3net.yaml", "e3net_small.yaml"),
}
"""Configurations of each preset; later ones override earlier ones."""


def preset(name: str) -> E3Net:
    """Return the untrained network of a preset."""
    return build([shipped() / file for file in PRESETS[name]])


def build(paths: Sequence[Path]) -> E3Net:
    """Return the untrained network of configurations."""
    network: dict[str, Any] = {}
    for path in paths:
        network = merged(network, yaml.safe_load(path.read_text())["model"]["network"])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(E3Net, "network")
    found: E3Net = parser.instantiate_classes(parser.parse_object({"network": network})).network
    return found


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return nested mappings with the values of ``above`` over those of ``below``."""
    found = dict(below)
    for name, value in above.items():
        old = found.get(name)
        found[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found
