"""Rules that ask for a second look at videos that are used as they are. Only ``data check`` runs them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from echo_e3net import geometry
from echo_e3net.checks.findings import Defect, Finding
from echo_e3net.checks.rules import POSSIBLE, Rule
from echo_e3net.data.layout import FILE_LIST, USUAL_EF_PERCENT, VIDEOS
from echo_e3net.data.records import DataSet, ListedVideo
from echo_e3net.tables import number
from echo_e3net.types import PHASES

USUAL = {
    "EF": (*USUAL_EF_PERCENT, "%"),
    "NumberOfFrames": (24, 1100, "frames"),
    "EDV": (10, 700, "mL"),
    "ESV": (3, 600, "mL"),
    "FPS": (15, 150, "frames per second"),
    "Age": (0, 18, "years"),
    "Weight": (0.5, 150, "kg"),
    "Height": (30, 210, "cm"),
    "NbFrame": (5, 200, "frames"),
    "FrameRate": (15, 150, "frames per second"),
}
"""Usual values and unit of each column."""
MAY_BE_EMPTY = ("Age", "Weight", "Height", "FrameRate")
QUALITIES = ("Good", "Medium", "Poor")
VOLUME_TOLERANCE = 1.0
"""Largest usual difference between the labelled EF and 100 (EDV - ESV) / EDV, EF points."""
GEOMETRY_TOLERANCE = 20.0
"""Largest usual difference between the labelled EF and Simpson's EF of the tracings, EF points.

The label is that of the clinical report, so several points are usual.
"""
MARGIN = 1.0
"""Distance by which a tracing may leave the frame, pixels."""
USUAL_ML = ((10, 700), (3, 600))
"""Usual volumes at ED and ES, mL."""


def advise(dataset: DataSet) -> list[Finding]:
    """Return the findings that refuse nothing and mask nothing."""
    return [finding for rule in ADVICE for finding in rule(dataset)]


def unusual_values(dataset: DataSet) -> Iterator[Finding]:
    """Find unusual values."""
    for video in dataset.videos:
        for column, (low, high, unit) in USUAL.items():
            text = video.values.get(column, "")
            expected = column in video.values and not (column in MAY_BE_EMPTY or video.unlabelled)
            refused = column in POSSIBLE and number(text, *POSSIBLE[column]) != number(text)
            if (text.strip() or expected) and not refused and not low <= number(text) <= high:
                detail = f"{column} is {text!r}; usual is {low:g} to {high:g} {unit}. Check the row."
                yield Finding(Defect.RANGE, video.record.name, video.where, detail)
        quality = video.values.get("ImageQuality")
        if quality is not None and quality not in QUALITIES:
            detail = f"ImageQuality is {quality!r}; usual is {', '.join(QUALITIES)}. Check the file."
            yield Finding(Defect.RANGE, video.record.name, video.where, detail)


def spelling(dataset: DataSet) -> Iterator[Finding]:
    """Find splits in an unusual spelling."""
    for video in dataset.videos:
        if video.record.split and video.spelling != video.values.get("Split", video.spelling):
            detail = f"Split is {video.values['Split']!r}; it is read as {video.spelling}. Correct the row."
            yield Finding(Defect.SPELLING, video.record.name, video.where, detail)


def volumes(dataset: DataSet) -> Iterator[Finding]:
    """Find an EF that disagrees with EDV and ESV in the same row."""
    for video in dataset.videos:
        edv, esv = (number(video.values.get(column, "")) for column in ("EDV", "ESV"))
        ef_percent = 100 * video.record.ef
        if edv > 0 and abs(100 * (edv - esv) / edv - ef_percent) > VOLUME_TOLERANCE:
            computed = f"EDV {edv:g} and ESV {esv:g} give {100 * (edv - esv) / edv:.1f}"
            detail = f"EF is {ef_percent:.1f}, but {computed}. Correct the wrong one of the three."
            yield Finding(Defect.VOLUMES, video.record.name, video.where, detail)


def outside(dataset: DataSet) -> Iterator[Finding]:
    """Find tracings that leave the frame."""
    for video in dataset.videos:
        for frame in video.traced:
            if frame.landmarks is None or video.record.size is None:
                continue
            (left, top), (right, bottom) = frame.landmarks.amin(0).tolist(), frame.landmarks.amax(0).tolist()
            height, width = video.record.size
            if min(left, top) < -MARGIN or right > width - 1 + MARGIN or bottom > height - 1 + MARGIN:
                extent = f"({left:.1f}, {top:.1f}) to ({right:.1f}, {bottom:.1f})"
                detail = f"the tracing extends from {extent}, but the frame is {width}×{height}. Check the tracing."
                yield Finding(Defect.OUT_OF_FRAME, video.record.name, frame.where, detail)


def phases(dataset: DataSet) -> Iterator[Finding]:
    """Find endocardial contours of ED and ES that disagree with each other, the labelled EF or usual volumes."""
    videos = [video for video in dataset.videos if video.record.traced]
    if not videos:
        return
    pairs = torch.stack([video.record.landmarks[:, 0] for video in videos])
    areas = geometry.polygon_area(geometry.border_polygon(pairs)).tolist()
    efs = (100 * geometry.ejection_fraction(*pairs.unbind(1))).tolist()
    for video, (ed, es), ef_percent in zip(videos, areas, efs, strict=True):
        if ed < es:
            detail = f"the frame of larger volume has the smaller area ({ed:.0f} and {es:.0f} px²). Check the tracings."
            yield Finding(Defect.AREA, video.record.name, video.where, detail)
        if abs(ef_percent - 100 * video.record.ef) > GEOMETRY_TOLERANCE:
            label = f"the label is {100 * video.record.ef:.0f}"
            detail = f"Simpson's EF of the tracings is {ef_percent:.0f}, but {label}. Are they of the same video?"
            yield Finding(Defect.GEOMETRY, video.record.name, video.where, detail)
        yield from unusual_volumes(video)


def unusual_volumes(video: ListedVideo) -> Iterator[Finding]:
    """Find unusual volumes in mL, which suggest a wrong size of pixels."""
    if video.record.pixel_mm is None:
        return
    for phase, contour, (low, high) in zip(PHASES, video.record.landmarks[:, 0], USUAL_ML, strict=True):
        volume = geometry.volume_ml(contour, video.record.pixel_mm).item()
        if not low <= volume <= high:
            size = "×".join(f"{edge:.3g}" for edge in video.record.pixel_mm)
            usual = f"usual is {low} to {high} mL"
            detail = f"the {phase} volume is {volume:.0f} mL; {usual}. Are pixels {size} mm (height × width)?"
            yield Finding(Defect.RANGE, video.record.name, video.where, detail)


def unlisted(dataset: DataSet) -> Iterator[Finding]:
    """Find files and tracings that no row of the list refers to. Hidden files are skipped."""
    for tracing in dataset.unlisted_tracings:
        detail = f"{FILE_LIST} does not list the video, so its {tracing.rows} rows are skipped."
        yield Finding(Defect.UNLISTED_TRACING, tracing.name, tracing.where, detail)
    listed, folder = {video.record.path.name for video in dataset.videos}, dataset.root / VIDEOS
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in listed and not path.name.startswith("."):
            detail = f"{FILE_LIST} does not list the file, so it is skipped. Add a row or remove the file."
            yield Finding(Defect.UNLISTED, path.stem, str(path), detail)


ADVICE: tuple[Rule, ...] = (unusual_values, spelling, volumes, outside, phases, unlisted)
