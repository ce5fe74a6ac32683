"""A drawn heart in a sector, and a network that knows its borders."""

from pathlib import Path

import numpy as np

from echo_e3net.models.clip_reader import ClipReading
from echo_e3net.models.opening import OpenedModel
from echo_e3net.reading.reader import Reader
from tests.reading.pulse import CLIP, CYCLE_S, describe

SIZE = 64
EF = 0.6
Y, X = np.mgrid[:SIZE, :SIZE].astype(float)
SECTOR = (np.abs(X - 32) <= 0.8 * (Y - 1)) & (np.hypot(X - 32, Y - 2) < 60)


def border(contraction):
    """Return 42 landmarks of a ventricle; ``contraction`` is 0 at ED and 1 at ES."""
    base = 44 - 4 * contraction
    part = (np.arange(20) + 0.5) / 20
    width = 10 * (1 - 0.32 * contraction) * np.sqrt(1 - (1 - part) ** 2)
    y = 14 + part * (base - 14)
    ends = [np.stack([32 + side * width, y], 1) for side in (-1, 1)]
    return np.concatenate([[[32, 14], [32, base]], *ends]).astype(np.float32)


def picture(contraction, speckle):
    """Return a frame: dark blood and atrium, bright walls, grey tissue."""
    base = 44 - 4 * contraction
    part = ((Y - 14) / (base - 14)).clip(0, 1)
    width = 10 * (1 - 0.32 * contraction) * np.sqrt(1 - (1 - part) ** 2)
    off, level = np.abs(X - 32), np.full(Y.shape, 60.0)
    level[(off < width + 5) & (y_between(10, base))] = 140
    level[(off < width) & y_between(14, base)] = 15
    level[np.hypot((X - 32) / 9, (Y - base - 8) / 8) < 1] = 15
    return (level * speckle * SECTOR).clip(0, 255)


def y_between(top, bottom):
    return (top <= Y) & (bottom >= Y)


def heart(seconds=2.4, fps=50.0, seed=0):
    """Return the frames of a beating heart; ED is at 0 s."""
    rng, frames = np.random.default_rng(seed), []
    speckle = rng.standard_normal((SIZE, SIZE))
    for number in range(round(seconds * fps)):
        speckle = 0.95 * speckle + 0.3 * rng.standard_normal((SIZE, SIZE))
        contraction = 0.5 - 0.5 * np.cos(2 * np.pi * number / fps / CYCLE_S)
        frames.append(picture(contraction, 1 + 0.15 * speckle))
    return np.array(frames).astype(np.uint8)


def read_clips(video, mask):
    """ED is where a clip is darkest, since blood is dark, and ES where it is brightest."""
    level = video[:, 0].astype(np.float32).mean((2, 3))
    masked = [np.where(mask, value, -np.inf) for value in (-level, level)]
    scores = np.stack([np.exp((value - value.max(1, keepdims=True)) / 0.3) for value in masked], 1)
    timing = (scores / scores.sum(2, keepdims=True)).astype(np.float32)
    landmarks = np.stack([np.stack([border(phase)] * 2) for phase in (0, 1)])
    ef = np.full(len(video), EF, np.float32)
    return ClipReading(ef, ef, np.repeat(landmarks[None], len(video), 0), timing)


def reader(read=read_clips, **description):
    return Reader(OpenedModel(Path("heart"), describe(CLIP)._replace(**description), read))
