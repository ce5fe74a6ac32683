"""What a run writes into its folder."""

import importlib.metadata
import sys
from importlib.metadata import PackageNotFoundError

import torch

from echo_e3net import __version__
from echo_e3net.training import run_record


def test_the_environment_does_not_need_installed_metadata(monkeypatch):
    """As when the package runs from source."""

    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    found = run_record.environment("fit", "32-true")
    assert found["packages"]["echo-e3net"] == __version__
    assert found["packages"]["pandas"] is None
    assert found["packages"]["torch"] == torch.__version__
    assert found["device"]
