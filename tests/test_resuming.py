"""A resume uses the settings that it records, or refuses them."""

import copy
import json

import pytest
import torch
import yaml

from echo_e3net.errors import InputError
from echo_e3net.locks import locked
from echo_e3net.models.weights import read_checkpoint
from echo_e3net.training.resuming import WITHOUT_EFFECT, begins, leaves, resume

FREE = (
    "trainer",
    "checkpoint.keep",
    "last",
    "name",
    "precision",
    "runs",
    "overwrite",
    "auto_resume",
    "trust",
    "ckpt_path",
    "weights_only",
    "data.root",
    "data.cache",
    "data.loader.workers",
    "data.loader.start_method",
    "data.on_defect",
)
"""Settings that a resume may change: they are used as asked, or do not decide results."""


@pytest.fixture
def checkpoint(trained):
    return trained / "checkpoints/last.ckpt"


@pytest.fixture
def settings(trained):
    """Settings of the trained run, with one more epoch."""
    found = yaml.safe_load((trained / "resolved_config.yaml").read_text())
    found["trainer"]["max_epochs"] = 2
    return found


def changed(settings, name, value):
    found = copy.deepcopy(settings)
    *groups, last = name.split(".")
    place = found
    for group in groups:
        place = place[group]
    place[last] = value
    return found


def test_every_setting_is_used_noted_or_refused(checkpoint, settings, monkeypatch):
    content = read_checkpoint(checkpoint)
    monkeypatch.setattr("echo_e3net.training.resuming.read_checkpoint", lambda _: content)
    assert resume(checkpoint, settings).changed == {"trainer.max_epochs": (1, 2)}
    for name, value in leaves(settings):
        if name in ("trainer.max_epochs", "trainer.max_time"):
            continue
        asked = value + 1000 if isinstance(value, int) and not isinstance(value, bool) else "another value"
        other = changed(settings, name, asked)
        if begins(name, FREE) and name != "trainer.callbacks":
            noted = begins(name, ("trainer", "data.root", "data.on_defect")) and not begins(name, WITHOUT_EFFECT)
            assert (name in resume(checkpoint, other).changed) == noted
        else:
            with pytest.raises(InputError, match=rf"{name} is {asked}, but was ") as error:
                resume(checkpoint, other)
            assert str(value) in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "trainer.max_epochs",
            1,
            "trainer.max_epochs is 1, and the checkpoint already has 1: nothing is left",
        ),
        ("trainer.max_steps", 2, "trainer.max_steps is 2, and the checkpoint already has 2: nothing is left to train"),
        ("model.scheduler", None, "model.scheduler.class_path is None, but was .*WarmupCosine"),
        ("trainer.callbacks", [{"class_path": "EarlyStopping"}], "trainer.callbacks is .*EarlyStopping.* but was None"),
    ],
)
def test_what_a_resume_cannot_do_is_refused(checkpoint, settings, name, value, message):
    with pytest.raises(InputError, match=message):
        resume(checkpoint, changed(settings, name, value))


def test_a_resume_need_not_repeat_the_model_that_the_run_started_from(checkpoint, settings, monkeypatch):
    content = read_checkpoint(checkpoint)
    content["settings"]["init_from"] = "runs/first"
    monkeypatch.setattr("echo_e3net.training.resuming.read_checkpoint", lambda _: content)
    for named in (None, "runs/first"):
        found = resume(checkpoint, changed(settings, "init_from", named))
        assert (found.init_from, found.changed) == ("runs/first", {"trainer.max_epochs": (1, 2)})
    del content["settings"]["init_from"]
    assert resume(checkpoint, settings).init_from is None


@pytest.mark.parametrize(("limit", "refused"), [("00:00:00:08", True), ("00:00:00:09", False), ({"seconds": 7}, True)])
def test_a_training_that_ended_by_its_time_is_not_resumed(checkpoint, settings, monkeypatch, limit, refused):
    content = {**read_checkpoint(checkpoint), "callbacks": {"Timer": {"time_elapsed": {"train": 8.0}}}}
    monkeypatch.setattr("echo_e3net.training.resuming.read_checkpoint", lambda _: content)
    asked = changed(settings, "trainer.max_time", limit)
    if not refused:
        assert resume(checkpoint, asked).epochs == 1
        return
    with pytest.raises(
        InputError, match=r"max_time is [78] seconds, and the checkpoint already has 8: nothing is left"
    ):
        resume(checkpoint, asked)
    with pytest.raises(SystemExit):
        resume(checkpoint, changed(asked, "auto_resume", True))


