"""Checks of what a machine shares with others: communication of ranks, threads, Weights & Biases, SLURM."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from netrc import NetrcParseError, netrc
from threading import Thread
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import urlopen

import torch

from echo_e3net.cli.doctor_findings import Finding, judged
from echo_e3net.hardware import cores

TIMEOUT = 60.0
"""Seconds in which two processes must find each other, including the import of torch."""
PATIENCE = 3.0
"""Seconds in which W&B's server must answer."""
RANKS = """
import os, sys
child = os.fork()
import torch, torch.distributed as dist
from datetime import timedelta
meeting, rank = f"file://{sys.argv[1]}/meeting", int(child == 0)
dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=20))
value = torch.tensor([rank + 1.0])
dist.all_reduce(value)
assert value.item() == 3, value
dist.destroy_process_group()
if child:
    sys.exit(os.waitpid(child, 0)[1] != 0)
"""


def backends() -> Iterator[Finding]:
    """Check that two processes of this machine can run an all-reduce with gloo."""
    nccl = torch.distributed.is_nccl_available()
    what = "available" if nccl else "missing in this build of torch"
    yield judged("nccl", nccl or not torch.cuda.is_available(), what, "Install a CUDA build of torch.")
    trouble = all_reduce()
    remedy = "Set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to the network interface; on one node, to lo."
    yield judged("gloo", not trouble, trouble or "an all-reduce between two processes works", remedy)


def all_reduce() -> str:
    """Let two processes add 1 and 2. Return the error message; it is empty if the sum is right."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", RANKS, folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            return f"two processes did not find each other within {TIMEOUT:.0f} s"
    lines = done.stderr.strip().splitlines() or ["a process died without an error message"]
    return lines[-1][:200] if done.returncode else ""


def threads() -> Iterator[Finding]:
    """Check the number of threads per process, which OMP_NUM_THREADS sets."""
    count, here = torch.get_num_threads(), cores()
    slow = count > here or (count == 1 < here and not torch.cuda.is_available())
    remedy = f"Set OMP_NUM_THREADS to the cores per process, at most {here}. torchrun sets 1 by default."
    yield judged("threads", not slow, f"torch uses {count} threads on {here} cores", remedy, "warning")


def tracking() -> Iterator[Finding]:
    """Check W&B: its mode, that its server answers, and that a key exists (the key is never shown)."""
    mode = os.environ.get("WANDB_MODE", "online")
    if mode in ("offline", "disabled", "dryrun"):
        yield Finding("wandb", "ok", f"WANDB_MODE is {mode}: nothing is sent")
        return
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    need = "Needed only for runs with the W&B logger:"
    if not answers(server):
        remedy = f"{need} set WANDB_MODE=offline, and run `wandb sync` later."
        yield Finding("wandb", "warning", f"{server} does not answer", remedy)
    else:
        key = has_key(urlparse(server).hostname or server)
        what = f"{server} answers, {'a' if key else 'no'} key was found"
        yield judged("wandb", key, what, f"{need} run `wandb login`, or set WANDB_API_KEY.", "warning")


def answers(server: str) -> bool:
    """Return whether a server answers soon, through the proxy of the environment if there is one."""
    found: list[bool] = []

    def ask() -> None:
        with suppress(OSError, ValueError):
            with suppress(HTTPError):
                urlopen(server, timeout=PATIENCE).close()
            found.append(True)

    # The look-up of an address has no time limit of its own.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(2 * PATIENCE)
    return bool(found)


def has_key(host: str) -> bool:
    """Return whether W&B finds a key in the environment or in ~/.netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False


def slurm(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Check that SLURM's variables agree with each other and with the GPUs. Under SLURM, each task is one rank."""
    if "SLURM_JOB_ID" not in environment:
        yield Finding("slurm", "ok", "not in a job")
        return
    names = ("NTASKS", "NNODES", "NTASKS_PER_NODE", "CPUS_PER_TASK")
    found = {name: int(value) for name in names if (value := environment.get(f"SLURM_{name}", "")).isdigit()}
    tasks, nodes, per_node = found.get("NTASKS", 1), found.get("NNODES", 1), found.get("NTASKS_PER_NODE", 0)
    gpus, cpus, job = torch.cuda.device_count(), found.get("CPUS_PER_TASK", 1), environment.get("SLURM_JOB_NAME")
    listed = ", ".join(f"{name.lower()} {value}" for name, value in found.items())
    yield Finding("slurm", "ok", f"job {environment['SLURM_JOB_ID']}: {listed}")
    if tasks > 1 and tasks != per_node * nodes:
        what = f"{tasks} tasks are not {nodes} nodes × {per_node or 'unknown'} tasks per node"
        remedy = "Remove --ntasks; set #SBATCH --nodes, and --ntasks-per-node to the GPUs per node."
        yield Finding("slurm: tasks", "bad", what, remedy)
    if gpus and 1 < per_node != gpus:
        remedy = "Make them equal: --ntasks-per-node = GPUs per node = --trainer.devices."
        yield Finding("slurm: gpus", "bad", f"{per_node} tasks per node, {gpus} GPUs", remedy)
    if tasks > 1 and job in ("bash", "interactive"):
        yield Finding("slurm: name", "bad", f"the job is named {job}", "Lightning ignores such jobs. Rename the job.")
    if cpus < 2:
        remedy = "Workers need cores: set #SBATCH --cpus-per-task=8, and --data.loader.workers below it."
        yield Finding("slurm: cores", "warning", f"{cpus} core per task", remedy)
