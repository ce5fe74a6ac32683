"""Studies that several processes share, that are interrupted, or that mix code versions."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from echo_e3net import locks
from echo_e3net.cli.study import study
from echo_e3net.errors import InputError
from echo_e3net.files import code_hash
from echo_e3net.locks import held, locked


def test_a_lock_is_held_by_one_process(tmp_path):
    path = tmp_path / "deep" / "x.lock"
    with locked(path) as ours:
        assert ours
        with locked(path) as again:
            assert again is None
        assert held(path)
    assert not held(path)


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with (
        pytest.raises(InputError, match=r"x.lock .*\(Function not implemented\).*--runs"),
        locked(tmp_path / "x.lock"),
    ):
        pass


@pytest.mark.parametrize("name", ["trial.lock", "study.lock"])
def test_a_trial_that_another_command_runs_is_skipped(plan, tmp_path, capsys, name):
    path, calls, _ = plan
    with locked(tmp_path / "runs/s/other/seed0" / name):
        study(path)
    assert "other, seed 0: skipped" in capsys.readouterr().out
    assert ("other", "0", "fit") not in calls
    assert len([call for call in calls if call[2] == "fit"]) == 3
    assert "3 of 4 trials" in (tmp_path / "runs/s/results.md").read_text()
    calls.clear()
    study(path)
    assert [call for call in calls if call[2] != "profile"] == [
        ("other", "0", "fit"),
        ("other", "0", "test"),
        ("other", "0", "test"),
    ]


def test_a_trial_whose_study_ends_meanwhile_is_taken_over(plan, tmp_path):
    path, calls, pretend = plan
    lock = locked(tmp_path / "runs/s/whole/seed0/trial.lock")
    lock.__enter__()

    def leave(call):
        if call == ("other", "1", "test") and held(tmp_path / "runs/s/whole/seed0/trial.lock"):
            lock.__exit__(None, None, None)
        return False

    pretend.fails = leave
    study(path)
    assert calls[-3:] == [("whole", "0", "fit"), ("whole", "0", "test"), ("whole", "0", "test")]
    assert "4 of 4 trials" in (tmp_path / "runs/s/results.md").read_text()


def test_trials_of_other_commands_are_not_an_error(plan, tmp_path):
    with locked(tmp_path / "runs/s/whole/seed0/trial.lock"), locked(tmp_path / "runs/s/other/seed1/trial.lock"):
        study(plan[0], shard="1/4")
    study(plan[0], shard="1/4")
    with pytest.raises(InputError, match="no trial is done"):
        study(plan[0], runs=tmp_path / "elsewhere", train=False)


def test_shards_cover_all_trials_once(plan, tmp_path):
    path, calls, _ = plan
    study(path, shard="2/2")
    assert {call[:2] for call in calls if call[2] == "fit"} == {("other", "0"), ("other", "1")}
    study(path, shard="1/2")
    assert len([call for call in calls if call[2] == "fit"]) == 4
    assert "4 of 4 trials" in (tmp_path / "runs/s/results.md").read_text()
    for wrong in ("0/2", "3/2", "1", "a/b"):
        with pytest.raises(InputError, match=f"shard is '{wrong}'"):
            study(path, shard=wrong)


def test_a_trial_with_exit_code_75_stops_the_study_with_75(plan, monkeypatch, capsys):
    path, calls, pretend = plan
    run = pretend.__globals__["trials"].Workers.run

    def stopped(self, folder, words):
        code = run(self, folder, words) or 75 * (words[0] == "fit")
        # The command must hear of the first trial before the last one starts.
        time.sleep(0.3)
        return code

    monkeypatch.setattr("echo_e3net.search.study_trials.Workers.run", stopped)
    with pytest.raises(SystemExit) as stop:
        study(path)
    assert stop.value.code == 75
    assert "0 of 4 trials" in capsys.readouterr().out
    assert len([call for call in calls if call[2] == "fit"]) < 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 75), (signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_stops_the_study(plan, number, code):
    path, _, pretend = plan

    def stop(call):
        if call[2] == "fit":
            os.kill(os.getpid(), number)
            time.sleep(0.2)
        return False

    pretend.fails, before = stop, signal.getsignal(signal.SIGUSR1)
    with pytest.raises(SystemExit) as stopped:
        study(path)
    assert stopped.value.code == code
    assert signal.getsignal(signal.SIGUSR1) == before


def test_trials_of_different_code_need_any_code(plan, tmp_path, command):
    path, calls, pretend = plan
    pretend.code, pretend.fails = "0ld", lambda call: call[:2] == ("other", "1")
    with pytest.raises(InputError, match="1 of 4 trials failed"):
        study(path)
    pretend.code, pretend.fails = code_hash(), lambda call: False
    calls.clear()
    with pytest.raises(InputError, match=rf"installed code \({code_hash()}\) and whole, seed 0 \(0ld\).*--any_code"):
        study(path)
    assert calls == []
    study(path, train=False)
    assert command("study", path, "--any_code")[0] == 0
    assert "different code" in (tmp_path / "runs/s/results.md").read_text()
    with pytest.raises(InputError, match="0ld"):
        study(path, train=False)


def test_the_same_code_continues_and_is_reported(plan, tmp_path):
    path, calls, pretend = plan
    pretend.code = code_hash()
    study(path, out=tmp_path / "results")
    assert f"Code: abc1234 ({code_hash()})." in (tmp_path / "results/results.md").read_text()
    assert set(pd.read_csv(tmp_path / "results/results.csv")["code"]) == {code_hash()}
    (tmp_path / "runs/s/whole/seed0/metrics.json").unlink()
    (tmp_path / "results/results.csv").unlink()
    calls.clear()
    study(path, out=tmp_path / "results")
    assert [call[2] for call in calls] == ["fit", "test"]


def test_results_without_a_code_hash_are_accepted(plan, tmp_path):
    path, calls, _ = plan
    study(path, out=tmp_path / "results")
    table = pd.read_csv(tmp_path / "results/results.csv")
    table[table["seed"] == 0].drop(columns="code").to_csv(tmp_path / "results/results.csv", index=False)
    (tmp_path / "runs").rename(tmp_path / "gone")
    calls.clear()
    study(path, out=tmp_path / "results")
    assert {call[1] for call in calls if call[2] == "fit"} == {"1"}


SHARED = """
import json, sys, time
from pathlib import Path
from echo_e3net.files import write_text
from echo_e3net.cli.study import study
from echo_e3net.search import study_results as results
from echo_e3net.search import study_trials as trials

