"""From the segments of one traced frame to canonical landmarks.

EchoNet-Dynamic traces a border as 21 segments (X1, Y1, X2, Y2): the long axis and the chords of 20 discs. Neither the order of the rows, nor which end
of a segment comes first, can be relied on; the shape can:

* the long axis is the segment that is least parallel to the others, since the discs are cut across it;
* the apex is the end of the axis where the discs are shorter;
* discs count from the apex along the axis; the left end of a chord is on the viewer's left when the apex points up.

So landmark k means the same place of the ventricle in every video.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from echo_e3net.geometry import DISCS

SEGMENTS = 1 + DISCS
QUARTER = DISCS // 4
"""Discs at either end whose mean length tells apex from base; several, because the last disc may be a stub."""


def canonical_landmarks(segments: Float[Tensor, "M 4"]) -> Float[Tensor, "42 2"]:
    """The landmarks of one traced frame: apex, middle of the mitral plane, left ends and right ends of the discs from the apex.

    Args:
        segments: rows (X1, Y1, X2, Y2) in any order, pixels.

    Returns:
        Points (x, y) in the same pixels, in the order of :mod:`echo_e3net.geometry`.

    Raises:
        ValueError: the segments are not 21, not finite, or the axis has no length.
    """
    if segments.shape != (SEGMENTS, 4) or not segments.isfinite().all():
        raise ValueError(f"{SEGMENTS} segments of finite numbers make a contour, not {tuple(segments.shape)}")
    landmarks = canonical_contours(segments[None])[0]
    if landmarks.isnan().any():
        raise ValueError("the long axis of the contour has no length")
    return landmarks


def canonical_contours(segments: Float[Tensor, "B 21 4"]) -> Float[Tensor, "B 42 2"]:
    """The landmarks of many traced frames (:func:`canonical_landmarks`), all at once; NaN where the long axis has no length."""
    ends = segments.reshape(-1, SEGMENTS, 2, 2)
    each, axis_row = torch.arange(len(ends)), find_long_axis(ends)
    axis, along = ends[each, axis_row], ends[each, axis_row].diff(dim=1)[:, 0]
    others = (
        torch.arange(SEGMENTS)[None]
        .expand(len(ends), -1)[torch.arange(SEGMENTS) != axis_row[:, None]]
        .reshape(-1, DISCS)
    )
    chords = ends[each[:, None], others]
    order = ((chords.mean(2) - axis[:, :1]) * along[:, None]).sum(-1).argsort(dim=1, stable=True)
    chords = chords[each[:, None], order]
    lengths = (chords[:, :, 1] - chords[:, :, 0]).norm(dim=-1)
    turned = (lengths[:, :QUARTER].sum(1) > lengths[:, -QUARTER:].sum(1))[:, None, None]
    axis, chords = torch.where(turned, axis.flip(1), axis), torch.where(turned[..., None], chords.flip(1), chords)
    side = cross((axis[:, 1] - axis[:, 0])[:, None, None], chords - axis[:, None, :1])
    chords = torch.where((side[..., :1] < side[..., 1:])[..., None], chords.flip(2), chords)
    landmarks = torch.cat([axis, chords[:, :, 0], chords[:, :, 1]], dim=1)
    return torch.where((along.norm(dim=-1) > 0)[:, None, None], landmarks, torch.nan)


def find_long_axis(ends: Float[Tensor, "B M 2 2"]) -> Int[Tensor, " B"]:
    """The row of the segment that is least parallel to the others; the first of equals."""
    direction = torch.nn.functional.normalize(ends[:, :, 1] - ends[:, :, 0], dim=-1)
    return (direction @ direction.mT).abs().sum(2).argmin(1)


def cross(axis: Float[Tensor, "*A 2"], vectors: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B"]:
    """Cross product with y down: positive on the viewer's left of an axis that points down the picture; any axes that broadcast."""
    return axis[..., 0] * vectors[..., 1] - axis[..., 1] * vectors[..., 0]
