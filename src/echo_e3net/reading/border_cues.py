"""Measure whether the picture shows an apical left ventricle at the borders that the network found.

Blood is darker than the wall around it. Below the mitral plane lies the atrium, which is dark too; in a short-axis view
there is wall. From ED to ES, wall replaces blood between the two borders, so the picture becomes brighter there. A
shape that moves sideways makes one side brighter and the other darker; a still image does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from echo_e3net.conventions import APEX, BASE, LEFT, RIGHT
from echo_e3net.data import raster
from echo_e3net.data.raster import Mask
from echo_e3net.reading.beats import Beat

WALL, BLOOD = np.linspace(0.03, 0.17, 8), np.linspace(0.06, 0.14, 5)
"""Distances outside and inside the border at which wall and blood are measured, relative to the long axis."""
ATRIUM = np.linspace(0.08, 0.25, 6)
"""Distances below the mitral plane at which the atrium is measured, relative to the long axis."""
DISCS = slice(4, 18)
"""Discs whose ends are measured: all except those at the apex and at the valve."""
ACROSS = np.linspace(0.25, 0.75, 7)
"""Places along a disc, as shares of its length."""
NEAR = 1
"""The picture at ED or ES is the mean over the frames within this distance."""
BRIGHT_PERCENTILE = 90
FAINT = 8.0
"""Lower bound of wall - blood in the cue ``filling``, grey values."""


class BorderCues(NamedTuple):
    """What the picture shows at the borders of a beat.

    Attributes:
        contrast: (wall - blood) / (wall + blood).
        bright_blood: brightest tenth of the blood, relative to the wall.
        atrium: grey value in the region of the atrium at ES, relative to the wall; only places in the sector count, 0
            if there are none.
        below: share of that region that is in the sector.
        filling: how much brighter the picture between the two borders is at ES than at ED, relative to wall - blood.
        size: area inside the border at ED, relative to the sector.
        outside: share of the landmarks outside the sector.
        crossing: 1 if a border crosses itself, else 0.
    """

    contrast: float
    bright_blood: float
    atrium: float
    below: float
    filling: float
    size: float
    outside: float
    crossing: float


class Levels(NamedTuple):
    """Grey values at one border: those of wall and blood of both sides, and of the brightest tenth of the blood."""

    wall: Float[np.ndarray, "2"]
    blood: Float[np.ndarray, "2"]
    brightest: float


def border_cues(frames: UInt8[np.ndarray, "T H W"], lit: Mask, beats: Sequence[Beat]) -> BorderCues | None:
    """Return the mean cues over the beats; None if there are no beats or no sector.

    Args:
        frames: grey frames.
        lit: mask of the sector.
        beats: beats with landmarks in pixels of the frames.
    """
    if not lit.any():
        return None
    cues = [beat_cues(frames, lit, (beat.ed_frame, beat.es_frame), beat.landmarks[:, 0]) for beat in beats]
    if not cues:
        return None
    # beats whose atrium is outside the sector say nothing about it
    atrium = [cue.atrium for cue in cues if cue.below] or [0.0]
    return BorderCues(*np.mean(cues, axis=0).tolist())._replace(atrium=float(np.mean(atrium)))


def beat_cues(
    frames: UInt8[np.ndarray, "T H W"], lit: Mask, ends: tuple[int, int], endo: Float32[np.ndarray, "P K 2"]
) -> BorderCues:
    """Measure the picture at the endocardium of one beat at ED and ES."""
    pictures = [frames[max(0, frame - NEAR) : frame + NEAR + 1].mean(0) for frame in ends]
    # a change of the gain must not look like a contraction
    means = [picture[lit].mean() + 1e-6 for picture in pictures]
    pictures = [picture * (means[0] / mean) for picture, mean in zip(pictures, means, strict=True)]
    levels = [levels_at(picture, points) for picture, points in zip(pictures, endo, strict=True)]
    wall, blood = (np.stack([getattr(level, name) for level in levels]) for name in ("wall", "blood"))
    typical = max(float(wall.mean()), 1.0)
    ed, es = (raster.fill_polygon(lit.shape, outline(points)) for points in endo)
    between = ed & ~es
    change = float((pictures[1] - pictures[0])[between].mean()) if between.any() else 0.0
    inside = np.pad(lit, 1)
    # at ED the mitral plane is close to the bright tissue below the atrium
    atrium = atrium_places(endo[1])
    seen = look(inside, atrium + 1)
    return BorderCues(
        contrast=float(((wall - blood) / (wall + blood + 1e-6)).mean()),
        bright_blood=float(np.mean([level.brightest for level in levels])) / typical,
        atrium=float(look(pictures[1], atrium)[seen].mean()) / typical if seen.any() else 0.0,
        below=float(seen.mean()),
        filling=change / max(float((wall - blood).mean()), FAINT),
        size=area(outline(endo[0])) / max(float(lit.sum()), 1.0),
        outside=float(np.mean(~look(inside, endo + 1))),
        crossing=float(any(crosses_itself(outline(points)) for points in endo)),
    )


def levels_at(picture: Float[np.ndarray, "H W"], points: Float32[np.ndarray, "K 2"]) -> Levels:
    """Return the grey values of wall and blood at a border."""
    down = points[BASE] - points[APEX]
    axis = float(np.linalg.norm(down)) + 1e-6
    left, right = points[LEFT][DISCS], points[RIGHT][DISCS]
    width = np.linalg.norm(right - left, axis=-1, keepdims=True) + 1e-6
    outward = (right - left) / width
    depth = np.minimum(BLOOD * axis, 0.45 * width)[..., None]
    wall, blood = [], []
    for place, out in ((left, -outward), (right, outward)):
        wall.append(look(picture, place[:, None] + out[:, None] * (WALL * axis)[:, None]).mean())
        blood.append(look(picture, place[:, None] - out[:, None] * depth).mean())
    return Levels(
        wall=np.array(wall),
        blood=np.array(blood),
        brightest=float(
            np.percentile(look(picture, left[:, None] + ACROSS[:, None] * (right - left)[:, None]), BRIGHT_PERCENTILE)
        ),
    )


def atrium_places(points: Float32[np.ndarray, "K 2"]) -> Float[np.ndarray, "N 2"]:
    """Return places in the region of the atrium, below the mitral plane of a border."""
    plane = points[BASE] + (ACROSS - 0.5)[:, None] * (points[RIGHT][-1] - points[LEFT][-1])
    return np.asarray(plane[:, None] + (points[BASE] - points[APEX]) * ATRIUM[:, None]).reshape(-1, 2)


def look(picture: np.ndarray, places: Float[np.ndarray, "*N 2"]) -> np.ndarray:
    """Return the nearest pixels of (x, y); places outside have the value of the nearest edge."""
    x, y = (np.rint(places[..., i]).astype(int).clip(0, picture.shape[1 - i] - 1) for i in (0, 1))
    return np.asarray(picture[y, x])


def outline(points: Float[np.ndarray, "K 2"]) -> Float32[np.ndarray, "M 2"]:
    """Return a border as a line: up the left side, apex, down the right side."""
    return np.concatenate([points[LEFT][::-1], points[APEX : APEX + 1], points[RIGHT]]).astype(np.float32)


def area(line: Float32[np.ndarray, "M 2"]) -> float:
    """Return the area inside a closed line."""
    (x, y), (next_x, next_y) = line.T, np.roll(line, -1, 0).T
    return abs(float((x * next_y - next_x * y).sum())) / 2


def crosses_itself(line: Float32[np.ndarray, "M 2"]) -> bool:
    """Return whether two segments of a line cross."""
    start, end = line[:-1], line[1:]

    def turn(point: Float32[np.ndarray, "M 2"]) -> Float32[np.ndarray, "M M"]:
        """Return on which side of each segment each point lies."""
        along, to = (end - start)[:, None], point[None] - start[:, None]
        return np.asarray(np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]))

    separates = turn(start) * turn(end) < 0
    return bool((separates & separates.T).any())
