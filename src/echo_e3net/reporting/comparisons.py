"""Many runs side by side: arms of a study, their differences, trials of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from echo_e3net.reporting.canvas import COLOURS, save


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
        axes.set(
            title=f"test set: {test}",
            xlabel="MAE (EF points)",
            yticks=range(len(arms)),
            yticklabels=arms,
            ylim=(len(arms) - 0.5, -0.5),
        )
        axes.grid(axis="x", color="0.92")
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
        axes.set(
            title=f"test set: {test}",
            xlabel="EF points; left of 0 is better",
            yticks=range(len(arms)),
            yticklabels=arms,
        )
        axes.set_ylim(len(arms) - 0.5, -0.5)
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
    last = SweepAxis(
        metric,
        np.clip((values - low) / span, -0.04, 1.04).tolist(),
        {at: f"{low + at * span:.3g}" for at in (0.0, 0.5, 1.0)},
    )
    goodness = np.clip((values - low) / span, 0, 1) if maximize else 1 - np.clip((values - low) / span, 0, 1)
    columns = [*axes, last]
    for trial in np.argsort(goodness):
        heights = [axis.heights[trial] for axis in columns]
        style = {
            "color": plt.get_cmap("viridis_r")(goodness[trial]),
            "alpha": 0.35 + 0.65 * goodness[trial],
            "lw": 1 + goodness[trial],
        }
        lines.plot(range(len(columns)), heights, ls=":" if pruned[trial] else "-", **style)
    best = int(np.argmax(goodness * ~np.asarray(pruned)))
    lines.plot(
        range(len(columns)),
        [axis.heights[best] for axis in columns],
        color="#dc267f",
        lw=2.4,
        label=f"best: {figures[best]:.4g}",
    )
    for x, axis in enumerate(columns):
        lines.axvline(x, color="0.3", lw=1)
        for height, text in axis.marks.items():
            lines.text(
                x + 0.03,
                height,
                text,
                fontsize=8,
                va="center",
                bbox={"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.8},
                zorder=5,
            )
    lines.set(
        xticks=range(len(columns)),
        xticklabels=[axis.name for axis in columns],
        yticks=[],
        xlim=(-0.1, len(columns) - 0.6),
        ylim=(-0.06, 1.06),
    )
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
