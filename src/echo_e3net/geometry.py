r"""Simpson's method of discs, from landmarks to volume to EF.

The single-plane method of discs cuts the left ventricle into N discs across the long axis L:

.. math:: V = \frac{\pi}{4} \, \frac{L}{N} \sum_{i=1}^{N} d_i^2, \qquad EF = 1 - V_{ES} / V_{ED}

with d_i the chord of disc i. The pixel size cancels in EF. One formula serves the network's cue, the loss, the metric and the phantom's own check.

A contour is K = 2 + 2N landmarks, (x, y), y down: 0 the apex, 1 the middle of the mitral plane, then the left ends of discs 1…N and the right ends of
discs 1…N, counted from the apex; left is the viewer's left when the apex points up. All functions are differentiable and take any leading axes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

DISCS = 20
LANDMARKS = 2 + 2 * DISCS
APEX, BASE = 0, 1
LEFT = slice(2, 2 + DISCS)
RIGHT = slice(2 + DISCS, LANDMARKS)

_TINY = 1e-6
"""Floor under squared lengths and volumes, in pixels: far below any visible ventricle, it keeps roots and logarithms finite."""


def long_axis(landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B"]:
    """Length of the long axis, apex to the middle of the mitral plane, in the landmarks' unit."""
    return _length(landmarks[..., BASE, :] - landmarks[..., APEX, :])


def disc_diameters(landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B N"]:
    """Chord of each disc, apex to base, in the landmarks' unit."""
    return _length(landmarks[..., RIGHT, :] - landmarks[..., LEFT, :])


def simpson_volume(length: Float[Tensor, "*B"], diameters: Float[Tensor, "*B N"]) -> Float[Tensor, "*B"]:
    """Volume of N discs of equal height along the long axis, in the cube of the arguments' unit.

    References:
        Lang et al., Recommendations for cardiac chamber quantification, J Am Soc Echocardiogr 2015; method of discs, single plane.
    """
    return math.pi / 4 * length / diameters.shape[-1] * diameters.square().sum(-1)


def contour_volume(landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B"]:
    """Volume inside a contour by Simpson's method of discs, in cubic landmark units (pixels → pixel³)."""
    return simpson_volume(long_axis(landmarks), disc_diameters(landmarks))


def volume_ml(landmarks: Float[Tensor, "*B K 2"], pixel_mm: tuple[float, float]) -> Float[Tensor, "*B"]:
    """Volume inside a contour in millilitres, by Simpson's method of discs in one plane.

    Args:
        landmarks: pixels.
        pixel_mm: height and width of a pixel, mm; chords are measured after scaling, so that the two may differ.
    """
    height, width = pixel_mm
    return contour_volume(landmarks * landmarks.new_tensor([width, height])) / 1000


def volume_ratio(ed: Float[Tensor, "*B K 2"], es: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B"]:
    """ESV / EDV of two contours of one video; finite even where a contour collapses to a point."""
    return (log_volume(es) - log_volume(ed)).clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp()


_MAX_LOG_RATIO = math.log(100.0)
"""Volume ratios are held within 1/100 … 100: a collapsed contour then costs a bounded loss."""


def log_volume(landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B"]:
    """Natural logarithm of the contour's volume (unit³), with a floor that keeps it finite for a collapsed contour."""
    return (contour_volume(landmarks) + _TINY).log()


def ejection_fraction(ed: Float[Tensor, "*B K 2"], es: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B"]:
    """EF = 1 - ESV / EDV of two contours, as a fraction; invariant to shift, rotation and scale of the image."""
    return 1 - volume_ratio(ed, es)


def border_polygon(landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B M 2"]:
    """The closed border as M = 1 + 2N points: apex, down the right side, back up the left."""
    apex = landmarks[..., APEX : APEX + 1, :]
    return torch.cat([apex, landmarks[..., RIGHT, :], landmarks[..., LEFT, :].flip(-2)], dim=-2)


def polygon_area(points: Float[Tensor, "*B M 2"]) -> Float[Tensor, "*B"]:
    """Area inside a closed polygon (shoelace formula), in square units, never negative."""
    following = points.roll(-1, dims=-2)
    cross = points[..., 0] * following[..., 1] - points[..., 1] * following[..., 0]
    return cross.sum(-1).abs() / 2


def border_distance(points: Float[Tensor, "*B N 2"], landmarks: Float[Tensor, "*B K 2"]) -> Float[Tensor, "*B N"]:
    """Distance of each point from the nearest place on the border that landmarks describe, in their unit; the mitral plane is not border."""
    line = torch.cat(
        [landmarks[..., LEFT, :].flip(-2), landmarks[..., APEX : APEX + 1, :], landmarks[..., RIGHT, :]], dim=-2
    )
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
