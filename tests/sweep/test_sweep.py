"""Sweeps with a stub that writes metrics.csv as a run does: search, pruning, failures, interruptions."""

import collections
import csv
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest
import yaml

import echo_e3net
from echo_e3net.cli.sweep import sweep
from echo_e3net.errors import InputError
from echo_e3net.locks import held, locked
from echo_e3net.search import sweep_engine as engine
from echo_e3net.search import sweep_results as results
from echo_e3net.search.sweep_file import read_sweep
from echo_e3net.search.sweep_live import short_name, show_changes
from echo_e3net.search.sweep_search import Search
from echo_e3net.training.history import read_history

STUB = Path(__file__).with_name("stub.py")
RANDOM = {
    "name": "s",
    "method": "random",
    "metric": {"name": "val/rmse"},
    "command": ["${interpreter}", str(STUB), "${args}"],
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "kind": {"values": ["a", "b"]}, "epochs": {"value": 2}},
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a sweep file with stub trials, and work in its folder with short intervals."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "INTERVAL", 0.02)
    monkeypatch.setattr(results, "draw_sweep", lambda *args: None)

    def write(**change):
        parameters = RANDOM["parameters"] | change.pop("parameters", {})
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(RANDOM | change | {"parameters": parameters}))
        return tmp_path / "sweep.yaml"

    return write


def table(folder="runs/s"):
    return pd.read_csv(Path(folder, "trials.csv"))


def search_of(path):
    return Search(read_sweep(path), Path("runs/s/journal.log"), 0, "file")


def test_a_sweep_writes_its_best_trial_as_an_overlay(write, capsys):
    sweep(write(), trials=6, workers=2)
    found = table()
    assert found["state"].tolist() == ["done"] * 6
    assert found["x"].nunique() == 6
    assert (found["val/rmse"] - found["x"] - 0.5).abs().max() < 1e-9
    assert found["epoch"].tolist() == [1] * 6
    best = found.loc[found["val/rmse"].idxmin()]
    expected = {"epochs": 2, "kind": best["kind"], "x": pytest.approx(best["x"])}
    assert yaml.safe_load(Path("runs/s/best.yaml").read_text()) == expected
    text = Path("runs/s/sweep.md").read_text()
    assert "6 done." in text
    assert text.index(best["trial"]) == text.index("trial000")
    assert "Importance (PED-ANOVA): " in text
    assert f"{best['trial']}: done, val/rmse {best['val/rmse']:.4g} (epoch 1)" in capsys.readouterr().out
    assert not list(Path("runs/s/workers").iterdir())


def test_an_error_of_a_thread_ends_the_sweep(write, monkeypatch):
    """As when the disk is full. The other thread must not wait for the trial of the failed one."""

    end, calls = Search.end, []

    def fail_once(*args, **kwargs):
        calls.append(args)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device", "journal.log")
        end(*args, **kwargs)

    monkeypatch.setattr(Search, "end", fail_once)
    with pytest.raises(OSError, match=r"journal\.log"):
        sweep(write(), trials=4, workers=2)


def test_a_picture(write, monkeypatch):
    """Every kind of axis: linear, logarithmic, choices."""
    monkeypatch.undo()
    lr = {"distribution": "log_uniform_values", "min": 0.001, "max": 1.0}
    path = write(parameters={"lr": lr, "size": {"values": [16, [4, 4], "b"]}})
    folder = path.parent
    search = Search(read_sweep(path), folder / "journal.log", 0, "file")
    for i in range(8):
        row = search.ask("w")
        search.report(row.number, 0, row.values["x"])
        search.end(row.number, "pruned" if i == 3 else "done", row.values["x"])
    axes = {p.name: results.axis(p, p.name, search.rows()) for p in search.sweep.searched}
    assert {name: list(axis.marks.values()) for name, axis in axes.items()} == {
        "kind": ["a", "b"],
        "lr": ["0.001", "0.03162", "1"],
        "size": ["16", "[4, 4]", "b"],
        "x": ["0", "0.5", "1"],
    }
    assert all(0 <= height <= 1 for axis in axes.values() for height in axis.heights)
    assert axes["x"].heights == [row.values["x"] for row in search.rows()]
    assert axes["kind"].heights == [{"a": 0.25, "b": 0.75}[row.values["kind"]] for row in search.rows()]
    for importances in ({}, search.importances()):
        results.save_results(folder, search.sweep, search.rows(), importances)
        assert (folder / "sweep.png").stat().st_size > 10_000


