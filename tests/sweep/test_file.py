"""Sweep files: what is read, what is refused, and the command line of a trial."""

import pytest
import yaml

from echo_e3net.errors import InputError
from echo_e3net.search.sweep_engine import trial_command
from echo_e3net.search.sweep_file import COMMAND, Parameter, read_sweep
from echo_e3net.search.sweep_search import distribution

GOOD = {
    "method": "bayes",
    "name": "learning rate, first try",
    "description": "for the server",
    "program": "train.py",
    "project": "echo",
    "metric": {"name": "val/rmse", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "lr": {"value": 0.1}},
    "early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 2},
    "run_cap": 20,
}


@pytest.fixture
def sweep(tmp_path):
    """Write a sweep file and read it."""

    def read(change=None, drop=()):
        values = {key: value for key, value in (GOOD | (change or {})).items() if key not in drop}
        (tmp_path / "lr.yaml").write_text(yaml.safe_dump(values))
        return read_sweep(tmp_path / "lr.yaml")

    return read


def test_read_sweep(sweep):
    found = sweep()
    assert found.name == "learning-rate-first-try"
    assert (found.method, found.metric, found.maximize) == ("bayes", "val/rmse", False)
    assert (found.run_cap, found.min_iter, found.eta) == (20, 3, 2)
    assert found.command == tuple(COMMAND)
    assert [parameter.name for parameter in found.searched] == ["x"]
    assert sweep(drop=("name",)).name == "lr"
    assert sweep(drop=("early_terminate",)).min_iter is None


UNSUPPORTED = [
    ({"methd": "grid"}, "methd"),
    ({"scheduler": {"engine": "optuna"}}, "scheduler"),
    ({"method": "custom"}, "method"),
    ({"metric": {"name": "m", "goal": "min"}}, "metric.goal"),
    ({"metric": {"name": "m", "impute": "worst"}}, "metric.impute"),
    ({"metric": {"name": "m", "target": 5}}, "metric.target"),
    ({"early_terminate": {"type": "envelope"}}, "early_terminate.type"),
    ({"early_terminate": {"type": "hyperband", "max_iter": 27, "s": 2}}, "early_terminate.max_iter"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 1, "strict": True}}, "early_terminate.strict"),
    ({"command": ["x", "${args_json}"]}, "command"),
    ({"command": ["x${args}"]}, "command"),
    ({"parameters": {"p": {"parameters": {"q": {"value": 1}}}}}, "parameters.p.parameters"),
    ({"parameters": {"p": {"distribution": "normal", "mu": 0, "sigma": 1}}}, "parameters.p.distribution"),
    ({"parameters": {"p": {"values": [1, 2], "probabilities": [0.5, 0.5]}}}, "parameters.p.probabilities"),
    ({"parameters": {"p": {"min": 0.0, "max": 1.0, "q": 0.1}}}, "parameters.p.q"),
]


@pytest.mark.parametrize(("change", "key"), UNSUPPORTED, ids=lambda value: value if isinstance(value, str) else "")
def test_unsupported_settings_are_left_to_wandb_agent(sweep, change, key):
    with pytest.raises(InputError) as error:
        sweep(change)
    assert f"lr.yaml: {key} " in str(error.value)
    assert "wandb agent" in str(error.value)


