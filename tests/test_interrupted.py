"""Runs that are killed, stopped, or find a damaged checkpoint end with the same weights as uninterrupted runs."""

import os
import random
import signal
import time

import pandas as pd
import pytest
import torch

from echo_e3net.errors import InputError
from echo_e3net.models.run_checkpoints import damage_of
from echo_e3net.models.weights import read_checkpoint
from echo_e3net.training.checkpoints import WholeCheckpoints, last_checkpoint
from echo_e3net.training.run_folder import STOPPED
from tests.conftest import TINY
from tests.processes import end, run, same, start, weights

# Twenty kills were tried by hand.
KILLS = 4
EXACT = (
    "--trainer.deterministic",
    "true",
    "--trainer.max_epochs",
    3,
    "--data.loader.batch_size",
    1,
    "--last.every_steps",
    1,
)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, phantom_root):
    """Weights of a run of ``tiny`` that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.yaml").write_text(TINY)
    code, output = run(folder, "fit", "--config", "tiny.yaml", "--data.root", phantom_root, "--name", "tiny", *EXACT)
    assert code == 0, output
    return weights(folder)


def kill_and_resume(folder, args, kills, rng):
    """Kill a run repeatedly, up to 2 seconds after training starts, and resume until it ends; returns the kills."""
    done, code = 0, None
    while code != 0:
        process = start(folder, "fit", *args, "--auto_resume", "true")
        mark = folder / "runs/tiny/logs"
        before = len(list(mark.glob("*"))) if mark.is_dir() else 0
        while process.poll() is None and done < kills and not (mark.is_dir() and len(list(mark.glob("*"))) > before):
            time.sleep(0.02)
        if done < kills:
            time.sleep(2 * rng.random())
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                done += 1
        try:
            code = process.wait(timeout=120)
        finally:
            end(process)
        assert code in (0, -signal.SIGKILL), (folder / "out.txt").read_text()
    return done


@pytest.mark.slow
def test_random_kills_do_not_change_the_weights(tmp_path, tiny, whole_run):
    rng = random.Random(0)
    kills = 0
    for attempt in range(KILLS):
        folder = tmp_path / f"killed{attempt}"
        folder.mkdir()
        kills += kill_and_resume(folder, [*tiny, *EXACT, "--data.loader.workers", 1], KILLS - kills, rng)
        assert same(weights(folder), whole_run)
        if kills == KILLS:
            break
    assert kills == KILLS


@pytest.mark.slow
def test_kills_of_two_devices_do_not_change_the_weights(tmp_path, tiny):
    ranks = (*tiny, *EXACT, "--trainer.devices", 2, "--trainer.strategy", "ddp")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    assert run(whole, "fit", *ranks)[0] == 0
    assert kill_and_resume(killed, ranks, 2, random.Random(1)) > 0
    assert same(weights(killed), weights(whole))


@pytest.mark.slow
def test_a_run_resumed_in_the_middle_of_an_epoch_sees_no_clip_twice(command, tiny, tmp_path, monkeypatch):
    """With a batch of one, an additional or missing clip would change the weights."""
    args = (*tiny, "--trainer.max_epochs", 2, "--data.loader.batch_size", 1, "--trainer.deterministic", "true")
    assert command("fit", *args, "--runs", "whole")[0] == 0
    seen = []
    from echo_e3net.training.checkpoints import LastCheckpoint

    original = LastCheckpoint.on_train_batch_start

    def note(self, trainer, module, batch, index):
        seen.append((trainer.current_epoch, batch.name[0]))
        original(self, trainer, module, batch, index)
        if len(seen) == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(LastCheckpoint, "on_train_batch_start", note)
    assert command("fit", *args)[0] == STOPPED
    assert command("fit", *args, "--ckpt_path", "last")[0] == 0
    assert len(seen) == len(set(seen))
    whole = torch.load(tmp_path / "whole/tiny/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert same(weights(tmp_path), whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_checkpoint_and_a_code(command, tiny, tmp_path, monkeypatch, number):
    from echo_e3net.training.checkpoints import LastCheckpoint

    monkeypatch.setattr(LastCheckpoint, "on_train_batch_start", lambda *_: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    code, _ = command("fit", *tiny, "--data.loader.batch_size", 2)
    assert code == STOPPED
    assert torch.load(tmp_path / "runs/tiny/checkpoints/last.ckpt", weights_only=True)["global_step"] == 1
    assert signal.getsignal(number) == before


@pytest.mark.slow
def test_ctrl_c_ends_the_run_with_a_checkpoint_and_says_how_to_continue(command, tiny, tmp_path, monkeypatch):
    from echo_e3net.training.checkpoints import LastCheckpoint

    monkeypatch.setattr(LastCheckpoint, "on_train_batch_start", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    code, error = command("fit", *tiny, "--data.loader.batch_size", 2)
    assert code == 130
    assert "Stopping after this step" in error
    assert torch.load(tmp_path / "runs/tiny/checkpoints/last.ckpt", weights_only=True)["global_step"] == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, STOPPED), (signal.SIGINT, 130)])
def test_a_signal_to_the_workers_too_loses_no_step(tmp_path, tiny, whole_run, number, expected):
    """A terminal and SLURM send signals to all processes of a run."""
    args = (*tiny, *EXACT, "--data.loader.workers", 1)
    folder = tmp_path / "stopped"
    folder.mkdir()
    process = start(folder, "fit", *args)
    while not (folder / "runs/tiny/checkpoints/last.ckpt").is_file() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, number)
    try:
        assert process.wait(timeout=120) == expected
    finally:
        end(process)
    assert "died" not in (folder / "out.txt").read_text()
    assert run(folder, "fit", *args, "--ckpt_path", "last")[0] == 0
    assert same(weights(folder), whole_run)


@pytest.mark.slow
def test_a_stop_at_the_end_of_an_epoch_keeps_its_best_checkpoint(command, tiny, tmp_path, monkeypatch):
    """The epoch counts as finished, so a resume would not write the checkpoint."""
    from echo_e3net.training.progress_lines import ProgressLines

    args = (*tiny, "--trainer.max_epochs", 2, "--checkpoint.keep", 5, "--trainer.num_sanity_val_steps", 0)
    monkeypatch.setattr(ProgressLines, "on_validation_end", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert command("fit", *args)[0] == STOPPED
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert command("fit", *args, "--ckpt_path", "last")[0] == 0
    kept = sorted(path.name[:9] for path in (tmp_path / "runs/tiny/checkpoints").glob("epoch=*.ckpt"))
    assert kept == ["epoch=000", "epoch=001"]
    best = read_checkpoint(tmp_path / "runs/tiny/checkpoints/last.ckpt")["callbacks"]
    assert all(len(state["best_k_models"]) == 2 for name, state in best.items() if "Checkpoints" in name)


@pytest.mark.slow
def test_a_damaged_last_checkpoint_is_replaced_by_the_one_before_it(command, tiny, tmp_path, recwarn):
    assert command("fit", *tiny)[0] == 0
    last = tmp_path / "runs/tiny/checkpoints/last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    with pytest.warns(UserWarning, match="last.ckpt is damaged"):
        assert command("fit", *tiny, "--trainer.max_epochs", 3, "--ckpt_path", "last")[0] == 0
    metrics = pd.concat(pd.read_csv(path) for path in sorted((tmp_path / "runs/tiny/logs").glob("*/metrics.csv")))
    # Epochs 0 and 1, then 1 again, and 2.
    assert metrics["val/rmse"].notna().sum() == 4

    for path in last.parent.glob("*last.ckpt"):
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="damaged"):
        code, error = command("fit", *tiny, "--ckpt_path", "last")
    assert code == 2
    assert "before_last.ckpt" in error


def test_damage_is_found_anywhere_in_the_file(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"weight": torch.arange(1000.0)}}, path)
    assert damage_of(path) == ""
    content = path.read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], b"", b"text", content[:600] + b"\xff" + content[601:]):
        path.write_bytes(damaged)
        assert damage_of(path)


@pytest.mark.slow
def test_auto_resume_starts_without_checkpoints(command, tiny, tmp_path):
    assert command("fit", *tiny, "--auto_resume", "true", "--trainer.max_epochs", 1)[0] == 0
    assert command("fit", *tiny, "--auto_resume", "true", "--trainer.max_epochs", 2)[0] == 0
    assert torch.load(tmp_path / "runs/tiny/checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
    assert last_checkpoint(tmp_path) is None


@pytest.mark.parametrize(("flag", "value"), [("--last.every_steps", 0), ("--last.every_minutes", -1)])
def test_impossible_intervals_are_refused(command, tiny, flag, value):
    code, error = command("fit", *tiny, flag, value)
    assert code == 2
    assert flag[2:] in error
    assert str(value) in error


@pytest.mark.slow
def test_a_checkpoint_every_few_minutes(command, tiny, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(
        WholeCheckpoints,
        "save_checkpoint",
        lambda self, checkpoint, path, storage_options=None: saved.append(checkpoint["global_step"]),
    )
    args = (*tiny, "--trainer.max_epochs", 1, "--data.loader.batch_size", 2, "--checkpoint.keep", 0)
    assert command("fit", *args, "--last.every_minutes", 1e-9)[0] == 0
    assert saved == list(range(1, len(saved) + 1))


def test_a_full_disk_leaves_the_previous_checkpoint(small_disk):
    path = small_disk / "last.ckpt"
    writer = WholeCheckpoints()
    writer.save_checkpoint({"weight": torch.zeros(400_000)}, path)
    with pytest.raises(InputError, match=r"last\.ckpt .*no space left"):
        writer.save_checkpoint({"weight": torch.ones(400_000)}, path)
    assert damage_of(path) == ""
    assert not torch.load(path, weights_only=True)["weight"].any()
    assert [file.name for file in small_disk.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_a_full_disk_is_an_input_error(command, tiny, small_disk):
    """The disk holds two checkpoints of 0.86 MB and the logs: the best and the last of the first epoch."""
    code, error = command("fit", *tiny, "--runs", small_disk)
    assert code == 2
    assert "no space left on device" in error
    assert torch.load(last_checkpoint(small_disk / "tiny/checkpoints"), weights_only=True)["epoch"] == 0
