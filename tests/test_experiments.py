"""The command line reads every configuration; each states only what it changes, and experiments/README.md lists it."""

import importlib
import inspect
import os
import sys
from pathlib import Path

import pytest
import torch
import wandb
import yaml
from wandb.wandb_agent import Agent

import echo_e3net
from echo_e3net.cli.network_cli import NetworkCLI
from echo_e3net.search.study_plan import read_study
from echo_e3net.search.sweep_engine import trial_command
from echo_e3net.search.sweep_file import read_sweep
from echo_e3net.search.sweep_results import unfold
from echo_e3net.training.history import read_history

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
BASE = EXPERIMENTS / "e3net.yaml"
STUDIES = sorted((EXPERIMENTS / "studies").glob("*.yaml"))
SWEEPS = sorted((EXPERIMENTS / "sweeps").glob("*.yaml"))
AGENT = EXPERIMENTS / "sweeps" / "size.yaml"
OVERLAYS = sorted(path for path in EXPERIMENTS.rglob("*.yaml") if path != BASE and path not in (*STUDIES, *SWEEPS))
NETWORKS = [BASE, *sorted(EXPERIMENTS.glob("e3net_*.yaml")), *sorted((EXPERIMENTS / "ablations").glob("*.yaml"))]


def flat(config, prefix=""):
    """Leaves of a nested mapping by dotted name; what a class_path brings counts as part of its node."""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    return {
        name: value for key, part in config.items() for name, value in flat(part, f"{prefix}.{key}".lstrip(".")).items()
    }


RESOLVED = {}


@pytest.fixture
def resolved(command):
    """What configurations laid over each other come to, every value of it."""

    def resolve(*paths):
        if paths not in RESOLVED:
            configs = [word for path in paths for word in ("--config", path)]
            assert command("fit", *configs, "--print_config")[0] == 0
            RESOLVED[paths] = yaml.safe_load(command.output)
        return RESOLVED[paths]

    return resolve


def node(config, name):
    """What a dotted name leads to; None where it leads nowhere."""
    for part in name.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def swaps(base, both):
    """Names of the nodes that are of another class than in the base."""
    classes = [name.removesuffix(".class_path") for name in flat(both) if name.endswith(".class_path")]
    return [name for name in classes if node(base, f"{name}.class_path") != node(both, f"{name}.class_path")]


def defaults(class_path):
    """The defaults of a class's arguments, as YAML holds them."""
    module, _, name = class_path.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    return {
        name: list(p.default) if isinstance(p.default, tuple) else p.default
        for name, p in parameters.items()
        if p.default is not p.empty
    }


def not_asked_for(base, both, overlay):
    """Return keys that an overlay changes without stating them, or that a swapped class inherits from the old class."""
    before, after, stated = flat(base), flat(both), flat(overlay)
    leaks = set()
    for name in swaps(base, both):
        new = defaults(node(both, f"{name}.class_path"))
        arguments = {
            f"{name}.init_args.{key}": (key, value) for key, value in (node(both, f"{name}.init_args") or {}).items()
        }
        leaks |= {
            path
            for path, (key, value) in arguments.items()
            if node(base, path) == value is not None and path not in stated and not (key in new and new[key] == value)
        }
    inside = tuple(
        f"{name}." for name in [*swaps(base, both), *(name for name, value in stated.items() if value is None)]
    )
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return leaks | {name for name in changed if name not in stated and not f"{name}.".startswith(inside)}


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_an_overlay_changes_only_what_it_states(overlay, resolved):
    base, both, stated = resolved(BASE), resolved(BASE, overlay), yaml.safe_load(overlay.read_text())
    assert flat(base) != flat(both), "an overlay that changes nothing"
    assert not_asked_for(base, both, stated) == set()
    assert all(flat(both)[name] == value for name, value in flat(stated).items())


