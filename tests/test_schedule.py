import pytest
import torch

from echo_e3net.training.system import WarmupCosine


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_fused_optimizer_clips_gradients(command, tiny, precision):
    optimizer = ("--model.optimizer", "AdamW", "--model.optimizer.init_args.fused", "true")
    extra = ("--trainer.gradient_clip_val", 1.0, "--trainer.precision", precision, "--trainer.limit_train_batches", 2)
    code, error = command("fit", *tiny, *optimizer, *extra, "--trainer.max_epochs", 1)
    assert code == 0, error


def rates(schedule, optimizer, steps):
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def make(total=100):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    return WarmupCosine(optimizer, total, warmup=0.1, floor=0.01), optimizer


def test_rises_linearly_and_falls_to_the_floor():
    seen = rates(*make(), 101)
    assert seen[:10] == pytest.approx([0.2 * k for k in range(1, 11)])
    assert seen[10] == pytest.approx(2.0)
    assert seen[55] == pytest.approx(2.0 * (0.01 + 0.99 / 2))
    assert seen[100] == pytest.approx(0.02)
    assert seen[10:] == sorted(seen[10:], reverse=True)


def test_a_run_that_is_made_longer_goes_on_along_the_longer_curve():
    first, optimizer = make(20)
    rates(first, optimizer, 20)
    longer, other = make(40)
    other.load_state_dict(optimizer.state_dict())
    longer.load_state_dict(first.state_dict())
    assert rates(longer, other, 20)[1:] == pytest.approx(rates(*make(40), 40)[21:])


def test_a_reloaded_schedule_goes_on():
    whole = rates(*make(), 40)
    first, optimizer = make()
    rates(first, optimizer, 20)
    second, other = make()
    other.load_state_dict(optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert rates(second, other, 20) == pytest.approx(whole[20:])
