"""The network can overfit four clips: every term of the loss comes down to near zero."""

from pathlib import Path

import pytest
import torch
from torch.utils.data import default_collate

from echo_e3net.cli.network_cli import NetworkCLI
from echo_e3net.data.dataset import ClipKey
from echo_e3net.losses import E3Loss

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
NETWORK = "--model.network.init_args"
NARROW = (
    f"{NETWORK}.backbone.init_args.cnn_channels=[8, 16]",
    f"{NETWORK}.backbone.init_args.hybrid_channels=[16, 16]",
    f"{NETWORK}.detector.init_args.dim=32",
    f"{NETWORK}.aggregator.init_args.dim=32",
)
"""The small preset with fewer channels: a step takes a third of the time."""
STEPS = 160


@pytest.mark.slow
def test_four_clips_are_overfitted(phantom_root):
    configs = [word for name in ("e3net.yaml", "e3net_small.yaml") for word in ("--config", str(EXPERIMENTS / name))]
    clip_size = [
        "--data.clip.frames",
        "12",
        "--data.clip.period",
        "2",
        "--data.clip.size",
        "64",
        "--data.loader.workers",
        "0",
    ]
    cli = NetworkCLI("profile", "", [*configs, *NARROW, *clip_size, "--data.root", str(phantom_root)])
    network, loss = cli.network.train(), cli.config_init.model.loss
    cli.data.setup("fit")
    network.adopt(cli.data.training_statistics())
    clips = cli.data.train_dataloader().dataset
    batch = default_collate([clips[ClipKey(0, number)] for number in range(4)])
    assert isinstance(loss, E3Loss)

    optimizer = torch.optim.AdamW(network.parameters(), 0.004)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        parts = loss.average(loss(network(batch.video, batch.frame_mask), batch))
        optimizer.zero_grad()
        parts["total"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    output = network.eval()(batch.video, batch.frame_mask)
    apart = torch.arange(12) - batch.phase_position[..., None]
    # The targets of timing are soft, so it cannot be zero.
    total, count = loss.terms["timing"](output._replace(phase_logits=-0.5 * apart.square()), batch)
    least = total / count
    parts = loss.average(loss(output, batch))
    assert (output.ef - batch.ef).abs().max() < 0.01
    assert parts["ef"] < 1e-3
    assert parts["landmarks"] < 2e-3
    assert parts["volume_ratio"] < 2e-3
    assert parts["timing"] - least < 0.05