@pytest.mark.parametrize(
    ("overlay", "leaks"),
    [
        ("{class_path: torch.optim.SGD, init_args: {lr: 0.1}}", {"weight_decay", "fused"}),
        # 0.001 is also the default of SGD.
        ("{class_path: torch.optim.SGD}", {"weight_decay", "fused"}),
        ("{class_path: torch.optim.SGD, init_args: {lr: 0.1, weight_decay: 0.0}}", {"fused"}),
        (
            "{class_path: torch.optim.SGD, init_args: {lr: 0.001, weight_decay: 0.05, momentum: 0.9, fused: false}}",
            set(),
        ),
    ],
)
def test_the_guard_sees_what_a_swapped_class_inherits(overlay, leaks, resolved, tmp_path):
    """SGD takes AdamW's weight decay where the overlay does not state its own."""
    path = tmp_path / "sgd.yaml"
    path.write_text(f"model: {{optimizer: {overlay}}}")
    found = not_asked_for(resolved(BASE), resolved(BASE, path), yaml.safe_load(path.read_text()))
    assert found == {f"model.optimizer.init_args.{name}" for name in leaks}


def test_the_guard_sees_what_changes_unasked():
    """As where a dict in an overlay replaces the one before, whole."""
    base = {"data": {"frames": 32, "size": 112}, "terms": {"ef": 1, "timing": 2}}
    assert (
        not_asked_for(base, {"data": {"frames": 16, "size": 112}, "terms": base["terms"]}, {"data": {"frames": 16}})
        == set()
    )
    assert not_asked_for(base, {"data": base["data"], "terms": {"timing": None}}, {"terms": {"timing": None}}) == {
        "terms.ef"
    }
    assert not_asked_for(
        base, {"data": {"frames": 16, "size": 64}, "terms": base["terms"]}, {"data": {"frames": 16}}
    ) == {"data.size"}


@pytest.mark.slow
@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_every_network_and_ablation_takes_a_step(path, command, phantom_root):
    """One training and one validation batch through the real command line, at the smallest clips that are accepted."""
    small = [
        "--data.root",
        phantom_root,
        "--data.clip.frames",
        8,
        "--data.clip.size",
        64,
        "--data.loader.batch_size",
        2,
        "--data.loader.workers",
        0,
    ]
    quiet = [
        "--trainer.fast_dev_run",
        "true",
        "--trainer.accelerator",
        "cpu",
        "--trainer.devices",
        1,
        "--trainer.enable_progress_bar",
        "false",
        "--trainer.precision",
        "32-true",
    ]
    code, error = command("fit", "--config", BASE, "--config", path, *small, *quiet)
    assert code == 0, error


@pytest.mark.slow
@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_every_parameter_of_an_ablated_network_gets_a_gradient(path):
    """Distributed training refuses parameters without one, and the counts of an arm would hold dead numbers."""
    network = NetworkCLI("profile", "", ["--config", str(BASE), "--config", str(path)]).network.train()
    output = network(torch.randint(0, 256, (2, 1, 8, 64, 64), dtype=torch.uint8))
    total = output.ef.sum()
    if output.landmarks is not None:
        total = (
            total + (torch.randn_like(output.landmarks) * output.landmarks).sum() + output.phase_logits[..., 0].sum()
        )
    total.backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_holds_every_ablation(path):
    study = read_study(path, {"data.root": "anywhere"})
    assert study.reference == "e3net"
    arms = {overlay for overlays in study.arms.values() for overlay in overlays}
    assert {"../e3net_lite.yaml", "../e3net_small.yaml"} <= arms
    assert {f"../ablations/{overlay.name}" for overlay in (EXPERIMENTS / "ablations").glob("*.yaml")} <= arms