def test_short_names_of_parameters_differ():
    assert short_name("a.b.lr", ["a.b.lr", "a.c.dim"]) == "lr"
    # The short name x is another parameter's name.
    assert short_name("a.x", ["a.x", "x"]) == "a.x"


def test_each_new_state_is_one_line(write, capsys):
    Path("runs/s").mkdir(parents=True)
    search = search_of(write())
    states = show_changes(search.sweep, [], None)
    for _ in range(2):
        number = search.ask("w").number
        search.end(number, "failed", reason="no such program")
    search.ask("w")
    for _ in range(2):
        states = show_changes(search.sweep, search.rows(), states)
    show_changes(search.sweep, search.rows(), None)
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    first = [["trial0000:", "failed:"], ["trial0001:", "failed:"], ["trial0002:", "started:"]]
    assert lines == [*first, ["trial0002:", "started:"]]


def test_a_random_search_continues_and_does_not_depend_on_the_number_of_workers(write):
    path = write()
    sweep(path, trials=2)
    before = table()
    sweep(path, trials=2)
    pd.testing.assert_frame_equal(table(), before)
    sweep(path, trials=4, workers=2)
    assert table()["trial"].tolist() == [f"trial{i:04d}" for i in range(4)]
    sweep(path, trials=4, runs=Path("other"))
    assert table("other/s")["x"].tolist() == table()["x"].tolist()
    sweep(path, trials=4, runs=Path("third"), seed=1)
    assert not set(table("third/s")["x"]) & set(table()["x"])


def test_a_grid_is_tried_to_its_end(write):
    parameters = {"x": {"values": [0.25, 0.5, 0.75]}}
    sweep(write(method="grid", parameters=parameters), workers=2)
    assert sorted(zip(table()["x"], table()["kind"], strict=True)) == [(x, k) for x in (0.25, 0.5, 0.75) for k in "ab"]
    sweep(write(method="grid", parameters=parameters, run_cap=4), runs=Path("capped"))
    assert len(table("capped/s")) == 4


def test_tpe_prefers_good_regions(write):
    """After 40 trials it suggests smaller x than a random search."""
    Path("runs/s").mkdir(parents=True)
    search = search_of(write(method="bayes"))
    for _ in range(40):
        row = search.ask("w")
        search.end(row.number, "done", row.values["x"])
    assert sum(row.values["x"] for row in search.rows()[-10:]) / 10 < 0.25
    assert next(iter(search.importances())) == "x"


@pytest.mark.parametrize(
    ("goal", "ended"),
    [("minimize", [False, True, True, False, True]), ("maximize", [False, False, True, True, False])],
)
def test_hyperband_ends_the_worse_trials_after_min_iter_epochs(write, goal, ended):
    """With eta 2, the better half of the trials so far continues; the best one always does."""
    Path("runs/s").mkdir(parents=True)
    rule = {"type": "hyperband", "min_iter": 2, "eta": 2}
    search = search_of(write(metric={"name": "m", "goal": goal}, early_terminate=rule))
    for figure, expected in zip([3, 5, 4, 2, 9], ended, strict=True):
        number = search.ask("w").number
        assert not search.report(number, 0, 1.0)
        assert search.report(number, 1, figure) == expected
        search.end(number, "pruned" if expected else "done", figure)