WRONG = [
    ({"metric": {"goal": "minimize"}}, "metric.name"),
    ({"metric": {"name": ["m"]}}, "metric.name is"),
    ({"metric": "val/rmse"}, "metric is 'val/rmse'"),
    ({"parameters": {}}, "parameters is {}"),
    ({"early_terminate": {"type": "hyperband"}}, "early_terminate.min_iter"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 0}}, "early_terminate.min_iter is 0"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}}, "early_terminate.eta is 1"),
    ({"run_cap": 0}, "run_cap is 0"),
    ({"command": "x"}, "command is 'x'"),
    ({"command": [{"env": None}]}, "command is "),
    ({"parameters": {"p": {"min": 0}}}, "parameters.p.max is None"),
    ({"parameters": {"p": {"min": 2, "max": 1}}}, "parameters.p.min is 2"),
    ({"parameters": {"p": {"min": "1e-4", "max": 1.0}}}, "parameters.p.min is '1e-4'"),
    ({"parameters": {"p": {"min": True, "max": 2.0}}}, "parameters.p.min is True"),
    ({"parameters": {"p": {"distribution": "log_uniform_values", "min": 0, "max": 1}}}, "parameters.p.min is 0"),
    ({"parameters": {"p": {"distribution": "int_uniform", "min": 1.5, "max": 3}}}, "parameters.p.min is 1.5"),
    ({"parameters": {"p": {"distribution": "q_uniform", "min": 1, "max": 3, "q": 0}}}, "parameters.p.q is 0"),
    ({"parameters": {"p": {"values": []}}}, "parameters.p.values is []"),
    ({"parameters": {"p": {"values": [1, None]}}}, "parameters.p.values is [1, None]"),
    ({"parameters": {"p": {"value": None}}}, "parameters.p.value is None"),
    ({"method": "grid"}, "parameters.x.min is 0.0"),
    ({"method": "grid", "parameters": {"p": {"min": 1, "max": 3}}}, "parameters.p.min is 1"),
]


@pytest.mark.parametrize(("change", "place"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_a_wrong_value_is_named_with_file_and_key(sweep, change, place):
    with pytest.raises(InputError) as error:
        sweep(change)
    assert "lr.yaml: " in str(error.value)
    assert place in str(error.value)


def test_missing_settings_and_unreadable_files(sweep, tmp_path):
    for key in ("parameters", "method", "metric", "program"):
        with pytest.raises(InputError, match=f"lr.yaml: {key} is None"):
            sweep(drop=(key,))
    for text in ("{", "- a", ""):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(InputError, match=r"bad.yaml: not a sweep"):
            read_sweep(tmp_path / "bad.yaml")
    with pytest.raises(FileNotFoundError):
        read_sweep(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"value": 3}, Parameter("p", (3,))),
        ({"values": [[8, 16], [12, 16]]}, Parameter("p", ([8, 16], [12, 16]))),
        ({"min": 1, "max": 3}, Parameter("p", (), 1, 3, step=1)),
        ({"min": 1, "max": 3.5}, Parameter("p", (), 1, 3.5)),
        (
            {"distribution": "log_uniform_values", "min": 0.01, "max": 1},
            Parameter("p", (), 0.01, 1, log=True),
        ),
        ({"distribution": "q_uniform", "min": 0.1, "max": 0.45, "q": 0.1}, Parameter("p", (), 0.1, 0.4, step=0.1)),
        ({"distribution": "q_uniform", "min": 4, "max": 17, "q": 4}, Parameter("p", (), 4, 16, step=4)),
    ],
)
def test_distributions_are_inferred_as_by_wandb(sweep, settings, expected):
    found = sweep({"parameters": {"p": settings}}).parameters[0]
    assert found == expected
    samples = distribution(found)
    if found.values:
        assert len(samples.choices) == len(found.values)
    else:
        assert (samples.low, samples.high, samples.step, samples.log) == (found.low, found.high, found.step, found.log)
        assert type(samples.high) is type(found.high) or not isinstance(found.low, int) or found.step is None


def test_the_command_is_that_of_wandb_with_the_trial_s_folder(sweep, tmp_path):
    values = {"flag": True, "kind": "a b", "model.lr": 0.001, "channels": [8, 16], "backbone": {"dim": 64}}
    # This import takes seconds.
    from wandb.sdk.launch.sweeps import utils

    theirs = utils.create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    found = sweep({"command": [*COMMAND, "last", 3]})
    built = trial_command(found, values, tmp_path / "runs/s/trial0007")
    assert built[:3] == ["/usr/bin/env", "python", "train.py"]
    assert built[3:-6] == theirs["args"]
    assert built[-6:] == ["last", "3", "--runs", str(tmp_path / "runs/s"), "--name", "trial0007"]
