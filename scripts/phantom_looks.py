"""Compare the figures of a look of the phantom with those of real clips.

    python scripts/phantom_looks.py [VIDEOS [LOOK [SEED]]]

Prints a Markdown table: per figure the 10th percentile, median and 90th percentile over the videos, beside real clips.
``docs/phantom_real.csv`` holds the figures of the real clips, and docs/PHANTOM.md explains them. A star marks a figure
whose real median is outside the range of the look, or which is nearer to ``adult_cart`` than to the real clips although
it should not be.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from phantom_realism import through_jpeg

from echo_e3net.data.raster import fill_polygon, use_one_thread
from echo_e3net.geometry import LEFT, RIGHT
from echo_e3net.phantom.look import LOOKS
from echo_e3net.phantom.render import jpeg_quality, plan_video, render
from echo_e3net.phantom.sector import SIZE

REAL = Path(__file__).parents[1] / "docs/phantom_real.csv"
Y, X = np.mgrid[:SIZE, :SIZE]
LAGS = (1, 4, 8)
BLACK, SEEN = 3, 12
"""Grey below which a pixel is black, and above which it belongs to the sector in some frame."""
LONGEST_PX = 11
"""Largest shift for the correlation of grey values, pixels."""
PARTS = 10
"""Number of parts of the long axis whose width is measured."""


class Cavity:
    """Geometry of a cavity from its pixels alone.

    Args:
        mask: pixels inside the traced border.
    """

    def __init__(self, mask: Bool[np.ndarray, "H W"]) -> None:
        points = np.stack([X[mask], Y[mask]], axis=1).astype(float)
        self.mask, self.centre = mask, points.mean(0)
        down = np.linalg.svd(points - self.centre, full_matrices=False)[2][0]
        self.down = down * np.sign(down[1])
        # Perpendicular to the long axis, towards the viewer's right
        self.right = np.array([self.down[1], -self.down[0]])
        self.along, self.across = (
            (X - self.centre[0]) * axis[0] + (Y - self.centre[1]) * axis[1] for axis in (self.down, self.right)
        )
        height = (points - self.centre) @ self.down
        self.top, self.bottom, self.axis = height.min(), height.max(), np.ptp(height)
        edges = np.linspace(self.top, self.bottom, PARTS + 1)
        counts = [((height >= low) & (height <= high)).sum() for low, high in pairwise(edges)]
        self.widths = np.array(counts) / (self.axis / PARTS)

    def figures(self) -> dict[str, float]:
        """Return size, place and shape."""
        apex, base = self.centre + self.top * self.down, self.centre + self.bottom * self.down
        places = {"c": self.centre, "apex_": apex, "base_": base}
        values = {f"{name}{axis}": point[k] for name, point in places.items() for k, axis in enumerate("xy")}
        values |= {f"width{part}": width for part, width in enumerate(self.widths / self.widths.max())}
        tilt = np.degrees(np.arctan2(*self.down))
        return values | {
            "area": self.mask.sum(),
            "axis": self.axis,
            "tilt": tilt,
            "width_over_axis": self.widths.max() / self.axis,
        }

    def echo(self, frame: UInt8[np.ndarray, "H W"]) -> dict[str, float]:
        """Return the grey of blood (inside, 3 px off the border) and of the walls (1 to 5 px outside)."""
        mask, kernel, half = self.mask.astype(np.uint8), np.ones((3, 3), np.uint8), self.axis / 2
        blood = frame[cv2.erode(mask, kernel, iterations=3) > 0].astype(float)
        ring = (cv2.dilate(mask, kernel, iterations=5) > 0) & ~(cv2.dilate(mask, kernel) > 0)
        ring &= self.along < 0.85 * half
        side = self.along > -0.6 * half
        walls = {
            "septum": ring & (self.across < 0) & side,
            "lateral": ring & (self.across > 0) & side,
            "apex": ring & (self.along < -0.75 * half),
        }
        greys = {name: frame[wall].mean() if wall.any() else np.nan for name, wall in walls.items()}
        return greys | {
            "blood": blood.mean(),
            "blood_p90": np.percentile(blood, 90),
            "wall_over_blood": frame[ring].mean() / (blood.mean() + 1),
            "corr_px": correlation_length(frame, ring),
        }

    def profile(self, frame: UInt8[np.ndarray, "H W"]) -> dict[str, float]:
        """Return the grey at -8, -6, … 16 px from the border (negative: inside) of septum, lateral wall and apex."""
        mask, half = self.mask.astype(np.uint8), self.axis / 2
        inside, outside = (cv2.distanceTransform(part, cv2.DIST_L2, 5) for part in (mask, 1 - mask))
        distance, middle = outside - inside, (self.along > -0.6 * half) & (self.along < 0.7 * half)
        walls = {
            "septum": (self.across < 0) & middle,
            "lateral": (self.across > 0) & middle,
            "apex": self.along < -0.7 * half,
        }
        steps = {step: (distance >= step - 1) & (distance < step + 1) for step in range(-8, 17, 2)}
        return {
            f"{name}_at{step:+d}": frame[wall & near].mean()
            for name, wall in walls.items()
            for step, near in steps.items()
            if (wall & near).any()
        }


def correlation_length(frame: UInt8[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]) -> float:
    """Return the shift at which the correlation of a region's grey with itself falls to 1/e; mean of x and y, px."""
    deviation = np.where(region, frame - frame[region].mean(), 0.0)
    power = max(float(np.square(deviation[region]).mean()), 1e-9)
    lengths = []
    for axis in (0, 1):
        for shift in range(1, LONGEST_PX + 1):
            moved, both = np.roll(deviation, shift, axis), np.roll(region, shift, axis) & region
            if not both.any() or (deviation * moved)[both].mean() < power / np.e:
                break
        lengths.append(shift)
    return float(np.mean(lengths))