def test_a_pruned_trial_ends_cleanly(write, monkeypatch):
    monkeypatch.setattr(
        "echo_e3net.search.sweep_search.MedianPruner", lambda: optuna.pruners.MedianPruner(n_startup_trials=1)
    )
    parameters = {"x": {"values": [0.1, 0.9]}, "kind": {"value": "a"}, "epochs": {"value": 9}, "wait": {"value": 0.03}}
    sweep(write(method="grid", parameters=parameters), pruner="median")
    found = table()
    assert found["state"].tolist() == ["done", "pruned"]
    assert found["epoch"].tolist()[1] < 8
    assert found["reason"].isna().all()
    assert "| trial0001 | pruned | " in Path("runs/s/sweep.md").read_text()


def test_maximize(write):
    metric = {"name": "val/rmse", "goal": "maximize"}
    sweep(write(method="grid", metric=metric, parameters={"x": {"values": [0.1, 0.9, 0.5]}, "kind": {"value": "a"}}))
    assert yaml.safe_load(Path("runs/s/best.yaml").read_text())["x"] == 0.9
    assert table()["epoch"].tolist() == [0, 0, 0]


def test_a_failed_trial_does_not_stop_the_others(write, capsys):
    parameters = {"x": {"values": [0.1, 0.2]}, "kind": {"value": "a"}, "fail": {"values": ["yes", "no"]}}
    sweep(write(method="grid", parameters=parameters))
    assert collections.Counter(table()["state"]) == {"done": 2, "failed": 2}
    assert table().query("state == 'failed'")["reason"].tolist() == ["CUDA out of memory"] * 2
    assert "trial0000: failed: CUDA out of memory" in capsys.readouterr().out
    assert "failed: CUDA out of memory" in Path("runs/s/sweep.md").read_text()


def test_two_equal_input_errors_before_any_result_stop_the_sweep_and_a_corrected_one_continues(write):
    path = write(command=["${interpreter}", "gone.py", "${args}"])
    with pytest.raises(InputError, match=r"2 trials failed.* trial0001: .*gone.py.* sweep.log"):
        sweep(path, trials=3)
    assert table()["state"].tolist() == ["lost"] * 2
    Path("gone.py").write_text(STUB.read_text())
    sweep(path, trials=3)
    assert table()["state"].tolist() == ["lost"] * 2 + ["done"] * 3


def test_a_grid_is_complete_after_an_input_error_is_corrected(write):
    parameters = {"x": {"values": [0.1, 0.2]}, "kind": {"value": "a"}, "fail": {"value": "no"}}
    path = write(method="grid", command=["${interpreter}", "gone.py", "${args}"], parameters=parameters)
    with pytest.raises(InputError, match="2 trials failed"):
        sweep(path)
    Path("gone.py").write_text(STUB.read_text())
    sweep(path)
    done = table()[table()["state"] == "done"]
    assert sorted(done["x"].astype(float)) == [0.1, 0.2]


def test_five_failures_in_a_row_stop_a_sweep_that_has_results(write):
    parameters = {"x": {"values": [0.1]}, "kind": {"value": "a"}, "fail": {"values": ["no", *(["yes"] * 8)]}}
    with pytest.raises(InputError, match="5 trials failed"):
        sweep(write(method="grid", parameters=parameters))
    assert table()["state"].tolist() == ["done"] + ["failed"] * 5


def test_a_sweep_without_a_result_is_an_error(write, capsys):
    with pytest.raises(InputError, match=r"2 trials failed.* trial0001: .*gone.py"):
        sweep(write(command=["${interpreter}", "gone.py", "${args}"], run_cap=1))
    assert "best.yaml" not in capsys.readouterr().out


