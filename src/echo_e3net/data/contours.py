"""From the contours of a video's traced frames to its labels, with what is odd about them.

A format gives, for each border, the traced frames of a video and the landmarks of each; where a frame is traced but its tracing makes no contour, None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from echo_e3net import geometry
from echo_e3net.checks.findings import Defect, Findings
from echo_e3net.data.records import VideoRecord, no_landmarks
from echo_e3net.types import BORDERS, PHASES

GEOMETRY_TOLERANCE = 20.0
"""EF points that Simpson's EF of the tracings may be away from the label: the label is the clinical report's, several points are usual."""
SMALLEST_AREA = 1.0
"""Square pixels that a border must enclose."""
MARGIN = 1.0
"""Pixels that a tracing may lie outside the frame."""
USUAL_ML = ((10, 700), (3, 600))
"""Usual volumes at ED and ES, mL."""


class Contour(NamedTuple):
    """The landmarks of one traced frame, and where they come from, for messages."""

    landmarks: Float[Tensor, "K 2"]
    where: str


TracedFrames: TypeAlias = "dict[int, Contour | None]"
"""The contour of each traced frame of a video; None where the tracing makes none."""


Tracings: TypeAlias = "dict[str, TracedFrames]"
"""The traced frames of each video."""


def label_records(
    records: Sequence[VideoRecord], places: Mapping[str, str], traced: Mapping[str, Tracings], findings: Findings
) -> list[VideoRecord]:
    """The records with their traced frames and landmarks.

    Findings say where other than ED and ES are traced of a video that can be used, and what is odd about the two together. ED is the frame with the
    larger endocardial volume by Simpson's method, whatever the data set calls it. Without two endocardial contours nothing says which is which, and
    the video counts as not traced.

    Args:
        records: the videos.
        places: where each is listed, for messages.
        traced: by border (endo, epi), the traced frames of each video.
        findings: grows.
    """
    endo, labelled = traced["endo"], {record.name: record for record in records}
    lost = findings.unusable()
    for record in records:
        if record.split and record.name not in lost:
            report_traced(record.name, places[record.name], endo.get(record.name, {}), findings)
    whole = {name: pair for name in labelled if (pair := both_phases(endo.get(name, {}))) is not None}
    if not whole:
        return list(records)
    pairs = torch.stack([torch.stack([contour.landmarks for _, contour in pair]) for pair in whole.values()])
    reverse = (geometry.contour_volume(pairs).diff(dim=1)[:, 0] > 0).tolist()
    for (name, pair), turned in zip(whole.items(), reverse, strict=True):
        frames = [frame for frame, _ in pair]
        labelled[name] = label_record(
            labelled[name], {border: videos.get(name, {}) for border, videos in traced.items()}, frames, turned
        )
    report_phases([labelled[name] for name in whole], places, findings)
    return list(labelled.values())


def both_phases(frames: TracedFrames) -> list[tuple[int, Contour]] | None:
    """The two traced frames of a video; None where there are not two, or one of them has no contour."""
    pair = [(frame, contour) for frame, contour in frames.items() if contour is not None]
    return pair if len(pair) == len(frames) == len(PHASES) else None


def label_record(
    record: VideoRecord, traced: Mapping[str, TracedFrames], frames: Sequence[int], turned: bool
) -> VideoRecord:
    """The record with the landmarks of ED and ES; ``turned`` where the second of the frames is ED."""
    ed, es = reversed(frames) if turned else frames
    landmarks, mask = no_landmarks()
    for p, frame in enumerate((ed, es)):
        for s, border in enumerate(BORDERS):
            contour = traced.get(border, {}).get(frame)
            if contour is not None:
                landmarks[p, s], mask[p, s] = contour.landmarks, True
    return record._replace(traced=(ed, es), landmarks=landmarks, landmark_mask=mask)


def report_phases(records: Sequence[VideoRecord], places: Mapping[str, str], findings: Findings) -> None:
    """Findings about the endocardium at ED and ES together: areas against volumes, Simpson's EF against the label, volumes in mL against usual ones."""
    ed, es = torch.stack([record.landmarks[:, 0] for record in records]).unbind(1)
    areas = [geometry.polygon_area(geometry.border_polygon(phase)).tolist() for phase in (ed, es)]
    traced = (100 * geometry.ejection_fraction(ed, es)).tolist()
    for record, area_ed, area_es, ef_percent in zip(records, *areas, traced, strict=True):
        where = places[record.name]
        if area_ed < area_es:
            problem = f"the frame of larger volume has the smaller area ({area_ed:.0f} and {area_es:.0f} px²): is a tracing turned or cut?"
            findings.add(Defect.AREA, record.name, where, problem)
        if abs(ef_percent - 100 * record.ef) > GEOMETRY_TOLERANCE:
            problem = f"Simpson's EF of the tracings is {ef_percent:.0f}, the label {100 * record.ef:.0f}. Do the tracings belong to this video?"
            findings.add(Defect.GEOMETRY, record.name, where, problem)
        if record.pixel_mm is not None:
            report_volumes(record, where, findings)


