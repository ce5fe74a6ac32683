"""Every configuration is read by the real command line, says only what it changes, and has a row in experiments/README.md."""

from pathlib import Path

import pytest
import torch
import yaml

from echo_e3net.cli import NetworkCLI
from echo_e3net.study.plan import read_study

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
BASE = EXPERIMENTS / "e3net.yaml"
STUDIES = sorted((EXPERIMENTS / "studies").glob("*.yaml"))
OVERLAYS = sorted(path for path in EXPERIMENTS.rglob("*.yaml") if path != BASE and path not in STUDIES)
NETWORKS = [BASE, *sorted(EXPERIMENTS.glob("e3net_*.yaml")), *sorted((EXPERIMENTS / "ablations").glob("*.yaml"))]


def flat(config, prefix=""):
    """Leaves of a nested mapping by dotted name; what a class_path brings counts as part of its node."""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    return {name: value for key, part in config.items() for name, value in flat(part, f"{prefix}.{key}".lstrip(".")).items()}


@pytest.fixture
def resolved(command):
    def resolve(*paths):
        configs = [word for path in paths for word in ("--config", path)]
        assert command("fit", *configs, "--print_config")[0] == 0
        return flat(yaml.safe_load(command.output))

    return resolve


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_an_overlay_changes_only_what_it_states(overlay, resolved):
    base, both = resolved(BASE), resolved(BASE, overlay)
    stated = flat(yaml.safe_load(overlay.read_text()))
    swapped = [name.rsplit(".", 1)[0] for name in stated if name.endswith("class_path")]
    swapped += [name for name, value in stated.items() if value is None]
    changed = {name for name in base.keys() | both.keys() if base.get(name) != both.get(name)}
    assert changed, "an overlay that changes nothing"
    assert not {name for name in changed if name not in stated and not name.startswith(tuple(swapped)) and name not in swapped}
    assert all(both[name] == value for name, value in stated.items())


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_every_network_and_ablation_takes_a_step(path, command, phantom_root):
    """One training and one validation batch through the real command line, at the smallest clips that are accepted."""
    small = ["--data.root", phantom_root, "--data.frames", 8, "--data.size", 64, "--data.batch_size", 2, "--data.workers", 0]
    quiet = ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu", "--trainer.devices", 1, "--trainer.enable_progress_bar", "false"]
    code, error = command("fit", "--config", BASE, "--config", path, *small, *quiet)
    assert code == 0, error


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_every_parameter_of_an_ablated_network_gets_a_gradient(path):
    """Distributed training refuses parameters without one, and the counts of an arm would hold dead numbers."""
    network = NetworkCLI("profile", "", ["--config", str(BASE), "--config", str(path)]).network.train()
    output = network(torch.randint(0, 256, (2, 1, 8, 64, 64), dtype=torch.uint8))
    total = output.ef.sum()
    if output.landmarks is not None:
        total = total + (torch.randn_like(output.landmarks) * output.landmarks).sum() + output.phase_logits[..., 0].sum()
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


@pytest.mark.parametrize("path", [BASE, *OVERLAYS, *STUDIES], ids=lambda path: path.stem)
def test_a_configuration_asks_its_question_and_has_its_row(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert "?" in first or path.parent.name == "overlays"
    assert str(path.relative_to(EXPERIMENTS)) in (EXPERIMENTS / "README.md").read_text()
