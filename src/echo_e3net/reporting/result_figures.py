"""Figures of one run: agreement, difference and learning curve; borders on frames; curves of a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from echo_e3net import geometry
from echo_e3net.metrics import LOW_EF_PERCENT
from echo_e3net.reporting.canvas import COLOURS, save

HFREF, HFPEF = LOW_EF_PERCENT, 50
"""Upper limit of reduced and lower limit of preserved ejection fraction, percent."""


class BorderPicture(NamedTuple):
    """One frame, its title, and its predicted and labelled borders by name."""

    frame: UInt8[np.ndarray, "H W"]
    title: str
    predicted: dict[str, Float[Tensor, "K 2"]]
    labelled: dict[str, Float[Tensor, "K 2"]]


def draw_scores(
    path: Path,
    title: str,
    prediction: Sequence[float],
    target: Sequence[float],
    curves: Mapping[str, Mapping[int, float]],
) -> None:
    """Draw predicted against labelled EF, their difference, and the learning curve.

    Args:
        path: the PNG to write.
        title: headline.
        prediction: EF of each video, percent.
        target: label of each video, percent.
        curves: metrics of the validation by name: value by epoch.
    """
    figure = plt.figure(figsize=(12, 4.2), layout="constrained")
    figure.suptitle(title)
    left, middle, right = figure.subplots(1, 3)
    draw_agreement(left, prediction, target)
    draw_difference(middle, prediction, target)
    for name, values in curves.items():
        # Numbers of epochs as fit prints them, from 1.
        right.plot([epoch + 1 for epoch in values], list(values.values()), marker=".", label=name)
    top = max((value for values in curves.values() for value in values.values()), default=1)
    right.set(xlabel="epoch", ylabel="EF points", title="validation", ylim=(0, 1.1 * top))
    right.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if curves:
        right.legend()
    save(figure, path)


def draw_agreement(axes: Axes, prediction: Sequence[float], target: Sequence[float]) -> None:
    """Draw predicted against labelled EF, the line of identity, and the clinical limits."""
    axes.axvspan(0, HFREF, color="#dc267f", alpha=0.08, label=f"reduced, up to {HFREF} %")
    axes.axvspan(HFREF, HFPEF, color="#ffb000", alpha=0.08, label=f"mildly reduced, below {HFPEF} %")
    axes.plot([0, 100], [0, 100], color="0.6", lw=1, label="identity")
    axes.scatter(target, prediction, s=14, alpha=0.7)
    axes.set(xlim=(0, 95), ylim=(0, 95), title="agreement", aspect="equal")
    axes.set(xlabel="labelled EF (%)", ylabel="predicted EF (%)")
    axes.legend(loc="lower right", fontsize=7)


def draw_difference(axes: Axes, prediction: Sequence[float], target: Sequence[float]) -> None:
    """Draw a Bland-Altman plot: difference against mean, with bias and limits of agreement."""
    mean, difference = np.add(prediction, target) / 2, np.subtract(prediction, target)
    bias, spread = difference.mean(), 1.96 * difference.std()
    axes.scatter(mean, difference, s=14, alpha=0.7)
    for level, style in ((bias, "-"), (bias - spread, "--"), (bias + spread, "--")):
        axes.axhline(level, color="0.4", ls=style, lw=1)
        axes.text(1, level, f"{level:+.1f}", transform=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=8)
    axes.set(xlabel="mean of label and prediction (%)", ylabel="prediction - label (points)", title="difference")


def draw_border_sheet(path: Path, pictures: Sequence[BorderPicture], columns: int = 6) -> None:
    """Draw frames with their borders, tiled.

    Args:
        path: the PNG to write.
        pictures: frames with borders, at least one.
        columns: pictures per row.
    """
    rows = -(-len(pictures) // columns)
    figure = plt.figure(figsize=(2.2 * columns, 2.35 * rows), layout="constrained", facecolor="black")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture in zip(grid.flat, pictures, strict=False):
        draw_borders(axes, picture)
    styles = {"predicted endocardium": ("endo", "-"), "epicardium": ("epi", "-"), "labelled": ("label", ":")}
    lines = [Line2D([], [], color=COLOURS[colour], ls=style, label=name) for name, (colour, style) in styles.items()]
    figure.legend(handles=lines, loc="outside lower center", ncols=3, fontsize=8, labelcolor="white", frameon=False)
    save(figure, path)


def draw_borders(axes: Axes, picture: BorderPicture) -> None:
    """Draw a frame with its predicted borders in colour and its labelled borders in white."""
    axes.imshow(picture.frame, cmap="gray", vmin=0, vmax=255)
    axes.set_title(picture.title, fontsize=8, color="white")
    for landmarks in picture.labelled.values():
        axes.plot(*geometry.border_polygon(landmarks).T.numpy(), color=COLOURS["label"], lw=0.9, ls=":")
    for border, landmarks in picture.predicted.items():
        axes.plot(*geometry.border_polygon(landmarks).T.numpy(), color=COLOURS[border], lw=1.3)
        if border == "endo":
            axes.plot(*landmarks[: geometry.BASE + 1].T.numpy(), color=COLOURS[border], lw=0.7)
    axes.set(xlim=(-0.5, picture.frame.shape[1] - 0.5), ylim=(picture.frame.shape[0] - 0.5, -0.5))


def draw_curves(
    path: Path, quantity: str, panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]
) -> None:
    """Draw curves of one quantity, one panel per x axis, on one scale from zero.

    Args:
        path: the PNG to write.
        quantity: label of the y axis, with its unit.
        panels: x and y of each curve, by label of the x axis and name.
    """
    figure = plt.figure(figsize=(10, 3.4), layout="constrained")
    top = 1.2 * max(max(values) for curves in panels.values() for _, values in curves.values())
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, (label, curves) in zip(grid.flat, panels.items(), strict=True):
        for (name, (places, values)), style in zip(curves.items(), ("-", "--", ":", "-."), strict=False):
            axes.plot(places, values, style, label=name, marker="." if len(values) < 60 else None)
        axes.set(xlabel=label, ylim=(0, top), xlim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    figure.axes[0].set_ylabel(quantity)
    save(figure, path)
