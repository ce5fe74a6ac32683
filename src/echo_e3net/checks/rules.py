"""Rules over what a data set contains (stand-in until the branch "data" is merged)."""

from __future__ import annotations

from pathlib import Path

from echo_e3net.data.records import DataFormat, Reading


def read_data(format: DataFormat, root: Path) -> Reading:
    """Return the usable records of a data set and its findings."""
    return format.read(root)
