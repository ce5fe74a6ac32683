"""Pictures of results. The only file that knows matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from echo_e3net import geometry
from echo_e3net.errors import InputError
from echo_e3net.files import require_place, whole

COLOURS = {"endo": "#ffb000", "epi": "#648fff", "label": "#ffffff"}
PICTURES = (".png", ".jpg", ".jpeg")
HFREF, HFPEF = 40, 50
"""EF bounds of reduced and preserved ejection fraction, percent."""


class BorderPicture(NamedTuple):
    """One frame with borders drawn on it: the picture, its title, predicted borders by name and labelled ones."""

    frame: UInt8[np.ndarray, "H W"]
    title: str
    predicted: dict[str, Float[Tensor, "K 2"]]
    labelled: dict[str, Float[Tensor, "K 2"]]


def draw_scores(
    path: Path, title: str, prediction: Sequence[float], target: Sequence[float], curve: Mapping[str, tuple[Sequence[float], Sequence[float]]]
) -> None:
    """Predicted against labelled EF, their difference, and the learning curve, side by side.

    Args:
        path: the PNG to write.
        title: headline.
        prediction: EF of each video, percent.
        target: label of each video, percent.
        curve: epochs and values of each curve by name.
    """
    figure = plt.figure(figsize=(12, 4.2), layout="constrained")
    figure.suptitle(title)
    left, middle, right = figure.subplots(1, 3)
    draw_agreement(left, prediction, target)
    draw_difference(middle, prediction, target)
    for name, (epochs, values) in curve.items():
        right.plot(epochs, values, marker=".", label=name)
    right.set(xlabel="epoch", ylabel="EF points", title="validation", ylim=(0, None))
    if curve:
        right.legend()
    save(figure, path)


def draw_border_sheet(path: Path, pictures: Sequence[BorderPicture], columns: int = 6) -> None:
    """Frames with their borders, tiled.

    Args:
        path: the PNG to write.
        pictures: frames with borders, at least one.
        columns: pictures a row.
    """
    rows = -(-len(pictures) // columns)
    figure = plt.figure(figsize=(2.2 * columns, 2.35 * rows), layout="constrained", facecolor="black")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture in zip(grid.flat, pictures, strict=False):
        draw_borders(axes, picture)
    save(figure, path)


def draw_curves(path: Path, quantity: str, panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]) -> None:
    """Curves of one quantity over several things, a panel each, from zero on one scale.

    Args:
        path: the PNG to write.
        quantity: what all curves show, with its unit.
        panels: for each axis label, the curves by name.
    """
    figure = plt.figure(figsize=(10, 3.4), layout="constrained")
    top = 1.2 * max(max(values) for curves in panels.values() for _, values in curves.values())
    for axes, (label, curves) in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False).flat, panels.items(), strict=True):
        for (name, (places, values)), style in zip(curves.items(), ("-", "--", ":", "-."), strict=False):
            axes.plot(places, values, style, label=name, marker="." if len(values) < 60 else None)
        axes.set(xlabel=label, ylim=(0, top), xlim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    figure.axes[0].set_ylabel(quantity)
    save(figure, path)


def require_picture(path: Path) -> None:
    """Refuse a picture that could not be written, before what it is to show is computed.

    Raises:
        InputError: it has another suffix than those of ``PICTURES``, or its place cannot be written.
    """
    if path.suffix.lower() not in PICTURES:
        raise InputError(f"{path}: a picture is written as PNG or JPEG; give a name that ends in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}.")
    require_place(path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all."""
    with whole(path) as aside:
        figure.savefig(aside, dpi=100, pil_kwargs={"optimize": True})
    plt.close(figure)


def draw_agreement(axes: Axes, prediction: Sequence[float], target: Sequence[float]) -> None:
    """Predicted against labelled EF, with the line of identity and the clinical bounds."""
    axes.axvspan(0, HFREF, color="#dc267f", alpha=0.08)
    axes.axvspan(HFREF, HFPEF, color="#ffb000", alpha=0.08)
    axes.plot([0, 100], [0, 100], color="0.6", lw=1)
    axes.scatter(target, prediction, s=14, alpha=0.7)
    axes.set(xlim=(0, 95), ylim=(0, 95), xlabel="labelled EF (%)", ylabel="predicted EF (%)", title="agreement", aspect="equal")


