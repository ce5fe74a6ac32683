"""The statistics of the norms are those of the present weights, in checkpoints too."""

import re

import pytest
import torch
from torch import nn

from echo_e3net.cli.network_cli import NetworkCLI
from echo_e3net.training.norms import update_norms
from tests.processes import weights


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv3d(1, 4, 1), nn.BatchNorm3d(4)

    def forward(self, video, frame_mask):
        return self.norm(self.conv(video.float()))


def batches():
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randint(0, 256, (n, 1, 8, 4, 4), dtype=torch.uint8, generator=generator),
            torch.ones(n, 8, dtype=torch.bool),
        )
        for n in (3, 1)
    ]


def test_the_statistics_are_those_of_all_clips_under_the_present_weights():
    network = Network().eval()
    network.norm.running_mean.fill_(100.0)
    update_norms(network, batches())
    with torch.no_grad():
        maps = network.conv(torch.cat([video for video, _ in batches()]).float())
    torch.testing.assert_close(network.norm.running_mean, maps.mean((0, 2, 3, 4)))
    torch.testing.assert_close(network.norm.running_var, maps.var((0, 2, 3, 4), correction=0), rtol=1e-3, atol=0)


def test_a_channel_that_does_not_vary_gives_no_negative_variance():
    network = Network()
    torch.nn.init.zeros_(network.conv.weight)
    torch.nn.init.constant_(network.conv.bias, 1000.1)
    update_norms(network, batches())
    assert (network.norm.running_var >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), ("--trainer.limit_val_batches", 0, "--checkpoint.monitor", "train/loss/total")])
def test_checkpoints_hold_the_statistics_of_their_weights(command, tmp_path, tiny, extra):
    """With and without a validation."""
    code, error = command("fit", *tiny, "--trainer.max_epochs", 1, *extra)
    assert code == 0, error
    cli = NetworkCLI("profile", "", ["--config", str(tmp_path / "runs/tiny/resolved_config.yaml")])
    saved = weights(tmp_path)
    network = cli.network
    network.load_state_dict({name.removeprefix("network."): v for name, v in saved.items() if name != "training_ef"})
    name = "backbone.stages.1.block.body.1.running_mean"
    found = network.get_buffer(name).clone()
    cli.data.setup("fit")
    update_norms(network, cli.data.norm_batches())
    torch.testing.assert_close(found, network.get_buffer(name), atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_the_last_validation_of_fit_equals_a_validation_of_its_checkpoint(command, tiny):
    code, error = command("fit", *tiny, "--trainer.max_epochs", 1)
    assert code == 0, error
    scores = re.search(r"epoch 1/1: .*; (val mae .*) \(", command.output + error)[1]
    code, error = command("validate", *tiny, "--ckpt_path", "last")
    assert code == 0, error
    assert scores in command.output + error


def test_mode_momentum_and_buffers_stay():
    """Distributed training and compiled networks refer to the buffers themselves."""
    for training in (True, False):
        network = Network().train(training)
        buffers = dict(network.named_buffers())
        update_norms(network, batches())
        assert network.training == network.norm.training == training
        assert network.norm.momentum == 0.1
        assert all(value is buffers[name] for name, value in network.named_buffers())
        assert network.norm.num_batches_tracked == 0
