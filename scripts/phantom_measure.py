"""Is the phantom like a real recording? The figures that are compared with real clips, and whether one frame gives EF away.

All of it works on frames of any origin, so the same functions measure the phantom and a real cine.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, UInt8

from echo_e3net.data.raster import best_match, blur, fill_polygon
from echo_e3net.geometry import APEX, BASE, LEFT, RIGHT

BLACK = 3
"""Grey values below this count as black."""

_BLOCK, _SEARCH = 13, 5
_DETREND = 3.0


def black_share(frames: UInt8[np.ndarray, "T H W"]) -> float:
    """Share of the pixels that are black."""
    return float(np.mean(frames < BLACK))


def polygon(border: Float[np.ndarray, "42 2"]) -> Float[np.ndarray, "42 2"]:
    """Landmarks → closed border: apex, down the right side, mitral plane, up the left side."""
    return np.concatenate([border[APEX : APEX + 1], border[RIGHT], border[BASE : BASE + 1], border[LEFT][::-1]])


def wall_and_cavity(
    inner: Float[np.ndarray, "42 2"], outer: Float[np.ndarray, "42 2"], size: int
) -> tuple[Bool[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Pixels of the wall and of the cavity."""
    cavity = fill_polygon((size, size), polygon(inner).astype(np.float32))
    return fill_polygon((size, size), polygon(outer).astype(np.float32)) & ~cavity, cavity


def wall_to_cavity(
    frame: UInt8[np.ndarray, "H W"], wall: Bool[np.ndarray, "H W"], cavity: Bool[np.ndarray, "H W"]
) -> float:
    """Mean grey of the wall over mean grey of the cavity."""
    return float(frame[wall].mean() / max(frame[cavity].mean(), 1.0))


def correlation_length(frame: UInt8[np.ndarray, "H W"], tissue: Bool[np.ndarray, "H W"]) -> float:
    """Lag in pixels at which the texture's autocorrelation falls to 1/e, mean of both directions.

    Args:
        frame: grey picture; slow variation of brightness is taken off first.
        tissue: where to measure.
    """
    grey, share = frame.astype(np.float32) * tissue, tissue.astype(np.float32)
    slow = blur(grey, _DETREND, _DETREND) / np.maximum(blur(share, _DETREND, _DETREND), 1e-3)
    texture = grey - slow * share
    return float(
        np.mean([_first_fall([_autocorrelation(texture, tissue, lag, axis) for lag in range(6)]) for axis in (0, 1)])
    )


def lag_correlations(
    frames: UInt8[np.ndarray, "T H W"],
    centres: Float[np.ndarray, "C 2"],
    lags: tuple[int, ...],
    compensated: bool = True,
) -> Float[np.ndarray, " L"]:
    """Mean correlation of small blocks with a later frame, for each lag in frames.

    Args:
        frames: one video.
        centres: (x, y) of the blocks, in every frame tried.
        lags: in frames, ascending.
        compensated: look for the block's best place in the later frame; otherwise compare the same place.
    """
    starts = np.linspace(0, len(frames) - 1 - lags[-1], 6).astype(int)
    reach = _SEARCH if compensated else 0
    values = [
        [_block_match(frames[t], frames[t + lag], x, y, reach) for t in starts for x, y in centres] for lag in lags
    ]
    return np.asarray(np.nanmean(np.array(values), axis=1))


def ridge_error(
    features: Float[np.ndarray, "N F"], target: Float[np.ndarray, " N"], penalty: float, folds: int = 5
) -> float:
    """Root mean square error of ridge regression on videos it has not seen, in the target's unit."""
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


def _autocorrelation(texture: np.ndarray, tissue: np.ndarray, lag: int, axis: int) -> float:
    here, there = [slice(None)] * 2, [slice(None)] * 2
    here[axis], there[axis] = slice(0, texture.shape[axis] - lag), slice(lag, None)
    a, b = texture[tuple(here)], texture[tuple(there)]
    both = tissue[tuple(here)] & tissue[tuple(there)]
    return float((a * b)[both].sum() / max(float(np.sqrt((a * a)[both].sum() * (b * b)[both].sum())), 1e-6))


def _first_fall(correlations: list[float]) -> float:
    """Fractional lag at which a falling curve meets 1/e."""
    level = float(np.exp(-1))
    for lag in range(1, len(correlations)):
        before, after = correlations[lag - 1], correlations[lag]
        if after <= level:
            return lag - 1 + (before - level) / (before - after)
    return float(len(correlations) - 1)


def _block_match(before: np.ndarray, after: np.ndarray, x: float, y: float, reach: int) -> float:
    half = _BLOCK // 2
    column, row, span = round(x), round(y), half + reach
    if min(column, row) < span or column + span >= before.shape[1] or row + span >= before.shape[0]:
        return float("nan")
    block = before[row - half : row + half + 1, column - half : column + half + 1].astype(np.float32)
    area = after[row - span : row + span + 1, column - span : column + span + 1].astype(np.float32)
    return best_match(block, area) if block.std() > 1 else float("nan")