def draw_difference(axes: Axes, prediction: Sequence[float], target: Sequence[float]) -> None:
    """Bland and Altman's plot: difference against mean, with bias and limits of agreement."""
    mean, difference = (np.add(prediction, target) / 2, np.subtract(prediction, target))
    bias, spread = difference.mean(), 1.96 * difference.std()
    axes.scatter(mean, difference, s=14, alpha=0.7)
    for level, style in ((bias, "-"), (bias - spread, "--"), (bias + spread, "--")):
        axes.axhline(level, color="0.4", ls=style, lw=1)
        axes.annotate(f"{level:+.1f}", (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    axes.set(xlabel="mean of label and prediction (%)", ylabel="prediction - label (points)", title="difference")


def draw_borders(axes: Axes, picture: BorderPicture) -> None:
    """A frame with its predicted borders in colour and the labelled ones in white."""
    axes.imshow(picture.frame, cmap="gray", vmin=0, vmax=255)
    axes.set_title(picture.title, fontsize=8, color="white")
    for landmarks in picture.labelled.values():
        axes.plot(*outline(landmarks), color=COLOURS["label"], lw=0.9, ls=":")
    for border, landmarks in picture.predicted.items():
        axes.plot(*outline(landmarks), color=COLOURS[border], lw=1.3)
        if border == "endo":
            axes.plot(*landmarks[: geometry.BASE + 1].T.numpy(), color=COLOURS[border], lw=0.7)
    axes.set(xlim=(-0.5, picture.frame.shape[1] - 0.5), ylim=(picture.frame.shape[0] - 0.5, -0.5))


def outline(landmarks: Float[Tensor, "K 2"]) -> tuple[np.ndarray, np.ndarray]:
    """The border as a line from one end of the mitral plane over the apex to the other: x and y."""
    left, right = landmarks[geometry.LEFT].flip(0), landmarks[geometry.RIGHT]
    points = torch.cat([left, landmarks[None, geometry.APEX], right]).numpy()
    return points[:, 0], points[:, 1]


class AttentionPicture(NamedTuple):
    """Where the border detector looks in one clip: its ED and ES frame, landmarks in their pixels, attention on its grid, timing over the clip.

    ``traced`` holds the clip positions of the labelled ED and ES, NaN where they are not known.
    """

    title: str
    frames: UInt8[np.ndarray, "P H W"]
    landmarks: Float[Tensor, "P S K 2"]
    attention: Float[Tensor, "P S K h w"]
    timing: Float[Tensor, "P T"]
    traced: Sequence[float]


SHOWN_QUERIES = {"apex": 0, "mitral plane": 1, "left, disc 10": 11, "right, disc 10": 31}
"""Endocardial landmarks whose attention is drawn one by one."""


def draw_attention(path: Path, title: str, pictures: Sequence[AttentionPicture]) -> None:
    """A row a clip: borders at ED and ES, the attention of all endocardial queries at ED and ES, of single ones at ED, and the timing.

    Args:
        path: the PNG to write.
        title: headline.
        pictures: at least one clip.
    """
    figure = plt.figure(figsize=(2.1 * 9.4, 0.6 + 2.35 * len(pictures)), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(len(pictures), 9, squeeze=False, width_ratios=[1] * 8 + [1.4])
    for row, picture in zip(grid, pictures, strict=True):
        for p, phase in enumerate(("ED", "ES")):
            borders = dict(zip(("endo", "epi"), picture.landmarks[p], strict=False))
            draw_borders(row[p], BorderPicture(picture.frames[p], "", borders, {}))
            row[p].set_title(f"{picture.title}\n{phase}" if not p else phase, fontsize=8, loc="left")
            draw_heat(row[2 + p], picture.frames[p], picture.attention[p, 0].mean(0), f"{phase}, all endo")
        for axes, (name, k) in zip(row[4:8], SHOWN_QUERIES.items(), strict=True):
            draw_heat(axes, picture.frames[0], picture.attention[0, 0, k], f"ED, {name}")
            axes.plot(*picture.landmarks[0, 0, k].numpy(), "+", color="white", ms=8)
        for axes in row[:8]:
            axes.set(xticks=[], yticks=[])
        for curve, phase, traced, colour in zip(picture.timing.numpy(), ("ED", "ES"), picture.traced, ("#785ef0", "#009e73"), strict=True):
            row[8].plot(curve, label=f"{phase} at {curve.argmax()}", color=colour)
            if np.isfinite(traced):
                row[8].axvline(traced, color=colour, ls=":", label=f"{phase} traced")
        row[8].set(xlabel="clip frame", ylabel="weight", ylim=(0, None))
        row[8].set_title("timing", fontsize=8)
        row[8].legend(fontsize=6)
    save(figure, path)


def draw_heat(axes: Axes, frame: UInt8[np.ndarray, "H W"], heat: Float[Tensor, "h w"], title: str) -> None:
    """A frame with an attention map over it: clear where a cell gets no more than an even share, full colour at ``FULL_COLOUR`` times that.

    The title says how many times an even share the most attended cell gets.
    """
    axes.imshow(frame, cmap="gray", vmin=0, vmax=255)
    times = (heat * heat.numel()).numpy()
    shown = np.clip((times - 1) / (FULL_COLOUR - 1), 0, 1)
    extent = (-0.5, frame.shape[1] - 0.5, frame.shape[0] - 0.5, -0.5)
    axes.imshow(shown, cmap="inferno", alpha=0.8 * np.sqrt(shown), extent=extent, interpolation="nearest", vmin=0, vmax=1)
    axes.set_title(f"{title} (×{times.max():.0f})", fontsize=8)


FULL_COLOUR = 20.0


class Box(NamedTuple):
    """A part of the network: its name, its class or kind, the shape of what it gives, and its parameters."""

    name: str
    kind: str
    shape: str
    parameters: int


def draw_architecture(path: Path, title: str, columns: Mapping[str, Sequence[Box]], arrows: Sequence[tuple[str, str]]) -> None:
    """The parts in columns from top to bottom, with arrows for what is handed on, coloured by the part that takes it; dotted past another column.

    Args:
        path: the PNG to write.
        title: headline.
        columns: the boxes of each column, from top to bottom, by its title.
        arrows: pairs of box names, from and to.
    """
    tallest = max(map(len, columns.values()))
    figure = plt.figure(figsize=(3.7 * len(columns), 0.85 * tallest + 1.0), layout="constrained")
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots()
    places: dict[str, tuple[int, float]] = {}
    for x, (part, column) in enumerate(columns.items()):
        axes.text(x, -0.15, part, ha="center", fontsize=11, fontweight="bold")
        for i, box in enumerate(column):
            y = (i + 0.5) * tallest / len(column)
            places[box.name] = (x, y)
            shape, rounding = (x - BOX_WIDTH / 2, y - 0.3), "round,pad=0,rounding_size=0.04"
            patch = FancyBboxPatch(shape, BOX_WIDTH, 0.6, rounding, mutation_aspect=2, facecolor=FACES[x % 3], edgecolor=EDGES[x % 3], zorder=3)
            axes.add_patch(patch)
            parameters = f", {box.parameters:,} parameters" if box.parameters else ""
            axes.text(x, y, f"{box.name}\n{box.kind}{parameters}\n→ {box.shape}", ha="center", va="center", fontsize=7.5, zorder=4)
    for start, end in arrows:
        (x0, y0), (x1, y1) = places[start], places[end]
        style = {"arrowstyle": "-|>", "color": EDGES[x1 % 3], "lw": 1.1, "shrinkA": 0, "shrinkB": 0, "ls": ":" if x1 - x0 > 1 else "-"}
        following = x0 == x1 and y1 - y0 < 1.5 * tallest / len(columns[list(columns)[x0]])
        side = BOX_WIDTH / 2
        ends = ((x0, y0 + 0.3), (x1, y1 - 0.3)) if following else ((x0 + side, y0), (x1 + (side if x0 == x1 else -side), y1))
        bend = "arc3,rad=-0.35" if x0 == x1 and not following else "arc3"
        axes.annotate("", ends[1], ends[0], arrowprops=style | {"connectionstyle": bend}, zorder=2)
    axes.set(xlim=(-0.5, len(columns) - 0.4), ylim=(tallest, -0.5))
    axes.axis("off")
    save(figure, path)


BOX_WIDTH = 0.66
FACES, EDGES = ("#dbe7ff", "#ffe3b3", "#f6d3e4"), ("#3d5a99", "#b37400", "#a03f72")


def draw_study(path: Path, title: str, by_test: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Error of EF by arm: a dot a seed and a bar at their mean, a column a test set; the line is the first arm's mean.

    Args:
        path: the PNG to write.
        title: headline.
        by_test: rows with arm, seed and ef_mae, by test set.
    """
    arms = list(dict.fromkeys(row["arm"] for rows in by_test.values() for row in rows))
    figure = plt.figure(figsize=(2 + 4.5 * len(by_test), 1.6 + 0.32 * len(arms)), layout="constrained")
    figure.suptitle(f"{title}: mean absolute error of EF (points), a dot a seed")
    panels = figure.subplots(1, len(by_test), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (test, rows) in zip(panels, by_test.items(), strict=True):
        for place, arm in enumerate(arms):
            found = [row["ef_mae"] for row in rows if row["arm"] == arm and row["ef_mae"] is not None]
            axes.plot(found, [place] * len(found), "o", color=COLOURS["epi"], alpha=0.8, ms=5)
            axes.plot([np.mean(found)] if found else [], [place] if found else [], "|", color="black", ms=14, mew=2)
            if found and place == 0:
                axes.axvline(float(np.mean(found)), color="0.7", lw=1, zorder=0)
        axes.set(title=f"test set: {test}", xlabel="MAE (EF points)", yticks=range(len(arms)), yticklabels=arms, ylim=(len(arms) - 0.5, -0.5))
        axes.grid(axis="x", color="0.92")
    save(figure, path)


class SweepAxis(NamedTuple):
    """A parameter of a sweep as a vertical axis: the height of each trial's value on it, 0…1, and what stands at some heights."""

    name: str
    heights: Sequence[float]
    marks: Mapping[float, str]


def draw_sweep(
    path: Path,
    title: str,
    metric: str,
    axes: Sequence[SweepAxis],
    figures: Sequence[float],
    pruned: Sequence[bool],
    maximize: bool,
    importances: Mapping[str, float],
) -> None:
    """Trials as lines through their parameters (parallel coordinates), the better the darker, the best on top; and how important each parameter is.

    Args:
        path: the PNG to write.
        title: headline.
        metric: name of the figure that decides.
        axes: the parameters.
        figures: the figure of each trial.
        pruned: whether a trial was ended early; drawn dotted.
        maximize: whether more is better.
        importances: share of each parameter; empty: not known.
    """
    figure = plt.figure(figsize=(2.6 + 1.7 * (len(axes) + 1) + 3.4, 4.6), layout="constrained")
    figure.suptitle(title)
    lines, bars = figure.subplots(1, 2, width_ratios=[len(axes) + 1.5, 2])
    values = np.asarray(figures)
    low, high = float(values.min()), float(np.quantile(values, 0.9)) if not maximize else float(values.max())
    low = float(np.quantile(values, 0.1)) if maximize else low
    span = (high - low) or 1.0
    last = SweepAxis(metric, np.clip((values - low) / span, -0.04, 1.04).tolist(), {at: f"{low + at * span:.3g}" for at in (0.0, 0.5, 1.0)})
    goodness = np.clip((values - low) / span, 0, 1) if maximize else 1 - np.clip((values - low) / span, 0, 1)
    columns = [*axes, last]
    for trial in np.argsort(goodness):
        heights = [axis.heights[trial] for axis in columns]
        style = {"color": plt.get_cmap("viridis_r")(goodness[trial]), "alpha": 0.35 + 0.65 * goodness[trial], "lw": 1 + goodness[trial]}
        lines.plot(range(len(columns)), heights, ls=":" if pruned[trial] else "-", **style)
    best = int(np.argmax(goodness * ~np.asarray(pruned)))
    lines.plot(range(len(columns)), [axis.heights[best] for axis in columns], color="#dc267f", lw=2.4, label=f"best: {figures[best]:.4g}")
    for x, axis in enumerate(columns):
        lines.axvline(x, color="0.3", lw=1)
        for height, text in axis.marks.items():
            lines.text(x + 0.03, height, text, fontsize=8, va="center", bbox={"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.8}, zorder=5)
    lines.set(xticks=range(len(columns)), xticklabels=[axis.name for axis in columns], yticks=[], xlim=(-0.1, len(columns) - 0.6), ylim=(-0.06, 1.06))
    lines.spines[:].set_visible(False)
    lines.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=8)
    if importances:
        names = list(importances)[::-1]
        bars.barh(names, [importances[name] for name in names], color=COLOURS["epi"])
        bars.set(xlim=(0, 1), xlabel="importance (PED-ANOVA)")
    else:
        bars.text(0.5, 0.5, "too few trials\nfor importance", ha="center", va="center", color="0.4")
        bars.axis("off")
    save(figure, path)


def draw_differences(path: Path, title: str, by_test: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Differences to a base with their intervals, a line an arm and a column a test set; filled where the interval does not hold 0.

    Args:
        path: the PNG to write.
        title: headline.
        by_test: mean, low and high (None where there is no interval) by test set and arm.
    """
    arms = list(dict.fromkeys(arm for found in by_test.values() for arm in found))
    figure = plt.figure(figsize=(2 + 4.5 * len(by_test), 1.6 + 0.32 * len(arms)), layout="constrained")
    known = any(found[arm].get("low") is not None for found in by_test.values() for arm in found)
    figure.suptitle(f"{title}, 95 % interval over videos" if known else title)
    panels = figure.subplots(1, len(by_test), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (test, found) in zip(panels, by_test.items(), strict=True):
        axes.axvline(0, color="0.5", lw=1, zorder=0)
        for place, arm in enumerate(arms):
            mean, low, high = (found.get(arm, {}).get(name) for name in ("mean", "low", "high"))
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=COLOURS["epi"], lw=2, solid_capstyle="butt")
            if mean is not None:
                apart = low is not None and high is not None and (low > 0 or high < 0)
                axes.plot(mean, place, "o", color=COLOURS["epi"], mfc=COLOURS["epi"] if apart else "white", ms=6)
        axes.set(title=f"test set: {test}", xlabel="EF points; left of 0 is better", yticks=range(len(arms)), yticklabels=arms)
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.grid(axis="x", color="0.92")
    save(figure, path)
