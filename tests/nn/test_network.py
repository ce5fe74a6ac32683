import functools
import subprocess
import sys

import pytest
import torch
from torch import nn

from echo_e3net import geometry
from echo_e3net.benchmark.training_step import training_loss
from echo_e3net.errors import InputError
from echo_e3net.nn.aggregator import FeatureAggregator, MapStatistics, MeanPooling
from echo_e3net.nn.attention import ChannelAttention, HybridAttention, LargeKernelAttention, SpatialAttention
from echo_e3net.nn.backbone import LHUNetEncoder
from echo_e3net.nn.border_detector import BorderDetector
from echo_e3net.nn.layers import Conv3d, Conv3x3x3, frame_weights
from echo_e3net.nn.network import E3Net
from echo_e3net.types import TrainingStatistics

SMALL = {"cnn_channels": (8, 8), "hybrid_channels": (8, 16, 16)}


def small(**parts):
    torch.manual_seed(0)
    return E3Net(
        **({"backbone": LHUNetEncoder(**SMALL), "detector": functools.partial(BorderDetector, dim=32)} | parts)
    )


def clip(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(1, 1, 8, 64, 64), (2, 1, 13, 64, 72), (1, 1, 32, 112, 112)])
def test_clips_from_8_frames_of_64_pixels_are_accepted(shape):
    network = small().eval()
    output = network(clip(*shape))
    assert output.ef.shape == shape[:1]
    assert output.landmarks.shape == (shape[0], 2, 2, 42, 2)
    assert output.phase_logits.shape == (shape[0], 2, shape[2])
    assert ((output.ef > 0) & (output.ef < 1)).all()
    limits = torch.tensor([shape[4], shape[3]]) - 0.5
    assert ((output.landmarks >= -0.5) & (output.landmarks <= limits)).all()


