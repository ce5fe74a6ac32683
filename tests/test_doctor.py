"""Checks of the doctor: good and bad cases, secrets that stay hidden, and the exit code."""

import json
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from echo_e3net.cli import doctor_cluster as cluster
from echo_e3net.cli import doctor_machine as machine
from echo_e3net.cli.doctor_cluster import all_reduce, answers, backends, slurm, threads, tracking
from echo_e3net.cli.doctor_machine import cpu, disks, gpus, open_files, shared_memory, versions, videos
from echo_e3net.errors import InputError

GPU = namedtuple("GPU", "name total_memory major")
DISK = namedtuple("DISK", "free")


@pytest.fixture
def quiet(monkeypatch):
    """Hide the environment of the machine that runs the tests."""
    for name in (
        "WANDB_MODE",
        "WANDB_API_KEY",
        "WANDB_BASE_URL",
        "HTTPS_PROXY",
        "https_proxy",
        "SLURM_JOB_ID",
        "NETRC",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nowhere")


def marks(findings):
    return {finding.name: finding.mark for finding in findings}


def only(findings):
    found = list(findings)
    assert len(found) == 1
    assert found[0].mark == "ok" or found[0].remedy
    return found[0]


def has_gpus(monkeypatch, count, major=9):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: GPU("H100", 80e9, major))


def test_packages_that_are_missing_or_out_of_range(monkeypatch):
    found = marks(versions())
    assert {"python", "torch", "lightning", "decord"} <= found.keys()
    # pydicom is needed only by an extra.
    assert "pydicom" not in found
    assert set(found.values()) == {"ok"}

    def version(name):
        if name == "einops":
            raise PackageNotFoundError
        return "2.7.0" if name == "lightning" else "99"

    monkeypatch.setattr(machine, "version", version)
    by_name = {finding.name: finding for finding in versions()}
    assert by_name["einops"].what == "not installed"
    assert "pip install" in by_name["einops"].remedy
    assert by_name["lightning"].mark == "bad"
    assert "2.7.0, outside" in by_name["lightning"].what
    assert by_name["torch"].mark == "ok"

    def requires(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(machine, "requires", requires)
    assert marks(versions()) == {"python": "ok", "echo-e3net": "warning"}


@pytest.mark.parametrize(("flags", "count", "mark"), [("amx_bf16", 0, "ok"), ("", 0, "warning"), ("", 1, "ok")])
def test_a_processor_without_bfloat16(monkeypatch, flags, count, mark):
    has_gpus(monkeypatch, count)
    monkeypatch.setattr(machine, "cpu_info", lambda: flags)
    assert only(cpu()).mark == mark


def test_gpus(monkeypatch):
    has_gpus(monkeypatch, 2)
    assert marks(gpus()) == {"gpu 0": "ok", "gpu 1": "ok"}
    assert "80 GB" in next(gpus()).what
    has_gpus(monkeypatch, 1, major=7)
    assert only(gpus()).mark == "warning"
    has_gpus(monkeypatch, 0)
    for driver, mark in ((None, "warning"), ("/usr/bin/nvidia-smi", "bad")):
        monkeypatch.setattr(machine.shutil, "which", lambda _, driver=driver: driver)
        assert only(gpus()).mark == mark


def test_what_ranks_need(monkeypatch):
    monkeypatch.setattr(cluster, "all_reduce", lambda: "")
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    has_gpus(monkeypatch, 0)
    assert marks(backends()) == {"nccl": "ok", "gloo": "ok"}
    has_gpus(monkeypatch, 1)
    assert marks(backends()) == {"nccl": "bad", "gloo": "ok"}
    monkeypatch.setattr(cluster, "all_reduce", lambda: "no route")
    assert marks(backends())["gloo"] == "bad"


def test_ranks_that_never_meet_are_ended(monkeypatch):
    monkeypatch.setattr(cluster, "RANKS", "import time; time.sleep(60)")
    monkeypatch.setattr(cluster, "TIMEOUT", 0.2)
    assert "did not find each other" in all_reduce()
    monkeypatch.setattr(cluster, "TIMEOUT", 30.0)
    monkeypatch.setattr(cluster, "RANKS", "raise RuntimeError('no such interface')")
    assert all_reduce() == "RuntimeError: no such interface"
    monkeypatch.setattr(cluster, "RANKS", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert all_reduce() == "a process died without an error message"


@pytest.mark.slow
def test_ranks_meet_here_but_not_on_an_interface_that_is_not_there(monkeypatch):
    assert all_reduce() == ""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "none7")
    assert "none7" in all_reduce()


def test_videos_that_do_not_decode(monkeypatch):
    assert only(videos()).mark == "ok"

    def refuse(*_):
        raise InputError("cannot be decoded")

    monkeypatch.setattr("echo_e3net.data.frames.read_frames", refuse)
    assert only(videos()) == ("videos", "bad", "cannot be decoded", only(videos()).remedy)
    monkeypatch.setattr("echo_e3net.data.frames.read_frames", lambda path: torch.zeros(10, 64, 128).numpy())
    assert only(videos()).mark == "bad"


@pytest.mark.parametrize(("free", "mark"), [(100e9, "ok"), (5e9, "warning"), (0.5e9, "bad")])
def test_disks(monkeypatch, tmp_path, free, mark):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: DISK(free))
    assert marks(disks(tmp_path / "not" / "there")) == {"disk: runs": mark, "disk: temporary": mark}
    assert not (tmp_path / "not").exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    assert marks(disks(tmp_path / "file"))["disk: runs"] == "bad"


