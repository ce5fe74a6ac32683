"""Read a data set and check it."""

from __future__ import annotations

from pathlib import Path

from echo_e3net.data.records import DataFormat, Reading


def read_data(format: DataFormat, root: Path) -> Reading:
    """Return the usable videos of a data set, and all findings."""
    return format.read(root)