def run(self, folder, words):
    given = dict(zip(words, words[1:]))
    folder.mkdir(parents=True, exist_ok=True)
    if words[0] == "profile":
        Path(given["--json"]).write_text(json.dumps({"parameters": 1, "gmacs": 1.0}))
    else:
        time.sleep(0.3)
        place = Path(given["--runs"], given["--name"])
        if words[0] == "test":
            place.mkdir(exist_ok=True)
            write_text(place / "metrics.json", json.dumps({"n": 3, "ef_mae": 5.0, "checkpoint": "x.ckpt"}))
    with open("calls", "a") as calls:
        calls.write(f"{words[0]} {folder}\\n")
    return 0

# Pictures take most of the time; test_pictures draws them.
results.draw_study = results.draw_differences = lambda *_: None
trials.Workers.run = run
print("ready", flush=True)
sys.stdin.readline()
study(Path("study.yaml"))
"""


@pytest.mark.slow
def test_processes_that_share_a_folder_do_every_trial_once(plan, tmp_path):
    workers = [
        subprocess.Popen([sys.executable, "-c", SHARED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 3
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [(worker.communicate(timeout=60), worker.returncode)[1] for worker in workers] == [0, 0, 0]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sorted(call for call in calls if call.startswith("fit")) == [
        f"fit runs/s/{arm}/seed{seed}" for arm in ("other", "whole") for seed in "01"
    ]
    assert len([call for call in calls if call.startswith("test")]) == 8
    assert len([call for call in calls if call.startswith("profile")]) == 2
    assert len(pd.read_csv(tmp_path / "runs/s/results.csv")) == 8
