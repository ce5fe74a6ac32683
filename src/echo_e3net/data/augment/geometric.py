"""Geometric policies: one affine map of the frames and landmarks of a clip.

Each policy draws a 3×3 matrix for points (x, y, 1) relative to the centre of the frame, in sides of the frame. The
matrices are multiplied in the order of the policies, and the frames are resampled once.

EF of the label is not changed. Shift, rotation, zoom and mirror do not change Simpson's EF, and aspect does not if the
long axes of ED and ES are parallel. If they differ by 10°, a factor of 1.1 changes it by up to about one EF point.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from echo_e3net.conventions import LEFT, RIGHT
from echo_e3net.data.augment.policy import Factor, Policy, require_between

Matrix = Float[np.ndarray, "3 3"]


class GeometricPolicy(Policy):
    """An affine map."""

    @abstractmethod
    def matrix(self, rng: np.random.Generator) -> Matrix:
        """Return the map of points relative to the centre, in sides of the frame."""


class Shift(GeometricPolicy):
    """Move the picture along x and y.

    Args:
        fraction: largest distance along each axis, as a fraction of the side, 0 to 1.
        probability: share of the clips that are changed, 0 to 1.
    """

    def __init__(self, fraction: float, probability: float = 1.0) -> None:
        super().__init__(probability)
        require_between(self, 0, 1, fraction=fraction)
        self.fraction = fraction

    def matrix(self, rng: np.random.Generator) -> Matrix:
        """Return a shift."""
        matrix = np.eye(3)
        matrix[:2, 2] = rng.uniform(-self.fraction, self.fraction, 2)
        return matrix


class Zoom(Factor, GeometricPolicy):
    """Enlarge (above 1) or shrink about the centre: another depth setting of the scanner."""

    def matrix(self, rng: np.random.Generator) -> Matrix:
        """Return a zoom."""
        factor = self.draw(rng)
        return np.diag([factor, factor, 1.0])


class Aspect(Factor, GeometricPolicy):
    """Stretch the width and shrink the height by the root of a factor, or the reverse (below 1); the area stays."""

    def matrix(self, rng: np.random.Generator) -> Matrix:
        """Return a stretch."""
        root = math.sqrt(self.draw(rng))
        return np.diag([root, 1 / root, 1.0])


class Rotation(GeometricPolicy):
    """Rotate about the centre.

    Args:
        degrees: largest angle in both directions, 0 to 180.
        probability: share of the clips that are changed, 0 to 1.
    """

    def __init__(self, degrees: float, probability: float = 1.0) -> None:
        super().__init__(probability)
        require_between(self, 0, 180, degrees=degrees)
        self.degrees = degrees

    def matrix(self, rng: np.random.Generator) -> Matrix:
        """Return a rotation."""
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        cos, sin = math.cos(angle), math.sin(angle)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


class Mirror(GeometricPolicy):
    """Exchange left and right: some laboratories show the left ventricle on the left.

    The landmarks exchange sides too: "left" is the side of the viewer, not that of the septum.
    """

    def matrix(self, rng: np.random.Generator) -> Matrix:
        """Return the reflection."""
        return np.diag([-1.0, 1.0, 1.0])


def compose(matrices: Iterable[Matrix], size: int) -> Matrix:
    """Return the product of the maps, the first one first, for points in pixels of a frame of ``size`` pixels."""
    product = np.eye(3)
    for matrix in matrices:
        product = matrix @ product
    centre = (size - 1) / 2
    from_pixels = np.array([[1 / size, 0, -centre / size], [0, 1 / size, -centre / size], [0, 0, 1]])
    return np.asarray(np.linalg.inv(from_pixels) @ product @ from_pixels)


def keep_inside(matrix: Matrix, points: Float[np.ndarray, "N 2"], size: int) -> Matrix:
    """Return a map that keeps points in the frame, because the network cannot predict landmarks outside.

    Where needed, the picture is zoomed out until the bounding box of the moved points fits, and then shifted by the
    smallest distance. Without points, the map is not changed.
    """
    if not len(points):
        return matrix
    last = size - 1
    extent = np.ptp(move(points, matrix), axis=0).max()
    zoom = min(1.0, last / max(extent, 1e-9))
    centre = last / 2
    fitted = np.array([[zoom, 0, centre * (1 - zoom)], [0, zoom, centre * (1 - zoom)], [0, 0, 1]]) @ matrix
    moved = move(points, fitted)
    fitted[:2, 2] += np.maximum(0, -moved.min(axis=0)) + np.minimum(0, last - moved.max(axis=0))
    return np.asarray(fitted)


def move(points: Float[np.ndarray, "*B 2"], matrix: Matrix) -> Float[np.ndarray, "*B 2"]:
    """Return the moved points."""
    return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2])


def move_landmarks(landmarks: Float[np.ndarray, "*B K 2"], matrix: Matrix) -> Float[np.ndarray, "*B K 2"]:
    """Return the moved landmarks in canonical order: a map that mirrors exchanges left and right ends of discs."""
    moved = move(landmarks, matrix)
    if np.linalg.det(matrix[:2, :2]) > 0:
        return moved
    swapped = moved.copy()
    swapped[..., LEFT, :], swapped[..., RIGHT, :] = moved[..., RIGHT, :], moved[..., LEFT, :]
    return np.asarray(swapped)
