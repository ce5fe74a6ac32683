"""Studies: planning, continuing, refused results, and one small real study."""

import hashlib
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from echo_e3net.cli.study import study
from echo_e3net.data.fingerprint import hash_data
from echo_e3net.errors import InputError
from echo_e3net.search import study_results as results
from echo_e3net.search import study_trials as trials
from echo_e3net.search.study_plan import plan_trials, read_study
from echo_e3net.search.study_trials import commands
from tests.conftest import TINY
from tests.study.conftest import METRICS, write_study


def test_every_arm_is_trained_and_tested_with_every_seed(plan, tmp_path):
    path, calls, _ = plan
    study(path)
    assert set(calls[:2]) == {("whole", "0", "profile"), ("other", "0", "profile")}
    assert [call for call in calls if call[2] == "fit"] == [
        (arm, seed, "fit") for seed in "01" for arm in ("whole", "other")
    ]
    assert sum(call[2] == "test" for call in calls) == 8
    table = pd.read_csv(tmp_path / "runs/s/results.csv")
    assert len(table) == 8
    assert table.query("arm == 'other' and test == 'far'")["ef_mae"].tolist() == [7, 8]
    text = (tmp_path / "runs/s/results.md").read_text()
    assert "4 of 4 trials" in text
    assert "Code: abc1234." in text
    assert "| whole | 2 | 0.00 | 0.50 | 5.50 ± 0.71 | – | – |" in text
    assert "| other | 2 | 0.00 | 0.50 | 2.00 ± 0.00 | 7.50 ± 0.71 | +0.00 ± 0.00 | -1.00 to +1.00 |" in text


def test_done_trials_are_kept_and_a_training_goes_on(plan, tmp_path):
    path, calls, pretend = plan
    study(path)
    calls.clear()
    study(path)
    assert calls == []
    other = tmp_path / "runs/s/other/seed1"
    (other / "metrics.json").unlink()
    (tmp_path / "runs/s/results.csv").unlink()
    (other / "checkpoints/last.ckpt").touch()
    pretend.revision = "def5678"
    trial = plan_trials(read_study(path), path.parent, tmp_path / "runs" / "s")[-1]
    words = next(commands(trial))[1]
    assert words[words.index("--auto_resume") + 1] == "true"
    study(path)
    assert calls == [("other", "1", "fit"), ("other", "1", "test")]
    assert "different code" in (tmp_path / "runs/s/results.md").read_text()


def test_a_further_test_set_needs_no_training(plan, tmp_path):
    path, calls, _ = plan
    study(path)
    calls.clear()
    (tmp_path / "third").mkdir()
    (tmp_path / "third/FileList.csv").write_text("FileName\nthird\n")
    write_study(tmp_path, values := yaml.safe_load(path.read_text()) | {"tests": {"far": "far", "third": "third"}})
    study(path)
    assert {call[2] for call in calls if call[2] != "profile"} == {"test"}
    assert len([call for call in calls if call[2] == "test"]) == 4
    (tmp_path / "near").rename(tmp_path / "moved")
    calls.clear()
    write_study(tmp_path, values | {"arguments": {"data.root": "moved"}})
    study(path)
    assert calls == []


def test_a_trial_without_a_score_does_not_stop_the_others(plan, tmp_path, monkeypatch):
    path, _, _ = plan
    monkeypatch.setitem(METRICS, "ef_mae", None)
    found = results.trial_rows
    for module in (results, trials):
        monkeypatch.setattr(
            module,
            "trial_rows",
            lambda trial: [row | {"ef_mae": None if trial.arm == "other" else 4.0} for row in found(trial)],
        )
    study(path)
    assert "4 of 4 trials" in (tmp_path / "runs/s/results.md").read_text()
    study(path)


def test_changed_data_are_refused(plan, tmp_path):
    path, _, _ = plan
    study(path)
    (tmp_path / "near/VolumeTracings.csv").write_text("other borders")
    with pytest.raises(InputError, match="other settings or data"):
        study(path)


