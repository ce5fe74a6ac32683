"""Errors that a configuration causes: one line that names the argument; a bug keeps its traceback and says so."""

import argparse
import functools
import inspect
from collections.abc import Callable, Iterable
from unittest.mock import Mock

import pytest
import torch
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from echo_e3net.cli.arguments import refuse_repeated_lists
from echo_e3net.cli.faults import BUG, bug_note, explain
from echo_e3net.cli.trainer_checks import check_launch, check_trainer, run_name
from echo_e3net.errors import InputError
from echo_e3net.models.weights import read_checkpoint
from echo_e3net.training.checkpoints import Checkpoints
from echo_e3net.training.guards import MonitoredScores, check_scores
from echo_e3net.training.schedules import schedule_of
from echo_e3net.training.system import WarmupCosine
from tests.datamodules import data_module

DEFAULTS = {name: value.default for name, value in inspect.signature(Trainer).parameters.items()}


def callback(name):
    return Namespace(class_path=f"lightning.pytorch.callbacks.{name}")


@pytest.mark.parametrize(
    ("command", "change", "facts"),
    [
        ("fit", {"limit_train_batches": 0}, ["limit_train_batches is 0", "trained"]),
        ("fit", {"max_epochs": 0}, ["max_epochs is 0"]),
        ("fit", {"max_steps": 0}, ["max_steps is 0"]),
        ("test", {"limit_test_batches": 0}, ["limit_test_batches is 0", "scored"]),
        ("predict", {"limit_predict_batches": 0.0}, ["limit_predict_batches is 0"]),
        ("fit", {"accumulate_grad_batches": 0}, ["trainer.accumulate_grad_batches is 0", "at least 1"]),
        ("fit", {"check_val_every_n_epoch": 0}, ["trainer.check_val_every_n_epoch is 0"]),
        ("fit", {"check_val_every_n_epoch": 3, "max_epochs": 2}, ["is 3", "max_epochs is 2", "no epoch is validated"]),
        ("fit", {"gradient_clip_val": -1}, ["trainer.gradient_clip_val is -1"]),
        ("fit", {"enable_checkpointing": False}, ["enable_checkpointing", "--trainer.fast_dev_run"]),
        ("fit", {"barebones": True}, ["barebones"]),
        (
            "fit",
            {"limit_val_batches": 0},
            ["limit_val_batches is 0", "val/rmse", "--checkpoint.monitor train/loss/total"],
        ),
        ("fit", {"strategy": "fsdp"}, ["trainer.strategy is fsdp", "Use ddp"]),
        ("fit", {"strategy": "deepspeed_stage_2"}, ["trainer.strategy is deepspeed_stage_2"]),
        ("fit", {"precision": "16-true"}, ["16-true", "16-mixed"]),
        ("fit", {"default_root_dir": "x"}, ["default_root_dir", "--runs"]),
        ("fit", {"num_nodes": 2}, ["num_nodes is 2", "srun", "torchrun"]),
        ("fit", {"callbacks": callback("LearningRateFinder")}, ["LearningRateFinder", "echo-e3net sweep"]),
        ("fit", {"callbacks": [callback("BatchSizeFinder")]}, ["BatchSizeFinder", "--data.loader.batch_size"]),
        (
            "fit",
            {"callbacks": callback("StochasticWeightAveraging")},
            ["StochasticWeightAveraging", "not be in any checkpoint"],
        ),
        ("fit", {"callbacks": callback("Timer")}, ["Timer", "--trainer.max_time"]),
        ("fit", {"callbacks": callback("GradientAccumulationScheduler")}, ["--trainer.accumulate_grad_batches"]),
    ],
)
def test_arguments_of_the_trainer_that_cannot_work_are_refused_by_name(monkeypatch, command, change, facts):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    check_trainer(command, Namespace(**DEFAULTS), "val/rmse")
    with pytest.raises(InputError) as caught:
        check_trainer(command, Namespace(**{**DEFAULTS, **change}), "val/rmse")
    assert all(fact in str(caught.value) for fact in facts), caught.value


def test_a_training_without_validation_may_monitor_its_loss():
    check_trainer("fit", Namespace(**{**DEFAULTS, "limit_val_batches": 0}), "train/loss/total")