@pytest.mark.parametrize("precision", [None, pytest.param(torch.bfloat16, marks=pytest.mark.slow)])
def test_every_parameter_gets_a_finite_nonzero_gradient(precision):
    network = small().train()
    with torch.autocast("cpu", precision, enabled=precision is not None):
        output = network(clip(2, 1, 8, 64, 64))
    assert output.ef.dtype == output.landmarks.dtype == torch.float32
    weights = torch.randn(output.landmarks.shape, generator=torch.Generator().manual_seed(0))
    (output.ef.sum() + (weights * output.landmarks).sum() + output.phase_logits[..., 0].sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    zero = [name for name, p in network.named_parameters() if not p.grad.any()]
    assert zero == []


CONVOLUTIONS = {
    "3x3x3": lambda: Conv3x3x3(16, 16),
    **{
        "x".join(map(str, kernel)): functools.partial(
            Conv3d, 16, 16, kernel, padding=[n // 2 for n in kernel], groups=16
        )
        for kernel in ((1, 5, 5), (11, 1, 1), (1, 11, 1), (1, 1, 11))
    },
}


def spoil_memory():
    """Leave NaN in memory that is then free."""
    for power in range(6, 20):
        torch.full((2, 1 << power), torch.nan)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last_3d], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_bfloat16_weight_gradients_of_small_maps_agree_with_float32(frames, kind, form):
    """On some CPUs, those of oneDNN are wrong, so small maps are convolved in float32."""
    generator = torch.Generator().manual_seed(0)
    conv = CONVOLUTIONS[kind]()
    for rows in (1, 2, 4):
        shape = 2, 16, frames, rows, 4
        x, upstream = (torch.randn(shape, generator=generator).contiguous(memory_format=form) for _ in range(2))
        gradients = []
        for enabled in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                y = conv(x.bfloat16() if enabled else x)
            spoil_memory()
            gradients.append(torch.autograd.grad(y, conv.weight, upstream.to(y.dtype))[0])
        torch.testing.assert_close(gradients[1], gradients[0], atol=0.02 * gradients[0].abs().max().item(), rtol=0)


@pytest.mark.parametrize("frames", [8, 16])
def test_a_training_step_in_bfloat16_has_the_gradients_of_float32(frames):
    """Noise or NaN in one layer is enough to spoil a training."""
    network, video = small().train(), clip(4, 1, frames, 64, 64)
    norms = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = training_loss(network, video)
        spoil_memory()
        found = torch.autograd.grad(loss, list(network.parameters()))
        norms.append(torch.stack([gradient.norm() for gradient in found]))
    counted = norms[0] > 1e-4 * norms[0].max()
    assert counted.float().mean() > 0.5
    ratio = (norms[1] / norms[0])[counted]
    assert 0.3 < ratio.min() <= ratio.max() < 3


@pytest.mark.slow
def test_gradients_are_finite_under_float16_with_a_scaler():
    """Uses losses of realistic size and the initial scale; the scaler may skip its first steps, but not all."""
    network = small().train()
    optimizer = torch.optim.SGD(network.parameters(), 0.0)
    scaler = torch.amp.GradScaler("cpu")
    for _ in range(8):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            output = network(clip(2, 1, 8, 64, 64))
        loss = (
            (output.ef - 0.1).abs().mean()
            + output.landmarks.square().mean() / 64**2
            + output.phase_logits.logsumexp(-1).mean()
        )
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        finite = all(p.grad.isfinite().all() for p in network.parameters())
        scaler.step(optimizer)
        scaler.update()
        if finite:
            break
    assert finite
    assert scaler.get_scale() >= 2**10


def test_ef_starts_at_the_training_mean():
    """For several seeds, the correction of the head is small and the initial landmarks have a usual EF."""
    for seed in range(3):
        torch.manual_seed(seed)
        network = E3Net(
            LHUNetEncoder(cnn_channels=(8, 8), hybrid_channels=(8, 16, 16)), functools.partial(BorderDetector, dim=32)
        )
        network.adopt(TrainingStatistics(40.0, 60.0, 0.56))
        assert network.eval()(clip(4, 1, 8, 64, 64, seed=seed)).ef.mean().item() == pytest.approx(0.56, abs=0.05)
    without = small(detector=None)
    without.adopt(TrainingStatistics(40.0, 60.0, 0.35))
    assert without.eval()(clip(4, 1, 8, 64, 64)).ef.mean().item() == pytest.approx(0.35, abs=0.05)


def test_initialisation_survives_construction():
    """Initial values of the parts are unchanged after the whole network is built."""
    network = E3Net(LHUNetEncoder(), BorderDetector, FeatureAggregator)
    assert network.aggregator.trust.item() == 1
    assert network.aggregator.head[-1].bias.abs().max() < 0.02
    resting = network.detector.resting_shape.sigmoid()
    assert geometry.ejection_fraction(resting[0, :42], resting[1, :42]).item() == pytest.approx(0.556, abs=0.01)
    for attention in (m for m in network.modules() if isinstance(m, HybridAttention)):
        assert (attention.delta == 1).all()
        assert (attention.gamma == 1).all()


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_landmarks_stay_in_the_frame_for_any_weights(scale):
    network = small().eval()
    with torch.no_grad():
        for parameter in network.detector.parameters():
            parameter.mul_(scale).add_(torch.randn_like(parameter) * (scale - 1))
        landmarks = network(clip(2, 1, 8, 64, 80)).landmarks
    assert landmarks.isfinite().all()
    assert ((landmarks >= -0.5) & (landmarks <= torch.tensor([79.5, 63.5]))).all()


def test_one_query_set_serves_both_phases():
    one, two = (small(detector=functools.partial(BorderDetector, dim=32, query_sets=n)) for n in (1, 2))
    count = [sum(p.numel() for p in network.parameters()) for network in (one, two)]
    assert count[0] < count[1]
    assert [len(layer.cross_attention) for layer in one.detector.layers] == [1, 1]
    landmarks = one.eval()(clip(1, 1, 8, 64, 64)).landmarks
    assert landmarks.shape == (1, 2, 2, 42, 2)


@pytest.mark.parametrize(
    ("part", "wrong", "argument", "value"),
    [
        ("detector", {"query_sets": 3}, "detector.query_sets", "3"),
        ("detector", {"borders": 0}, "detector.borders", "0"),
        ("detector", {"layers": 0}, "detector.layers", "0"),
        ("detector", {"level": 5}, "detector.level", "5"),
        ("detector", {"timing_level": -1}, "detector.timing_level", "-1"),
        ("detector", {"dim": 30}, "detector.dim", "30"),
        ("detector", {"dim": 0}, "detector.dim", "0"),
        ("detector", {"dim": -4}, "detector.dim", "-4"),
        ("detector", {"heads": 0}, "detector.heads", "0"),
        ("aggregator", {"level": 5}, "aggregator.level", "5"),
        ("aggregator", {"dim": 0}, "aggregator.dim", "0"),
        ("aggregator", {"dim": -32}, "aggregator.dim", "-32"),
        ("aggregator", {"heads": -4}, "aggregator.heads", "-4"),
        ("backbone", {"stem_channels": 0}, "backbone.stem_channels", "0"),
        ("backbone", {"stem_channels": -4}, "backbone.stem_channels", "-4"),
        ("backbone", {"cnn_channels": [0, 8]}, "backbone.cnn_channels", "0"),
        ("backbone", {"hybrid_channels": [8, -8, 8]}, "backbone.hybrid_channels", "-8"),
        (
            "backbone",
            {"cnn_channels": [], "hybrid_channels": [], "temporal_strides": []},
            "backbone.hybrid_channels",
            "[]",
        ),
        ("backbone", {"temporal_strides": [1, 1]}, "backbone.temporal_strides", "[1, 1]"),
        (
            "backbone",
            {"spatial_attention": functools.partial(SpatialAttention, grid=(4, 0, 4))},
            "SpatialAttention.grid",
            "0",
        ),
        (
            "backbone",
            {"spatial_attention": functools.partial(SpatialAttention, heads=0)},
            "SpatialAttention.heads",
            "0",
        ),
        (
            "backbone",
            {"spatial_attention": functools.partial(SpatialAttention, heads=3)},
            "SpatialAttention.channels",
            "8",
        ),
        (
            "backbone",
            {"channel_attention": functools.partial(ChannelAttention, heads=-8)},
            "ChannelAttention.heads",
            "-8",
        ),
    ],
)
def test_wrong_arguments_are_named_with_their_value(part, wrong, argument, value):
    """Widths, heads, levels and grids are checked before torch fails on them or silently computes nothing."""
    made = {"backbone": LHUNetEncoder, "detector": BorderDetector, "aggregator": FeatureAggregator}[part]
    usual = {"backbone": SMALL, "detector": {"dim": 32}, "aggregator": {"dim": 32}}[part]
    make = functools.partial(made, **(usual | wrong))
    with pytest.raises(InputError) as error:
        small(**{part: make() if part == "backbone" else make})
    assert argument in str(error.value)
    assert f" {value}" in str(error.value)


def test_without_detector_only_ef_is_predicted():
    output = small(detector=None).eval()(clip(2, 1, 8, 64, 64))
    assert output.landmarks is None
    assert output.phase_logits is None
    assert output.ef.shape == (2,)


def test_endocardium_only():
    network = small(detector=functools.partial(BorderDetector, dim=32, borders=1)).eval()
    assert network(clip(1, 1, 8, 64, 64)).landmarks.shape == (1, 2, 1, 42, 2)


def test_evaluation_does_not_depend_on_the_batch():
    network = small().eval()
    videos = clip(3, 1, 8, 64, 64)
    whole, single = network(videos), network(videos[1:2])
    torch.testing.assert_close(whole.ef[1:2], single.ef, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(whole.landmarks[1:2], single.landmarks, atol=1e-3, rtol=1e-4)


def test_content_of_padded_frames_does_not_matter():
    network = small().eval()
    video = clip(1, 1, 12, 64, 64)
    mask = torch.arange(12)[None] < 9
    other = torch.where(mask[:, None, :, None, None], video, 255 - video)
    first, second = network(video, mask), network(other, mask)
    torch.testing.assert_close(first, second)
    assert first.phase_logits[..., 9:].isneginf().all()


def test_statistics_ignore_padded_frames():
    feature = torch.randn(2, 3, 8, 4, 4)
    mask = torch.arange(8).expand(2, -1) < 5
    padded = MapStatistics()(feature, mask)
    torch.testing.assert_close(padded, MapStatistics()(feature[:, :, :5], mask[:, :5]))


@pytest.mark.parametrize("frames", [13, 10, 16])
def test_frame_weights_agree_with_max_pooling(frames):
    """The pooled mask marks the cells that contain a real frame, also for odd T."""
    mask = torch.arange(frames)[None] < 8
    pooled = mask.float()[:, None, :, None, None].expand(1, 1, frames, 2, 2)
    for _ in range(2):
        pooled = nn.MaxPool3d((2, 1, 1), ceil_mode=True)(pooled)
        torch.testing.assert_close(frame_weights(mask, pooled), pooled[:, :, :, 0, 0])


def test_statistics_by_hand():
    feature = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 2, 2)
    mean, largest, sd, temporal_sd, step = MapStatistics()(feature, torch.ones(1, 2, dtype=torch.bool))[0]
    torch.testing.assert_close(
        torch.stack([mean, largest, sd, temporal_sd, step]), torch.tensor([2.0, 3, 1, 1, 2]), atol=1e-5, rtol=0
    )


def test_mean_pooling_is_the_first_statistic():
    feature = torch.randn(2, 3, 8, 4, 4)
    mask = torch.arange(8).expand(2, -1) < 5
    torch.testing.assert_close(MeanPooling()(feature, mask), MapStatistics()(feature, mask)[:, :3])


def test_training_statistics_are_part_of_the_state_dict():
    network, fresh = small(), small()
    network.adopt(TrainingStatistics(40.0, 60.0, 0.61))
    fresh.load_state_dict(network.state_dict())
    video = clip(1, 1, 8, 64, 64)
    torch.testing.assert_close(fresh.eval()(video), network.eval()(video))
    assert fresh.ef_mean.item() == pytest.approx(0.61)
    assert fresh.normalise.mean.item() == 40


def test_branches_of_the_hybrid_attention_are_optional():
    x = torch.randn(2, 8, 4, 6, 6)
    for large in (None, LargeKernelAttention(8)):
        for tokens in (None, SpatialAttention(8), ChannelAttention(8)):
            assert HybridAttention(8, large, tokens)(x).shape == x.shape


COMPILED = """
from functools import partial
import sys
import torch
from echo_e3net.nn.aggregator import FeatureAggregator
from echo_e3net.nn.backbone import LHUNetEncoder
from echo_e3net.nn.border_detector import BorderDetector
from echo_e3net.nn.network import E3Net
torch.manual_seed(0)
# one of each: a CNN stage, hybrid stages with both kinds of attention
backbone = LHUNetEncoder(8, cnn_channels=(8,), hybrid_channels=(8, 8, 8), temporal_strides=(1, 1, 1, 2))
network = E3Net(backbone, partial(BorderDetector, dim=16, layers=1), partial(FeatureAggregator, dim=16)).eval()
video = torch.randint(0, 256, (1, 1, 8, 64, 64), dtype=torch.uint8)
with torch.no_grad():
    compiled, plain = torch.compile(network, fullgraph=True, backend=sys.argv[1])(video), network(video)
torch.testing.assert_close(compiled, plain, atol=1e-3, rtol=1e-3)
"""


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("aot_eager_decomp_partition", marks=pytest.mark.slow),
        pytest.param("inductor", marks=pytest.mark.gpu),
    ],
)
def test_compiled_network_agrees_with_eager(backend):
    """Runs in a subprocess, because the shape checker of the tests cannot be compiled.

    The first backend has the graph and the decompositions of Inductor, but does not spend two minutes on compiling C++.
    """
    done = subprocess.run([sys.executable, "-c", COMPILED, backend], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
def test_gpu_agrees_with_cpu(precision):
    network, video = small().eval(), clip(2, 1, 8, 64, 64)
    expected = network(video)
    with torch.autocast("cuda", precision, enabled=precision is not None):
        found = network.cuda()(video.cuda())
    torch.testing.assert_close(found.ef.cpu(), expected.ef, atol=1e-3 if precision is None else 0.03, rtol=0)
    torch.testing.assert_close(
        found.landmarks.cpu(), expected.landmarks, atol=0.01 if precision is None else 1.0, rtol=0
    )