def test_another_number_of_devices_is_refused_within_an_epoch(checkpoint, settings, monkeypatch):
    content = read_checkpoint(checkpoint)
    monkeypatch.setattr("echo_e3net.training.resuming.read_checkpoint", lambda _: content)
    asked = changed(settings, "trainer.devices", 2)
    assert resume(checkpoint, asked).changed["trainer.devices"] == (1, 2)
    content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"] = False
    with pytest.raises(
        InputError, match=r"trainer.devices is 2, but was 1, and the checkpoint is from within an epoch"
    ):
        resume(checkpoint, asked)


def test_weights_without_a_training_are_not_resumed(checkpoint, settings, monkeypatch):
    content = {name: value for name, value in read_checkpoint(checkpoint).items() if name != "loops"}
    monkeypatch.setattr("echo_e3net.training.resuming.read_checkpoint", lambda _: content)
    with pytest.raises(InputError, match=r"last.ckpt: has weights, but no state"):
        resume(checkpoint, settings)


def test_a_schedule_that_restores_its_length_is_not_made_longer(checkpoint, settings):

    foreign = {"class_path": "torch.optim.lr_scheduler.OneCycleLR", "init_args": {"total_steps": None}}
    settings = changed(settings, "model.scheduler", foreign)
    content = torch.load(checkpoint, weights_only=True)
    content["settings"] = changed(settings, "trainer.max_epochs", 1)
    torch.save(content, checkpoint)
    with pytest.raises(InputError, match=r"max_epochs is 2, but was 1, and .*OneCycleLR would keep the length"):
        resume(checkpoint, settings)


@pytest.mark.slow
def test_a_finished_training_is_not_resumed_and_its_record_stays(command, tiny, trained):
    record, starts = (trained / "resolved_config.yaml").read_text(), (trained / "environment.json").read_text()
    for more in (("--trainer.max_epochs", 1, "--name", "other"), ("--model.optimizer.lr", 0.5)):
        assert command("fit", *tiny, "--ckpt_path", trained / "checkpoints/last.ckpt", *more)[0] == 2
    code, _ = command("fit", *tiny, "--trainer.max_epochs", 1, "--auto_resume")
    assert code == 0
    assert (trained / "resolved_config.yaml").read_text() == record
    assert (trained / "environment.json").read_text() == starts
    assert not (trained.parent / "other").exists()


@pytest.mark.slow
def test_a_longer_training_is_noted_in_its_record(command, tiny, trained):
    assert command("fit", *tiny, "--ckpt_path", "last", "--trainer.max_epochs", 2)[0] == 0
    note = "# resumed after epoch 1 (step 2) with trainer.max_epochs 2 (before: 1)"
    assert (trained / "resolved_config.yaml").read_text().startswith(f"{note}\n")
    assert json.loads((trained / "environment.json").read_text())[-1]["resumed"]["epochs"] == 1
    assert command("fit", *tiny, "--ckpt_path", "last", "--trainer.max_epochs", 3)[0] == 0
    lines = (trained / "resolved_config.yaml").read_text().splitlines()
    assert lines[:2] == [
        note,
        note.replace("epoch 1 (step 2)", "epoch 2 (step 4)").replace("2 (before: 1)", "3 (before: 2)"),
    ]


@pytest.mark.slow
def test_a_resume_with_other_data_is_refused(command, tiny, trained, phantom_root, tmp_path):
    table = (phantom_root / "FileList.csv").read_text().splitlines()
    first = next(i for i, line in enumerate(table) if "TRAIN" in line)
    other = tmp_path / "other"
    other.mkdir()
    for path in phantom_root.iterdir():
        (other / path.name).symlink_to(path)
    (other / "FileList.csv").unlink()
    (other / "FileList.csv").write_text("\n".join(line for i, line in enumerate(table) if i != first) + "\n")
    args = ("--ckpt_path", "last", "--trainer.max_epochs", 2, "--data.root")
    code, error = command("fit", *tiny, *args, other)
    assert code == 2
    assert "the training split is not that of the checkpoint" in error
    (other / "FileList.csv").write_text("\n".join(table) + "\n")
    assert command("fit", *tiny, *args, other)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_second_command_in_the_folder_is_refused_while_the_first_lives(command, tiny, trained, stage):
    with locked(trained / f"{stage}.lock") as lock:
        lock.truncate(0)
        lock.write("process 123 on there")
        lock.flush()
        code, error = command(stage, *tiny)
    assert code == 2
    assert f"another {stage} is running in this folder (process 123 on there)" in error
    code, error = command(stage, *tiny, "--ckpt_path", "missing.ckpt")
    assert "missing.ckpt does not exist" in error


def test_a_failed_start_leaves_no_folder(command, tiny, tmp_path):
    assert command("fit", *tiny, "--ckpt_path", "missing.ckpt")[0] == 2
    assert not (tmp_path / "runs/tiny").exists()
