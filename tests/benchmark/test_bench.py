"""The benchmark of the networks: its reference, its rows, and what it imports."""

import logging
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import echo_e3net
from echo_e3net.benchmark import limits, measure
from echo_e3net.benchmark.document import markdown, read_json
from echo_e3net.benchmark.forms import inference_forms, largest_difference, onnx_runtime, openvino, training_forms
from echo_e3net.benchmark.limits import Clips, Traffic, count_macs, count_step, growing, measure_growth, measure_memory
from echo_e3net.benchmark.measure import NO_TIME, Budget, Result, Timing
from echo_e3net.benchmark.presets import PRESETS, merged, preset
from echo_e3net.benchmark.reference import R2Plus1D18
from echo_e3net.benchmark.run import (
    NETWORKS,
    Bench,
    Section,
    chosen,
    prepare,
    ratio,
    run_section,
    sections,
    task_tables,
)
from echo_e3net.benchmark.tasks import EAGER_RATIO, RATIO, REFERENCE, TASKS, Task
from echo_e3net.benchmark.training_step import training_loss
from echo_e3net.cli.bench import bench
from echo_e3net.nn.aggregator import FeatureAggregator
from echo_e3net.nn.backbone import LHUNetEncoder
from echo_e3net.nn.network import E3Net

CPU = torch.device("cpu")
BLOCK = """
import sys
for name in ("pandas", "cv2", "decord", "av", "optuna", "wandb", "fvcore", "matplotlib"):
    sys.modules[name] = None
from echo_e3net.benchmark import limits, measure
from echo_e3net.cli.main import main
limits.PEAK_SIDE, limits.COPIED, limits.ROUNDS, measure.MOST = {"cpu": 64}, 2**16, 1, 1
sys.exit(main(sys.argv[1:]))
"""
"""Run the command line without the libraries that a GPU machine may lack; each measurement once."""


@pytest.mark.slow
def test_the_reference_has_the_published_cost():
    from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    network = R2Plus1D18().eval()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(31.3e6, rel=1e-3)
    # a quarter of the 32 frames; every layer before the head is proportional to them
    video = torch.zeros(1, 1, 8, 112, 112, dtype=torch.uint8)
    macs = 4 * FlopCountAnalysis(network, video).unsupported_ops_warnings(False).total()
    assert macs / 1e9 == pytest.approx(81.3, abs=0.1)


def test_presets_are_those_of_the_configurations():
    parameters = {name: sum(p.numel() for p in preset(name).parameters()) for name in PRESETS}
    assert parameters["version 1"] == pytest.approx(6.8e6, rel=0.01)
    assert parameters["lite"] <= 1.55e6
    assert parameters["small"] <= parameters["lite"] / 2


def test_overlays_are_merged_key_by_key():
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": [3]}}) == {"a": {"b": [3], "c": 2}}


