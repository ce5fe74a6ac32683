"""Show a reading: the video with its borders and a graph of the volume, and a still picture of ED and ES.

The network gives borders at ED and ES only. Between them, the borders and the volume in the picture are interpolated
linearly in time. Volumes are relative to the EDV of the beat, because the pixel size, and so the volume in mL, is
unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from echo_e3net.conventions import BORDERS
from echo_e3net.data import raster
from echo_e3net.data.film import GIF_FPS, write_video
from echo_e3net.reading.beats import Beat
from echo_e3net.reading.border_cues import outline
from echo_e3net.reading.quality import Quality

SIDE, GRAPH = 448, 112
"""Side of the video and height of the graph under it, pixels."""
MARGIN = 8
COLOURS = {"endo": (255.0, 176.0, 0.0), "epi": (100.0, 143.0, 255.0)}
"""Red, green and blue, those of the figures of reports."""
GREY, BRIGHT = (110.0, 110.0, 110.0), (230.0, 230.0, 230.0)
WARNING = {"doubtful": (255.0, 220.0, 90.0), "unusable": (255.0, 110.0, 90.0)}
"""Text colour by grade."""
LINES, LINE = 4, 16
"""Largest number of lines of reasons, and the distance of lines in pixels."""
SECONDS = 5.0
"""An MP4 is repeated until it is at least this long, seconds; a GIF repeats for ever."""
Picture = UInt8[np.ndarray, "H W 3"]


class OverlayData(NamedTuple):
    """What pictures show of a reading; the fields are those of :class:`echo_e3net.reading.reading.Reading`."""

    frames: UInt8[np.ndarray, "T H W"]
    fps: float
    ef_percent: float
    beats: tuple[Beat, ...]
    border_names: tuple[str, ...]
    quality: Quality


class KeyFrame(NamedTuple):
    """ED or ES of a beat: its frame, landmarks, and volume as a fraction of the EDV."""

    frame: int
    landmarks: Float32[np.ndarray, "S K 2"]
    volume: float


def write_overlay(reading: OverlayData, path: Path) -> Path:
    """Write the video of a reading with its borders and a graph of the volume as MP4 or GIF, and return the path.

    Raises:
        InputError: the suffix is not .mp4 or .gif, or the file cannot be written.
    """
    skip, repeats = 1, max(1, int(np.ceil(SECONDS * reading.fps / len(reading.frames))))
    if path.suffix.lower() == ".gif":
        skip, repeats = int(np.ceil(reading.fps / GIF_FPS)), 1
    # drawn again for each repeat, because all pictures of a long video do not fit into memory
    pictures = chain.from_iterable(islice(overlay_frames(reading), None, None, skip) for _ in range(repeats))
    write_video(path, pictures, reading.fps / skip)
    return path


def overlay_frames(reading: OverlayData) -> Iterator[Picture]:
    """Yield every frame of a reading with its borders, above the graph of the volume."""
    key_frames = key_frames_of(reading.beats)
    graph = volume_graph(key_frames, len(reading.frames), reading.fps)
    for number in range(len(reading.frames)):
        picture = with_borders(reading.frames[number], borders_at(key_frames, number), reading.border_names)
        raster.draw_text(picture, f"EF {reading.ef_percent:.0f} %", MARGIN, SIDE - MARGIN, BRIGHT)
        draw_quality(picture, reading.quality)
        if beat := next((b for b in reading.beats if b.ed_frame <= number <= b.es_frame), None):
            raster.draw_text(picture, f"this beat {beat.ef_percent:.0f} %", MARGIN + 90, SIDE - MARGIN, BRIGHT)
        below = graph.copy()
        x = graph_x(np.array([number, number]), len(reading.frames))
        raster.draw_curve(below, np.stack([x, np.array([0, GRAPH])], 1).astype(np.float32), BRIGHT)
        yield np.concatenate([picture, below])


def still(reading: OverlayData) -> bytes:
    """Return ED and ES of the first beat with their borders as PNG; without beats the middle frame."""
    names = reading.border_names
    if not reading.beats:
        picture = with_borders(reading.frames[len(reading.frames) // 2], None, names)
        draw_quality(picture, reading.quality)
        return raster.png(raster.card([picture], f"EF {reading.ef_percent:.1f} %"))
    beat = reading.beats[0]
    frames = (beat.ed_frame, beat.es_frame)
    pictures = [
        with_borders(reading.frames[f], points, names) for f, points in zip(frames, beat.landmarks, strict=True)
    ]
    draw_quality(pictures[0], reading.quality)
    titles = (f"ED, frame {frames[0]}", f"ES, frame {frames[1]}: EF of the video {reading.ef_percent:.1f} %")
    return raster.png(raster.card(pictures, *titles))


def draw_quality(picture: Picture, quality: Quality) -> None:
    """Write the grade and the reasons into a picture, in place; write nothing if the grade is good."""
    if quality.grade == "good":
        return
    lines = [f"{quality.grade}: {quality.reasons[0]}", *quality.reasons[1:]]
    if len(lines) > LINES:
        lines[LINES - 1 :] = [f"and {len(lines) - LINES + 1} more"]
    picture[: len(lines) * LINE + MARGIN] //= 4
    for number, line in enumerate(lines, 1):
        raster.draw_text(picture, line, MARGIN, number * LINE, WARNING[quality.grade])


def with_borders(
    frame: UInt8[np.ndarray, "h w"], points: Float32[np.ndarray, "S K 2"] | None, border_names: tuple[str, ...]
) -> Picture:
    """Return a frame, its largest centred square, enlarged to :data:`SIDE`, with borders drawn into it."""
    side = min(frame.shape)
    y, x = ((n - side) // 2 for n in frame.shape)
    large = raster.resize_cubic(frame[y : y + side, x : x + side], SIDE, SIDE)
    picture = raster.in_colour(large)
    if points is not None:
        for name, landmarks in zip(BORDERS, points, strict=False):
            if name in border_names:
                place = (landmarks + 0.5 - np.array([x, y])) * (SIDE / side) - 0.5
                raster.draw_curve(picture, outline(place), COLOURS[name])
    return picture


def key_frames_of(beats: Iterable[Beat]) -> list[KeyFrame]:
    """Return ED and ES of all beats in their order in time."""
    return [
        key
        for beat in beats
        for key in (
            KeyFrame(beat.ed_frame, beat.landmarks[0], 1.0),
            KeyFrame(beat.es_frame, beat.landmarks[1], 1 - beat.simpson_ef_percent / 100),
        )
    ]


def borders_at(key_frames: list[KeyFrame], number: int) -> Float32[np.ndarray, "S K 2"] | None:
    """Return the borders at a frame, interpolated between ED and ES; None without beats."""
    if not key_frames:
        return None
    after = next((i for i, key in enumerate(key_frames) if key.frame >= number), len(key_frames) - 1)
    before = max(after - 1, 0) if key_frames[after].frame >= number else after
    start, end = key_frames[before], key_frames[after]
    share = (number - start.frame) / max(end.frame - start.frame, 1)
    between = start.landmarks + min(max(share, 0.0), 1.0) * (end.landmarks - start.landmarks)
    return np.asarray(between, np.float32)


def volume_graph(key_frames: list[KeyFrame], frames: int, fps: float, ends: tuple[str, str] | None = None) -> Picture:
    """Return the graph of the volume over time, as a share of the EDV of each beat.

    Args:
        key_frames: ED and ES.
        frames: length of the time axis.
        fps: frames per second.
        ends: labels of the ends of the time axis; None: the length of the video at the right end.
    """
    graph = np.zeros((GRAPH, SIDE, 3), np.uint8)
    top, bottom = 22, GRAPH - 18
    for share in (0.0, 0.5, 1.0):
        level = bottom - share * (bottom - top)
        raster.draw_curve(graph, np.array([[0, level], [SIDE - 1, level]], np.float32), (45.0, 45.0, 45.0))
    raster.draw_text(graph, "volume / EDV", MARGIN, 14, GREY)
    left, right = ends or ("", f"{frames / fps:.1f} s")
    raster.draw_text(graph, left, MARGIN, GRAPH - 4, GREY)
    raster.draw_text(graph, right, SIDE - 50, GRAPH - 4, GREY)
    if key_frames:
        x = graph_x(np.array([key.frame for key in key_frames]), frames)
        y = bottom - np.array([key.volume for key in key_frames]) * (bottom - top)
        raster.draw_curve(graph, np.stack([x, y], 1).astype(np.float32), COLOURS["endo"])
    return graph


def graph_x(frame: np.ndarray, frames: int) -> Float[np.ndarray, " N"]:
    """Return the columns of frames in the graph."""
    return np.asarray(MARGIN + frame / max(frames - 1, 1) * (SIDE - 2 * MARGIN))
