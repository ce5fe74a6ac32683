r"""Simpson's method of discs: volume and EF from landmarks.

The single-plane method of discs divides the left ventricle into N discs along the long axis L:

.. math:: V = \frac{\pi}{4} \, \frac{L}{N} \sum_{i=1}^{N} d_i^2, \qquad EF = 1 - V_{ES} / V_{ED}

where d_i is the chord of disc i. The pixel size cancels in EF. The network, the loss, the metrics and the tests of the
phantom all use this formula.

A contour has K = 2 + 2N landmarks (x, y), y down. Landmark 0 is the apex, 1 the middle of the mitral plane. The left
ends of discs 1…N and the right ends of discs 1…N follow. Discs are counted from the apex; left is the left of the
viewer when the apex points up. All functions are differentiable and accept any leading axes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from echo_e3net.conventions import APEX as APEX
from echo_e3net.conventions import BASE as BASE
from echo_e3net.conventions import DISCS as DISCS
from echo_e3net.conventions import LANDMARKS as LANDMARKS
from echo_e3net.conventions import LEFT as LEFT
from echo_e3net.conventions import RIGHT as RIGHT

_TINY = 1e-6
"""Added to squared lengths and volumes to keep roots and logarithms finite; far below any visible ventricle."""


def long_axis(landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B"]:
    """Return the length from the apex to the middle of the mitral plane, in the unit of the landmarks."""
    return _length(landmarks[..., BASE, :] - landmarks[..., APEX, :])


def disc_diameters(landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B N"]:
    """Return the chord of each disc, from apex to base, in the unit of the landmarks."""
    return _length(landmarks[..., RIGHT, :] - landmarks[..., LEFT, :])


def contour_volume(landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B"]:
    """Return the volume inside a contour by Simpson's method, in the cubed unit of the landmarks.

    References:
        Lang et al., Recommendations for cardiac chamber quantification, J Am Soc Echocardiogr 2015; method of discs,
        single plane.
    """
    return math.pi / 4 * long_axis(landmarks) / DISCS * disc_diameters(landmarks).square().sum(-1)


def volume_ml(landmarks: Float[Tensor, "*B K 2"], pixel_mm: tuple[float, float]) -> Float[Tensor, "*B"]:
    """Return the volume inside a contour in millilitres, by Simpson's method of discs in one plane.

    Args:
        landmarks: pixels.
        pixel_mm: height and width of a pixel in mm; they may differ.
    """
    height, width = pixel_mm
    return contour_volume(landmarks * landmarks.new_tensor([width, height])) / 1000


def volume_ratio(ed: Float[Tensor, "*B K 2"], es: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B"]:
    """Return ESV / EDV of two contours of one video; finite even if a contour collapses to a point."""
    return (log_volume(es) - log_volume(ed)).clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp()


_MAX_LOG_RATIO = math.log(100.0)
"""Volume ratios are clamped to 1/100 … 100, so the loss of a collapsed contour is bounded."""


def log_volume(landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B"]:
    """Return the natural logarithm of the volume inside a contour; finite for a collapsed contour."""
    return (contour_volume(landmarks) + _TINY).log()


def ejection_fraction(ed: Float[Tensor, "*B K 2"], es: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B"]:
    """Return EF = 1 - ESV / EDV as a fraction; invariant to shift, rotation and scale of the image."""
    return 1 - volume_ratio(ed, es)


def border_polygon(landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B M 2"]:
    """Return the border as M = 1 + 2N points: up the left side, apex, down the right side.

    The mitral plane closes the polygon, from its last point to its first.
    """
    apex = landmarks[..., APEX : APEX + 1, :]
    return torch.cat([landmarks[..., LEFT, :].flip(-2), apex, landmarks[..., RIGHT, :]], dim=-2)


def polygon_area(points: Float[Tensor, "*B M 2"]) -> Float[Tensor, "*B"]:
    """Return the area inside a closed polygon by the shoelace formula, in squared units, at least 0."""
    following = points.roll(-1, dims=-2)
    cross = points[..., 0] * following[..., 1] - points[..., 1] * following[..., 0]
    return cross.sum(-1).abs() / 2


def border_distance(points: Float[Tensor, "*B N 2"], landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B N"]:
    """Return the distance of each point from the border, in the unit of the landmarks.

    The border is the line through the landmarks without the mitral plane.
    """
    line = border_polygon(landmarks)
    start, along = line[..., None, :-1, :], line.diff(dim=-2)[..., None, :, :]
    apart = points[..., :, None, :] - start
    share = ((apart * along).sum(-1) / along.square().sum(-1).clamp(min=_TINY)).clamp(0, 1)
    return (apart - share[..., None] * along).square().sum(-1).amin(-1).sqrt()


def _length(vector: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B"]:
    return (vector.square().sum(-1) + _TINY).sqrt()


class Framing(NamedTuple):
    """Centred square of a video, resized to a clip: scale (clip pixels per video pixel) and corner of the square.

    Pixel centres are integers, so points move on pixel edges: ``clip + 0.5 = (video + 0.5 - corner) * scale``.
    """

    scale: float
    x0: float
    y0: float

    @classmethod
    def square(cls, height: int, width: int, size: int) -> Framing:
        """Return the framing of a video of ``height`` × ``width`` pixels in a clip of ``size`` pixels."""
        side = min(height, width)
        return cls(size / side, float((width - side) // 2), float((height - side) // 2))

    def to_clip(self, points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
        """Convert points from video pixels to clip pixels."""
        return (points + 0.5 - points.new_tensor([self.x0, self.y0])) * self.scale - 0.5

    def to_video(self, points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
        """Convert points from clip pixels to video pixels."""
        return (points + 0.5) / self.scale + points.new_tensor([self.x0, self.y0]) - 0.5


def border_segments(landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B M 4"]:
    """Return the M = 1 + N segments (x1, y1, x2, y2) of a tracing: the long axis, then the discs from the apex."""
    axis, left, right = (landmarks[..., part, :] for part in (slice(APEX, BASE + 1), LEFT, RIGHT))
    return torch.cat([axis.flatten(-2)[..., None, :], torch.cat([left, right], -1)], -2)