class Small(nn.Module):
    """A network with two parts that runs in no time."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv3d(1, 4, 3, padding=1, bias=False)
        self.head = nn.Linear(4, 1)

    def forward(self, video):
        return self.head(self.backbone(video.float()).mean((2, 3, 4))).squeeze(1)


@pytest.fixture
def quick(monkeypatch):
    """Replace the measurements of the machine by small ones, and repeat little."""
    monkeypatch.setattr(limits, "PEAK_SIDE", {"cpu": 64})
    monkeypatch.setattr(limits, "COPIED", 2**16)
    monkeypatch.setattr(limits, "ROUNDS", 2)
    monkeypatch.setattr(measure, "MOST", 3)


@pytest.fixture
def fast(quick, monkeypatch):
    """Replace the networks by small ones too."""
    for name in NETWORKS:
        monkeypatch.setitem(NETWORKS, name, Small)


def test_multiply_accumulates_are_counted_by_part():
    macs = count_macs(Small(), torch.zeros(1, 1, 8, 64, 64, dtype=torch.uint8))
    convolution = 8 * 64 * 64 * 4 * 27 / 1e9
    assert macs["backbone"] == pytest.approx(convolution)
    assert macs[""] == pytest.approx(convolution + 4e-9)


def test_bytes_of_operators_are_counted_and_views_are_free():
    values = torch.zeros(10)
    with Traffic() as traffic:
        _ = values.view(2, 5).mT
        _ = values + values
    assert (traffic.operators, traffic.bytes) == (1, 3 * 40)


def test_a_training_step_is_counted_without_computing_it():
    one, two = (count_step(Small, batch, 8, 64) for batch in (1, 2))
    assert one["operators: loss and gradient"] == two["operators: loss and gradient"] > 5
    assert one["AdamW"] > 0
    video = 4 * 8 * 64 * 64 * 4
    assert two["GB read and written"] - one["GB read and written"] >= 2 * video / 1e9


def test_memory_of_a_pass_is_its_peak():
    def run():
        torch.ones(25_000_000)

    seconds, memory = measure_memory(run, CPU)
    assert seconds > 0
    if sys.platform == "linux":
        assert memory == pytest.approx(100e6, rel=0.1)


def test_larger_clips_grow_in_one_way_at_a_time():
    groups = growing(32, 112, 8)
    assert [clips.frames for clips in groups["frames"]] == [16, 32, 64]
    assert [clips.size for clips in groups["size"]] == [64, 112, 224]
    assert [clips.batch for clips in groups["batch"]] == [1, 2, 4, 8]
    assert all(Clips(1, 32, 112) in clips for clips in groups.values())
    assert [clips.frames for clips in growing(8, 64, 1)["frames"]] == [8, 16]


def test_larger_clips_that_do_not_fit_are_not_started():
    clock = iter([0.0, 0.0, *[0.9] * 1000])
    rows = measure_growth(Small(), CPU, torch.float32, growing(8, 64, 8), Budget(0.9, lambda: next(clock)))
    assert {row["rounds"] for row in rows} == {f"not run: {NO_TIME}"}


@pytest.mark.parametrize("name", [pytest.param(REFERENCE, marks=pytest.mark.slow), "small"])
def test_forms_run_and_do_not_change_the_network(name):
    network = R2Plus1D18() if name == REFERENCE else preset(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    video = torch.randint(0, 256, (1, 1, 8, 64, 64), dtype=torch.uint8)
    for form in (*inference_forms(network, video)[:2], *training_forms(network, video, training_loss)[1:2]):
        assert "eager" in form.name
        form.prepare()()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_each_section_is_printed_and_written(fast, tmp_path, capsys):
    bench(seconds=20, frames=8, size=64, json=tmp_path / "cpu.json")
    printed = capsys.readouterr().out
    about, tables = read_json(tmp_path / "cpu.json")
    assert about["clip"] == "8 × 64 × 64"
    assert {"device", "threads", "torch", "onnxruntime"} <= about.keys()
    names = [table.name for table in tables]
    assert names[0] == "peaks"
    assert {section.name for section in sections("cpu")} <= set(names)
    assert all(markdown(table).partition("\n")[0] in printed for table in tables)
    assert not [note for table in tables for note in table.notes if "ailed" in note]
    by_name = {table.name: table for table in tables}
    for task in TASKS["cpu"]:
        rows = by_name[task.name].rows
        assert [row["network"] for row in rows] == [REFERENCE, *PRESETS]
        assert rows[0][RATIO] == rows[0][EAGER_RATIO] == 1
        assert all(row["% of peak"] > 0 and row["rounds"] for row in rows)
        assert any("eager" in row["form"] for row in by_name[f"{task.name}-forms"].rows)
    parts = by_name["parts"].rows
    assert [row["part"] for row in parts] == ["backbone", "head", "all"]
    assert sum(row["% of time"] for row in parts[:-1]) == pytest.approx(100, abs=0.1)


def test_preparations_that_take_too_long_are_stopped(fast, monkeypatch, capsys):
    class Slow(Small):
        def forward(self, video):
            time.sleep(5)
            return super().forward(video)

    monkeypatch.setitem(NETWORKS, REFERENCE, Slow)
    start = time.monotonic()
    bench(seconds=1, frames=8, size=64)
    assert time.monotonic() - start < 4
    assert capsys.readouterr().out.count(f"Not run: {NO_TIME}.") == 1 + len(sections("cpu"))


def test_without_time_each_section_says_so(fast, tmp_path):
    class Late(Budget):
        def left(self):
            return 0.0

    for section in [Section("peaks", "limits of the machine", prepare), *sections("cpu")]:
        tables, failed = run_section(section, Bench(CPU, 8, 64, Late(1)), 1)
        assert not failed
        assert [table.notes for table in tables] == [[f"Not run: {NO_TIME}."]]


def test_a_section_that_fails_is_named_and_the_others_run(fast, tmp_path, monkeypatch):
    def broken(setting, budget):
        raise RuntimeError("no profiler")

    plan = sections("cpu")
    plan[2].measure = broken
    monkeypatch.setattr("echo_e3net.benchmark.run.sections", lambda _: plan[1:4])
    with pytest.raises(SystemExit):
        bench(seconds=10, frames=8, size=64, json=tmp_path / "cpu.json")
    tables = {table.name: table for table in read_json(tmp_path / "cpu.json")[1]}
    assert tables[plan[2].name].notes == ["Failed: RuntimeError: no profiler."]
    assert tables[plan[3].name].rows


def test_the_sections_can_be_chosen(command):
    assert [section.name for section in chosen(sections("cuda"), "training-16,parts")] == ["training-16", "parts"]
    code, error = command("bench", "--only", "training-5")
    assert code == 2
    assert "--only training-5: unknown section; choose from inference-1, " in error


def test_a_ratio_needs_a_timing_of_both():
    some = Result([Timing("other", 1.0, 3), Timing("eager one", 2.0, 3)], {})
    none = Result([], dict.fromkeys(("eager one", "other"), NO_TIME))
    assert ratio({REFERENCE: some, "a": some}, "a") == 1
    assert ratio({REFERENCE: some, "a": none}, "a") is ratio({REFERENCE: none, "a": some}, "a") is None
    gmacs = dict.fromkeys((REFERENCE, "a"), 5.0)
    tables = task_tables(Task(1), {REFERENCE: some, "a": none}, gmacs, {"one": 20.0, "other": 10.0})
    assert tables[0].rows[0]["% of peak"] == 50
    assert tables[0].rows[1] == {"network": "a"} | dict.fromkeys(list(tables[0].rows[0])[1:])
    assert tables[1].rows[0] == {"form": "eager one", REFERENCE: 2000, "a": f"not run: {NO_TIME}"}


@pytest.mark.slow
# the time can end in the callback of a weak reference, where Python ignores errors; it is then raised again
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_presets_are_measured_in_time(quick, tmp_path):
    start, threads = time.monotonic(), torch.get_num_threads()
    bench(seconds=40, threads=1, frames=8, size=64, json=tmp_path / "cpu.json")
    torch.set_num_threads(threads)
    assert time.monotonic() - start < 60
    about, tables = read_json(tmp_path / "cpu.json")
    assert about["threads"] == 1
    assert not [note for table in tables for note in table.notes if "Failed" in note]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", [onnx_runtime, partial(openvino, dtype=torch.float32)], ids=["onnx", "openvino"])
def test_other_runtimes_predict_the_same_ef(runtime):
    for library in ("onnx", "onnxscript", "onnxruntime" if runtime is onnx_runtime else "openvino"):
        pytest.importorskip(library)
    torch.manual_seed(0)
    # without the detector, which takes most of the time to export; tests/models exports it
    backbone = LHUNetEncoder(4, cnn_channels=(4,), hybrid_channels=(8,), temporal_strides=(1, 2))
    network = E3Net(backbone, None, partial(FeatureAggregator, dim=16, level=1)).eval()
    # the head of an untrained network hardly depends on the video
    nn.init.normal_(network.aggregator.head[-1].weight)
    video = torch.randint(0, 256, (2, 1, 8, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        first, second = network(video).ef
    assert (first - second).abs() > 1e-3
    assert largest_difference(network, video, runtime(network, video)) < 0.01


def test_a_missing_device_is_an_input_error(command):
    code, error = command("bench", "--device", "tpu")
    assert code == 2
    assert "--device tpu" in error


@pytest.mark.slow
def test_it_needs_few_libraries():
    source = str(Path(echo_e3net.__file__).parents[1])
    words = [sys.executable, "-c", BLOCK, "bench", "--seconds", "20", "--frames", "8", "--size", "64", "--threads", "1"]
    done = subprocess.run(words, env={"PYTHONPATH": source}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "inference, batch 1" in done.stdout
