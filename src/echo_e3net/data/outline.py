r"""From the outline of a ventricle to canonical landmarks.

EchoNet-Pediatric draws a border as a polygon, CAMUS as a mask. Both become the 42 landmarks of
:mod:`echo_e3net.geometry`, given the middle M of the mitral plane:

* The apex is the point of the outline that is farthest from M. The long axis runs from there to M.
* Disc i of N is cut across the axis at (i - 1/2) / N of its length. It reaches from the outline on one side to the
  outline on the other; the outermost crossings count. The phantom places its chords in the same way.

M is the middle of the two ends of the mitral plane. They are found in this order:

1. where the left atrium touches the cavity, if a mask of it is given;
2. the ends of the one side that is three times as long as any other: the gap of a border that is drawn from annulus
   over apex to annulus;
3. the two corners A and B that look most like an annulus. A corner is one of 256 evenly spaced points where the outline
   turns most within 5 % of its length. Among all pairs with a nearly straight outline between them, the best pair has
   sharp corners, a long axis for its width, and the apex above its middle:

.. math:: turn_A + turn_B + \ln \frac{|MP|}{|AB|} - \left| \ln \frac{|PA|}{|PB|} \right|

P is the point farthest from M. The third way needs ventricles that are longer than wide. The start and direction of the
outline and the pose of the heart do not matter.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from echo_e3net.data.raster import blur, border_pixels
from echo_e3net.geometry import DISCS

NOTHING = 1e-6
"""Smallest area of an outline, square units; far below one pixel."""
STEPS = 256
"""Number of evenly spaced points of an outline among which corners are searched."""
CORNER_STEPS = 14
"""Points to either side of a corner over which its turn is measured, about 5 % of the outline."""
CORNERS = 8
"""Number of sharpest corners that may be an end of the mitral plane."""
LEAST_TURN, LEAST_SHARE, MOST_BOW = 0.6, 0.06, 0.2
"""Smallest turn of a corner (rad), smallest share of the mitral plane, its largest bow as a share of its width."""
GAP = 3.0
"""Smallest ratio of the gap of an open border to any other side."""
EDGE_SIGMA = 1.0
"""Standard deviation of the blur that smooths the edge of a mask, pixels."""
TOUCH = 0.05
"""Value of the blurred mask of the atrium above which the outline touches it; about 1.6 pixels from a straight edge."""


def polygon_landmarks(
    polygon: Float[np.ndarray, "M 2"], middle: Float[np.ndarray, " 2"] | None = None
) -> Float64[np.ndarray, "42 2"]:
    """Return the landmarks of a closed outline, in the unit of its points.

    Args:
        polygon: points (x, y) around the border, from any start and in either direction; the last may repeat the first.
        middle: the middle of the mitral plane, if known.

    Raises:
        ValueError: the outline encloses nothing, or has no mitral plane.
    """
    outline = clean(polygon)
    if middle is None:
        middle = mitral_ends(outline).mean(0)
    apex = outline[np.square(outline - middle).sum(1).argmax()]
    length = float(np.hypot(*(middle - apex)))
    axis = (middle - apex) / length
    # y points down, so the left of an axis that points down is -x.
    left = np.array([-axis[1], axis[0]])
    heights = (np.arange(DISCS) + 0.5) / DISCS * length
    ends = crossings((outline - apex) @ axis, (outline - apex) @ left, heights)
    sides = [apex + heights[:, None] * axis + end[:, None] * left for end in ends]
    return np.concatenate([apex[None], middle[None], *sides])


def crossings(
    height: Float[np.ndarray, " M"], side: Float[np.ndarray, " M"], levels: Float[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return the leftmost and rightmost crossing of a closed outline with each level.

    Args:
        height: position of each point along the axis.
        side: distance of each point to the left of the axis.
        levels: heights of the cuts.

    Raises:
        ValueError: a level does not meet the outline.
    """
    next_height, next_side = np.roll(height, -1), np.roll(side, -1)
    crosses = (height[:, None] <= levels) != (next_height[:, None] <= levels)
    if not crosses.any(0).all():
        raise ValueError("a disc does not meet the outline")
    step = np.where(next_height == height, 1.0, next_height - height)
    place = side[:, None] + (levels - height[:, None]) / step[:, None] * (next_side - side)[:, None]
    return np.where(crosses, place, -np.inf).max(0), np.where(crosses, place, np.inf).min(0)


def mitral_ends(polygon: Float[np.ndarray, "M 2"]) -> Float64[np.ndarray, "2 2"]:
    """Return the two ends of the mitral plane, found from the outline only.

    Raises:
        ValueError: the outline encloses nothing, or no two of its corners can be the annulus.
    """
    outline = clean(polygon)
    sides = np.hypot(*(np.roll(outline, -1, 0) - outline).T)
    longest = int(sides.argmax())
    if sides[longest] > GAP * np.delete(sides, longest).max():
        return outline[[longest, (longest + 1) % len(outline)]]
    even = even_steps(outline)
    turn = turns(even)
    rated = [(rate_plane(even, turn, a, b), a, b) for a, b in annulus_candidates(turn)]
    best, a, b = max(rated, default=(-np.inf, 0, 0))
    if best == -np.inf:
        raise ValueError("the outline has no two corners that can be the mitral annulus")
    return np.asarray(even[[a, b]])


