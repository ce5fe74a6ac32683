"""From the contours of a video's traced frames to its labels, with what is odd about them.

A format gives, for each border, the traced frames of a video and the landmarks of each; where a frame is traced but its tracing makes no contour, None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from echo_e3net import geometry
from echo_e3net.data.defects import Defect, Findings
from echo_e3net.data.records import VideoRecord, no_landmarks
from echo_e3net.types import BORDERS, PHASES

GEOMETRY_TOLERANCE = 20.0
"""EF points that Simpson's EF of the tracings may be away from the label: the label is the clinical report's, several points are usual."""
SMALLEST_AREA = 1.0
"""Square pixels that a border must enclose."""
MARGIN = 1.0
"""Pixels that a tracing may lie outside the frame."""


class Contour(NamedTuple):
    """The landmarks of one traced frame, and where they come from, for messages."""

    landmarks: Float[Tensor, "K 2"]
    where: str


TracedFrames: TypeAlias = "dict[int, Contour | None]"
"""The contour of each traced frame of a video; None where the tracing makes none."""


def label_phases(record: VideoRecord, where: str, traced: Mapping[str, TracedFrames], findings: Findings) -> VideoRecord:
    """The record with its traced frames and landmarks.

    ED is the frame with the larger endocardial volume by Simpson's method, whatever the order in the table. Without two endocardial contours nothing
    says which is which, and the video counts as not traced.

    Args:
        record: the video.
        where: its place in the table of videos, for messages.
        traced: its traced frames by border.
        findings: grows by what is odd about ED and ES together.
    """
    contours = {border: {f: c.landmarks for f, c in frames.items() if c is not None} for border, frames in traced.items()}
    endo = contours.get("endo", {})
    if len(endo) != len(PHASES) or len(traced["endo"]) != len(PHASES):
        return record
    es, ed = sorted(endo, key=lambda frame: float(geometry.contour_volume(endo[frame])))
    landmarks, mask = no_landmarks()
    for p, frame in enumerate((ed, es)):
        for s, border in enumerate(BORDERS):
            if frame in contours.get(border, {}):
                landmarks[p, s] = contours[border][frame]
                mask[p, s] = True
    report_phases(record, where, landmarks[0, 0], landmarks[1, 0], findings)
    return record._replace(traced=(ed, es), landmarks=landmarks, landmark_mask=mask)


def report_phases(record: VideoRecord, where: str, ed: Float[Tensor, "K 2"], es: Float[Tensor, "K 2"], findings: Findings) -> None:
    """Findings about the endocardium at ED and ES together: areas against volumes, and Simpson's EF against the label."""
    area_ed, area_es = (float(geometry.polygon_area(geometry.border_polygon(contour))) for contour in (ed, es))
    if area_ed < area_es:
        problem = f"the frame of larger volume has the smaller area ({area_ed:.0f} and {area_es:.0f} px²): is a tracing turned or cut?"
        findings.add(Defect.AREA, record.name, where, problem)
    traced = 100 * float(geometry.ejection_fraction(ed, es))
    if abs(traced - 100 * record.ef) > GEOMETRY_TOLERANCE:
        problem = f"Simpson's EF of the tracings is {traced:.0f}, the label {100 * record.ef:.0f}. Do the tracings belong to this video?"
        findings.add(Defect.GEOMETRY, record.name, where, problem)


def report_traced(name: str, where: str, frames: TracedFrames, findings: Findings) -> None:
    """A finding where other than two frames of a labelled video are traced."""
    if len(frames) != len(PHASES):
        defect = {0: Defect.UNTRACED, 1: Defect.ONE_TRACED}.get(len(frames), Defect.MANY_TRACED)
        listed = f" ({', '.join(map(str, sorted(frames)))})" if frames else ""
        findings.add(
            defect, name, where, f"{len(frames)} traced frames{listed} where ED and ES are needed: EF is used, landmarks and timing are not."
        )


def report_outside(traced: Mapping[str, TracedFrames], sizes: Mapping[str, tuple[int, int]], findings: Findings) -> None:
    """A finding for each contour that leaves the frame.

    Args:
        traced: traced frames by video.
        sizes: height and width of each video's frames, pixels, where they are known.
        findings: grows.
    """
    for name, frames in ((name, frames) for name, frames in traced.items() if name in sizes):
        height, width = sizes[name]
        for contour in (contour for contour in frames.values() if contour is not None):
            (left, top), (right, bottom) = contour.landmarks.amin(0).tolist(), contour.landmarks.amax(0).tolist()
            if min(left, top) < -MARGIN or right > width - 1 + MARGIN or bottom > height - 1 + MARGIN:
                problem = f"the tracing reaches from ({left:.1f}, {top:.1f}) to ({right:.1f}, {bottom:.1f}), the frame is {width}×{height}."
                findings.add(Defect.OUT_OF_FRAME, name, contour.where, problem)


def drop_unusable(traced: Mapping[str, TracedFrames], findings: Findings) -> None:
    """Replace each contour that has no extent or crosses itself by None, with a finding."""
    places = [(name, frame) for name, frames in traced.items() for frame, contour in frames.items() if contour is not None]
    if not places:
        return
    contours = torch.stack([contour.landmarks for name, frame in places if (contour := traced[name][frame]) is not None])
    flat = geometry.polygon_area(geometry.border_polygon(contours)) < SMALLEST_AREA
    crossing = crosses_itself(contours)
    for place in (flat | crossing).nonzero()[:, 0].tolist():
        name, frame = places[place]
        contour = traced[name][frame]
        assert contour is not None
        defect, problem = (Defect.DEGENERATE, "the border encloses nothing") if flat[place] else (Defect.CROSSING, "the border crosses itself")
        findings.add(defect, name, contour.where, f"{problem}: the tracing is not used.")
        traced[name][frame] = None


def crosses_itself(landmarks: Float[Tensor, "N K 2"], chunk: int = 1024) -> Bool[Tensor, " N"]:
    """Whether a contour's border crosses itself; sides that merely touch do not cross."""
    return torch.cat([polygon_crosses(geometry.border_polygon(part)) for part in torch.split(landmarks, chunk)])


def polygon_crosses(points: Float[Tensor, "N M 2"]) -> Bool[Tensor, " N"]:
    """Whether two sides of a closed polygon cross, each end of either strictly on another side of the other."""
    start, end = points, points.roll(-1, 1)
    i, j = torch.triu_indices(points.shape[1], points.shape[1], 2)

    def side(a: Tensor, b: Tensor, p: Tensor) -> Tensor:
        ab, ap = b - a, p - a
        return (ab[..., 0] * ap[..., 1] - ab[..., 1] * ap[..., 0]).sign()

    a, b, c, d = start[:, i], end[:, i], start[:, j], end[:, j]
    return ((side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)).any(1)
