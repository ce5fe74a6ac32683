"""Precision and workers that are chosen for the machine."""

import pytest
import torch
import yaml

from echo_e3net import hardware
from echo_e3net.hardware import cores, cpu_name, fast_bf16, usual_precision, usual_workers


@pytest.mark.parametrize(("bf16", "amx", "expected"), [(0, 0, "32-true"), (1, 0, "bf16-mixed"), (0, 1, "bf16-mixed")])
def test_a_cpu_trains_in_bf16_only_if_it_computes_it(monkeypatch, bf16, amx, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(bf16))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: bool(amx))
    assert usual_precision("auto") == usual_precision("cpu") == expected
    assert usual_precision("mps") == "32-true"


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), "32-true"), ((8, 0), "bf16-mixed"), ((9, 0), "bf16-mixed")]
)
def test_a_gpu_trains_in_bf16_from_capability_8(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert usual_precision("gpu") == usual_precision("auto") == expected
    assert not fast_bf16(torch.device("meta"))


@pytest.mark.parametrize(
    ("task", "quota", "expected"),
    [
        ("", "max 100000", 16),
        ("4", "max 100000", 4),
        ("", "250000 100000", 2),
        ("8", "50000 100000", 1),
        ("", None, 16),
    ],
)
def test_cores_are_those_of_affinity_slurm_and_container(monkeypatch, tmp_path, task, quota, expected):
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _: range(16))
    path = tmp_path / "cpu.max"
    if quota is not None:
        path.write_text(f"{quota}\n")
    assert cores({"SLURM_CPUS_PER_TASK": task}, path) == expected


@pytest.mark.parametrize(("number", "devices", "expected"), [(2, 1, 1), (1, 1, 1), (16, 1, 8), (16, 4, 3), (8, 8, 1)])
def test_one_core_of_each_device_stays_for_the_training(monkeypatch, number, devices, expected):
    monkeypatch.setattr(hardware, "cores", lambda: number)
    assert usual_workers(devices, {}) == expected


def test_a_task_of_srun_does_not_share_its_cores(monkeypatch):
    monkeypatch.setattr(hardware, "cores", lambda: 8)
    task = {"SLURM_CPUS_PER_TASK": "8", "SLURM_STEP_NUM_TASKS": "4"}
    assert usual_workers(4, task) == 7
    assert usual_workers(4, task | {"SLURM_STEP_NUM_TASKS": "1"}) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [("processor\t: 0\nmodel name\t: A 9 Processor\nmodel name\t: B\n", "A 9 Processor"), (None, "riscv64")],
)
def test_the_cpu_is_named_by_its_model_or_architecture(monkeypatch, tmp_path, text, expected):
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(hardware, "CPU_INFO", path)
    monkeypatch.setattr(hardware.platform, "machine", lambda: "riscv64")
    assert cpu_name() == expected


@pytest.mark.slow
def test_the_record_holds_what_auto_became(command, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("echo_e3net.cli.training_cli.usual_precision", lambda _: "32-true")
    args = ("fit", *tiny, "--precision", "auto", "--trainer.max_epochs", 1)
    assert command(*args)[0] == 0
    record = yaml.safe_load((tmp_path / "runs/tiny/resolved_config.yaml").read_text())
    assert (record["precision"], record["trainer"]["precision"]) == (None, "32-true")


def test_an_explicit_precision_wins(command, tiny, monkeypatch):
    monkeypatch.setattr("echo_e3net.cli.training_cli.usual_precision", lambda _: pytest.fail("it was chosen"))
    code, error = command("fit", *tiny, "--precision", "auto", "--trainer.precision", "16-true")
    assert code == 2
    assert "trainer.precision is 16-true" in error