def clean(polygon: Float[np.ndarray, "M 2"]) -> Float64[np.ndarray, "N 2"]:
    """Return the outline without repeated points, clockwise as seen (x right, y down).

    Raises:
        ValueError: it encloses nothing.
    """
    points = np.asarray(polygon, np.float64)
    points = points[(points != np.roll(points, 1, 0)).any(1)]
    following = np.roll(points, -1, 0)
    area = (points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]).sum() / 2
    if not np.abs(area) >= NOTHING:
        raise ValueError("the outline encloses nothing")
    return np.asarray(points if area > 0 else points[::-1])


def even_steps(outline: Float64[np.ndarray, "M 2"]) -> Float64[np.ndarray, "256 2"]:
    """Return evenly spaced points, the first at the point that is farthest from the mean."""
    first = int(np.square(outline - along(outline).mean(0)).sum(1).argmax())
    return along(np.roll(outline, -first, 0))


def along(outline: Float64[np.ndarray, "M 2"]) -> Float64[np.ndarray, "256 2"]:
    """Return evenly spaced points of a closed outline, from its first point."""
    closed = np.concatenate([outline, outline[:1]])
    distance = np.concatenate([[0.0], np.hypot(*np.diff(closed, axis=0).T).cumsum()])
    places = np.arange(STEPS) / STEPS * distance[-1]
    return np.stack([np.interp(places, distance, closed[:, k]) for k in (0, 1)], 1)


def turns(even: Float64[np.ndarray, "256 2"]) -> Float64[np.ndarray, " 256"]:
    """Return the turn of the outline at each point, radians; positive where it is convex."""
    before, after = even - np.roll(even, CORNER_STEPS, 0), np.roll(even, -CORNER_STEPS, 0) - even
    return np.asarray(np.arctan2(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0], (before * after).sum(1)))


def annulus_candidates(turn: Float64[np.ndarray, " 256"]) -> list[tuple[int, int]]:
    """Return pairs of corners between which the mitral plane may run, from the first to the second."""
    near = np.max([np.roll(turn, step) for step in range(-CORNER_STEPS // 2, CORNER_STEPS // 2 + 1)], axis=0)
    corners: Int[np.ndarray, " C"] = np.flatnonzero((turn == near) & (turn > LEAST_TURN))
    sharpest = corners[turn[corners].argsort()[::-1]][:CORNERS].tolist()
    return [(a, b) for a in sharpest for b in sharpest if LEAST_SHARE * STEPS < (b - a) % STEPS <= STEPS / 2]


def rate_plane(even: Float64[np.ndarray, "256 2"], turn: Float64[np.ndarray, " 256"], a: int, b: int) -> float:
    """Return how much the outline from corner a to b looks like a mitral plane; minus infinity if it cannot be one."""
    from_a = np.roll(even, -a, 0)
    plane, rest = from_a[: (b - a) % STEPS + 1], from_a[(b - a) % STEPS :]
    first, last = plane[0], plane[-1]
    width = float(np.hypot(*(last - first)))
    across = np.array([first[1] - last[1], last[0] - first[0]])
    if np.abs((plane - first) @ across).max() > MOST_BOW * width**2:
        return -np.inf
    middle = (first + last) / 2
    apex = rest[np.square(rest - middle).sum(1).argmax()]
    length, to_first, to_last = (float(np.hypot(*(apex - point))) for point in (middle, first, last))
    return float(turn[a] + turn[b] + np.log(length / width) - abs(np.log(to_first / to_last)))


def mask_outline(mask: Bool[np.ndarray, "H W"]) -> Float64[np.ndarray, "M 2"]:
    """Return the smoothed outline of the largest connected part of a mask.

    The mask is blurred. Each outermost pixel moves along the gradient to where the blurred mask is one half, by one
    step of Newton's method and at most one pixel.

    Raises:
        ValueError: the mask is empty.
    """
    pixels = border_pixels(mask)
    if not len(pixels):
        raise ValueError("the mask is empty")
    margin = int(4 * EDGE_SIGMA) + 1
    corner = pixels.min(0) - margin
    (x, y), (width, height) = (pixels - corner).T, pixels.max(0) - corner + margin + 1
    padded = np.pad(mask, margin)[pixels[:, 1].min() :, pixels[:, 0].min() :][:height, :width]
    soft = blur(padded.astype(np.float32), EDGE_SIGMA, EDGE_SIGMA).astype(np.float64)
    slope = np.stack([soft[y, x + 1] - soft[y, x - 1], soft[y + 1, x] - soft[y - 1, x]], 1) / 2
    step = (0.5 - soft[y, x])[:, None] * slope / np.maximum(np.square(slope).sum(1, keepdims=True), 1e-6)
    return np.asarray(pixels + step / np.maximum(np.hypot(*step.T), 1.0)[:, None])


def touching_ends(
    outline: Float[np.ndarray, "M 2"], atrium: Bool[np.ndarray, "H W"]
) -> Float64[np.ndarray, "2 2"] | None:
    """Return the ends of the mitral plane; None if the outline of the cavity does not touch the left atrium.

    They are the two points that are farthest apart, among the points of the outline that touch the atrium.
    """
    near = blur(atrium.astype(np.float32), EDGE_SIGMA, EDGE_SIGMA) > TOUCH
    columns, rows = np.clip(np.round(outline).astype(int), 0, [atrium.shape[1] - 1, atrium.shape[0] - 1]).T
    points = np.asarray(outline, np.float64)[near[rows, columns]]
    if len(points) < 2:
        return None
    apart = np.square(points[:, None] - points).sum(-1)
    return np.asarray(points[list(np.unravel_index(apart.argmax(), apart.shape))])
