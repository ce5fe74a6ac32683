"""A network that is easy to predict: the brightness of a frame is the volume of the ventricle."""

from pathlib import Path

import numpy as np

from echo_e3net.models.clip_reader import ClipReading
from echo_e3net.models.description import Description, ModelClip
from echo_e3net.models.opening import OpenedModel
from echo_e3net.reading.reader import Reader

CLIP = ModelClip(frames=32, period=2, size=64, fps=50.0)
CYCLE_S = 0.8


def describe(clip=CLIP, borders=("endo", "epi")):
    return Description({"class_path": "none"}, clip, (31.0, 50.0), 0.55, borders, 10, "0" * 16, {"val/mae": 5.0})


def read_clips(video, mask):
    """ED is where a frame is brightest, ES where it is darkest; EF is one minus their ratio."""
    level = video[:, 0].astype(np.float32).mean((2, 3))
    masked = [np.where(mask, value, -np.inf) for value in (level, -level)]
    scores = np.stack([np.exp((value - value.max(1, keepdims=True)) / 2) for value in masked], 1)
    timing = (scores / scores.sum(2, keepdims=True)).astype(np.float32)
    ed, es = (np.take_along_axis(level, value.argmax(1)[:, None], 1)[:, 0] for value in masked)
    ef = (1 - es / np.maximum(ed, 1)).astype(np.float32)
    landmarks = np.zeros((len(video), 2, 2, 42, 2), np.float32)
    landmarks[:, 0] = 10.0
    landmarks[:, 1] = 20.0
    return ClipReading(ef, ef, landmarks, timing)


def reader(clip=CLIP, read=read_clips, batch_size=8):
    return Reader(OpenedModel(Path("pulse"), describe(clip), read), batch_size)


def pulse(seconds, fps, ef=0.5, size=64, cycle_s=CYCLE_S):
    """Return a video whose brightness falls in a third of a beat and rises in the rest; it is ED at 0 s."""
    part = np.mod(np.arange(round(seconds * fps)) / fps, cycle_s) / cycle_s
    falling, rising = 0.5 + 0.5 * np.cos(3 * np.pi * part), 0.5 - 0.5 * np.cos(1.5 * np.pi * (part - 1 / 3))
    level = 200 * (1 - ef * (1 - np.where(part < 1 / 3, falling, rising)))
    return np.repeat(np.rint(level).astype(np.uint8), size * size).reshape(-1, size, size)
