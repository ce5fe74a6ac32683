"""From traced frames to labels.

EchoNet-Dynamic traces a border as 21 segments (X1, Y1, X2, Y2): the long axis and the chords of 20 discs. The order of
the rows and of the two ends of a segment is arbitrary, so landmarks are found by shape:

* The long axis is the segment that is least parallel to the others, because the discs are cut across it.
* The apex is the end of the axis where the discs are shorter.
* Discs count from the apex. The left end of a chord is on the viewer's left when the apex points up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32

from echo_e3net import geometry
from echo_e3net.data.records import NO_LANDMARKS, NO_MASK, ListedVideo, TracedFrame
from echo_e3net.types import BORDERS, PHASES

SEGMENTS = 1 + geometry.DISCS
QUARTER = geometry.DISCS // 4
"""Number of discs at each end that are compared; the apex has the shorter ones. The last disc can be very short."""
SHORTEST = 1e-12
"""Shortest segment that has a direction, pixels."""
SMALLEST_AREA = 1.0
"""Smallest area that a contour may enclose, square pixels."""


def canonical_contours(segments: Float32[np.ndarray, "B 21 4"]) -> Float32[np.ndarray, "B 42 2"]:
    """Return the landmarks of traced frames, ordered as in :mod:`echo_e3net.geometry`.

    Args:
        segments: rows (X1, Y1, X2, Y2) in any order, pixels.

    Returns:
        Points (x, y); NaN where the long axis has no length.
    """
    ends = segments.reshape(-1, SEGMENTS, 2, 2)
    steps = ends[:, :, 1] - ends[:, :, 0]
    direction = steps / np.maximum(np.linalg.norm(steps, axis=-1, keepdims=True), SHORTEST)
    each, axis_row = np.arange(len(ends)), np.abs(direction @ direction.transpose(0, 2, 1)).sum(2).argmin(1)
    axis, along = ends[each, axis_row], steps[each, axis_row]
    chords = ends[np.arange(SEGMENTS) != axis_row[:, None]].reshape(-1, geometry.DISCS, 2, 2)
    order = ((chords.mean(2) - axis[:, :1]) * along[:, None]).sum(-1).argsort(1, kind="stable")
    chords = chords[each[:, None], order]
    lengths = np.linalg.norm(chords[:, :, 1] - chords[:, :, 0], axis=-1)
    turned = (lengths[:, :QUARTER].sum(1) > lengths[:, -QUARTER:].sum(1))[:, None, None]
    axis = np.where(turned, axis[:, ::-1], axis)
    chords = np.where(turned[..., None], chords[:, ::-1], chords)
    (x, y), from_apex = (axis[:, 1] - axis[:, 0]).T[..., None, None], chords - axis[:, None, :1]
    # y points down, so `side` is larger for the end on the viewer's left when the apex points up.
    side = x * from_apex[..., 1] - y * from_apex[..., 0]
    chords = np.where((side[..., :1] < side[..., 1:])[..., None], chords[:, :, ::-1], chords)
    landmarks = np.concatenate([axis, chords[:, :, 0], chords[:, :, 1]], axis=1)
    landmarks[~(np.linalg.norm(along, axis=-1) > 0)] = np.nan
    return np.asarray(landmarks)


def label_videos(videos: Sequence[ListedVideo]) -> list[ListedVideo]:
    """Mark faulty contours, and return the videos with landmarks at ED and ES."""
    found = [frame for video in videos for frame in video.traced if frame.landmarks is not None]
    checked = iter(check_frames(found))
    return [
        label_video(video, tuple(frame if frame.landmarks is None else next(checked) for frame in video.traced))
        for video in videos
    ]


def check_frames(frames: Sequence[TracedFrame]) -> Iterator[TracedFrame]:
    """Yield each traced frame with its volume and the fault of its contour. Every frame must have landmarks."""
    found = np.array([NO_LANDMARKS[0, 0], *(frame.landmarks for frame in frames if frame.landmarks is not None)])
    contours = torch.from_numpy(found[1:])
    borders = geometry.border_polygon(contours)
    areas, volumes = geometry.polygon_area(borders).tolist(), geometry.contour_volume(contours).tolist()
    for frame, area, volume, crosses in zip(frames, areas, volumes, polygon_crosses(borders.numpy()), strict=True):
        checked = frame._replace(volume=volume)
        if not area >= SMALLEST_AREA:
            yield checked._replace(fault="degenerate", detail=f"the border encloses {area:.2g} square pixels")
        else:
            yield checked._replace(fault="crossing", detail="the border crosses itself") if crosses else checked


def label_video(video: ListedVideo, traced: tuple[TracedFrame, ...]) -> ListedVideo:
    """Return a video with its traced frames, and with landmarks in its record.

    ED is the frame with the larger endocardial volume. A video without exactly two usable endocardial contours counts
    as not traced.
    """
    video = video._replace(traced=traced)
    endo = sorted((frame for frame in traced if frame.border == BORDERS[0]), key=lambda frame: -frame.volume)
    if len(endo) != len(PHASES) or any(frame.fault for frame in endo):
        return video
    usable = {(frame.frame, frame.border): frame.landmarks for frame in traced if not frame.fault}
    found = [usable.get((frame.frame, border)) for frame in endo for border in BORDERS]
    landmarks = np.array([NO_LANDMARKS[0, 0] if points is None else points for points in found])
    record = video.record._replace(
        traced=(endo[0].frame, endo[1].frame),
        landmarks=landmarks.reshape(NO_LANDMARKS.shape),
        landmark_mask=np.array([points is not None for points in found]).reshape(NO_MASK.shape),
    )
    return video._replace(record=record)


def polygon_crosses(polygons: Float[np.ndarray, "N M 2"], chunk: int = 128) -> Bool[np.ndarray, " N"]:
    """Return whether two sides of a closed polygon cross. Sides that only touch do not cross."""
    if len(polygons) > chunk:
        parts = np.split(polygons, range(chunk, len(polygons), chunk))
        return np.concatenate([polygon_crosses(part) for part in parts])
    along_x, along_y = np.moveaxis(np.roll(polygons, -1, 1) - polygons, -1, 0)
    x, y = np.moveaxis(polygons, -1, 0)
    # The side of each line (second axis) on which each point (third axis) lies.
    side = along_x[:, :, None] * (y[:, None] - y[:, :, None]) - along_y[:, :, None] * (x[:, None] - x[:, :, None])
    left, right = side > 0, side < 0
    # Two sides cross if each has its ends on different sides of the other.
    parts = (left & np.roll(right, -1, 2)) | (right & np.roll(left, -1, 2))
    return np.asarray((parts & parts.transpose(0, 2, 1)).any((1, 2)))
