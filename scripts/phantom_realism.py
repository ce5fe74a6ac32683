"""Compare figures of the phantom with those of real clips, and test whether one frame reveals EF.

    python scripts/phantom_realism.py [VIDEOS]

The targets come from real apical-four-chamber clips of this size. The functions accept frames of any origin.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from rich.console import Console
from rich.table import Table

from echo_e3net.data.raster import blur, fill_polygon, resize_area, use_one_thread
from echo_e3net.geometry import APEX, BASE, LEFT, RIGHT
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
"""Lowest and highest acceptable value. The first two pool all pixels, the others are medians over videos."""
LAGS = (1, 2, 4, 8)
BLACK = 3
"""Grey values below this count as black."""
CLIP_FRAMES = 24
WALL_POINTS = [*range(6, 22, 2), *range(26, 42, 2)]
"""Landmarks between which the middle of the wall is tracked: all except those near the apex."""
PENALTIES = (30.0, 300.0, 3000.0)
SMALL = 28
"""Side of the frames from which EF is predicted, pixels."""
BLOCK, SEARCH = 13, 5
"""Side of a tracked block, and its largest displacement, pixels."""
DETREND = 3.0
"""Standard deviation of the blur that is subtracted from a texture, pixels."""


def area(border: Float[np.ndarray, "42 2"]) -> Bool[np.ndarray, "H W"]:
    """Return the pixels inside a border of landmarks."""
    around = [border[APEX : APEX + 1], border[RIGHT], border[BASE : BASE + 1], border[LEFT][::-1]]
    return fill_polygon((SIZE, SIZE), np.concatenate(around).astype(np.float32))


def correlation_length(frame: UInt8[np.ndarray, "H W"], tissue: Bool[np.ndarray, "H W"]) -> float:
    """Return the lag in pixels at which the autocorrelation of the texture falls to 1/e, mean of both directions.

    Args:
        frame: grey picture; slow variation of brightness is subtracted first.
        tissue: where to measure.
    """
    grey, share = frame.astype(np.float32) * tissue, tissue.astype(np.float32)
    slow = blur(grey, DETREND, DETREND) / np.maximum(blur(share, DETREND, DETREND), 1e-3)
    texture = grey - slow * share
    axes = ((texture, tissue), (texture.T, tissue.T))
    return float(np.mean([first_fall([autocorrelation(*axis, lag) for lag in range(6)]) for axis in axes]))


def autocorrelation(texture: np.ndarray, tissue: np.ndarray, lag: int) -> float:
    """Return the correlation of a texture with itself, shifted by rows."""
    both = tissue[: len(tissue) - lag] & tissue[lag:]
    a, b = texture[: len(texture) - lag][both], texture[lag:][both]
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))


def first_fall(correlations: list[float]) -> float:
    """Return the fractional lag at which a falling curve reaches 1/e."""
    level = float(np.exp(-1))
    for lag, (before, after) in enumerate(pairwise(correlations)):
        if after <= level:
            return lag + (before - level) / (before - after)
    return float(len(correlations) - 1)


def lag_correlations(
    frames: UInt8[np.ndarray, "T H W"],
    centres: Float[np.ndarray, "C 2"],
    lags: tuple[int, ...],
    compensated: bool = True,
) -> Float[np.ndarray, " L"]:
    """Return the mean correlation of small blocks with a later frame, for each lag in frames.

    Args:
        frames: one video.
        centres: (x, y) of the blocks, in every frame tried.
        lags: in frames, ascending.
        compensated: search the best place of the block in the later frame; otherwise compare the same place.
    """
    starts = np.linspace(0, len(frames) - 1 - lags[-1], 6).astype(int)
    reach = SEARCH if compensated else 0
    values = [
        [block_match(frames[t], frames[t + lag], x, y, reach) for t in starts for x, y in centres] for lag in lags
    ]
    return np.asarray(np.nanmean(np.array(values), axis=1))


def block_match(before: np.ndarray, after: np.ndarray, x: float, y: float, reach: int) -> float:
    """Return the correlation of a block with its best place in another frame; NaN at the edge and on flat blocks."""
    half = BLOCK // 2
    column, row, span = round(x), round(y), half + reach
    if min(column, row) < span or column + span >= before.shape[1] or row + span >= before.shape[0]:
        return float("nan")
    block = before[row - half : row + half + 1, column - half : column + half + 1].astype(np.float32)
    around = after[row - span : row + span + 1, column - span : column + span + 1].astype(np.float32)
    return best_match(block, around) if block.std() > 1 else float("nan")


def best_match(template: Float32[np.ndarray, "h w"], picture: Float32[np.ndarray, "H W"]) -> float:
    """Return the highest normalised correlation (-1…1) of a template with any place of a larger picture."""
    return float(cv2.matchTemplate(picture, template, cv2.TM_CCOEFF_NORMED).max())


def ridge_error(
    features: Float[np.ndarray, "N F"], target: Float[np.ndarray, " N"], penalty: float, folds: int = 5
) -> float:
    """Return the root mean square error of cross-validated ridge regression, in the unit of the target."""
    left_out = np.arange(len(target)) % folds
    squares = np.empty(len(target))
    for fold in range(folds):
        known, asked = left_out != fold, left_out == fold
        mean, scale = features[known].mean(0), features[known].std(0) + 1e-6
        x, centre = (features - mean) / scale, target[known].mean()
        weights = np.linalg.solve(
            x[known].T @ x[known] + penalty * np.eye(x.shape[1]), x[known].T @ (target[known] - centre)
        )
        squares[asked] = np.square(x[asked] @ weights + centre - target[asked])
    return float(np.sqrt(squares.mean()))


def through_jpeg(frame: UInt8[np.ndarray, "H W"], quality: int) -> UInt8[np.ndarray, "H W"]:
    """Encode a grey picture as JPEG and decode it again."""
    _, buffer = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(buffer, cv2.IMREAD_GRAYSCALE))


def clip_figures(plan: Plan) -> tuple[np.ndarray, list[float]]:
    """Return the pixels of a short clip around ED, and the figures of one video from the third target on."""
    beat, inner, outer = plan.ejection, plan.borders(), plan.borders(outer=True)
    first = max(min(beat.ed, len(beat.time_s) - CLIP_FRAMES), 0)
    video, quality = render(plan, first, min(first + CLIP_FRAMES, len(beat.time_s))), jpeg_quality(plan)
    frames = np.stack([through_jpeg(frame, quality) for frame in video])
    ed, cavity = frames[beat.ed - first], area(inner[beat.ed])
    wall = area(outer[beat.ed]) & ~cavity
    middle = (inner[first] + outer[first])[WALL_POINTS] / 2
    return frames, [
        float(np.mean(frames < BLACK)),
        float(ed[wall].mean() / max(ed[cavity].mean(), 1.0)),
        float(cavity.sum()),
        float(np.linalg.norm(inner[beat.ed, BASE] - inner[beat.ed, APEX])),
        correlation_length(ed, wall),
        *lag_correlations(frames, middle, LAGS).tolist(),
    ]


def figures(seed: int, n: int) -> dict[str, float]:
    """Return the figures of ``n`` videos by the names of the targets."""
    clips, rows = zip(*(clip_figures(plan_video(seed, index)) for index in range(n)), strict=True)
    pixels = np.concatenate([clip.ravel() for clip in clips])
    values = [float(pixels.mean()), float(pixels.std()), *np.nanmedian(np.array(rows), axis=0).tolist()]
    return dict(zip(TARGETS, values, strict=True))


def leak(seed: int, n: int) -> dict[str, float]:
    """Return the RMSE of EF, in points, of three predictors without motion: mean, EDV, pixels of the first frame."""
    plans = [plan_video(seed, index) for index in range(n)]
    ef = np.array([plan.ejection.ef_percent for plan in plans])
    log_edv = np.log([plan.ejection.edv_ml for plan in plans])
    frames = np.stack([resize_area(render(plan, 0, 1)[0], SMALL, SMALL).ravel() for plan in plans]).astype(np.float64)
    return {
        "mean": float(ef.std()),
        "EDV": ridge_error(np.stack([log_edv, log_edv**2], axis=-1), ef, 1.0),
        "first frame": min(ridge_error(frames, ef, penalty) for penalty in PENALTIES),
    }


def seconds_per_100_frames(seed: int, n: int) -> float:
    """Return the processor time of rendering on one core."""
    plans = [plan_video(seed, index, 100) for index in range(n)]
    start = time.process_time()
    count = sum(len(render(plan)) for plan in plans)
    return (time.process_time() - start) / count * 100


def main(n: int, seed: int = 0) -> None:
    """Print the figures with their targets, the errors without motion, and the time."""
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
