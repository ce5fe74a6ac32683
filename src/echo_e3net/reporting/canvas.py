"""Common parts of all figures: matplotlib without a screen, colours, and atomic writes."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from echo_e3net.errors import InputError
from echo_e3net.files import require_place, whole

COLOURS = {"endo": "#ffb000", "epi": "#648fff", "label": "#ffffff"}
PICTURES = (".png", ".jpg", ".jpeg")


def require_picture(path: Path) -> None:
    """Check that a picture can be written, before its content is computed.

    Raises:
        InputError: the suffix is not in ``PICTURES``, or the file cannot be written.
    """
    if path.suffix.lower() not in PICTURES:
        raise InputError(f"{path}: unknown type of picture. Use a name that ends in {', '.join(PICTURES)}.")
    require_place(path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure atomically."""
    with whole(path) as aside:
        figure.savefig(aside, dpi=100, pil_kwargs={"optimize": True})
    plt.close(figure)
