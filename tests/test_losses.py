import math

import pytest
import torch

from echo_e3net.errors import InputError
from echo_e3net.losses import E3Loss, EFTerm, LandmarkTerm, TermSum, TimingTerm, VolumeRatioTerm, in_traced_beat
from echo_e3net.types import E3Output, EchoClip
from tests.shapes import tube


def example(ef=(0.5, 0.6), labelled=True, frames=8):
    b = len(ef)
    landmarks = torch.stack([tube(40, 20), tube(30, 14)])[None, :, None].expand(b, 2, 2, 42, 2).clone()
    clip = EchoClip(
        video=torch.zeros(b, 1, frames, 112, 112, dtype=torch.uint8),
        frame_mask=torch.ones(b, frames, dtype=torch.bool),
        frame_index=torch.arange(frames).expand(b, -1),
        ef=torch.tensor(ef) if labelled else torch.full((b,), torch.nan),
        landmarks=landmarks,
        landmark_mask=torch.full((b, 2, 2), labelled),
        phase_position=torch.tensor([[1.0, 5.0]] * b) if labelled else torch.full((b, 2), torch.nan),
        framing=torch.tensor([[1.0, 0, 0]] * b),
        video_number=torch.arange(b),
        clip_number=torch.zeros(b, dtype=torch.long),
        name=["x"] * b,
    )
    output = E3Output(
        torch.tensor([0.4, 0.9])[:b].requires_grad_(),
        (landmarks + 3.0).requires_grad_(),
        torch.zeros(b, 2, frames, requires_grad=True),
    )
    return output, clip


def mean(term, output, clip):
    total, count = term(output, clip)
    return total / count


def test_ef_by_hand():
    output, clip = example()
    # |0.4 - 0.5| and |0.9 - 0.6|, Huber beyond beta 0.05: error - beta / 2
    assert EFTerm(beta=0.05)(output, clip).total.item() == pytest.approx(0.075 + 0.275)
    assert EFTerm(beta=0.05)(output, clip).number.item() == 2
    assert EFTerm(beta=0.0)(output, clip).total.item() == pytest.approx(0.1 + 0.3)
    assert EFTerm(beta=1.0)(output, clip).total.item() == pytest.approx((0.1**2 + 0.3**2) / 2)


def test_landmarks_by_hand():
    output, clip = example()
    # 3 px of 112 off in x and in y
    assert mean(LandmarkTerm(beta=0.0), output, clip).item() == pytest.approx(2 * 3 / 112, rel=1e-5)


def test_only_labelled_borders_count():
    output, clip = example()
    mask = torch.zeros(2, 2, 2, dtype=torch.bool)
    mask[1, 0, 1] = True
    gradient = torch.autograd.grad(LandmarkTerm()(output, clip._replace(landmark_mask=mask)).total, output.landmarks)[0]
    assert (gradient.abs().sum((-1, -2)) > 0).equal(mask)


def test_volume_ratio_by_hand():
    output, clip = example()
    ratio = 5880 / 16000
    wanted = (abs(ratio - 0.5) + abs(ratio - 0.4)) / 2
    assert mean(VolumeRatioTerm(beta=0.0), output, clip).item() == pytest.approx(wanted, abs=1e-5)


def test_a_collapsed_ventricle_costs_a_bounded_loss():
    output, clip = example()
    for collapsed in (torch.zeros(2, 2, 2, 42, 2), torch.cat([clip.landmarks[:, :1] * 0, clip.landmarks[:, 1:]], 1)):
        landmarks = collapsed.clone().requires_grad_()
        loss = mean(VolumeRatioTerm(), output._replace(landmarks=landmarks), clip)
        assert 0 < loss.item() < 200
        assert torch.autograd.grad(loss, landmarks)[0].isfinite().all()


def test_timing_is_least_at_the_traced_frames():
    output, clip = example()
    apart = torch.arange(8) - clip.phase_position[..., None]
    right = output._replace(phase_logits=-0.5 * apart.square())
    assert mean(TimingTerm(), right, clip) < mean(TimingTerm(), output, clip)
    # Within reach of ED at 1 are frames 0 to 5; of ES at 5, frames 1 to 7.
    within_reach = math.log(6) + math.log(7)
    assert mean(TimingTerm(), output, clip).item() == pytest.approx(within_reach / 2, rel=1e-5)