@pytest.mark.parametrize(("free", "mark"), [(2e9, "ok"), (0.5e9, "warning"), (64e6, "bad")])
def test_shared_memory(monkeypatch, tmp_path, free, mark):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: DISK(free))
    assert only(shared_memory(tmp_path)).mark == mark
    assert only(shared_memory(tmp_path / "none")).mark == "warning"


@pytest.mark.parametrize(
    ("limit", "mark"), [(65536, "ok"), (machine.resource.RLIM_INFINITY, "ok"), (1024, "warning"), (256, "bad")]
)
def test_open_files(monkeypatch, limit, mark):
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (limit, limit))
    assert only(open_files()).mark == mark


@pytest.mark.parametrize(("count", "mark"), [(4, "ok"), (1, "warning"), (64, "warning")])
def test_threads(monkeypatch, count, mark):
    monkeypatch.setattr(cluster, "cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    has_gpus(monkeypatch, 0)
    assert only(threads()).mark == mark


def test_wandb(monkeypatch, quiet, tmp_path):
    asked = []
    monkeypatch.setattr(cluster, "answers", lambda server: asked.append(server) or True)
    # no key
    assert only(tracking()).mark == "warning"
    monkeypatch.setenv("WANDB_API_KEY", "s3cret")
    assert only(tracking()).mark == "ok"
    assert "s3cret" not in str(only(tracking()))
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "netrc").write_text("machine wandb.example login user password s3cret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    # a key of another server
    assert only(tracking()).mark == "warning"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example")
    assert only(tracking()).mark == "ok"
    assert asked[-1] == "https://wandb.example"
    monkeypatch.setattr(cluster, "answers", lambda server: False)
    assert only(tracking()).mark == "warning"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert only(tracking()).mark == "ok"


class Server(BaseHTTPRequestHandler):
    """A server that refuses every request, late if its path is /late."""

    def do_GET(self):
        time.sleep(0.5 if self.path == "/late" else 0)
        self.send_error(404)

    def log_message(self, *_):
        """Print nothing."""


def test_a_server_that_answers_late_or_never_is_not_waited_for(monkeypatch, quiet):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        place = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert answers(place)
        monkeypatch.setattr(cluster, "PATIENCE", 0.1)
        assert not answers(f"{place}/late")
        server.shutdown()
    assert not answers(place)
    assert not answers("no address")


def job(**variables):
    return {"SLURM_JOB_ID": "7", **{f"SLURM_{name}": str(value) for name, value in variables.items()}}


@pytest.mark.parametrize(
    ("environment", "count", "expected"),
    [
        ({}, 0, {"slurm": "ok"}),
        (job(NTASKS=8, NNODES=2, NTASKS_PER_NODE=4, CPUS_PER_TASK=8), 4, {"slurm": "ok"}),
        # one study, which starts its own ranks
        (job(NTASKS=1, NNODES=1, NTASKS_PER_NODE=1, CPUS_PER_TASK=8), 4, {"slurm": "ok"}),
        (job(NTASKS=4, NNODES=1, CPUS_PER_TASK=8), 4, {"slurm": "ok", "slurm: tasks": "bad"}),
        (job(NTASKS=4, NNODES=2, NTASKS_PER_NODE=4, CPUS_PER_TASK=8), 4, {"slurm": "ok", "slurm: tasks": "bad"}),
        (job(NTASKS=2, NNODES=1, NTASKS_PER_NODE=2, CPUS_PER_TASK=8), 4, {"slurm": "ok", "slurm: gpus": "bad"}),
        (
            job(NTASKS=2, NNODES=1, NTASKS_PER_NODE=2, JOB_NAME="bash", CPUS_PER_TASK=8),
            2,
            {"slurm": "ok", "slurm: name": "bad"},
        ),
        (job(NTASKS=1, CPUS_PER_TASK=1), 0, {"slurm": "ok", "slurm: cores": "warning"}),
    ],
)
def test_slurm(monkeypatch, environment, count, expected):
    has_gpus(monkeypatch, count)
    found = list(slurm(environment))
    assert marks(found) == expected
    assert all(finding.remedy for finding in found if finding.mark != "ok")


def test_the_command_ends_with_1_where_something_will_not_work(monkeypatch, quiet, command, tmp_path):
    monkeypatch.setattr(cluster, "all_reduce", lambda: "")
    monkeypatch.setattr(cluster, "answers", lambda _: False)
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (65536, 65536))
    assert command("doctor", "--json", tmp_path / "found.json")[0] == 0
    assert "an all-reduce between two processes works" in command.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert {"name", "mark", "what", "remedy"} == found[0].keys()
    assert command("doctor", "--json", "-")[0] == 0
    assert [finding["name"] for finding in json.loads(command.output)] == [finding["name"] for finding in found]
    assert not (tmp_path / "runs").exists()
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (64, 64))
    assert command("doctor", "--runs", tmp_path / "else")[0] == 1
    assert "✗" in command.output
    assert "ulimit -n 65536" in command.output
