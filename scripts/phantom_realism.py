"""The phantom's figures beside those of real clips: ``python -m phantom_realism 60``.

The targets were measured by others on real apical-four-chamber clips at this size; how, is in :mod:`.measure`.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import phantom_measure as measure
from rich.console import Console
from rich.table import Table

from echo_e3net.data.raster import resize_area, through_jpeg, use_one_thread
from echo_e3net.phantom.render import Plan, jpeg_quality, plan_video, render
from echo_e3net.phantom.sector import SIZE

TARGETS = {
    "grey mean": (26.0, 36.0),
    "grey SD": (42.0, 55.0),
    "black share": (0.37, 0.61),
    "wall / cavity": (2.5, 7.0),
    "ED area, px": (900.0, 2450.0),
    "ED long axis, px": (45.0, 70.0),
    "correlation length, px": (1.5, 2.0),
    "correlation at lag 1": (0.93, 0.97),
    "correlation at lag 2": (0.90, 0.95),
    "correlation at lag 4": (0.84, 0.93),
    "correlation at lag 8": (0.79, 0.91),
}
"""Lowest and highest acceptable value; medians over videos, except for the first two, which pool all pixels."""

LAGS = (1, 2, 4, 8)
_CLIP = 24
_WALL_POINTS = [*range(6, 22, 2), *range(26, 42, 2)]
"""Landmarks between which the wall's middle is tracked: all but the apex."""

_PENALTIES = (30.0, 300.0, 3000.0)
_SMALL = 28


def clip_figures(plan: Plan) -> tuple[np.ndarray, list[float]]:
    """Pixels of a short clip around ED, and the figures of one video from the third target on."""
    ejection = plan.ejection
    first = max(min(ejection.ed, len(ejection.time_s) - _CLIP), 0)
    quality = jpeg_quality(plan)
    frames = np.stack(
        [through_jpeg(frame, quality) for frame in render(plan, first, min(first + _CLIP, len(ejection.time_s)))]
    )
    ed, inner, outer = frames[ejection.ed - first], plan.borders()[ejection.ed], plan.borders(outer=True)[ejection.ed]
    wall, cavity = measure.wall_and_cavity(inner, outer, SIZE)
    middle = (plan.borders()[first] + plan.borders(outer=True)[first])[_WALL_POINTS] / 2
    lags = measure.lag_correlations(frames, middle, LAGS)
    return frames, [
        measure.black_share(frames),
        measure.wall_to_cavity(ed, wall, cavity),
        float(cavity.sum()),
        float(np.linalg.norm(inner[1] - inner[0])),
        measure.correlation_length(ed, wall),
        *(float(value) for value in lags),
    ]


def figures(seed: int, n: int) -> dict[str, float]:
    """The figures of ``n`` videos, by the names of the targets."""
    clips, rows = zip(*(clip_figures(plan_video(seed, index)) for index in range(n)), strict=True)
    pixels = np.concatenate([clip.ravel() for clip in clips])
    values = [
        float(pixels.mean()),
        float(pixels.std()),
        *(float(value) for value in np.nanmedian(np.array(rows), axis=0)),
    ]
    return dict(zip(TARGETS, values, strict=True))


def leak(seed: int, n: int) -> dict[str, float]:
    """Root mean square error of EF, in points, of three who see no motion: the mean, EDV alone, and the pixels of the first frame."""
    plans = [plan_video(seed, index) for index in range(n)]
    ef = np.array([plan.ejection.ef_percent for plan in plans])
    log_edv = np.log([plan.ejection.edv_ml for plan in plans])
    frames = np.stack([resize_area(render(plan, 0, 1)[0], _SMALL, _SMALL).ravel() for plan in plans]).astype(np.float64)
    return {
        "the mean": float(ef.std()),
        "EDV alone": measure.ridge_error(np.stack([log_edv, log_edv**2], axis=-1), ef, 1.0),
        "first frame": min(measure.ridge_error(frames, ef, penalty) for penalty in _PENALTIES),
    }


def seconds_per_100_frames(seed: int, n: int) -> float:
    """Processor time of rendering, one core."""
    plans = [plan_video(seed, index, 100) for index in range(n)]
    start = time.process_time()
    count = sum(len(render(plan)) for plan in plans)
    return (time.process_time() - start) / count * 100


def main(n: int, seed: int = 0) -> None:
    """Print the figures beside their targets, the errors without motion, and the time."""
    use_one_thread()
    table = Table("figure", "phantom", "target", title=f"{n} videos, seed {seed}")
    for name, value in figures(seed, n).items():
        low, high = TARGETS[name]
        table.add_row(name, f"{value:.3g}", f"{low:g} … {high:g}")
    for name, value in leak(seed, 5 * n).items():
        table.add_row(f"RMSE of EF from {name}", f"{value:.2f}", "")
    table.add_row("seconds per 100 frames and core", f"{seconds_per_100_frames(seed, 3):.2f}", "at most 1")
    Console().print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
