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

Inside this module a point is the complex number x + iy: |a - b| is a distance, and division rotates and scales.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Complex128, Float, Float64, Int

from echo_e3net.conventions import DISCS
from echo_e3net.data.raster import blur, border_pixels

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
    base = mitral_middle(outline) if middle is None else complex(*middle)
    apex = outline[np.abs(outline - base).argmax()]
    length = abs(base - apex)
    axis = (base - apex) / length
    heights = (np.arange(DISCS) + 0.5) / DISCS * length
    # Real part: along the axis. Imaginary part: to its left, because y points down.
    place = ((outline - apex) / axis)[:, None]
    step = np.roll(place, -1, 0) - place
    crosses = (place.real <= heights) != (np.roll(place.real, -1, 0) <= heights)
    if not crosses.any(0).all():
        raise ValueError("a disc does not meet the outline")
    side = place.imag + (heights - place.real) / np.where(step.real == 0, 1.0, step.real) * step.imag
    left, right = np.where(crosses, side, -np.inf).max(0), np.where(crosses, side, np.inf).min(0)
    points = np.concatenate([[apex, base], *(apex + (heights + 1j * end) * axis for end in (left, right))])
    return np.stack([points.real, points.imag], 1)


def mitral_middle(outline: Complex128[np.ndarray, " M"]) -> complex:
    """Return the middle of the mitral plane, found from a clean outline only.

    Raises:
        ValueError: no two corners of the outline can be the annulus.
    """
    sides = np.abs(np.roll(outline, -1) - outline)
    longest = int(sides.argmax())
    if sides[longest] > GAP * np.delete(sides, longest).max():
        return complex(outline.take([longest, longest + 1], mode="wrap").mean())
    even = even_steps(outline)
    turn = np.angle((np.roll(even, -CORNER_STEPS) - even) * (even - np.roll(even, CORNER_STEPS)).conj())
    rated = [(rate_plane(even, turn, a, b), a, b) for a, b in annulus_candidates(turn)]
    best, a, b = max(rated, default=(-np.inf, 0, 0))
    if best == -np.inf:
        raise ValueError("the outline has no two corners that can be the mitral annulus")
    return complex(even[[a, b]].mean())


def clean(polygon: Float[np.ndarray, "M 2"]) -> Complex128[np.ndarray, " N"]:
    """Return the outline as x + iy without repeated points, clockwise as seen (x right, y down).

    Raises:
        ValueError: it encloses nothing.
    """
    points = np.asarray(polygon, np.float64) @ np.array([1, 1j])
    points = points[points != np.roll(points, 1)]
    area = (points.conj() * np.roll(points, -1)).imag.sum() / 2
    if not np.abs(area) >= NOTHING:
        raise ValueError("the outline encloses nothing")
    return np.asarray(points if area > 0 else points[::-1])


def even_steps(outline: Complex128[np.ndarray, " M"]) -> Complex128[np.ndarray, " 256"]:
    """Return evenly spaced points, the first at the point that is farthest from the mean."""
    first = int(np.abs(outline - along(outline).mean()).argmax())
    return along(np.roll(outline, -first))


def along(outline: Complex128[np.ndarray, " M"]) -> Complex128[np.ndarray, " 256"]:
    """Return evenly spaced points of a closed outline, from its first point."""
    closed = np.append(outline, outline[0])
    distance = np.append(0, np.abs(np.diff(closed)).cumsum())
    return np.asarray(np.interp(np.arange(STEPS) / STEPS * distance[-1], distance, closed))


def annulus_candidates(turn: Float64[np.ndarray, " 256"]) -> list[tuple[int, int]]:
    """Return pairs of corners between which the mitral plane may run, from the first to the second.

    Args:
        turn: turn of the outline at each point, radians; positive where it is convex.
    """
    near = np.max([np.roll(turn, step) for step in range(-CORNER_STEPS // 2, CORNER_STEPS // 2 + 1)], axis=0)
    corners: Int[np.ndarray, " C"] = np.flatnonzero((turn == near) & (turn > LEAST_TURN))
    sharpest = corners[turn[corners].argsort()[::-1]][:CORNERS].tolist()
    return [(a, b) for a in sharpest for b in sharpest if LEAST_SHARE * STEPS < (b - a) % STEPS <= STEPS / 2]


def rate_plane(even: Complex128[np.ndarray, " 256"], turn: Float64[np.ndarray, " 256"], a: int, b: int) -> float:
    """Return how much the outline from corner a to b looks like a mitral plane; minus infinity if it cannot be one."""
    plane, rest = np.split(np.roll(even, -a), [(b - a) % STEPS])
    first, width = even[a], even[b] - even[a]
    if not width:
        # the outline touches itself there
        return -np.inf
    if np.abs(((plane - first) / width).imag).max() > MOST_BOW:
        return -np.inf
    ends = np.array([first + width / 2, first, even[b]])
    length, to_first, to_last = np.abs(rest[np.abs(rest - ends[0]).argmax()] - ends)
    if not (to_first and to_last):
        # the farthest point is an end of the plane itself
        return -np.inf
    return float(turn[a] + turn[b] + np.log(length / abs(width)) - abs(np.log(to_first / to_last)))


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
    (left, top), (right, bottom) = pixels.min(0), pixels.max(0) + 2 * margin + 1
    soft = blur(np.pad(mask, margin)[top:bottom, left:right].astype(float), EDGE_SIGMA, EDGE_SIGMA)
    x, y = (pixels - [left, top] + margin).T
    slope = np.stack(np.gradient(soft), -1)[y, x, ::-1]
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
    points = outline[near[rows, columns]]
    if len(points) < 2:
        return None
    apart = np.square(points[:, None] - points).sum(-1)
    return np.asarray(points[list(np.unravel_index(apart.argmax(), apart.shape))])
