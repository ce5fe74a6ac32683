"""The presets: their published cost to the last number, and their figures under fixed weights."""

import functools
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from echo_e3net.cli.cost import count_macs, measure_cost
from echo_e3net.cli.network_cli import NetworkCLI

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
BASE = ("--config", str(EXPERIMENTS / "e3net.yaml"))
OVERLAYS = {
    "e3net": (),
    "e3net_lite": ("--config", str(EXPERIMENTS / "e3net_lite.yaml")),
    "e3net_small": ("--config", str(EXPERIMENTS / "e3net_small.yaml")),
}
PARAMETERS = {"e3net": 6_795_570, "e3net_lite": 1_472_058, "e3net_small": 722_602}
GMACS = {"e3net": 8.5466, "e3net_lite": 5.5343, "e3net_small": 2.7211}


@functools.cache
def preset(name):
    return NetworkCLI("profile", "", [*BASE, *OVERLAYS[name]]).network


def clip(frames, size, seed=0):
    return torch.randint(
        0, 256, (1, 1, frames, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


# The smallest preset is checked by default, the others among the slow tests.
EACH = ["e3net_small", *(pytest.param(name, marks=pytest.mark.slow) for name in ("e3net", "e3net_lite"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", OVERLAYS)
def test_parameters_and_macs_are_those_that_the_documents_list(name):
    assert sum(p.numel() for p in preset(name).parameters()) == PARAMETERS[name]
    macs = count_macs(preset(name).eval(), torch.zeros(1, 1, 32, 112, 112, dtype=torch.uint8))[0][""]
    assert macs / 1e9 == pytest.approx(GMACS[name], abs=5e-5)
    for document in (EXPERIMENTS.parent / "README.md", EXPERIMENTS.parent / "docs" / "MODEL_CARD.md"):
        assert f"{PARAMETERS[name]:,}" in document.read_text()
        assert f"{GMACS[name]:.2f}" in document.read_text()


def test_the_presets_keep_their_budgets():
    assert PARAMETERS["e3net"] == pytest.approx(6.8e6, rel=0.01)
    assert GMACS["e3net"] == pytest.approx(8.49, rel=0.01)
    assert PARAMETERS["e3net_lite"] <= 1.55e6
    assert GMACS["e3net_lite"] <= 8.05
    assert PARAMETERS["e3net_small"] <= PARAMETERS["e3net_lite"] / 2
    assert GMACS["e3net_small"] <= GMACS["e3net"] / 2


GOLDEN = {
    "e3net": (0.0077, 31.1930, 40.2265, 0.6573),
    "e3net_lite": (0.1639, 51.9664, 56.3744, -0.2944),
    "e3net_small": (0.3791, 31.5195, 37.9670, 0.5330),
}
"""EF, mean of all landmarks, x of an endocardial one at ES, ED's logit of the fourth frame."""


@pytest.mark.parametrize("name", EACH)
def test_the_same_weights_give_the_same_figures(name):
    """The weights are a fixed saw-tooth. If these numbers change, old checkpoints give other results."""
    network = preset(name).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            ramp = (torch.arange(parameter.numel()) % 7 - 3).view_as(parameter) / 4
            parameter.copy_(0.5 + 0.1 * ramp if parameter.dim() < 2 else ramp / parameter[0].numel() ** 0.5)
        output = network(clip(16, 64))
    found = [
        output.ef.item(),
        output.landmarks.mean().item(),
        output.landmarks[0, 1, 0, 5, 0].item(),
        output.phase_logits[0, 0, 3].item(),
    ]
    preset.cache_clear()
    assert found == pytest.approx(GOLDEN[name], rel=1e-3, abs=1e-3)


def test_attention_is_counted_by_hand():
    class Attention(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(x, x[:, :, :5], x[:, :, :5])

    macs, missing = count_macs(Attention(), torch.zeros(2, 3, 7, 4))
    assert macs[""] == 2 * 3 * (7 * 5 * 4 + 7 * 5 * 4)
    assert "scaled_dot_product_attention" not in missing


@pytest.mark.slow
def test_no_product_is_left_uncounted():
    missing = count_macs(preset("e3net_small").eval(), clip(16, 64))[1]
    assert not [
        name
        for name in missing
        if any(word in name for word in ("conv", "mm", "attention", "einsum")) or name == "linear"
    ]


@pytest.mark.slow
def test_parts_add_up_to_the_whole():
    network = preset("e3net_small")
    cost = measure_cost(network, clip(8, 64), repeats=1)
    assert sum(part.parameters for part in cost.parts) == cost.parameters
    assert sum(part.gmacs for part in cost.parts) == pytest.approx(cost.gmacs, rel=1e-3)
    assert sum(part.activation_mib for part in cost.parts) == pytest.approx(cost.activation_mib, rel=0.02)
    assert all(part.latency_ms > 0 for part in cost.parts)
    half = measure_cost(network, clip(8, 64), torch.bfloat16, repeats=1)
    assert half.activation_mib < cost.activation_mib
    assert half.gmacs == cost.gmacs


@pytest.mark.slow
def test_profile_through_the_command_line(command, tmp_path):
    small = [
        *BASE,
        *OVERLAYS["e3net_small"],
        "--data.clip.frames",
        8,
        "--data.clip.size",
        64,
        "--repeats",
        1,
        "--threads",
        torch.get_num_threads(),
    ]
    assert command("profile", *small, "--json", "cost.json")[0] == 0
    assert "E²CBD" in command.output
    assert "upsample_linear1d" in command.output
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert cost["parameters"] == PARAMETERS["e3net_small"]
    assert cost["input"] == [1, 1, 8, 64, 64]
    assert cost["dtype"] == "float32"
    assert {"gmacs", "latency_ms", "threads", "device", "not_counted"} <= cost.keys()
    assert sum(part["share"] for part in cost["parts"]) == pytest.approx(1, abs=1e-3)
    assert command("profile", *small, "--json", "-")[0] == 0
    assert json.loads(command.output)["parameters"] == PARAMETERS["e3net_small"]
    for change, message in {
        ("--repeats", 0): "repeats is 0",
        ("--device", "cuda"): "--device cuda",
        ("--data.clip.size", 20): "size",
    }.items():
        if change[1] == "cuda" and torch.cuda.is_available():
            continue
        code, error = command("profile", *small, *change)
        assert code == 2
        assert message in error
