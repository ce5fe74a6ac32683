"""The screen of a scanner for tests: the sector of a phantom, with text, scales and a burned-in name around it."""

from functools import lru_cache

import cv2
import numpy as np

from echo_e3net.phantom.render import plan_video, render
from echo_e3net.phantom.sector import SIZE, sector_of

NAME = "DOE^JANE"
FRAMES = 32
CORNER, SIDE = (30, 120), 380
"""First row and column of the square that holds the sector, and its side, pixels of the default screen."""


@lru_cache
def sector_frames(index=0, frames=FRAMES):
    """Return frames (T, 112, 112) of a phantom."""
    return render(plan_video(5, index), 0, frames)


@lru_cache
def true_mask(shape=(480, 640), corner=CORNER, side=SIDE, index=0):
    """Return the mask of the sector on the screen, from the geometry of the phantom."""
    sector = sector_of(plan_video(5, index).scan)
    y, x = np.mgrid[: shape[0], : shape[1]]
    scale = side / SIZE
    x, y = (x - corner[1] + 0.5) / scale - 0.5, (y - corner[0] + 0.5) / scale - 0.5
    inside = (x >= 0) & (y >= 0) & (x < SIZE) & (y < SIZE)
    scan = sector.scan
    across, depth = (x - scan.origin_px[0]) * scan.pixel_cm, (y - scan.origin_px[1]) * scan.pixel_cm
    deepest = (SIZE - 1.5 - scan.origin_px[1]) * scan.pixel_cm
    return inside & (np.hypot(across, depth) <= deepest) & (np.abs(np.arctan2(across, depth)) <= sector.half_angle)


def screen(shape=(480, 640), corner=CORNER, side=SIDE, index=0, frames=FRAMES, gain=1.0, ecg=True, still=False):
    """Return RGB frames (T, H, W, 3) of a whole screen.

    Args:
        shape: height and width.
        corner: first row and column of the square that holds the sector.
        side: of that square, pixels.
        index: which phantom.
        frames: how many.
        gain: brightness of the sector.
        ecg: whether an ECG trace sweeps along the bottom.
        still: whether the sector is frozen.
    """
    inside = true_mask(shape, corner, side, index)
    out = np.zeros((frames, *shape, 3), np.uint8)
    for t, picture in enumerate(out):
        small = sector_frames(index, max(frames, FRAMES))[0 if still else t]
        large = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
        rows, columns = slice(corner[0], corner[0] + side), slice(corner[1], corner[1] + side)
        picture[rows, columns] = (np.clip(large * gain, 0, 255).astype(np.uint8) * inside[rows, columns])[..., None]
        write(picture, NAME, 6, 20)
        write(picture, "ECHO LAB", 6, 44)
        write(picture, f"HR {60 + t // 6}", shape[1] - 110, 20, (80, 255, 80))
        # depth scale
        for mark in range(0, side, 20):
            cv2.line(picture, (shape[1] - 20, corner[0] + mark), (shape[1] - 12, corner[0] + mark), (200, 200, 200), 1)
        # grey bar
        bar = np.linspace(255, 0, 80).astype(np.uint8)
        picture[shape[0] // 3 : shape[0] // 3 + 80, 8:16] = bar[:, None, None]
        if ecg:
            trace(picture, t, frames)
    return out


def write(picture, text, x, y, colour=(230, 230, 230)):
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 1, cv2.LINE_AA)


def trace(picture, t, frames):
    """An ECG along the bottom that is drawn anew from the left once in 32 frames."""
    height, width = picture.shape[:2]
    x = np.arange(width)
    y = (
        height
        - 22
        - 18 * np.exp(-(((x + 17 * (x > width * (t % 32) / 32)) % 160 - 40) ** 2) / 12)
        - 4 * np.sin(x / 25) ** 4
    )
    line = np.stack([x, y], -1).round().astype(np.int32)
    now = int(width * (t % 32) / 32)
    for piece in (line[: max(0, now - 8)], line[now + 8 :]):
        cv2.polylines(picture, [piece.reshape(-1, 1, 2)], False, (60, 220, 60), 1, cv2.LINE_8)