def test_slurm_outside_srun_is_refused():
    with pytest.raises(InputError, match="SLURM_NTASKS is 4, but srun did not start"):
        check_launch(1, {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "fit"})
    for more in ({"SLURM_STEP_ID": "0"}, {"SLURM_JOB_NAME": "interactive"}, {"TORCHELASTIC_RUN_ID": "1"}):
        check_launch(1, {"SLURM_NTASKS": "4"} | more)
    check_launch(1, {"SLURM_NTASKS": "1"})


@pytest.mark.parametrize("name", ["", ".", "../x", "a/../../x", "/tmp/x"])
def test_the_name_of_a_run_stays_inside_the_folder_of_runs(name):
    with pytest.raises(InputError, match="--name is "):
        run_name(name)
    assert run_name("study/arm/seed0") == "study/arm/seed0"


@pytest.mark.parametrize(
    "args",
    [
        ["--videos", "a", "--videos", "b"],
        ["--trainer.callbacks", "A", "--trainer.callbacks=B"],
        ["--model.network.backbone.cnn_channels", "[8]", "--model.network.backbone.cnn_channels", "[9]"],
    ],
)
def test_a_list_that_is_given_twice_is_refused(args):
    with pytest.raises(InputError, match=f"{args[0]} is given twice"):
        refuse_repeated_lists(args)
    refuse_repeated_lists([*args[:2], "--config", "a.yaml", "--config", "b.yaml", "--trainer.callbacks+=C"])


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"accelerator": "foo"}, "--trainer.accelerator"),
        ({"accelerator": "cpu", "devices": 0}, "--trainer.devices"),
        ({"strategy": "ddp_foo"}, "ddp_foo"),
        ({"fast_dev_run": -1, "logger": False}, "fast_dev_run=-1"),
    ],
)
def test_what_lightning_refuses_is_an_input_error(settings, fact):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        Trainer(**settings)
    assert fact in str(explain(caught.value)), repr(caught.value)
    assert "\n" not in explain(caught.value)


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ({"lr": -1.0}, "AdamW: Invalid learning rate: -1.0. "),
        ({"betas": [2.0, 3.0]}, "AdamW: Invalid beta parameter at index 0: 2.0. "),
    ],
)
def test_errors_of_a_class_of_the_configuration_name_the_class(arguments, fact):
    parser = ArgumentParser()
    parser.add_argument("--optimizer", type=Callable[[Iterable], Optimizer])
    values = parser.parse_object({"optimizer": {"class_path": "torch.optim.AdamW", "init_args": arguments}})
    with pytest.raises(ValueError, match="Invalid") as caught:
        parser.instantiate_classes(values).optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert explain(caught.value).startswith(fact)


def test_too_little_memory_is_an_input_error():
    for error in (MemoryError("Unable to allocate 9 GiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        assert "--data.loader.batch_size" in explain(error)


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"batch_size": 10**20}, "data.loader.batch_size is too large"),
        ({"frames": 10**20}, "--data.clip.frames"),
        ({"size": 10**20}, "--data.clip.size"),
        ({"size": 10**12}, "--data.clip.size"),
    ],
)
def test_too_large_a_number_is_an_input_error(phantom_root, settings, argument):
    data = data_module(phantom_root, **{"frames": 8, "size": 64, "workers": 0} | settings)
    data.setup("test")
    with pytest.raises((ValueError, TypeError, RuntimeError)) as caught:
        next(iter(data.test_dataloader()))
    assert argument in explain(caught.value)
    assert "\n" not in explain(caught.value)


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled", "ignore:Error detected in DivBackward0")
def test_nan_that_the_detection_of_anomalies_finds_is_an_input_error():
    weight = torch.zeros(1, requires_grad=True)
    with torch.autograd.detect_anomaly(), pytest.raises(RuntimeError) as caught:
        (weight / weight).backward()
    assert explain(caught.value).startswith("trainer.detect_anomaly: Function 'DivBackward0' returned nan values")
    assert "lower --model.optimizer.lr" in explain(caught.value)


