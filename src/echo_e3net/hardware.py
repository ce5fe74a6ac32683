"""Name the hardware, and choose precision and number of workers for it. torch is imported only where it is needed."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CGROUP = Path("/sys/fs/cgroup/cpu.max")
"""Limit of a container: microseconds of CPU time in a period, and the period."""
CPU_INFO = Path("/proc/cpuinfo")
MOST_WORKERS = 8
"""Largest number of workers per device that is chosen; more rarely load faster."""


def usual_precision(accelerator: str) -> str:
    """Return Lightning's precision for this machine: bf16-mixed where the hardware computes it, else 32-true.

    Args:
        accelerator: ``trainer.accelerator``; auto means a GPU if there is one.
    """
    import torch

    kind = "cuda" if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"
    if kind == "cpu" and accelerator not in ("auto", "cpu"):
        return "32-true"
    return "bf16-mixed" if fast_bf16(torch.device(kind)) else "32-true"


def fast_bf16(device: torch.device) -> bool:
    """Return whether a device computes bfloat16 in hardware. Elsewhere bfloat16 works, but is slower than float32.

    CUDA devices do from compute capability 8. CPUs do with avx512_bf16 or AMX.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def usual_workers(devices: int, environment: Mapping[str, str] = os.environ) -> int:
    """Return workers per device: its share (or under srun, its own) of the cores less one, 1 to ``MOST_WORKERS``."""
    own = "SLURM_CPUS_PER_TASK" in environment and environment.get("SLURM_STEP_NUM_TASKS", "1") != "1"
    return max(1, min(MOST_WORKERS, cores() // (1 if own else max(1, devices)) - 1))


def cores(environment: Mapping[str, str] = os.environ, cgroup: Path = CGROUP) -> int:
    """Return the number of cores that this process may use: of its affinity, its SLURM task and its container."""
    found = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    if (task := environment.get("SLURM_CPUS_PER_TASK", "")).isdigit():
        found.append(int(task))
    quota, _, period = (cgroup.read_text() if cgroup.is_file() else "max").strip().partition(" ")
    if quota != "max":
        found.append(int(quota) // int(period))
    return max(1, min(found))


def cpu_info() -> str:
    """Return what Linux says about the processor; an empty text on other systems."""
    return CPU_INFO.read_text() if CPU_INFO.is_file() else ""


def cpu_name() -> str:
    """Return the name of the processor, or only its architecture where the name is unknown."""
    model = re.search(r"model name\s*: (.+)", cpu_info())
    return model[1] if model else platform.machine()
