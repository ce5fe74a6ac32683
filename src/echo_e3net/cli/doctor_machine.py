"""Checks of one machine: versions, processor, GPUs, video decoding, disks and limits."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import numpy as np
import torch
from packaging.requirements import Requirement

from echo_e3net.cli.doctor_findings import Finding, graded, judged
from echo_e3net.errors import InputError
from echo_e3net.files import require_place
from echo_e3net.hardware import cores, cpu_info

GB = 1e9
ROOM_GB, LITTLE_GB = 20, 1
"""Free disk for the checkpoints of a study and a cache; below the second value, one run does not fit."""
SHARED_MB, LITTLE_SHARED_MB = 1000, 100
"""Shared memory for batches of workers: 16 clips of 32 × 112 × 112 take 6.4 MB, and each of 8 workers holds two."""
FILES, FEW_FILES = 4096, 1024
"""Open files per process: workers pass each tensor as one file."""
GREY_ERROR = 3
"""Largest error of a decoded grey value, because of JPEG."""


def versions() -> Iterator[Finding]:
    """Compare the versions of the required packages with the ranges of pyproject.toml."""
    yield Finding("python", "ok", platform.python_version())
    try:
        needs = [Requirement(line) for line in requires("echo-e3net") or []]
    except PackageNotFoundError:
        what = "runs from source and is not installed, so versions are not checked"
        yield Finding("echo-e3net", "warning", what, "pip install -c constraints.txt -e .")
        return
    for need in needs:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        install = f"pip install -c constraints.txt '{need.name}{need.specifier}'"
        try:
            found = version(need.name)
        except PackageNotFoundError:
            yield Finding(need.name, "bad", "not installed", install)
            continue
        fits = need.specifier.contains(found, prereleases=True)
        yield judged(need.name, fits, found if fits else f"{found}, outside the supported range", install)


def cpu() -> Iterator[Finding]:
    """Check the cores of this process, and whether they calculate in bfloat16."""
    info = cpu_info()
    found = [feature for feature in ("amx_bf16", "avx512_bf16") if feature in info]
    what = f"{cores()} of {os.cpu_count()} cores, {', '.join(found) or 'no bfloat16'}"
    remedy = "bfloat16 is emulated here; --precision auto trains in float32."
    yield judged("cpu", bool(found) or torch.cuda.is_available(), what, remedy, "warning")


def gpus() -> Iterator[Finding]:
    """Check the GPUs that torch finds; a driver that torch cannot use is bad."""
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        what = f"{properties.name}, {properties.total_memory / GB:.0f} GB"
        remedy = "It has no bfloat16: train with --trainer.precision 16-mixed."
        yield judged(f"gpu {i}", properties.major >= 8, what, remedy, "warning")
    if torch.cuda.is_available():
        return
    none = f"torch {torch.__version__} finds no GPU"
    if shutil.which("nvidia-smi"):
        remedy = "Install a CUDA build of torch for this driver, and check CUDA_VISIBLE_DEVICES."
        yield Finding("gpu", "bad", f"{none}, but there is a driver (nvidia-smi)", remedy)
    else:
        yield Finding("gpu", "warning", none, "Training runs on the CPU: use small studies.")


def videos() -> Iterator[Finding]:
    """Write a short motion-JPEG AVI and decode it."""
    try:
        from echo_e3net.data.frames import read_frames
        from echo_e3net.data.raster import write_mjpeg_avi

        grey = np.arange(0, 240, 24, dtype=np.uint8)[:, None, None].repeat(64, 1).repeat(64, 2)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "ten.avi")
            write_mjpeg_avi(path, grey, 50)
            read = read_frames(path)
        right = read.shape == grey.shape and int(np.abs(read.astype(int) - grey).max()) <= GREY_ERROR
        trouble = "" if right else f"{len(read)} of {len(grey)} frames decode, or their grey values differ"
    except (InputError, OSError) as error:
        trouble = str(error)
    remedy = "Install decord again (decord2 on machines other than 64-bit Intel and AMD), never both."
    yield judged("videos", not trouble, trouble or "a test video of ten frames decodes", remedy)


def disks(runs: Path) -> Iterator[Finding]:
    """Check the free room for runs and for temporary files."""
    for name, folder in (("runs", runs), ("temporary", Path(tempfile.gettempdir()))):
        try:
            require_place(folder / "doctor")
        except InputError as error:
            yield Finding(f"disk: {name}", "bad", str(error), "Choose another folder (--runs, or TMPDIR).")
            continue
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(existing).free / GB
        remedy = "Free disk space, or choose another disk (--runs, or TMPDIR)."
        yield graded(f"disk: {name}", free, ROOM_GB, LITTLE_GB, f"{free:.0f} GB free at {folder}", remedy)


def shared_memory(folder: Path = Path("/dev/shm")) -> Iterator[Finding]:
    """Check the free shared memory, which workers use to pass batches to the training process."""
    if not folder.is_dir():
        remedy = "If workers fail, decode in the main process: --data.loader.workers 0."
        yield Finding("shared memory", "warning", f"{folder} does not exist", remedy)
        return
    free = shutil.disk_usage(folder).free / 1e6
    remedy = (
        "Give the container more shared memory (docker: --shm-size=8g, or --ipc=host), or lower --data.loader.workers."
    )
    yield graded("shared memory", free, SHARED_MB, LITTLE_SHARED_MB, f"{free:,.0f} MB free", remedy)


def open_files() -> Iterator[Finding]:
    """Check how many files a process may open."""
    limit: float = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        limit = float("inf")
    yield graded("open files", limit, FILES, FEW_FILES, f"limit {limit:,}", "Run `ulimit -n 65536` before the run.")
