"""Measure how long the tables of large data sets take: setup of the data module, and ``echo-e3net data check``.

The tables have EchoNet-Dynamic's format and size: 21 segments per traced frame, two traced frames per video. The video
files hold no data, because neither step opens them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from echo_e3net.conventions import DISCS

HEADER = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split\n"
SIDE, FRAMES = 112, 180
SPLITS = ("TRAIN",) * 14 + ("VAL",) * 3 + ("TEST",) * 3
SETUP = """
import gc, json, sys, time
import lightning.pytorch
from echo_e3net.benchmark.data_tables import resident_mb
from echo_e3net.training.datamodule import EchoDataModule
# As the command line does before a training.
gc.freeze()
data, before, start = EchoDataModule(sys.argv[1]), resident_mb(), time.perf_counter()
data.setup("fit")
print(json.dumps({"setup_s": time.perf_counter() - start, "setup_mb": resident_mb() - before,
                  "peak_mb": resident_mb("VmHWM") - before}))
"""
"""Script that measures the setup of a data module in its own process."""


def write_tables(root: Path, videos: int, seed: int = 0) -> None:
    """Write FileList.csv, VolumeTracings.csv and video files without data, for plausible ventricles.

    Args:
        root: folder of the data set; created if it does not exist.
        videos: number of videos.
        seed: random seed.
    """
    rng = np.random.default_rng(seed)
    names = [f"0X{number:016X}" for number in range(videos)]
    ef_percent = np.clip(rng.normal(56, 12, videos), 10, 85)
    segments = np.stack([ventricles(rng, np.ones(videos)), ventricles(rng, 1 - ef_percent / 100)], 1)
    edv = rng.uniform(60, 200, videos)
    (root / "Videos").mkdir(parents=True, exist_ok=True)
    with (root / "FileList.csv").open("w") as file:
        file.write(HEADER)
        for number, name in enumerate(names):
            esv, split = edv[number] * (1 - ef_percent[number] / 100), SPLITS[number % len(SPLITS)]
            volumes = f"{ef_percent[number]:.6f},{esv:.6f},{edv[number]:.6f}"
            file.write(f"{name},{volumes},{SIDE},{SIDE},50,{FRAMES},{split}\n")
            with (root / "Videos" / f"{name}.avi").open("wb") as video:
                # Files of different sizes cannot be copies, so none is read.
                video.truncate(200_000 + number)
    with (root / "VolumeTracings.csv").open("w") as file:
        file.write("FileName,X1,Y1,X2,Y2,Frame\n")
        for name, phases, first in zip(names, segments, rng.integers(0, 80, videos), strict=True):
            for frame, rows in zip((first, first + 20), phases, strict=True):
                for x1, y1, x2, y2 in rows.tolist():
                    file.write(f"{name}.avi,{x1:.5f},{y1:.5f},{x2:.5f},{y2:.5f},{frame}\n")


def ventricles(rng: np.random.Generator, volumes: np.ndarray) -> np.ndarray:
    """Return the segments (B, 21, 4) of half ellipses with random pose: the long axis, then the discs from the apex.

    Args:
        rng: random numbers.
        volumes: (B,), volume as a fraction of the largest.
    """
    length, radius = 60 * volumes ** (1 / 3), 16 * volumes ** (1 / 3)
    heights = (np.arange(DISCS) + 0.5) / DISCS
    half = radius[:, None] * np.sqrt(1 - (1 - heights) ** 2)
    along = heights * length[:, None]
    chords = np.stack([-half, along, half, along], -1)
    axis = np.stack([0 * length, 0 * length, 0 * length, length], -1)[:, None]
    ends = np.concatenate([axis, chords], 1).reshape(len(volumes), -1, 2)
    angle = rng.uniform(-0.3, 0.3, len(volumes))
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2)
    ends = ends @ turn + rng.uniform(-3, 3, (len(volumes), 1, 2)) + [SIDE / 2, 22]
    return np.asarray((ends + rng.normal(0, 0.05, ends.shape)).reshape(len(volumes), -1, 4))


def measure_tables(videos: tuple[int, ...] = (1000, 10_030)) -> dict[int, dict[str, float]]:
    """Return seconds and MB of setup and check by number of videos, each in a fresh process.

    Returns:
        ``setup_s`` of setup("fit") itself; ``setup_mb``, the memory added by it; ``peak_mb``, the largest memory added;
        ``check_s`` of the whole command ``data check``, with the start of Python.
    """
    return {number: measured(number) for number in videos}


def measured(videos: int) -> dict[str, float]:
    """Return the measurements for one number of videos."""
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder), videos)
        setup = subprocess.run([sys.executable, "-c", SETUP, folder], check=True, capture_output=True, text=True)
        start = time.perf_counter()
        command = [sys.executable, "-m", "echo_e3net", "data", "check", folder]
        check = subprocess.run(command, check=False, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if check.returncode > 1:
            raise RuntimeError(check.stderr)
        return {**json.loads(setup.stdout.splitlines()[-1]), "check_s": seconds}


def resident_mb(field: str = "VmRSS") -> float:
    """Return the memory that this process occupies now, or at most so far (``VmHWM``), in MB; only on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(field))
