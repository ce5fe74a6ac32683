"""Figures of the network: its parts with the shapes of their tensors, and the attention of the border detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from echo_e3net.reporting.canvas import save
from echo_e3net.reporting.result_figures import BorderPicture, draw_borders
from echo_e3net.types import BORDERS, PHASES

SHOWN_QUERIES = {"apex": 0, "mitral plane": 1, "left, disc 10": 11, "right, disc 10": 31}
"""Endocardial landmarks whose attention is drawn separately."""
FULL_COLOUR = 20.0
"""Attention that is drawn in full colour, as a multiple of uniform attention."""
BOX_WIDTH = 0.66
FACES, EDGES = ("#dbe7ff", "#ffe3b3", "#f6d3e4"), ("#3d5a99", "#b37400", "#a03f72")


class AttentionPicture(NamedTuple):
    """Attention of the border detector in one clip.

    Attributes:
        title: name of the clip.
        frames: ED and ES frame.
        landmarks: predicted landmarks, pixels of the frames.
        attention: attention of each landmark on the grid of features.
        timing: weight of each clip frame for ED and ES.
        traced: clip positions of the labelled ED and ES; NaN if unknown.
    """

    title: str
    frames: UInt8[np.ndarray, "P H W"]
    landmarks: Float[Tensor, "P S K 2"]
    attention: Float[Tensor, "P S K h w"]
    timing: Float[Tensor, "P T"]
    traced: Sequence[float]


def draw_attention(path: Path, title: str, pictures: Sequence[AttentionPicture]) -> None:
    """Draw one row per clip: borders, attention of all and of single endocardial queries, and timing.

    Args:
        path: the PNG to write.
        title: headline.
        pictures: at least one clip.
    """
    figure = plt.figure(figsize=(2.1 * 9.4, 0.6 + 2.35 * len(pictures)), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(len(pictures), 9, squeeze=False, width_ratios=[1] * 8 + [1.4])
    for row, picture in zip(grid, pictures, strict=True):
        for p, phase in enumerate(PHASES):
            borders = dict(zip(BORDERS, picture.landmarks[p], strict=False))
            draw_borders(row[p], BorderPicture(picture.frames[p], "", borders, {}))
            row[p].set_title(f"{picture.title}\n{phase}" if not p else phase, fontsize=8, loc="left")
            draw_heat(row[2 + p], picture.frames[p], picture.attention[p, 0].mean(0), f"{phase}, all endo")
        for axes, (name, k) in zip(row[4:8], SHOWN_QUERIES.items(), strict=True):
            draw_heat(axes, picture.frames[0], picture.attention[0, 0, k], f"ED, {name}")
            axes.plot(*picture.landmarks[0, 0, k].numpy(), "+", color="white", ms=8)
        for axes in row[:8]:
            axes.set(xticks=[], yticks=[])
        for curve, phase, traced, colour in zip(
            picture.timing.numpy(), PHASES, picture.traced, ("#785ef0", "#009e73"), strict=True
        ):
            row[8].plot(curve, label=f"{phase} at {curve.argmax()}", color=colour)
            if np.isfinite(traced):
                row[8].axvline(traced, color=colour, ls=":", label=f"{phase} traced")
        row[8].set(xlabel="clip frame", ylabel="weight", ylim=(0, None))
        row[8].set_title("timing", fontsize=8)
        row[8].legend(fontsize=6)
    save(figure, path)


def draw_heat(axes: Axes, frame: UInt8[np.ndarray, "H W"], heat: Float[Tensor, "h w"], title: str) -> None:
    """Draw a frame with an attention map over it.

    Uniform attention is transparent. The title gives the largest attention as a multiple of uniform attention.
    """
    axes.imshow(frame, cmap="gray", vmin=0, vmax=255)
    times = (heat * heat.numel()).numpy()
    shown = np.clip((times - 1) / (FULL_COLOUR - 1), 0, 1)
    extent = (-0.5, frame.shape[1] - 0.5, frame.shape[0] - 0.5, -0.5)
    axes.imshow(
        shown, cmap="inferno", alpha=0.8 * np.sqrt(shown), extent=extent, interpolation="nearest", vmin=0, vmax=1
    )
    axes.set_title(f"{title} (×{times.max():.0f})", fontsize=8)


class Box(NamedTuple):
    """A part of the network: its name, its class, the shape of its output, and its number of parameters."""

    name: str
    kind: str
    shape: str
    parameters: int


def draw_architecture(
    path: Path, title: str, columns: Mapping[str, Sequence[Box]], arrows: Sequence[tuple[str, str]]
) -> None:
    """Draw the parts in columns, and arrows for the tensors between them; arrows that skip a column are dotted.

    Args:
        path: the PNG to write.
        title: headline.
        columns: boxes of each column, from top to bottom, by title.
        arrows: pairs of names of boxes, from and to.
    """
    tallest = max(map(len, columns.values()))
    figure = plt.figure(figsize=(3.7 * len(columns), 0.85 * tallest + 1.0), layout="constrained")
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots()
    places: dict[str, tuple[int, float]] = {}
    counts = {box.name: len(column) for column in columns.values() for box in column}
    for x, (part, column) in enumerate(columns.items()):
        axes.text(x, -0.15, part, ha="center", fontsize=11, fontweight="bold")
        for i, box in enumerate(column):
            places[box.name] = (x, (i + 0.5) * tallest / len(column))
            draw_box(axes, box, *places[box.name])
    for start, end in arrows:
        draw_arrow(axes, places[start], places[end], 1.5 * tallest / counts[start])
    axes.set(xlim=(-0.5, len(columns) - 0.4), ylim=(tallest, -0.5))
    axes.axis("off")
    save(figure, path)


def draw_box(axes: Axes, box: Box, x: int, y: float) -> None:
    """Draw one part at a place; ``x`` is the number of its column."""
    corner, style = (x - BOX_WIDTH / 2, y - 0.3), "round,pad=0,rounding_size=0.04"
    face, edge = FACES[x % 3], EDGES[x % 3]
    patch = FancyBboxPatch(corner, BOX_WIDTH, 0.6, style, mutation_aspect=2, facecolor=face, edgecolor=edge, zorder=3)
    axes.add_patch(patch)
    parameters = f", {box.parameters:,} parameters" if box.parameters else ""
    text = f"{box.name}\n{box.kind}{parameters}\n→ {box.shape}"
    axes.text(x, y, text, ha="center", va="center", fontsize=7.5, zorder=4)


def draw_arrow(axes: Axes, start: tuple[int, float], end: tuple[int, float], step: float) -> None:
    """Draw an arrow from one part to another.

    Args:
        axes: where to draw.
        start: place of the first part.
        end: place of the second part.
        step: a shorter arrow within a column is straight; a longer one bends around the boxes between.
    """
    (x0, y0), (x1, y1) = start, end
    style = {"arrowstyle": "-|>", "color": EDGES[x1 % 3], "lw": 1.1, "shrinkA": 0, "shrinkB": 0}
    style |= {"ls": ":" if x1 - x0 > 1 else "-", "connectionstyle": "arc3"}
    side = BOX_WIDTH / 2
    ends = ((x0 + side, y0), (x1 - side, y1))
    if x0 == x1 and y1 - y0 < step:
        ends = ((x0, y0 + 0.3), (x1, y1 - 0.3))
    elif x0 == x1:
        ends = ((x0 + side, y0), (x1 + side, y1))
        style["connectionstyle"] = "arc3,rad=-0.35"
    axes.annotate("", ends[1], ends[0], arrowprops=style, zorder=2)
