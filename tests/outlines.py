"""Draw landmarks as dense polygons and as masks."""

import numpy as np

from echo_e3net.data.raster import fill_polygon
from echo_e3net.geometry import APEX, BASE, LEFT, RIGHT


def border_polygon(landmarks, base=0):
    """Return the border from the left end of the mitral plane to the right end, and ``base`` points between them."""
    apex = landmarks[APEX]
    left, right = landmarks[LEFT], landmarks[RIGHT]
    ends = [1.5 * side[-1] - 0.5 * side[-2] for side in (left, right)]
    plane = [ends[1] + (ends[0] - ends[1]) * t for t in np.linspace(0, 1, base + 2)[1:-1]]
    return np.array([ends[0], *left[::-1], apex, *right, ends[1], *plane])


def filled(polygon, shape, grid=8):
    """Return the pixels whose centres are inside a polygon."""
    fine = fill_polygon(
        (shape[0] * grid, shape[1] * grid), ((np.asarray(polygon) + 0.5) * grid - 0.5).astype(np.float32)
    )
    return fine.reshape(shape[0], grid, shape[1], grid).mean((1, 3)) >= 0.5


def atrium_mask(landmarks, shape, length=0.5):
    """Return a left atrium below the mitral plane, as wide as the plane and half as long as the ventricle."""
    polygon = border_polygon(landmarks)
    left, right = polygon[0], polygon[-1]
    down = (landmarks[BASE] - landmarks[APEX]) * length
    atrium = np.array([left, right, right + down, left + down])
    return filled(atrium, shape) & ~filled(polygon, shape)
