"""Checks of what a machine shares with others: communication of ranks, threads, Weights & Biases, SLURM."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from netrc import NetrcParseError, netrc
from pathlib import Path
from urllib.parse import urlparse

import torch

from echo_e3net.cli.doctor_machine import Finding, judged
from echo_e3net.search.processes import cores

TIMEOUT = 60.0
"""Seconds in which two processes must find each other, including the import of torch."""
PATIENCE = 3.0
"""Seconds in which W&B's server must answer."""
RANK = """
import sys, torch, torch.distributed as dist
from datetime import timedelta
meeting, rank = sys.argv[1:]
dist.init_process_group(
    "gloo", init_method=f"file://{meeting}", rank=int(rank), world_size=2, timeout=timedelta(seconds=20)
)
value = torch.tensor([float(rank) + 1])
dist.all_reduce(value)
assert value.item() == 3, value
dist.destroy_process_group()
"""


def backends() -> Iterator[Finding]:
    """Check that processes of this machine can add a tensor, as the ranks of a distributed training do."""
    if not torch.distributed.is_available():
        yield Finding("distributed", "bad", "missing in this build of torch", "Install an official build of torch.")
        return
    nccl = torch.distributed.is_nccl_available()
    what = "available" if nccl else "missing in this build of torch"
    yield judged("nccl", nccl or not torch.cuda.is_available(), what, "Install a CUDA build of torch.")
    trouble = all_reduce() if torch.distributed.is_gloo_available() else "missing in this build of torch"
    remedy = "Set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to the network interface; on one node, to lo."
    yield judged("gloo", not trouble, trouble or "two processes added a tensor", remedy)


def all_reduce() -> str:
    """Let two processes add 1 and 2. Return the error, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", RANK, str(Path(folder, "meeting"))]
        ranks = [
            subprocess.Popen([*command, str(rank)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for rank in range(2)
        ]
        try:
            errors = [rank.communicate(timeout=TIMEOUT)[1].strip() for rank in ranks]
        except subprocess.TimeoutExpired:
            return f"two processes did not find each other within {TIMEOUT:.0f} s"
        finally:
            for rank in ranks:
                rank.kill()
                rank.communicate()
    failed = [error for rank, error in zip(ranks, errors, strict=True) if rank.returncode]
    last = next((error.splitlines()[-1] for error in failed if error), "a process died without an error message")
    return last[:200] if failed else ""


def threads() -> Iterator[Finding]:
    """Check the number of threads per process."""
    given, here = os.environ.get("OMP_NUM_THREADS"), cores()
    if given is None:
        yield Finding("threads", "ok", f"OMP_NUM_THREADS is not set: torch uses {torch.get_num_threads()}")
    elif not given.isdigit() or int(given) < 1:
        remedy = f"Unset it, or set it to a number from 1 to {here}."
        yield Finding("threads", "bad", f"OMP_NUM_THREADS is {given!r}", remedy)
    else:
        slow = int(given) > here or (int(given) == 1 < here and not torch.cuda.is_available())
        remedy = f"Set it to the cores per process, at most {here}. torchrun sets 1 by default."
        yield judged("threads", not slow, f"OMP_NUM_THREADS is {given}, of {here} cores", remedy, "warning")


def tracking() -> Iterator[Finding]:
    """Check W&B: its mode, that a key exists (the key is never shown), and that its server answers."""
    mode = os.environ.get("WANDB_MODE", "online")
    if mode in ("offline", "disabled", "dryrun"):
        yield Finding("wandb", "ok", f"WANDB_MODE is {mode}: nothing is sent")
        return
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or "api.wandb.ai"
    proxy = urlparse(os.environ.get("HTTPS_PROXY", os.environ.get("https_proxy", "")))
    server = (proxy.hostname, proxy.port or 3128) if proxy.hostname else (host, 443)
    through = f" through the proxy {proxy.hostname}" if proxy.hostname else ""
    need = "Needed only for runs with the W&B logger:"
    if not answers(*server):
        remedy = f"{need} set WANDB_MODE=offline, and run `wandb sync` later."
        yield Finding("wandb", "warning", f"{host} does not answer{through}", remedy)
    else:
        key = has_key(host)
        what = f"{host} answers{through}, {'a' if key else 'no'} key was found"
        yield judged("wandb", key, what, f"{need} run `wandb login`, or set WANDB_API_KEY.", "warning")


def answers(host: str, port: int) -> bool:
    """Return whether a server accepts a connection within ``PATIENCE``, including the look-up of its address."""
    found: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), PATIENCE).close()
            found.append(True)
        except OSError:
            pass

    # The look-up of an address has no time limit of its own.
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(PATIENCE)
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
    tasks, nodes, per_node = found.get("NTASKS", 1), found.get("NNODES", 1), found.get("NTASKS_PER_NODE")
    gpus, cpus, job = torch.cuda.device_count(), found.get("CPUS_PER_TASK", 1), environment.get("SLURM_JOB_NAME")
    listed = ", ".join(f"{name.lower()} {value}" for name, value in found.items())
    yield Finding("slurm", "ok", f"job {environment['SLURM_JOB_ID']}: {listed}")
    if tasks > 1 and per_node is None:
        remedy = "Add #SBATCH --ntasks-per-node=N, with N = GPUs per node."
        yield Finding("slurm: tasks", "bad", f"{tasks} tasks, but SLURM_NTASKS_PER_NODE is not set", remedy)
    elif per_node is not None and tasks != per_node * nodes:
        what = f"{tasks} tasks are not {nodes} nodes × {per_node} tasks per node"
        yield Finding("slurm: tasks", "bad", what, "Remove --ntasks; set only --nodes and --ntasks-per-node.")
    if gpus and per_node is not None and 1 < per_node != gpus:
        remedy = "Make them equal: --ntasks-per-node = GPUs per node = --trainer.devices."
        yield Finding("slurm: gpus", "bad", f"{per_node} tasks per node, {gpus} GPUs", remedy)
    if tasks > 1 and job in ("bash", "interactive"):
        yield Finding("slurm: name", "bad", f"the job is named {job}", "Lightning ignores such jobs. Rename the job.")
    if cpus < 2:
        remedy = "Workers need cores: set #SBATCH --cpus-per-task=8, and --data.loader.workers below it."
        yield Finding("slurm: cores", "warning", f"{cpus} core per task", remedy)
