"""Sweep files: what is read, what is refused, and the command line that comes of them, against W&B's own code."""

import pytest
import yaml
from wandb.sdk.launch.sweeps import utils

from echo_e3net.errors import InputError
from echo_e3net.search.sweep_command import argument_words, build_command
from echo_e3net.search.sweep_file import MACROS, read_sweep
from echo_e3net.search.sweep_space import nested_values

GOOD = {
    "method": "bayes",
    "name": "learning rate, first try",
    "program": "train.py",
    "project": "echo",
    "metric": {"name": "val/rmse", "goal": "minimize", "target": 5},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "opt": {"parameters": {"lr": {"value": 0.1}}}},
    "early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 2, "strict": False},
    "run_cap": 20,
}


@pytest.fixture
def sweep(tmp_path):
    def read(change=None, drop=()):
        values = {key: value for key, value in (GOOD | (change or {})).items() if key not in drop}
        (tmp_path / "lr.yaml").write_text(yaml.safe_dump(values))
        return read_sweep(tmp_path / "lr.yaml")

    return read


def test_a_sweep_file_is_read(sweep):
    found = sweep()
    assert (found.name, found.method, found.metric, found.maximize, found.target, found.run_cap) == (
        "learning-rate-first-try",
        "bayes",
        "val/rmse",
        False,
        5,
        20,
    )
    assert found.command == ("${env}", "${interpreter}", "${program}", "${args}")
    assert found.early.bands[:2] == (3, 6)
    assert not found.early.strict
    assert sweep(drop=("name",)).name == "lr"


BAD = [
    ({"methd": "grid"}, r"methd \('grid'\) is not known to this engine; did you mean method"),
    ({"method": "custom"}, "method is 'custom': give one of grid, random, bayes"),
    ({"metric": {"goal": "minimize"}}, "metric.name is missing"),
    ({"metric": {"name": "m", "goal": "min"}}, "metric.goal is 'min'"),
    ({"metric": {"name": "m", "target": "5"}}, "metric.target is '5': give a number"),
    ({"metric": "val/rmse"}, "metric is 'val/rmse': give a mapping"),
    ({"parameters": {}}, "parameters is .*: give at least one parameter"),
    ({"parameters": {"1x": {"value": 1}}}, "a parameter's name begins with a letter"),
    ({"parameters": {"a.b": {"value": 1}, "a": {"parameters": {"b": {"value": 2}}}}}, "a name is there twice"),
    ({"early_terminate": {"type": "envelope"}}, "early_terminate.type is 'envelope'"),
    ({"early_terminate": {"type": "hyperband"}}, "give min_iter, or max_iter and s"),
    (
        {"early_terminate": {"type": "hyperband", "min_iter": 0}},
        "early_terminate.min_iter is 0: give a whole number, at least 1",
    ),
    ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}}, "early_terminate.eta is 1"),
    ({"early_terminate": {"type": "hyperband", "max_iter": 2, "s": 1, "eta": 3}}, "no band is at 1 or above"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 1, "strict": "yes"}}, "early_terminate.strict is 'yes'"),
    ({"run_cap": 0}, "run_cap is 0"),
    ({"command": "x"}, "command is 'x': give a list"),
    ({"command": ["${arg}"]}, "command is '.{arg}': no macro of W&B"),
    ({"command": ["x${args}"]}, "no macro of W&B; known as words of their own"),
    ({"command": [{"env": None}]}, "command is .*: give words; quote"),
    ({"scheduler": {"engine": "optuna"}}, "scheduler .* is not known to this engine"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_a_bad_file_ends_in_one_sentence(sweep, change, message):
    with pytest.raises(InputError, match=rf"lr.yaml: .*{message}"):
        sweep(change)


def test_what_is_missing_or_no_yaml(sweep, tmp_path):
    with pytest.raises(InputError, match="parameters is missing"):
        sweep(drop=("parameters",))
    with pytest.raises(InputError, match="it stands for program, which is missing"):
        sweep(drop=("program",))
    (tmp_path / "bad.yaml").write_text("{")
    with pytest.raises(InputError, match="not a sweep"):
        read_sweep(tmp_path / "bad.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_sweep(tmp_path / "none.yaml")


VALUES = {"model.lr": 0.001, "flag": True, "off": False, "kind": "a b", "channels": [8, 16], "nested": {"x": 1}}


def test_arguments_are_w_and_bs_in_every_form():
    theirs = utils.create_sweep_command_args({"args": {name: {"value": value} for name, value in VALUES.items()}})
    ours = argument_words(VALUES)
    assert all(theirs[form] == words for form, words in ours.items())
    assert {f"args{form}" for form in ("", "_json", "_no_hyphens", "_no_boolean_flags")} <= ours.keys() <= set(MACROS)


def test_the_command_is_w_and_bs_with_the_trials_folder(sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", "/echo net")
    words = [
        "${env}",
        "${interpreter}",
        "${program}",
        "--root=${envvar:DATA}/x",
        3,
        "${args_no_hyphens}",
        "${args_json_file}",
    ]
    found = sweep({"command": words})
    values = nested_values(found.parameters, {"x": 0.25})
    folder = tmp_path / "runs/s/trial0007"
    built = build_command(found, values, folder)
    assert built[:7] == ["/usr/bin/env", "python", "train.py", "--root=/echo net/x", "3", "opt={'lr': 0.1}", "x=0.25"]
    assert built[7:] == [
        str(folder / "sweep_arguments.json"),
        "--runs",
        str(tmp_path / "runs/s"),
        "--name",
        "trial0007",
    ]
    assert yaml.safe_load((folder / "sweep_arguments.json").read_text()) == values
    monkeypatch.delenv("DATA")
    with pytest.raises(InputError, match=r"command names \$\{envvar:DATA\}, which is not set"):
        build_command(found, values, folder)
