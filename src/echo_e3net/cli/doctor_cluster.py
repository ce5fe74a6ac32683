"""What a machine shares with others: ranks that talk to each other, threads, Weights & Biases, SLURM."""

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

from echo_e3net.cli.doctor_finding import Finding
from echo_e3net.search.processes import cores

TIMEOUT = 60.0
"""Seconds that two processes may take to find each other, importing torch included."""
PATIENCE = 3.0
"""Seconds that W&B's server may take to answer."""


def backends() -> Iterator[Finding]:
    """Whether processes of this machine can add up a tensor, as the ranks of a distributed training do."""
    cuda = torch.cuda.is_available()
    if not torch.distributed.is_available():
        yield Finding(
            "distributed", "bad", "torch is built without torch.distributed", "Install an official build of torch."
        )
        return
    nccl = torch.distributed.is_nccl_available()
    yield Finding(
        "nccl",
        "ok" if nccl or not cuda else "bad",
        "available" if nccl else "not in this build",
        "Install a CUDA build of torch.",
    )
    trouble = "not in this build" if not torch.distributed.is_gloo_available() else all_reduce()
    remedy = "Ranks find each other over the network: name the interface with GLOO_SOCKET_IFNAME (and NCCL_SOCKET_IFNAME), for one node lo."
    yield Finding("gloo", "bad" if trouble else "ok", trouble or "two processes added up a tensor", remedy)


RANK = """
import sys, torch, torch.distributed as dist
from datetime import timedelta
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2, timeout=timedelta(seconds=20))
value = torch.tensor([float(sys.argv[2]) + 1])
dist.all_reduce(value)
assert value.item() == 3, value
dist.destroy_process_group()
"""


def all_reduce() -> str:
    """Let two processes add 1 and 2; what went wrong, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", RANK, str(Path(folder, "meeting"))]
        ranks = [
            subprocess.Popen([*words, str(rank)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for rank in range(2)
        ]
        try:
            errors = [rank.communicate(timeout=TIMEOUT)[1] for rank in ranks]
        except subprocess.TimeoutExpired:
            return f"two processes did not find each other within {TIMEOUT:.0f} s"
        finally:
            for rank in ranks:
                rank.kill()
                rank.communicate()
        lines = [
            error.strip().splitlines()[-1]
            for rank, error in zip(ranks, errors, strict=True)
            if rank.returncode and error.strip()
        ]
        return (
            lines[0][:200]
            if lines
            else ""
            if all(rank.returncode == 0 for rank in ranks)
            else "a process died without a word"
        )


def threads() -> Iterator[Finding]:
    """How many threads a process calculates with."""
    given, here = os.environ.get("OMP_NUM_THREADS"), cores()
    if given is None:
        yield Finding("threads", "ok", f"OMP_NUM_THREADS is not set: torch takes {torch.get_num_threads()}")
    elif not given.isdigit() or int(given) < 1:
        yield Finding(
            "threads", "bad", f"OMP_NUM_THREADS is {given!r}", f"Unset it, or set it to a number from 1 to {here}."
        )
    else:
        slow = int(given) > here or (int(given) == 1 < here and not torch.cuda.is_available())
        remedy = f"Set it to the cores of a process, at most {here}; torchrun sets 1 where nothing is set."
        yield Finding("threads", "warning" if slow else "ok", f"OMP_NUM_THREADS is {given}, of {here} cores", remedy)


def tracking() -> Iterator[Finding]:
    """Whether W&B can be logged to: its mode, a key (which is never shown), and whether its server answers."""
    mode = os.environ.get("WANDB_MODE", "online")
    if mode in ("offline", "disabled", "dryrun"):
        yield Finding("wandb", "ok", f"WANDB_MODE is {mode}: nothing is sent")
        return
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or "api.wandb.ai"
    proxy = urlparse(os.environ.get("HTTPS_PROXY", os.environ.get("https_proxy", "")))
    server = (proxy.hostname, proxy.port or 3128) if proxy.hostname else (host, 443)
    through = f" through the proxy {proxy.hostname}" if proxy.hostname else ""
    if not answers(*server):
        what = f"{host} does not answer{through}"
        yield Finding(
            "wandb",
            "warning",
            what,
            "Only for runs with the W&B logger: WANDB_MODE=offline, and `wandb sync` later where there is internet.",
        )
    elif not has_key(host):
        yield Finding(
            "wandb",
            "warning",
            f"{host} answers{through}, no key",
            "Only for runs with the W&B logger: `wandb login`, or WANDB_API_KEY.",
        )
    else:
        yield Finding("wandb", "ok", f"{host} answers{through}, a key is there")


def answers(host: str, port: int) -> bool:
    """Whether a server takes a connection within ``PATIENCE``; finding its address, which knows no time limit, included."""
    found: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), PATIENCE).close()
            found.append(True)
        except OSError:
            pass

    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(PATIENCE)
    return bool(found)


def has_key(host: str) -> bool:
    """Whether W&B would find a key, in the environment or in ~/.netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False


def slurm(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Whether SLURM's variables agree with each other and with the GPUs: Lightning starts nothing itself, each task is a rank."""
    if "SLURM_JOB_ID" not in environment:
        yield Finding("slurm", "ok", "not in a job")
        return
    names = ("NTASKS", "NNODES", "NTASKS_PER_NODE", "CPUS_PER_TASK")
    found = {name: int(value) for name in names if (value := environment.get(f"SLURM_{name}", "")).isdigit()}
    tasks, nodes, each = found.get("NTASKS", 1), found.get("NNODES", 1), found.get("NTASKS_PER_NODE")
    gpus = torch.cuda.device_count()
    yield Finding(
        "slurm",
        "ok",
        f"job {environment['SLURM_JOB_ID']}: " + ", ".join(f"{name.lower()} {value}" for name, value in found.items()),
    )
    if tasks > 1 and each is None:
        yield Finding(
            "slurm: tasks",
            "bad",
            f"{tasks} tasks, SLURM_NTASKS_PER_NODE is not set",
            "Add #SBATCH --ntasks-per-node=N, N = GPUs of a node.",
        )
    elif each is not None and tasks != each * nodes:
        what = f"{tasks} tasks are not {nodes} nodes × {each} tasks a node"
        yield Finding("slurm: tasks", "bad", what, "Leave --ntasks out: --nodes and --ntasks-per-node say it.")
    if gpus and each is not None and each > 1 and each != gpus:
        remedy = "Make them equal: --ntasks-per-node = GPUs of a node = --trainer.devices."
        yield Finding("slurm: gpus", "bad", f"{each} tasks a node, {gpus} GPUs seen", remedy)
    if tasks > 1 and environment.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        yield Finding(
            "slurm: name",
            "bad",
            f"the job is named {environment['SLURM_JOB_NAME']}",
            "Lightning takes such a job for a shell: name it anew.",
        )
    if found.get("CPUS_PER_TASK", 1) < 2:
        remedy = "Workers that decode need cores: #SBATCH --cpus-per-task=8, and --data.loader.workers below it."
        yield Finding("slurm: cores", "warning", f"{found.get('CPUS_PER_TASK', 1)} core a task", remedy)