def test_a_data_set_of_any_format_is_identified_by_its_tables(tmp_path):
    patient = tmp_path / "database" / "patient0001"
    patient.mkdir(parents=True)
    with pytest.raises(InputError, match=r"FileList\.csv"):
        hash_data(tmp_path)
    (patient / "Info_4CH.cfg").write_text("EF: 56")
    (patient / "4CH_gt.nii.gz").write_bytes(b"mask")
    first = hash_data(tmp_path)
    (tmp_path / "database" / "frames.bin").write_bytes(b"a cache grows")
    assert hash_data(tmp_path) == first
    shutil.copytree(tmp_path / "database", tmp_path / "moved" / "database")
    assert hash_data(tmp_path / "moved") == first
    found = {first}
    for path, content in {patient / "Info_4CH.cfg": b"EF: 57", patient / "4CH_gt.nii.gz": b"other mask"}.items():
        path.write_bytes(content)
        found.add(hash_data(tmp_path / "database"))
    patient.rename(patient.with_name("patient0002"))
    assert len(found | {hash_data(tmp_path / "database")}) == 4


def test_the_hash_of_a_data_set_in_echonet_dynamic_s_layout_stays_the_same(tmp_path):
    """docs/study/results.csv holds such hashes."""
    names = ("FileList.csv", "VolumeTracings.csv", "EpiTracings.csv", "phantom.json")
    for name in names:
        (tmp_path / name).write_text(f"content of {name}")
    content = b"\0".join((tmp_path / name).read_bytes() for name in names)
    assert hash_data(tmp_path) == hashlib.sha256(content).hexdigest()[:16]


def test_planning_a_study_imports_only_light_modules():
    code = "import sys, echo_e3net.search.study_plan; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning", "cv2", "matplotlib", "pandas"} & set(done.stdout.split())


def test_a_study_continues_from_its_results_only(plan, tmp_path):
    path, calls, _ = plan
    study(path, out=tmp_path / "results")
    before = (tmp_path / "results" / "results.csv").read_bytes()
    (tmp_path / "runs").rename(tmp_path / "gone")
    calls.clear()
    study(path, out=tmp_path / "results")
    assert calls == []
    assert (tmp_path / "results" / "results.csv").read_bytes() == before
    kept = [line for line in before.decode().splitlines() if not line.startswith("other,1,far")]
    (tmp_path / "results" / "results.csv").write_text("\n".join(kept))
    study(path, out=tmp_path / "results")
    assert {call[:2] for call in calls if call[2] != "profile"} == {("other", "1")}


def test_results_of_other_settings_or_data_are_not_mixed(plan, tmp_path):
    path, calls, _ = plan
    study(path, out=tmp_path / "results")
    (tmp_path / "other.yaml").write_text("data: {clip: {frames: 32}}\n")
    with pytest.raises(InputError, match=r"results.csv: other, seed 0, test set own .*--out"):
        study(path, out=tmp_path / "results")
    with pytest.raises(InputError, match="seed0 was begun with other settings"):
        study(path)
    calls.clear()
    study(path, runs=tmp_path / "fresh")
    assert len(calls) == 2 + 4 * 3
    (tmp_path / "far/FileList.csv").write_text("FileName\nchanged\n")
    with pytest.raises(InputError, match="seed0/far was begun with other settings"):
        study(path, runs=tmp_path / "fresh", out=tmp_path / "else")
    (tmp_path / "far/FileList.csv").unlink()
    with pytest.raises(InputError, match=r"far: .*FileList.csv"):
        study(path, runs=tmp_path / "fresh")


def test_a_failed_trial_is_named_and_the_others_are_kept(plan, tmp_path, capsys):
    path, calls, pretend = plan
    pretend.fails = lambda call: call == ("other", "0", "fit")
    with pytest.raises(InputError, match=r"1 of 4 trials failed.*other/seed0.*study.log"):
        study(path)
    assert "other, seed 0: failed: no luck" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "runs/s/results.csv")) == 6
    (tmp_path / "other.yaml").write_text("data: {clip: {frames: 24}}\n")
    pretend.fails = lambda call: False
    calls.clear()
    # Seed 1 was trained before the change.
    with pytest.raises(InputError, match="other, seed 1"):
        study(path, out=None)
    with pytest.raises(InputError, match="jobs is 0"):
        study(path, jobs=0)