def test_the_traced_beat_by_hand():
    _, clip = example()
    mask = clip.frame_mask.clone()
    mask[1, 6:] = False
    # ED is at 1 and ES at 5, so the beat reaches 4 frames from either.
    beat = in_traced_beat(clip._replace(frame_mask=mask))
    assert beat[0].int().tolist() == [[1, 1, 1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1, 1, 1]]
    assert beat[1, 1].int().tolist() == [0, 1, 1, 1, 1, 1, 0, 0]


def test_another_beat_is_not_wrong():
    output, clip = example(frames=24)
    once = output.phase_logits.detach().clone()
    once[:, :, 2] = 3.0
    twice = once.clone()
    twice[:, :, 18] = 9.0
    term = TimingTerm()
    assert term(output._replace(phase_logits=twice), clip) == term(output._replace(phase_logits=once), clip)


def test_timing_needs_both_traced_frames():
    output, clip = example()
    cut = clip.phase_position.clone()
    cut[0, 1] = torch.nan
    torch.manual_seed(0)
    logits = torch.randn(2, 2, 8)
    other = logits.clone()
    other[0] = torch.randn(2, 8)
    clip = clip._replace(phase_position=cut)
    assert TimingTerm()(output._replace(phase_logits=logits), clip) == TimingTerm()(
        output._replace(phase_logits=other), clip
    )


def test_padded_frames_take_no_part_in_timing():
    output, clip = example()
    mask = clip.frame_mask.clone()
    mask[:, 4:] = False
    clip = clip._replace(phase_position=torch.tensor([[1.0, 3.0]] * 2))
    logits = torch.zeros(2, 2, 8).masked_fill(~mask[:, None], -torch.inf).requires_grad_()
    loss = mean(TimingTerm(), output._replace(phase_logits=logits), clip._replace(frame_mask=mask))
    # Without the mask, ES would have frames 1 to 5.
    assert loss.item() == pytest.approx((math.log(4) + math.log(3)) / 2, rel=1e-5)
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_unlabelled_clips_give_zero_and_no_gradient():
    output, clip = example(labelled=False)
    loss = E3Loss(EFTerm(), LandmarkTerm(), VolumeRatioTerm(), TimingTerm())
    sums = loss(output, clip)
    assert all(count == 0 for _, count in sums.values())
    parts = loss.average(sums)
    assert all(value.item() == 0 for value in parts.values())
    for gradient in torch.autograd.grad(parts["total"], [output.ef, output.landmarks, output.phase_logits]):
        assert (gradient == 0).all()


def test_weights_and_nulls():
    output, clip = example()
    loss = E3Loss(EFTerm(weight=2.0), None, VolumeRatioTerm(weight=3.0), None)
    both = loss.average(loss(output, clip))
    assert set(both) == {"total", "ef", "volume_ratio"}
    assert both["total"].item() == pytest.approx(2 * both["ef"].item() + 3 * both["volume_ratio"].item())
    with pytest.raises(InputError, match="volume_ratio and timing"):
        E3Loss(None, None, None, None)


def test_parts_of_a_batch_give_the_gradient_of_the_whole():
    """Two devices with unequal numbers of labels: the mean of their gradients is that of the global mean."""
    output, clip = example()
    clip = clip._replace(ef=torch.tensor([0.5, torch.nan]))
    loss = E3Loss(EFTerm())
    whole = torch.autograd.grad(loss.average(loss(output, clip))["total"], output.ef)[0]
    parts = []
    for number in range(2):
        one = clip._replace(ef=clip.ef[number : number + 1])
        sums = loss(output._replace(ef=output.ef[number : number + 1]), one)
        shared = {name: TermSum(total, torch.tensor(0.5)) for name, (total, _) in sums.items()}
        parts.append(torch.autograd.grad(loss.average(shared)["total"], output.ef)[0])
    torch.testing.assert_close(sum(parts) / 2, whole)