def corners(sweep):
    """Return values of all parameters: the ends of every range, and all choices."""
    ends = {p.name: p.values or (p.low, p.high) for p in sweep.parameters}
    count = max(map(len, ends.values()))
    return [{name: values[i % len(values)] for name, values in ends.items()} for i in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_parameter_of_a_sweep_is_one_of_the_command_line(path, command, tmp_path):
    """The command line resolves a trial's arguments to the values of the sweep, and best.yaml gives the same values."""
    sweep = read_sweep(path)
    assert sweep.command == ("${env}", "echo-e3net", "fit", "--config", "experiments/e3net.yaml", "${args}")
    assert len(sweep.parameters) > 2
    for values in (corners(sweep)[0], corners(sweep)[-1]):
        words = trial_command(sweep, values, tmp_path / "runs/s/trial0000")
        assert words[:2] == ["/usr/bin/env", "echo-e3net"]
        ours = [str(BASE) if word == "experiments/e3net.yaml" else word for word in words[2:-4]]
        code, error = command(*ours, "--print_config")
        assert code == 0, error
        resolved = yaml.safe_load(command.output)
        stated = flat(unfold(values))
        assert {name: flat(resolved)[name] for name in stated} == stated
        (tmp_path / "best.yaml").write_text(yaml.safe_dump(unfold(values)))
        assert command("fit", "--config", BASE, "--config", "best.yaml", "--print_config")[0] == 0
        assert yaml.safe_load(command.output) == resolved


SHORTER = {
    "data.clip.frames": 8,
    "data.clip.period": 1,
    "data.clip.size": 64,
    "data.loader.batch_size": 2,
    "data.loader.workers": 0,
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "trainer.enable_progress_bar": False,
    "trainer.precision": "32-true",
}


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in SWEEPS if path != AGENT], ids=lambda path: path.stem)
def test_a_step_with_the_last_values_of_a_sweep(path, command, phantom_root):
    """Every sweep starts the same program and command, which the agent of W&B starts in the next test."""
    given, agents = (yaml.safe_load(file.read_text()) for file in (path, AGENT))
    assert (given["program"], given["command"]) == (agents["program"], agents["command"])
    values = corners(read_sweep(path))[-1] | SHORTER | {"data.root": phantom_root, "trainer.fast_dev_run": True}
    words = [word for name, value in values.items() for word in (f"--{name}", value)]
    code, error = command("fit", "--config", BASE, *words)
    assert code == 0, error


@pytest.mark.slow
def test_a_step_as_a_wandb_agent_starts_it(tmp_path, monkeypatch, phantom_root):
    """W&B's own agent builds and starts the command as for a run of the server, but offline and with small settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(EXPERIMENTS)
    shorter = SHORTER | {"data.root": str(phantom_root), "trainer.max_epochs": 1}
    shorter |= {f"trainer.limit_{split}_batches": 1 for split in ("train", "val")}
    given = yaml.safe_load(AGENT.read_text())
    values = corners(read_sweep(AGENT))[-1] | shorter
    for name, value in {"SWEEP_ID": "abcd1234", "MODE": "offline", "DIR": str(tmp_path), "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    # The agent sets these and does not restore them.
    for name in (wandb.env.RUN_ID, wandb.env.SWEEP_PARAM_PATH):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(echo_e3net.__file__).parents[1]))
    agent = Agent(api=None, queue=None, sweep_id="abcd1234")
    agent._sweep_command = given["command"]
    agent._command_run(
        {
            "type": "run",
            "run_id": "run5678",
            "program": given["program"],
            "args": {name: {"value": value} for name, value in values.items()},
        }
    )
    process = agent._run_processes["run5678"]
    process.wait(300)
    assert process.poll() == 0
    run = tmp_path / "runs/e3net/run5678"
    assert read_history(run, "val/rmse").keys() == {0}
    resolved, stated = flat(yaml.safe_load((run / "resolved_config.yaml").read_text())), flat(unfold(values))
    assert all(resolved[name] in (value, str(value)) for name, value in stated.items())
    assert resolved["name"] == "e3net/run5678"
    record = next(run.glob("wandb/offline-run-*-run5678/run-run5678.wandb")).read_bytes()
    assert b"val/rmse" in record
    # W&B knows which sweep the run belongs to.
    assert b"abcd1234" in record


@pytest.mark.parametrize("path", [BASE, *OVERLAYS, *STUDIES, *SWEEPS], ids=lambda path: path.stem)
def test_a_configuration_asks_its_question_and_has_its_row(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert "?" in first or path.parent.name == "overlays"
    assert str(path.relative_to(EXPERIMENTS)) in (EXPERIMENTS / "README.md").read_text()
