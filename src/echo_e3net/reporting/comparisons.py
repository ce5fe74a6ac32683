"""Compare many runs: arms of a study, their differences, and trials of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from echo_e3net.reporting.canvas import COLOURS, save


def draw_study(path: Path, title: str, by_test: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw the error of EF per arm: one dot per seed, a bar at the mean, one column per test set.

    The line marks the mean of the first arm.

    Args:
        path: the PNG to write.
        title: headline.
        by_test: rows with arm, seed and ef_mae by test set.
    """
    arms = list(dict.fromkeys(row["arm"] for rows in by_test.values() for row in rows))
    title = f"{title}: mean absolute error of EF (points), one dot per seed"
    figure, panels = arm_panels(title, by_test, arms, "MAE (EF points)")
    for axes, rows in zip(panels, by_test.values(), strict=True):
        for place, arm in enumerate(arms):
            found = [row["ef_mae"] for row in rows if row["arm"] == arm and row["ef_mae"] is not None]
            if not found:
                continue
            mean = float(np.mean(found))
            axes.plot(found, [place] * len(found), "o", color=COLOURS["epi"], alpha=0.8, ms=5)
            axes.plot(mean, place, "|", color="black", ms=14, mew=2)
            if place == 0:
                axes.axvline(mean, color="0.7", lw=1, zorder=0)
    save(figure, path)


def draw_differences(path: Path, title: str, by_test: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Draw differences to a base with their intervals: one line per arm, one column per test set.

    A dot is filled if its interval does not contain 0.

    Args:
        path: the PNG to write.
        title: headline.
        by_test: mean, low and high (None without an interval) by test set and arm.
    """
    arms = list(dict.fromkeys(arm for found in by_test.values() for arm in found))
    known = any(figures.get("low") is not None for found in by_test.values() for figures in found.values())
    title = f"{title}, 95 % interval over videos" if known else title
    figure, panels = arm_panels(title, by_test, arms, "EF points; left of 0 is better")
    for axes, found in zip(panels, by_test.values(), strict=True):
        axes.axvline(0, color="0.5", lw=1, zorder=0)
        for place, arm in enumerate(arms):
            mean, low, high = (found.get(arm, {}).get(name) for name in ("mean", "low", "high"))
            fill = "white"
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=COLOURS["epi"], lw=2, solid_capstyle="butt")
                fill = COLOURS["epi"] if low > 0 or high < 0 else fill
            if mean is not None:
                axes.plot(mean, place, "o", color=COLOURS["epi"], mfc=fill, ms=6)
    save(figure, path)


def arm_panels(title: str, tests: Iterable[str], arms: Sequence[str], xlabel: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel per test set, in which each arm has one line."""
    names = list(tests)
    figure = plt.figure(figsize=(2 + 4.5 * len(names), 1.6 + 0.32 * len(arms)), layout="constrained")
    figure.suptitle(title)
    panels = list(figure.subplots(1, len(names), squeeze=False, sharex=True, sharey=True)[0])
    for axes, name in zip(panels, names, strict=True):
        axes.set(title=f"test set: {name}", xlabel=xlabel, yticks=range(len(arms)), yticklabels=arms)
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.grid(axis="x", color="0.92")
    return figure, panels


class SweepAxis(NamedTuple):
    """A parameter of a sweep as a vertical axis.

    Attributes:
        name: the parameter.
        heights: height of the value of each trial, 0…1.
        marks: texts by height.
    """

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
    """Draw trials as lines through their parameters (parallel coordinates), and the importance of each parameter.

    Better trials are darker. The best trial is drawn on top.

    Args:
        path: the PNG to write.
        title: headline.
        metric: name of the objective.
        axes: the parameters.
        figures: objective of each trial.
        pruned: whether a trial was stopped early; drawn dotted.
        maximize: whether a larger objective is better.
        importances: share of each parameter; empty if unknown.
    """
    figure = plt.figure(figsize=(2.6 + 1.7 * (len(axes) + 1) + 3.4, 4.6), layout="constrained")
    figure.suptitle(title)
    lines, bars = figure.subplots(1, 2, width_ratios=[len(axes) + 1.5, 2])
    # Poor outliers would compress the scale, so its poor end is a quantile.
    low, high = np.quantile(figures, (0.1, 1.0) if maximize else (0.0, 0.9))
    span = float(high - low) or 1.0
    heights = (np.asarray(figures) - low) / span
    goodness = np.clip(heights if maximize else 1 - heights, 0, 1)
    marks = {at: f"{low + at * span:.3g}" for at in (0.0, 0.5, 1.0)}
    columns = [*axes, SweepAxis(metric, np.clip(heights, -0.04, 1.04).tolist(), marks)]
    draw_trials(lines, columns, goodness, pruned)
    best = int(np.argmax(goodness * ~np.asarray(pruned)))
    line = [axis.heights[best] for axis in columns]
    lines.plot(line, color="#dc267f", lw=2.4, label=f"best: {figures[best]:.4g}")
    lines.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=8)
    bars.barh(list(importances), list(importances.values()), color=COLOURS["epi"])
    bars.set(xlim=(0, 1), xlabel="importance (PED-ANOVA)" if importances else "too few trials for importance")
    bars.invert_yaxis()
    save(figure, path)


def draw_trials(lines: Axes, columns: Sequence[SweepAxis], goodness: np.ndarray, pruned: Sequence[bool]) -> None:
    """Draw the vertical axes and one line per trial."""
    for trial in np.argsort(goodness):
        good = goodness[trial]
        lines.plot(
            [axis.heights[trial] for axis in columns],
            ls=":" if pruned[trial] else "-",
            color=plt.get_cmap("viridis_r")(good),
            alpha=0.35 + 0.65 * good,
            lw=1 + good,
        )
    box = {"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.8}
    for x, axis in enumerate(columns):
        lines.axvline(x, color="0.3", lw=1)
        for height, text in axis.marks.items():
            lines.text(x + 0.03, height, text, fontsize=8, va="center", bbox=box, zorder=5)
    lines.set(xticks=range(len(columns)), xticklabels=[axis.name for axis in columns], yticks=[], ylim=(-0.06, 1.06))
    lines.set_xlim(-0.1, len(columns) - 0.6)
    lines.spines[:].set_visible(False)