def test_arguments_of_the_trials(write, command):
    """They replace constants of the file. Those of the machine may differ between commands of one sweep."""
    path = write()
    assert command("sweep", path, "--trials", 1, "--epochs.x", 3, "--data.root", "here")[0] == 0
    assert command("sweep", path, "--trials", 2, "--epochs.x", 3, "--data.root", "there")[0] == 0
    logs = [Path(f"runs/s/trial000{i}/sweep.log").read_text() for i in range(2)]
    assert all("--epochs.x=3" in log for log in logs)
    assert ["--data.root=here" in logs[0], "--data.root=there" in logs[1]] == [True, True]
    code, error = command("sweep", path, "--trials", 3, "--epochs.x", 4)
    assert code == 2
    assert "other parameters" in error


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["${env}", "no-such-program", "${args}"], "no-such-program"),
        (["/no/such/program", "${args}"], "No such file or directory: '/no/such/program'"),
        (
            ["${interpreter}", "-c", "import os; os.kill(os.getpid(), 9)"],
            "killed by SIGKILL",
        ),
        (["${interpreter}", "-c", "pass"], "metrics.csv has no val/rmse"),
    ],
)
def test_why_a_trial_failed(write, command, reason):
    with pytest.raises(InputError, match="1 trials failed"):
        sweep(write(command=command, run_cap=1))
    assert reason in table()["reason"].tolist()[0]


def test_a_journal_of_other_parameters_is_refused(write):
    sweep(write(), trials=1)
    with pytest.raises(InputError, match=r"journal.log .*sweep.yaml .*--storage"):
        sweep(write(parameters={"x": {"min": 0.0, "max": 2.0}}), trials=1)
    # The number of trials may change.
    sweep(write(run_cap=2), trials=5)
    assert len(table()) == 2


def test_a_search_needs_a_number_of_trials(write):
    with pytest.raises(InputError, match=r"sweep.yaml: .*--trials.*run_cap"):
        sweep(write())
    with pytest.raises(InputError, match="workers is 0"):
        sweep(write(), trials=1, workers=0)


def test_the_point_of_a_lost_trial_is_tried_once_more(write):
    """The trial of a killed command is running in the journal, but no process holds its lock."""
    path = write()
    Path("runs/s/workers").mkdir(parents=True)
    search = search_of(path)
    lost = search.ask("here-1-abcdef")
    search.retry(lost.number, "another command saw it first")
    again = search.ask("here-1-abcdef")
    assert again.values == lost.values
    sweep(path, trials=3)
    found = table()
    assert found["state"].tolist() == ["lost", "lost", "done", "done", "done"]
    assert found["retry_of"].tolist()[1:3] == [lost.number, again.number]
    assert found["x"].tolist()[:3] == pytest.approx([lost.values["x"]] * 3)
    assert found["x"].nunique() == 3


def test_an_interrupted_retry_is_completed(write, monkeypatch):
    """The retry is queued, but the trial has not failed yet. It is retried only once."""
    path = write()
    Path("runs/s").mkdir(parents=True)
    search = search_of(path)
    number = search.ask("here-1-abcdef").number
    monkeypatch.setattr(search, "end", lambda *args, **kwargs: None)
    search.retry(number, "killed here")
    sweep(path, trials=2)
    assert table()["state"].tolist() == ["lost", "done", "done"]
    assert table()["x"].nunique() == 2


def test_a_process_that_outlives_its_command_is_ended(write):
    """Its command was killed, so it holds the lock of the trial. The next command ends it and repeats the trial."""
    path = write()
    worker, folder = f"{engine.platform.node()}-1-abcdef", Path("runs/s/trial0000")
    Path("runs/s/workers").mkdir(parents=True)
    Path(f"runs/s/workers/{worker}.lock").touch()
    search_of(path).ask(worker)
    with locked(folder / engine.LOCK) as lock:
        orphan = subprocess.Popen(["sleep", "60"], pass_fds=[lock.fileno()], start_new_session=True)
        lock.write(f"{orphan.pid}\n")
    assert held(folder / engine.LOCK)
    # The system waits for a process whose parent is gone; here a thread does.
    threading.Thread(target=orphan.wait, daemon=True).start()
    sweep(path, trials=1)
    assert orphan.wait(10) == -signal.SIGTERM
    assert not held(folder / engine.LOCK)
    assert table()["state"].tolist() == ["lost", "done"]
    assert table()["x"].nunique() == 1


