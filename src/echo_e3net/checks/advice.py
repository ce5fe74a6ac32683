"""Rules that ask for a second look at videos that are used as they are. Only ``data check`` runs them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from echo_e3net.checks.findings import Defect, Finding
from echo_e3net.checks.rules import POSSIBLE, VideoRule, apply
from echo_e3net.conventions import PHASES
from echo_e3net.data.layout import FILE_LIST, USUAL_EF_PERCENT, VIDEOS
from echo_e3net.data.records import NO_LANDMARKS, DataSet, ListedVideo
from echo_e3net.tables import number

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
VOLUMES = ("EDV", "ESV")
MAY_BE_EMPTY = ("Age", "Weight", "Height", "FrameRate")
VOLUME_TOLERANCE = 1.0
"""Largest usual difference between the labelled EF and 100 (EDV - ESV) / EDV, EF points."""
GEOMETRY_TOLERANCE = 20.0
"""Largest usual difference between the labelled EF and Simpson's EF of the tracings, EF points.

The label is that of the clinical report, so several points are usual.
"""
MARGIN = 1.0
"""Distance by which a tracing may leave the frame, pixels."""
USUAL_ML = (USUAL["EDV"][:2], USUAL["ESV"][:2])
"""Usual volumes at ED and ES, mL."""


def advise(dataset: DataSet) -> list[Finding]:
    """Return the findings that refuse nothing and mask nothing."""
    return [*apply(VIDEO_RULES, dataset), *phases(dataset), *outside(dataset), *unlisted(dataset)]


def unusual_values(video: ListedVideo) -> Iterator[tuple[Defect, str]]:
    """Find unusual values. EDV and ESV may be empty together: `data import` does not require them."""
    known = any(video.values.get(name, "").strip() for name in VOLUMES)
    optional = MAY_BE_EMPTY if known else (*MAY_BE_EMPTY, *VOLUMES)
    for column, (low, high, unit) in USUAL.items():
        text = video.values.get(column, "")
        expected = column in video.values and not (column in optional or video.unlabelled)
        refused = column in POSSIBLE and number(text, *POSSIBLE[column]) != number(text)
        if (text.strip() or expected) and not refused and not low <= number(text) <= high:
            yield Defect.RANGE, f"{column} is {text!r}; usual is {low:g} to {high:g} {unit}. Check the row."


def spelling(video: ListedVideo) -> Iterator[tuple[Defect, str]]:
    """Find splits in an unusual spelling."""
    text = video.values.get("Split", video.spelling)
    if video.record.split and text != video.spelling:
        yield Defect.SPELLING, f"Split is {text!r}; it is read as {video.spelling}. Correct the row."


def volumes(video: ListedVideo) -> Iterator[tuple[Defect, str]]:
    """Find an EF that disagrees with EDV and ESV in the same row."""
    edv, esv = (number(video.values.get(column, "")) for column in VOLUMES)
    ef_percent = 100 * video.record.ef
    if edv > 0 and abs(100 * (edv - esv) / edv - ef_percent) > VOLUME_TOLERANCE:
        computed = f"EDV {edv:g} and ESV {esv:g} give {100 * (edv - esv) / edv:.1f}"
        yield Defect.VOLUMES, f"EF is {ef_percent:.1f}, but {computed}. Correct the wrong one of the three."


def phases(dataset: DataSet) -> Iterator[Finding]:
    """Find borders of ED and ES that disagree with each other, the labelled EF or usual volumes."""
    import torch

    from echo_e3net import geometry

    videos = [video for video in dataset.videos if video.record.traced]
    found = np.array([NO_LANDMARKS[:, 0], *(video.record.landmarks[:, 0] for video in videos)])
    pairs = torch.from_numpy(found[1:])
    areas = geometry.polygon_area(geometry.border_polygon(pairs)).tolist()
    efs = (100 * geometry.ejection_fraction(pairs[:, 0], pairs[:, 1])).tolist()
    for video, area, ef_percent in zip(videos, areas, efs, strict=True):
        for defect, detail in (*pair_defects(video, area, ef_percent), *unusual_volumes(video)):
            yield Finding(defect, video.record.name, video.where, detail)


def pair_defects(video: ListedVideo, area: list[float], ef_percent: float) -> Iterator[tuple[Defect, str]]:
    """Compare the areas of ED and ES (px²), and Simpson's EF with the label."""
    (ed, es), label = area, 100 * video.record.ef
    if ed < es:
        areas = f"{ed:.0f} and {es:.0f} px²"
        yield Defect.AREA, f"the frame of larger volume has the smaller area ({areas}). Check the tracings."
    if abs(ef_percent - label) > GEOMETRY_TOLERANCE:
        efs = f"Simpson's EF of the tracings is {ef_percent:.0f}, but the label is {label:.0f}"
        yield Defect.GEOMETRY, f"{efs}. Check that they belong to the same video."


def unusual_volumes(video: ListedVideo) -> Iterator[tuple[Defect, str]]:
    """Find unusual volumes in mL."""
    if video.record.pixel_mm is None:
        return
    import torch

    from echo_e3net import geometry

    millilitres = geometry.volume_ml(torch.from_numpy(video.record.landmarks[:, 0]), video.record.pixel_mm).tolist()
    for phase, volume, (low, high) in zip(PHASES, millilitres, USUAL_ML, strict=True):
        if not low <= volume <= high:
            size = "×".join(f"{edge:.3g}" for edge in video.record.pixel_mm)
            usual = f"the {phase} volume is {volume:.0f} mL; usual is {low} to {high} mL"
            yield Defect.RANGE, f"{usual}. Check the size of pixels, {size} mm (height × width)."


def outside(dataset: DataSet) -> Iterator[Finding]:
    """Find tracings that leave the frame."""
    frames = [(video.record, frame) for video in dataset.videos for frame in video.traced]
    traced = [(r, frame, frame.landmarks, r.size) for r, frame in frames if frame.landmarks is not None and r.size]
    points = np.array([NO_LANDMARKS[0, 0], *(landmarks for _, _, landmarks, _ in traced)])[1:]
    extents = zip(traced, points.min(1).tolist(), points.max(1).tolist(), strict=True)
    for (record, frame, _, (height, width)), (left, top), (right, bottom) in extents:
        if min(left, top) < -MARGIN or right > width - 1 + MARGIN or bottom > height - 1 + MARGIN:
            extent = f"({left:.1f}, {top:.1f}) to ({right:.1f}, {bottom:.1f})"
            detail = f"the tracing extends from {extent}, but the frame is {width}×{height}. Check the tracing."
            yield Finding(Defect.OUT_OF_FRAME, record.name, frame.where, detail)


def unlisted(dataset: DataSet) -> Iterator[Finding]:
    """Find files and tracings that no row of the list refers to. Hidden files are skipped."""
    for tracing in dataset.unlisted_rows:
        detail = f"{FILE_LIST} does not list the video, so its {tracing.rows} rows are skipped."
        yield Finding(Defect.UNLISTED_TRACING, tracing.name, tracing.where, detail)
    listed, folder = {video.record.path.name for video in dataset.videos}, dataset.root / VIDEOS
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in listed and not path.name.startswith("."):
            detail = f"{FILE_LIST} does not list the file, so it is skipped. Add a row or remove the file."
            yield Finding(Defect.UNLISTED, path.stem, str(path), detail)


VIDEO_RULES: tuple[VideoRule, ...] = (unusual_values, spelling, volumes)