def test_a_bug_keeps_its_traceback_and_says_that_it_is_one(command, monkeypatch):
    monkeypatch.setattr("echo_e3net.cli.functions.function_parser", None)
    code, error = command("report", "x")
    assert code == 1
    assert "Traceback" in error
    assert error.splitlines()[-1] == BUG


def test_an_error_in_a_file_of_the_user_names_that_file():
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    assert explain(caught.value) is None
    assert __file__ in bug_note(caught.value)


def stub(**values):
    return Mock(spec=Trainer, **values)


def trainer(scores, *callbacks, schedules=()):
    values = {"callbacks": callbacks, "lr_scheduler_configs": schedules, "current_epoch": 3, "sanity_checking": False}
    return stub(callback_metrics=scores, **values)


PLATEAU = Mock(reduce_on_plateau=True, monitor="val/rmsee")


@pytest.mark.parametrize(
    ("made", "facts"),
    [
        (
            trainer({"val/rmse": 1.0}, Checkpoints("val/rmsee")),
            ["checkpoint.monitor val/rmsee", "did you mean val/rmse?"],
        ),
        (trainer({"val/rmse": 1.0}, Checkpoints("rmse")), ["checkpoint.monitor rmse", "Measured: val/rmse"]),
        (trainer({"val/rmse": 1.0}, EarlyStopping("val/rmsee")), ["EarlyStopping.monitor val/rmsee"]),
        (trainer({"val/rmse": 1.0}, schedules=[PLATEAU]), ["model.scheduler.monitor val/rmsee"]),
        (trainer({"val/loss/total": float("nan")}, Checkpoints()), ["val/rmse", "epoch 4", "diverged", "lr"]),
        (trainer({"val/rmse": float("nan")}, Checkpoints()), ["diverged"]),
    ],
)
def test_a_monitored_score_must_be_measured(made, facts):
    with pytest.raises(InputError) as caught:
        check_scores(made, "val/", set())
    assert all(fact in str(caught.value) for fact in facts), caught.value


def test_scores_of_the_training_are_checked_after_the_training_epoch():
    made = trainer({"val/rmse": 1.0}, Checkpoints(), EarlyStopping("train/los"))
    check_scores(made, "val/", set())
    with pytest.raises(InputError, match="train/los"):
        check_scores(made, "train/", set())


def test_a_score_of_the_last_epoch_does_not_hide_that_one_is_missing():
    made = trainer({"val/rmse": 1.0, "val/loss/total": 1.0, "train/loss/total": 1.0}, Checkpoints())
    MonitoredScores().on_validation_start(made, LightningModule())
    assert set(made.callback_metrics) == {"train/loss/total"}
    with pytest.raises(InputError, match="val/rmse was not measured"):
        MonitoredScores().on_validation_end(made, LightningModule())


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def made_by_jsonargparse(cls, **settings):
    """Return a function as jsonargparse makes it: a partial call of an instantiator."""
    return functools.partial(lambda kind, *args, **given: kind(*args, **given), cls, **settings)


@pytest.mark.parametrize("make", [WarmupCosine, made_by_jsonargparse(WarmupCosine, total_steps=None, warmup=0.5)])
def test_the_schedule_gets_the_number_of_steps_of_the_run(make):
    rate = optimizer()
    made = schedule_of(make, rate, stub(estimated_stepping_batches=4))
    assert made["interval"] == "step"
    for _ in range(4):
        rate.step()
        made["scheduler"].step()
    assert rate.param_groups[0]["lr"] == pytest.approx(0.01)
    with pytest.raises(InputError, match=r"max_epochs is -1.*--model.scheduler null"):
        schedule_of(make, optimizer(), stub(estimated_stepping_batches=float("inf")))


def test_a_schedule_without_the_number_of_steps_keeps_its_own_arguments():
    rate, endless = optimizer(), stub(estimated_stepping_batches=float("inf"))
    made = schedule_of(made_by_jsonargparse(StepLR, step_size=2, gamma=0.5), rate, endless)
    for _ in range(2):
        rate.step()
        made["scheduler"].step()
    assert rate.param_groups[0]["lr"] == 0.5
    schedule_of(made_by_jsonargparse(WarmupCosine, total_steps=9), optimizer(), endless)