@pytest.mark.parametrize("where", ["out", "runs"])
def test_results_that_could_not_be_written_are_refused_before_any_trial(plan, tmp_path, where):
    path, calls, _ = plan
    with pytest.raises(InputError, match=r"results.csv cannot be written: .*study.yaml is a file"):
        study(path, **{where: path / "results"})
    assert calls == []


def test_an_arm_whose_network_cannot_be_built_stops_the_study_before_any_training(plan):
    path, calls, pretend = plan
    pretend.fails = lambda call: call[0] == "other"
    with pytest.raises(InputError, match=r"arm other: .*no luck.*other/study.log"):
        study(path, jobs=2)
    assert {call[2] for call in calls} == {"profile"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": {}}, "arms is empty"),
        ({"seeds": [1, 1]}, r"seeds is \[1, 1\]"),
        ({"seeds": ["x"]}, "not a study"),
        ({"sedes": [1]}, "not a study"),
        ({"arms": {"a": ["gone.yaml"]}}, "gone.yaml"),
        ({"arguments": {}}, "--data.root FOLDER"),
        ({"tests": {"own": "far"}}, "tests has 'own'"),
        ({"arms": {"../escape": []}}, "'../escape'"),
        ({"tests": {"checkpoints": "far"}}, "tests has 'checkpoints'"),
        ({"arguments": {"data.root": "near", "seed_everything": 3}}, "seed_everything"),
    ],
)
def test_a_wrong_study_file_is_reported_in_one_line(plan, change, message):
    path = plan[0]
    write_study(path.parent, yaml.safe_load(path.read_text()) | change)
    with pytest.raises(InputError, match=message):
        read_study(path)


@pytest.mark.parametrize("text", ["- a\n", "{", ""])
def test_files_that_are_not_studies(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(InputError, match="not a study"):
        read_study(tmp_path / "study.yaml")
    with pytest.raises(FileNotFoundError):
        read_study(tmp_path / "none.yaml")


@pytest.mark.slow
def test_a_stopped_study_stops_its_processes(tmp_path):
    """SIGTERM ends the process of a study too. Until then, no other study works in its folder."""
    code = f"""
import sys, time
from pathlib import Path
from echo_e3net.search import study_trials as trials
workers = trials.Workers(1, trials.LOG, trials.LOCK)
sys.executable, here = {str(tmp_path / "worker")!r}, Path({str(tmp_path)!r})
with workers.pool(lambda: "stopped") as pool:
    pool.submit(workers.run, here / "trial", ["x"])
    while not workers.running:
        time.sleep(0.01)
    assert trials.Workers(1, trials.LOG, trials.LOCK).run(here / "trial", ["y"]) == 1
    print("ready", flush=True)
    time.sleep(60)
"""
    (tmp_path / "worker").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "worker").chmod(0o755)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "stopped\n"
        assert process.wait(20) == 75
    assert "another process works in this folder" in (tmp_path / "trial/study.log").read_text()


@pytest.mark.slow
def test_a_study_for_real(command, tmp_path, phantom_root):
    """One arm, because every command of it takes seconds to start; fake processes test several arms."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "longer.yaml").write_text("data: {clip: {frames: 9}}\n")
    arguments = {"data.root": str(phantom_root), "trainer.max_epochs": 1}
    arms = {"longer": ["longer.yaml"]}
    tests = {"again": str(phantom_root)}
    write_study(
        tmp_path,
        {"name": "s", "configs": ["tiny.yaml"], "arguments": arguments, "arms": arms, "seeds": [3], "tests": tests},
    )
    code, error = command("study", "study.yaml", "--jobs", 2)
    assert code == 0, error
    table = pd.read_csv(tmp_path / "runs/s/results.csv")
    assert table["arm"].tolist() == ["longer", "longer"]
    resolved = yaml.safe_load((tmp_path / "runs/s/longer/seed3/resolved_config.yaml").read_text())
    assert resolved["data"]["clip"]["frames"] == 9
    # The further test set is the same data.
    assert table["ef_mae"].nunique() == 1
    assert table[["endo_px", "epi_px", "endo_border_px", "endo_axis_percent", "geometry_ef_mae"]].notna().all(axis=None)
    assert {"timing_n", "ed_frames_off", "es_frames_off"} <= set(table.columns)
