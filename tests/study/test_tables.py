"""The tables of a study: Markdown, LaTeX, CSV, and intervals without the runs."""

import json

import pandas as pd
import pytest
import yaml

import echo_e3net.reporting as figures
from echo_e3net.cli.study import study
from echo_e3net.errors import InputError
from echo_e3net.metrics import LOW_EF_PERCENT
from echo_e3net.search import study_results as results
from echo_e3net.search.study_plan import read_study
from echo_e3net.search.study_tables import COLUMNS, in_latex, latex
from echo_e3net.search.study_videos import Key, Read, read_predictions, save_predictions
from tests.study.conftest import write_study


def test_predictions_come_back_as_they_were(tmp_path):
    predictions = {
        Key("a", 0, "own"): {"x": Read(60.0, 61.5), "y": Read(None, 30.0)},
        Key("b-2", 11, "own"): {"y": Read(None, 31.0)},
        Key("a", 0, "far"): {"x": Read(50.0, 40.0)},
    }
    save_predictions(tmp_path / "videos.csv", predictions)
    assert read_predictions(tmp_path / "videos.csv") == predictions
    assert read_predictions(tmp_path / "none.csv") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [("test,name,label_ef_percent,e3net\n", "column 'e3net'"), ("name\n", "column 'test' is missing")],
)
def test_a_strange_table_of_videos_is_named(tmp_path, text, message):
    (tmp_path / "videos.csv").write_text(text + "own,a,60,50\n" * ("e3net" in text))
    with pytest.raises(InputError, match=message):
        read_predictions(tmp_path / "videos.csv")


def test_a_value_that_is_not_a_number_is_named(tmp_path):
    (tmp_path / "videos.csv").write_text("test,name,label_ef_percent,e3net/0\nown,a,60,high\n")
    with pytest.raises(InputError, match=r"videos.csv: .*'high'"):
        read_predictions(tmp_path / "videos.csv")


def test_the_summary_has_the_numbers_of_the_table(plan, tmp_path):
    study(plan[0])
    table = pd.read_csv(tmp_path / "runs/s/summary.csv").set_index(["test", "arm"])
    other = table.loc["far", "other"]
    assert (other["ef_mae_mean"], other["ef_mae_sd"]) == (7.5, 0.7071)
    assert (other["difference_mean"], other["difference_low"], other["difference_high"]) == (0, -1, 1)
    assert (other["difference_seeds"], other["difference_videos"]) == (2, 3)
    assert table.loc["far", "whole"][["difference_mean", "difference_low"]].isna().all()


@pytest.mark.slow
def test_pictures(plan, tmp_path, monkeypatch):
    for name in ("draw_study", "draw_differences"):
        monkeypatch.setattr(results, name, getattr(figures, name))
    study(plan[0])
    assert all((tmp_path / "runs/s" / name).stat().st_size > 10_000 for name in ("results.png", "differences.png"))


def test_intervals_need_no_runs(plan, tmp_path):
    study(plan[0], out=tmp_path / "results")
    before = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    (tmp_path / "runs").rename(tmp_path / "gone")
    study(plan[0], out=tmp_path / "results")
    assert {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()} == before


def test_without_a_table_of_videos_the_interval_is_a_dash(plan, tmp_path):
    study(plan[0], out=tmp_path / "results")
    (tmp_path / "runs").rename(tmp_path / "gone")
    (tmp_path / "results/videos.csv").unlink()
    study(plan[0], out=tmp_path / "results")
    assert "+0.00 ± 0.00 | – |" in (tmp_path / "results/results.md").read_text()


def test_the_base_can_be_any_arm(plan, tmp_path):
    path = plan[0]
    write_study(tmp_path, yaml.safe_load(path.read_text()) | {"base": "other"})
    study(path)
    assert "MAE - other" in (tmp_path / "runs/s/results.md").read_text()
    write_study(tmp_path, yaml.safe_load(path.read_text()) | {"base": "gone"})
    with pytest.raises(InputError, match=r"base is 'gone'.*whole, other"):
        read_study(path)


def test_latex_is_a_table_of_equal_rows(plan, tmp_path):
    study(plan[0])
    text = (tmp_path / "runs/s/results.tex").read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    assert {line.count("&") + 1 for line in rows} == {len(columns)}
    assert r"other & 0.00 & 0.50 & 5.50 $\pm$ 0.71 & $+0.00$ $\pm$ 0.00 & $-1.00$ to $+1.00$ &" in text
    assert all(ord(letter) < 128 for line in rows for letter in line)


def test_the_title_names_the_limit_of_a_low_ef():
    """The module of titles is imported without torch, so it cannot use the constant."""
    assert COLUMNS["low_ef_mae"][0] == f"MAE, EF ≤ {LOW_EF_PERCENT}"


def test_latex_escapes_names():
    assert in_latex("no_detector") == r"no\_detector"
    assert in_latex("-0.5 ± 1 – R²") == r"$-0.5$ $\pm$ 1 -- R$^2$"
    lines = [
        ["arm", "M parameters", "GMACs", "MAE", "MAE - a", "95 % interval", "RMSE", "R²", "MAE, EF ≤ 40", "endo px"],
        [*"bcdefghijk"],
    ]
    assert latex("50 %", lines, "a")[2] == r"\caption{50 \%}"


def test_arguments_of_the_command_line_replace_those_of_the_file(plan, tmp_path, command):
    path, calls, _ = plan
    (tmp_path / "near").rename(tmp_path / "moved")
    write_study(tmp_path, yaml.safe_load(path.read_text()) | {"arguments": {}, "tests": {}})
    code, error = command("study", path)
    assert code == 2
    assert "--data.root FOLDER" in error
    code, error = command(
        "study", path, "--data.root", tmp_path / "moved", "--tests.far=far", "--trainer.max_epochs", 3, "--jobs", 2
    )
    assert code == 0, error
    assert len(calls) == 2 + 4 * 3
    assert (
        command("study", path, "--data.root", tmp_path / "moved", "--tests.far=far", "--trainer.max_epochs", 4)[0] == 2
    )
    code, error = command("study", path, "--data.root")
    assert (code, "--data.root: expected one argument" in error) == (2, True)


def test_arguments_of_the_machine_are_not_settings_of_a_trial(plan, tmp_path, command):
    path, calls, _ = plan
    assert command("study", path)[0] == 0
    calls.clear()
    assert command("study", path, "--data.loader.workers", 7, "--data.cache.folder", tmp_path / "cache")[0] == 0
    assert calls == []
    assert json.loads(json.dumps(read_study(path, {"data.loader.workers": 7}).arguments)) == {
        "data.root": "near",
        "data.loader.workers": 7,
    }
