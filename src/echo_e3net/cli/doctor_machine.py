"""One machine: versions, processor, GPUs, videos, room and limits."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import numpy as np
import torch
from packaging.requirements import Requirement

from echo_e3net.cli.doctor_finding import Finding, graded
from echo_e3net.errors import InputError
from echo_e3net.files import require_place
from echo_e3net.search.processes import cores

GB = 1e9
ROOM_GB, LITTLE_GB = 20, 1
"""Free disk for a study's checkpoints and a cache; below the second, not even one run fits."""
SHARED_MB, LITTLE_SHARED_MB = 1000, 100
"""Shared memory in which workers hand batches over: a batch of 16 clips of 32 × 112 × 112 is 6.4 MB, and each of 8 workers holds two."""
FILES, FEW_FILES = 4096, 1024
"""Open files of a process: workers hand over each tensor as one."""


def versions() -> Iterator[Finding]:
    """Python and every package that is needed, against the ranges of pyproject.toml."""
    yield Finding(
        "python",
        "ok" if sys.version_info >= (3, 10) else "bad",
        platform.python_version(),
        "Install Python 3.10 or later.",
    )
    wanted = [Requirement(line) for line in requires("echo-e3net") or []]
    for need in wanted:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(need.name)
        except PackageNotFoundError:
            yield Finding(
                need.name, "bad", "not installed", f"pip install -c constraints.txt '{need.name}{need.specifier}'"
            )
            continue
        fits = need.specifier.contains(found, prereleases=True)
        remedy = f"Supported is {need.specifier}: pip install -c constraints.txt '{need.name}{need.specifier}'"
        yield Finding(
            need.name, "ok" if fits else "bad", found if fits else f"{found}, outside the supported range", remedy
        )


def cpu() -> Iterator[Finding]:
    """Cores that this process may use, and whether they calculate in bfloat16."""
    flags = cpu_flags()
    found = [name for name in ("amx_bf16", "avx512_bf16") if name in flags]
    what = f"{cores()} of {os.cpu_count()} cores, {', '.join(found) or 'no bfloat16'}"
    yield Finding(
        "cpu",
        "ok" if found or torch.cuda.is_available() else "warning",
        what,
        "Train with --trainer.precision 32 here: bf16 is emulated.",
    )


def cpu_flags() -> set[str]:
    """What the processor can, as Linux says."""
    info = Path("/proc/cpuinfo")
    lines = [line for line in info.read_text().splitlines() if line.startswith("flags")] if info.is_file() else []
    return set(lines[0].split()) if lines else set()


def gpus() -> Iterator[Finding]:
    """GPUs that torch sees, with their memory; a driver that torch cannot use is a cross."""
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        bf16 = "bf16" if properties.major >= 8 else "no bf16: train with --trainer.precision 16-mixed"
        yield Finding(
            f"gpu {i}",
            "ok" if properties.major >= 8 else "warning",
            f"{properties.name}, {properties.total_memory / GB:.0f} GB, {bf16}",
            bf16,
        )
    if not torch.cuda.is_available():
        driver = shutil.which("nvidia-smi") is not None
        what = f"none that torch {torch.__version__} sees" + (", but there is a driver (nvidia-smi)" if driver else "")
        remedy = (
            "Install a CUDA build of torch for this driver, and see CUDA_VISIBLE_DEVICES."
            if driver
            else "Training runs on the CPU: small studies."
        )
        yield Finding("gpu", "bad" if driver else "warning", what, remedy)


def videos() -> Iterator[Finding]:
    """Write a short motion-JPEG AVI, and decode it."""
    try:
        from echo_e3net.data.raster import write_mjpeg_avi
        from echo_e3net.data.frames import read_frames

        grey = np.arange(0, 240, 24, dtype=np.uint8)[:, None, None].repeat(64, 1).repeat(64, 2)
        with tempfile.TemporaryDirectory() as folder:
            write_mjpeg_avi(Path(folder, "ten.avi"), grey, 50)
            read = read_frames(Path(folder, "ten.avi"))
        right = read.shape == grey.shape and int(np.abs(read.astype(int) - grey).max()) <= 3
        trouble = "" if right else f"{len(read)} frames came back of {len(grey)}, or with other greys"
    except (InputError, OSError) as error:
        trouble = str(error)
    remedy = "Install decord again (decord2 where this is no 64-bit Intel or AMD machine), never both."
    yield Finding("videos", "bad" if trouble else "ok", trouble or "ten frames of a video written here decode", remedy)


def disks(runs: Path) -> Iterator[Finding]:
    """Free room where runs go, and where temporary files go."""
    for name, folder in (("runs", runs), ("temporary", Path(tempfile.gettempdir()))):
        try:
            require_place(folder / "doctor")
        except InputError as error:
            yield Finding(f"disk: {name}", "bad", str(error), "Choose another folder (--runs, or TMPDIR).")
            continue
        free = (
            shutil.disk_usage(
                next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
            ).free
            / GB
        )
        remedy = "Make room, or choose another disk (--runs, or TMPDIR)."
        yield graded(f"disk: {name}", free, ROOM_GB, LITTLE_GB, f"{free:.0f} GB free at {folder}", remedy)


def shared_memory(folder: Path = Path("/dev/shm")) -> Iterator[Finding]:
    """Room in which workers hand batches to the training."""
    if not folder.is_dir():
        yield Finding(
            "shared memory",
            "warning",
            f"{folder} is not there",
            "If workers fail, decode in the training's process: --data.loader.workers 0.",
        )
        return
    free = shutil.disk_usage(folder).free / 1e6
    remedy = "Give the container more (docker: --shm-size=8g, or --ipc=host), or take fewer --data.loader.workers."
    yield graded("shared memory", free, SHARED_MB, LITTLE_SHARED_MB, f"{free:,.0f} MB free", remedy)


def open_files() -> Iterator[Finding]:
    """How many files a process may have open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    many = limit == resource.RLIM_INFINITY
    yield graded(
        "open files",
        FILES if many else limit,
        FILES,
        FEW_FILES,
        "no limit" if many else f"{limit:,} at most",
        "ulimit -n 65536, before the run.",
    )
