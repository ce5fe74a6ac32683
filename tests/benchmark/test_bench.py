"""The benchmark of the networks: its reference, its rows, and what it imports."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import echo_e3net
from echo_e3net.benchmark.forms import inference_forms, training_forms
from echo_e3net.benchmark.measure import measure
from echo_e3net.benchmark.presets import PRESETS, merged, preset
from echo_e3net.benchmark.reference import R2Plus1D18
from echo_e3net.benchmark.run import REFERENCE, TASKS, bench, count_macs
from echo_e3net.benchmark.training_step import training_loss

CPU = torch.device("cpu")
BLOCK = """
import sys
for name in ("pandas", "cv2", "decord", "av", "optuna", "wandb", "fvcore", "matplotlib"):
    sys.modules[name] = None
from echo_e3net.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""Run the command line without the libraries that a GPU machine may lack."""


@pytest.mark.slow
def test_the_reference_has_the_published_cost():
    from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    network = R2Plus1D18().eval()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(31.3e6, rel=1e-3)
    video = torch.zeros(1, 1, 32, 112, 112, dtype=torch.uint8)
    macs = FlopCountAnalysis(network, video).unsupported_ops_warnings(False).total()
    assert macs / 1e9 == pytest.approx(81.3, abs=0.1)


def test_presets_are_those_of_the_configurations():
    parameters = {name: sum(p.numel() for p in preset(name).parameters()) for name in PRESETS}
    assert parameters["version 1"] == pytest.approx(6.8e6, rel=0.01)
    assert parameters["lite"] <= 1.55e6
    assert parameters["small"] <= parameters["lite"] / 2


def test_overlays_are_merged_key_by_key():
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": [3]}}) == {"a": {"b": [3], "c": 2}}


def test_multiply_accumulates_are_counted():
    network = nn.Sequential(nn.Flatten(), nn.Linear(8 * 64 * 64, 3))

    class Video(nn.Module):
        def forward(self, video):
            return network(video.float())

    assert count_macs(Video(), 8, 64) == pytest.approx(8 * 64 * 64 * 3 / 1e9)


def test_rounds_are_interleaved_and_broken_forms_are_named():
    calls = []

    def form(name, seconds):
        def run():
            calls.append(name)
            time.sleep(seconds)

        return run

    def broken():
        raise RuntimeError("no kernel\nfurther lines")

    found = measure(
        {
            "a": [("slow", lambda: form("slow", 0.02)), ("fast", lambda: form("fast", 0.001))],
            "b": [("broken", broken), ("other", lambda: form("other", 0.005))],
        },
        CPU,
        0.2,
    )
    assert [timing.form for timing in found["a"].timings] == ["fast", "slow"]
    assert found["b"].failed == {"broken": "RuntimeError: no kernel"}
    rounds = calls[6:]
    assert len(rounds) >= 9
    assert rounds == ["slow", "fast", "other"] * (len(rounds) // 3)


@pytest.mark.parametrize("name", [pytest.param(REFERENCE, marks=pytest.mark.slow), "small"])
def test_forms_run_and_do_not_change_the_network(name):
    network = R2Plus1D18() if name == REFERENCE else preset(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    video = torch.randint(0, 256, (1, 1, 8, 64, 64), dtype=torch.uint8)
    for form, prepare in (
        *list(inference_forms(network, video))[:2],
        *list(training_forms(network, video, training_loss))[1:2],
    ):
        assert "torch" in form
        prepare()()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.slow
def test_the_command_ends_in_time_and_writes_each_row(tmp_path, capsys):
    start = time.monotonic()
    threads = torch.get_num_threads()
    bench(seconds=20, threads=1, frames=8, size=64, json=tmp_path / "cpu.json")
    torch.set_num_threads(threads)
    assert time.monotonic() - start < 120
    results = json.loads((tmp_path / "cpu.json").read_text())
    assert results["machine"]["threads"] == 1
    assert [row["task"] for row in results["rows"]] == [task.title for task in TASKS["cpu"]][: len(results["rows"])]
    first = results["rows"][0]["networks"]
    assert first.keys() == {REFERENCE, *PRESETS}
    assert first[REFERENCE]["ratio"] == 1
    assert all(0 < network["share_of_peak"] < 2 for network in first.values())
    assert "inference, batch 1" in capsys.readouterr().out


def test_a_missing_device_is_an_input_error(command):
    code, error = command("bench", "--device", "tpu")
    assert code == 2
    assert "--device tpu" in error


@pytest.mark.slow
def test_it_needs_few_libraries():
    source = str(Path(echo_e3net.__file__).parents[1])
    words = [sys.executable, "-c", BLOCK, "bench", "--seconds", "1", "--frames", "8", "--size", "64", "--threads", "1"]
    done = subprocess.run(words, env={"PYTHONPATH": source}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "inference, batch 1" in done.stdout