def test_a_plateau_is_watched_once_per_epoch():
    made = schedule_of(made_by_jsonargparse(ReduceLROnPlateau), optimizer(), stub())
    assert (made["interval"], made["monitor"]) == ("epoch", "val/rmse")


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ({"measured": torch.zeros(1)}, "found a mapping with measured"),
        ({"model": {"a": torch.zeros(1)}}, "found a mapping with model"),
        (torch.zeros(1), "found Tensor"),
        ({"state_dict": {}, "args": argparse.Namespace(a=1)}, "argparse.Namespace"),
    ],
)
def test_another_file_than_a_checkpoint_is_refused_and_never_unpickled(tmp_path, content, fact):
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(InputError) as caught:
        read_checkpoint(tmp_path / "other.ckpt")
    assert str(caught.value).startswith(f"{tmp_path / 'other.ckpt'}: ")
    assert fact in str(caught.value)


@pytest.mark.slow
def test_a_start_that_fails_leaves_no_folder(command, tiny, tmp_path):
    code, error = command("fit", *tiny, "--model.optimizer.lr", -1)
    assert code == 2
    assert error.splitlines()[-1].startswith("echo-e3net: error: AdamW: Invalid learning rate: -1.0")
    assert "Traceback" not in error
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.slow
def test_the_record_of_a_run_is_a_configuration(command, trained):
    error = command("test", "--config", trained / "resolved_config.yaml", "--ckpt_path", "gone.ckpt")[1]
    assert "--ckpt_path gone.ckpt: gone.ckpt does not exist" in error


def test_report_of_a_folder_of_runs_names_the_runs(command, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "resolved_config.yaml").write_text("")
    assert "runs is a folder of runs. Name one of them: runs/a, runs/b." in command("report", "runs")[1]
    (tmp_path / "runs/a/metrics.json").write_text("{")
    assert "runs/a/metrics.json: not JSON" in command("report", "runs/a")[1]


def test_help_of_a_run_begins_with_its_own_arguments(command):
    assert command("predict", "--config", "e3net.yaml", "--help")[0] == 0
    first = command.output.partition("--trainer")[0]
    assert all(name in first for name in ("--config", "--name", "--videos", "--overwrite"))
    assert first.count("\n") < 45


# Lightning warns that overfit_batches ends the shuffling.
@pytest.mark.filterwarnings("ignore:You requested to overfit")
@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        ("--trainer.overfit_batches", 1),
        ("--model.scheduler", "torch.optim.lr_scheduler.ReduceLROnPlateau"),
        ("--model.scheduler", "StepLR", "--model.scheduler.step_size", 1),
        ("--trainer.limit_val_batches", 0, "--checkpoint.monitor", "train/loss/total"),
        ("--model.scheduler", "null", "--trainer.max_epochs", -1, "--trainer.max_steps", 2),
        ("--trainer.callbacks", "LearningRateMonitor", "--trainer.callbacks+=ModelSummary"),
    ],
)
def test_what_was_refused_or_wrong_works(command, tiny, tmp_path, change):
    assert command("fit", *tiny, *change)[0] == 0
    assert (tmp_path / "runs/tiny/checkpoints/last.ckpt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("words", [("test",), ("predict",), ("draw", "attention")])
def test_every_command_refuses_another_file_than_a_checkpoint(command, tiny, trained, words):
    torch.save(torch.load(trained / "checkpoints/last.ckpt", weights_only=True)["state_dict"], "raw.ckpt")
    code, error = command(*words, *tiny, "--ckpt_path", "raw.ckpt")
    assert code == 2
    assert "raw.ckpt: expected the weights and the state of a training" in error


@pytest.mark.slow
def test_a_callback_of_lightning_that_expects_another_network_is_named(command, tiny):
    code, error = command("fit", *tiny, "--trainer.callbacks", "BackboneFinetuning")
    assert code == 2
    assert "trainer.callbacks: BackboneFinetuning: " in error


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Encountered `nan` values")
def test_a_training_that_diverges_is_stopped(command, tiny):
    code, error = command("fit", *tiny, "--model.optimizer.lr", 1e30)
    assert code == 2
    assert "val/rmse is not a number in epoch 1. If the training diverged" in error
