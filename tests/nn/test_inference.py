"""Norms are folded, maps stay channels-last, and maps stay bfloat16 under autocast."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from echo_e3net.losses import E3Loss, EFTerm
from echo_e3net.nn.backbone import FullSizeStem, LHUNetEncoder
from echo_e3net.nn.inference import DirectConv3d, for_inference
from echo_e3net.nn.network import E3Net
from echo_e3net.training.system import E3System

STEMS = {"space to depth": {}, "full size": {"stem": FullSizeStem}}


@pytest.fixture(params=STEMS)
def network(request):
    torch.manual_seed(0)
    backbone = LHUNetEncoder(8, cnn_channels=(8, 8), hybrid_channels=(8, 16, 16), **STEMS[request.param])
    network = E3Net(backbone)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                for value in (module.weight, module.running_var):
                    value.uniform_(0.5, 2.0)
                for value in (module.bias, module.running_mean):
                    value.normal_()
    return network


def clip(batch=1, frames=16, size=64):
    return torch.randint(0, 256, (batch, 1, frames, size, size), dtype=torch.uint8)


@torch.no_grad()
def test_a_network_for_inference_gives_the_same_results(network):
    video = clip()
    expected, found = network.eval()(video), for_inference(network)(video)
    torch.testing.assert_close(found.ef, expected.ef, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.landmarks, expected.landmarks, atol=1e-3, rtol=0)


def test_all_norms_of_the_backbone_and_the_detector_fold(network):
    left = [
        name for name, m in for_inference(network).named_modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d)
    ]
    if isinstance(network.backbone.stem, FullSizeStem):
        # PReLU comes between the convolution and the norm, as in LHU-Net
        assert left == ["backbone.stem.2"]
    else:
        assert left == []


def test_the_network_itself_is_left_as_it_was(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for_inference(network.train())
    assert network.training
    torch.testing.assert_close(network.state_dict(), before)
    assert not any(isinstance(m, DirectConv3d) for m in network.modules())


@torch.no_grad()
def test_validation_test_and_predict_use_the_faster_copy_and_checkpoints_do_not_hold_it(network):
    system = E3System(network, E3Loss(EFTerm())).eval()
    system.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    names = set(system.state_dict())
    for start in (system.on_validation_epoch_start, system.on_test_epoch_start, system.on_predict_epoch_start):
        system.read = None
        start()
        assert any(isinstance(module, DirectConv3d) for module in system.read.__self__.modules())
    assert set(system.state_dict()) == names


@torch.no_grad()
def test_every_3d_convolution_gets_and_gives_channels_last_maps(network):
    """One memory format from the input to the heads, so no map is copied into another."""
    # with one thread, torch has no channels-last kernel for 1x1x1 convolutions
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    wrong = []

    def check(name):
        def hook(module, inputs, output):
            for what, x in {"input": inputs[0], "output": output, "weight": module.weight}.items():
                if not x.is_contiguous(memory_format=torch.channels_last_3d):
                    wrong.append((name, what, tuple(x.shape)))

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(check(name))
    network.eval()(clip(2))
    torch.set_num_threads(threads)
    assert wrong == []


@torch.no_grad()
def test_maps_stay_in_bfloat16_under_autocast(network):
    """No convolution of the backbone gets float32 maps after the first; float32 costs bandwidth and tensor cores."""
    wide = []

    def check(name):
        def hook(module, inputs, output):
            if inputs[0].dtype != torch.bfloat16:
                wide.append(name)

        return hook

    for name, module in network.backbone.named_modules():
        if isinstance(module, nn.Conv3d) and name != "stem.0":
            module.register_forward_hook(check(name))
    with torch.autocast("cpu", torch.bfloat16):
        network.eval()(clip(size=32))
    assert wide == []
