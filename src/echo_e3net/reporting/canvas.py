"""What all pictures share: matplotlib without a screen, colours, and files that appear whole. ``figures`` is the only package that knows matplotlib."""

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
    """Refuse a picture that could not be written, before what it is to show is computed.

    Raises:
        InputError: it has another suffix than those of ``PICTURES``, or its place cannot be written.
    """
    if path.suffix.lower() not in PICTURES:
        raise InputError(
            f"{path}: a picture is written as PNG or JPEG; give a name that ends in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}."
        )
    require_place(path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all."""
    with whole(path) as aside:
        figure.savefig(aside, dpi=100, pil_kwargs={"optimize": True})
    plt.close(figure)