def report_volumes(record: VideoRecord, where: str, findings: Findings) -> None:
    """Findings where the volumes that the tracings enclose are unusual, in mL: then the size of a pixel is likely wrong."""
    assert record.pixel_mm is not None
    for phase, contour, (low, high) in zip(PHASES, record.landmarks[:, 0], USUAL_ML, strict=True):
        volume = geometry.volume_ml(contour, record.pixel_mm).item()
        if not low <= volume <= high:
            size = "×".join(f"{edge:.3g}" for edge in record.pixel_mm)
            problem = f"the {phase} tracing encloses {volume:.0f} mL; usual is {low} to {high} mL. Are pixels {size} mm (height × width)?"
            findings.add(Defect.RANGE, record.name, where, problem)


def report_traced(name: str, where: str, frames: TracedFrames, findings: Findings) -> None:
    """A finding where other than two frames of a labelled video are traced."""
    if len(frames) != len(PHASES):
        defect = {0: Defect.UNTRACED, 1: Defect.ONE_TRACED}.get(len(frames), Defect.MANY_TRACED)
        listed = f" ({', '.join(map(str, sorted(frames)))})" if frames else ""
        findings.add(
            defect,
            name,
            where,
            f"{len(frames)} traced frames{listed} where ED and ES are needed: EF is used, landmarks and timing are not.",
        )


def all_contours(traced: Tracings) -> tuple[list[tuple[str, int]], Float[Tensor, "N K 2"]]:
    """Video and frame of every contour, and the landmarks of all."""
    found = {
        (name, frame): contour.landmarks
        for name, frames in traced.items()
        for frame, contour in frames.items()
        if contour is not None
    }
    return list(found), torch.stack(list(found.values())) if found else torch.empty(0, geometry.LANDMARKS, 2)


def report_outside(traced: Tracings, sizes: Mapping[str, tuple[int, int]], findings: Findings) -> None:
    """A finding for each contour that leaves the frame.

    Args:
        traced: traced frames by video.
        sizes: height and width of each video's frames, pixels, where they are known.
        findings: grows.
    """
    places, contours = all_contours(traced)
    if not places:
        return
    for (name, frame), (left, top), (right, bottom) in zip(
        places, contours.amin(1).tolist(), contours.amax(1).tolist(), strict=True
    ):
        height, width = sizes.get(name, (math.inf, math.inf))
        if (min(left, top) < -MARGIN and name in sizes) or right > width - 1 + MARGIN or bottom > height - 1 + MARGIN:
            problem = f"the tracing reaches from ({left:.1f}, {top:.1f}) to ({right:.1f}, {bottom:.1f}), the frame is {width}×{height}."
            findings.add(Defect.OUT_OF_FRAME, name, where_of(traced, name, frame), problem)


def drop_unusable(traced: Tracings, findings: Findings) -> None:
    """Replace each contour that has no extent or crosses itself by None, with a finding."""
    places, contours = all_contours(traced)
    if not places:
        return
    flat = geometry.polygon_area(geometry.border_polygon(contours)) < SMALLEST_AREA
    crossing = crosses_itself(contours)
    for place in (flat | crossing).nonzero()[:, 0].tolist():
        name, frame = places[place]
        defect, problem = (
            (Defect.DEGENERATE, "the border encloses nothing")
            if flat[place]
            else (Defect.CROSSING, "the border crosses itself")
        )
        findings.add(defect, name, where_of(traced, name, frame), f"{problem}: the tracing is not used.")
        traced[name][frame] = None


def where_of(traced: Tracings, name: str, frame: int) -> str:
    """Where a contour comes from."""
    contour = traced[name][frame]
    assert contour is not None
    return contour.where


def crosses_itself(landmarks: Float[Tensor, "N K 2"], chunk: int = 256) -> Bool[Tensor, " N"]:
    """Whether a contour's border crosses itself; sides that merely touch do not cross."""
    parts = [polygon_crosses(part.numpy()) for part in torch.split(geometry.border_polygon(landmarks), chunk)]
    return torch.from_numpy(np.concatenate(parts))


def polygon_crosses(points: Float[np.ndarray, "N M 2"]) -> Bool[np.ndarray, " N"]:
    """Whether two sides of a closed polygon cross, each end of either strictly on another side of the other. In numpy: five times as fast here."""
    along_x, along_y = np.moveaxis(np.roll(points, -1, 1) - points, -1, 0)
    x, y = np.moveaxis(points, -1, 0)
    side = along_x[:, :, None] * (y[:, None] - y[:, :, None]) - along_y[:, :, None] * (
        x[:, None] - x[:, :, None]
    )  # of each point, from each side
    left, right = side > 0, side < 0
    parts = (left & np.roll(right, -1, 2)) | (
        right & np.roll(left, -1, 2)
    )  # the ends of the second side lie to either side of the first
    return np.asarray((parts & parts.transpose(0, 2, 1)).any((1, 2)))