def test_only_trials_of_gone_commands_are_queued_again(write):
    path = write()
    Path("runs/s/workers").mkdir(parents=True)
    search = search_of(path)
    found = engine.Engine(read_sweep(path), search, Path("runs/s"), 1, engine.Processes(1, "l", "k"))
    search.ask("elsewhere-7-abcdef")
    with locked(Path("runs/s/workers/elsewhere-7-abcdef.lock")):
        found.reclaim()
        assert [row.state for row in search.rows()] == ["running"]
    found.reclaim()
    assert [row.state for row in search.rows()] == ["lost", "waiting"]


def test_a_metrics_file_is_read_while_it_is_written(tmp_path):
    first, second = (tmp_path / f"logs/version_{i}/metrics.csv" for i in (9, 10))
    for path in (first, second):
        path.parent.mkdir(parents=True)
    first.write_text("epoch,step,val/rmse\n0,1,5.5\n0,1,\n1,2,nan\n2,3,5.25\n3,4,5.1")
    assert read_history(tmp_path, "val/rmse") == {0: 5.5, 2: 5.25}
    second.write_text("epoch,step,val/rmse\n2,3,4.0\n")
    assert read_history(tmp_path, "val/rmse") == {0: 5.5, 2: 4.0}
    assert read_history(tmp_path, "val/mae") == {}
    assert read_history(tmp_path / "none", "val/rmse") == {}


def begin(path, *more):
    """Start a sweep as a separate command."""
    words = [sys.executable, "-m", "echo_e3net", "sweep", str(path), *map(str, more)]
    ours = os.environ | {"PYTHONPATH": str(Path(echo_e3net.__file__).parents[1])}
    with Path("printed.txt").open("a") as file:
        return subprocess.Popen(words, stdout=file, stderr=file, env=ours)


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_stopped_sweep_stops_its_trials_and_continues(write, number, code):
    path = write(parameters={"epochs": {"value": 3}, "wait": {"value": 0.3}})
    process = begin(path, "--trials", 2)
    wait_for(lambda: list(Path("runs/s").glob("trial0000/logs/*/metrics.csv")))
    process.send_signal(number)
    assert process.wait(60) == code, Path("printed.txt").read_text()
    assert "same command" in Path("printed.txt").read_text()
    assert not held(Path("runs/s/trial0000/sweep.lock"))
    assert table()["state"].tolist() == ["lost"]
    assert begin(path, "--trials", 2).wait(60) == 0
    assert table()["state"].tolist() == ["lost", "done", "done"]
    assert table()["x"].tolist()[0] == table()["x"].tolist()[1]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["random", "grid"])
def test_12_trials_by_three_commands_of_which_one_is_killed(write, method):
    """One command is killed in the middle of a trial. All 12 points are done once."""
    x = {"values": [i / 6 for i in range(6)]} if method == "grid" else {"min": 0.0, "max": 1.0}
    path = write(method=method, parameters={"x": x, "epochs": {"value": 3}, "wait": {"value": 0.3}})
    commands = [begin(path, "--trials", 12) for _ in range(3)]
    workers = Path("runs/s/workers")
    wait_for(lambda: len(list(workers.glob("*.lock"))) == 3 and len(list(Path("runs/s").glob("trial*"))) > 4)
    victim, search = commands[1], search_of(path)

    def in_mid_trial():
        mine = [
            row.number
            for row in search.rows()
            if row.state == "running" and f"-{victim.pid}-" in row.notes.get("worker", "")
        ]
        return any(read_history(Path(f"runs/s/trial{number:04d}"), "val/rmse").keys() == {0} for number in mine)

    wait_for(in_mid_trial)
    victim.kill()
    assert [command.wait(120) for command in commands] == [0, -signal.SIGKILL, 0]
    with Path("runs/s/trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    done = [row for row in rows if row["state"] == "done"]
    lost = [row for row in rows if row["state"] == "lost"]
    assert len(done) == len({(row["x"], row["kind"]) for row in done}) == 12
    assert len(lost) == 1
    assert len(rows) == 13
    assert [row["x"] for row in done if row["retry_of"]] == [lost[0]["x"]]
    assert not held(Path("runs/s") / lost[0]["trial"] / "sweep.lock")