def inside(border: Float[np.ndarray, "42 2"]) -> Bool[np.ndarray, "H W"]:
    """Return the pixels between the ends of the discs."""
    around = np.concatenate([border[LEFT], border[RIGHT][::-1]])
    return fill_polygon((SIZE, SIZE), np.round(around).astype(np.float32))


def whole(frames: UInt8[np.ndarray, "T H W"]) -> dict[str, float]:
    """Return the figures of all frames: grey, sector, change over time."""
    seen, change = frames.max(0) > SEEN, frames - frames.mean(0)
    power = max(np.square(change).mean(), 1e-9)
    values = {"grey_mean": frames.mean(), "grey_sd": frames.std(), "black_share": (frames < BLACK).mean()}
    values |= {f"grey_p{q}": np.percentile(frames, q) for q in (50, 90, 99)}
    values |= {f"time_corr_{lag}": (change[lag:] * change[:-lag]).mean() / power for lag in LAGS}
    edges = {"top": (Y, 0.5), "bottom": (Y, 99.5), "left": (X, 0.5), "right": (X, 99.5)}
    values |= {f"sector_{name}": np.percentile(axis[seen], q) for name, (axis, q) in edges.items()}
    return values | {"sector_share": seen.mean(), "moving_sd": frames.std(0)[seen].mean()}


def video_figures(seed: int, index: int, look: str) -> dict[str, float]:
    """Return the figures of one video, as stored in its file."""
    plan = plan_video(seed, index, 100, LOOKS[look])
    quality, beat = jpeg_quality(plan), plan.ejection
    frames = np.stack([through_jpeg(frame, quality) for frame in render(plan)])
    ed, es = (Cavity(inside(border)) for border in plan.borders()[[beat.ed, beat.es]])
    values = whole(frames) | ed.profile(frames[beat.ed])
    for name, cavity, t in (("ed", ed, beat.ed), ("es", es, beat.es)):
        values |= {f"{name}_{key}": value for key, value in (cavity.figures() | cavity.echo(frames[t])).items()}
    for end in ("apex", "base"):
        step = [values[f"es_{end}_{axis}"] - values[f"ed_{end}_{axis}"] for axis in "xy"]
        values[f"{end}_moves_px"] = float(np.hypot(*step))
    volumes = [cavity.mask.sum() ** 2 / cavity.axis for cavity in (ed, es)]
    values |= {"ef_area_length": 100 * (1 - volumes[1] / volumes[0]), "axis_shortens": 1 - es.axis / ed.axis}
    return values | {"systole_frames": beat.es - beat.ed}


def percentiles(rows: list[dict[str, float]], figure: str) -> Float[np.ndarray, "3"]:
    """Return the 10th, 50th and 90th percentile of a figure."""
    return np.asarray(np.nanpercentile([row.get(figure, np.nan) for row in rows], (10, 50, 90)))


def main(n: int = 300, look: str = "mixed", seed: int = 0) -> None:
    """Print the table."""
    use_one_thread()
    rows = [video_figures(seed, index, look) for index in range(n)]
    print("| figure | real clips | adult_cart | " + look + " | |\n|---|---|---|---|---|")
    for line in REAL.read_text().splitlines()[1:]:
        figure, low, median, high, old, outside = line.split(",")
        if figure not in rows[0]:
            sys.exit(f"{REAL.name}: unknown figure {figure}. Remove its row, or compute it in this script.")
        p10, p50, p90 = percentiles(rows, figure)
        missed = not p10 <= float(median) <= p90
        missed |= outside == "1" and abs(p50 - float(median)) > 0.5 * abs(float(old) - float(median)) + 1e-9
        real = f"{low} / {median} / {high}" if low else median
        print(f"| {figure} | {real} | {old} | {p10:.3g} / {p50:.3g} / {p90:.3g} | {'*' if missed else ''} |")


if __name__ == "__main__":
    words = sys.argv[1:]
    main(int(words[0]) if words else 300, *words[1:2], *(int(word) for word in words[2:3]))
