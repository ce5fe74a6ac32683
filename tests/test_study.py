"""Studies: what is planned, what is kept, what is refused; one small study for real."""

import itertools
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from echo_e3net import study as module
from echo_e3net.errors import InputError
from echo_e3net.study import commands, plan_trials, read_study, study
from tests.test_cli import TINY

METRICS = {"n": 3, "ef_mae": 5.0, "ef_rmse": 6.0, "ef_r2": 0.5, "low_ef_mae": None, "low_ef_n": 0, "endo_px": 2.0, "checkpoint": "best.ckpt"}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A study of two arms and two seeds with a further test set, whose processes are pretended: each leaves what a real one does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text("data: {frames: 8}\n")
    (tmp_path / "other.yaml").write_text("data: {frames: 16}\n")
    arms = {"whole": [], "other": ["other.yaml"]}
    write_study(tmp_path, {"name": "s", "configs": ["base.yaml"], "arms": arms, "seeds": [0, 1], "tests": {"far": "far_root"}})
    calls = []

    def pretend(trial, words, jobs):
        calls.append((trial.arm, trial.seed, words[0]))
        given = dict(itertools.pairwise(words))
        if words[0] == "profile":
            Path(given["--json"]).write_text(json.dumps({"parameters": 1000, "gmacs": 0.5}))
        elif words[0] == "test":
            place = Path(given["--runs"], given["--name"])
            place.mkdir(parents=True, exist_ok=True)
            worse = 2.0 if given["--name"] == "far" else 0.0
            (place / "metrics.json").write_text(json.dumps(METRICS | {"ef_mae": 5 + trial.seed + worse}))
        return pretend.code

    pretend.code = 0
    monkeypatch.setattr(module, "run", pretend)
    return tmp_path / "study.yaml", calls, pretend


def write_study(folder, values):
    (folder / "study.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def test_every_arm_is_trained_and_tested_with_every_seed(plan, tmp_path):
    path, calls, _ = plan
    study(path)
    assert [call for call in calls if call[2] == "fit"] == [(arm, seed, "fit") for seed in (0, 1) for arm in ("whole", "other")]
    assert sum(call[2] == "profile" for call in calls) == 2
    assert sum(call[2] == "test" for call in calls) == 8
    table = pd.read_csv(tmp_path / "runs/s/results.csv")
    assert len(table) == 8
    assert table.query("arm == 'other' and test == 'far'")["ef_mae"].tolist() == [7, 8]
    text = (tmp_path / "runs/s/results.md").read_text()
    assert "4 of 4 trials" in text
    assert "| whole | 2 | 0.00 | 0.50 | 5.50 ± 0.71 |" in text
    assert "| other | 2 | 0.00 | 0.50 | 7.50 ± 0.71 |" in text
    assert (tmp_path / "runs/s/results.png").stat().st_size > 10_000


def test_done_trials_are_kept_and_a_training_goes_on(plan, tmp_path):
    path, calls, _ = plan
    study(path)
    calls.clear()
    study(path)
    assert calls == []
    (tmp_path / "runs/s/other/seed1/trial.json").unlink()
    (tmp_path / "runs/s/results.csv").unlink()
    study(path)
    assert calls == [("other", 1, "fit"), ("other", 1, "test"), ("other", 1, "test")]
    trial = plan_trials(read_study(path), path.parent, tmp_path / "runs" / "s")[-1]
    assert "--ckpt_path" not in next(commands(trial))
    (trial.folder / "checkpoints").mkdir()
    (trial.folder / "checkpoints" / "last.ckpt").touch()
    words = next(commands(trial))
    assert words[words.index("--ckpt_path") + 1] == "last"


def test_results_alone_are_enough_to_go_on(plan, tmp_path):
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
    assert {call[:2] for call in calls} == {("other", 1)}


def test_results_of_other_settings_are_not_mixed(plan, tmp_path):
    path, calls, _ = plan
    study(path, out=tmp_path / "results")
    (tmp_path / "other.yaml").write_text("data: {frames: 32}\n")
    with pytest.raises(InputError, match=r"results.csv: other, seed 0 is of other settings"):
        study(path, out=tmp_path / "results")
    with pytest.raises(InputError, match="seed0 was begun with other settings"):
        study(path)
    calls.clear()
    study(path, runs=tmp_path / "fresh")
    assert len(calls) == 2 + 4 * 3


def test_a_failed_trial_is_named_and_the_others_are_kept(plan, tmp_path):
    path, _, pretend = plan
    pretend.code = 1
    with pytest.raises(InputError, match=r"no trial is done. See .*study.log"):
        study(path)
    pretend.code = 0
    study(path, jobs=2)
    with pytest.raises(InputError, match="jobs is 0"):
        study(path, jobs=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": {}}, "at least one arm"),
        ({"seeds": [1, 1]}, "none is there twice"),
        ({"seeds": ["x"]}, "not a study"),
        ({"sedes": [1]}, "not a study"),
        ({"arms": {"a": ["gone.yaml"]}}, "gone.yaml is not there"),
    ],
)
def test_a_bad_study_file_ends_in_one_sentence(plan, change, message):
    path = plan[0]
    write_study(path.parent, yaml.safe_load(path.read_text()) | change)
    with pytest.raises(InputError, match=message):
        read_study(path)


@pytest.mark.parametrize("text", ["- a\n", "{", ""])
def test_what_is_no_study_at_all(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(InputError, match="not a study"):
        read_study(tmp_path / "study.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_study(tmp_path / "none.yaml")


@pytest.mark.slow
def test_a_study_for_real(command, tmp_path, phantom_root):
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "longer.yaml").write_text("data: {frames: 9}\n")
    arguments = {"data.root": str(phantom_root), "trainer.max_epochs": 1}
    arms = {"tiny": [], "longer": ["longer.yaml"]}
    tests = {"again": str(phantom_root)}
    write_study(tmp_path, {"name": "s", "configs": ["tiny.yaml"], "arguments": arguments, "arms": arms, "seeds": [3], "tests": tests})
    code, error = command("study", "study.yaml", "--jobs", 2)
    assert code == 0, error
    table = pd.read_csv(tmp_path / "runs/s/results.csv")
    assert table["arm"].tolist() == ["tiny", "tiny", "longer", "longer"]
    pair = table[table["arm"] == "tiny"]
    assert pair["ef_mae"].nunique() == 1  # the further test set is the same data
    assert table[["endo_px", "epi_px", "endo_border_px", "endo_axis_percent", "ed_frames_off", "geometry_ef_mae"]].notna().all(None)
