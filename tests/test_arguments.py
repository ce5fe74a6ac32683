"""Errors of the command line and of configurations: one line that names the file, the key and the value."""

from pathlib import Path

import pytest

from echo_e3net.cli.functions import trial_arguments
from echo_e3net.cli.main import COMMANDS, DATA, DRAWINGS
from echo_e3net.cli.network_cli import NetworkCLI
from echo_e3net.errors import InputError

BASE = Path(__file__).parents[1] / "experiments" / "e3net.yaml"
OVERLAYS = {
    "misspelt.yaml": "trainer: {max_epoch: 3}",
    "group.yaml": "modle: {network: null}",
    "value.yaml": "data: {loader: {batch_size: abc}}",
    "text.yaml": "just text",
    "list.yaml": "- data",
    "syntax.yaml": "data: {frames: 8\ntrainer: ]",
    "moved.yaml": "data: {frames: 16}",
    "callback.yaml": "checkpoint: {montor: val/mae}",
    "binary.yaml": "\x00",
    "class.yaml": "model: {network: {init_args: {backbone: {class_path: echo_e3net.nn.backbone.Nope}}}}",
    "swap.yaml": "model: {optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1, betas: [0.9, 0.99]}}}",
    "null.yaml": "data: {clip: {frames: null}}",
    "group_null.yaml": "data: {clip: null}",
    "group_list.yaml": "trainer: [1]",
    "folder/wrong.yaml": "model: {loss: {init_args: {ef: {init_args: {wieght: 1}}}}}",
    "folder/extra.yaml": "trainer: {max_epoch: 3}",
    "deep.yaml": "model: {loss: {init_args: {ef: {init_args: {weight: heavy}}}}}",
}


FIT_ERRORS = [
    (("--data.frame", 3), ["--data.frame", "did you mean --data.clip.frames?", "echo-e3net fit --help"]),
    (("--auto_resum",), ["--auto_resum", "did you mean --auto_resume?"]),
    (("--videos", "a.avi"), ["--videos"]),
    (
        ("--config", "misspelt.yaml"),
        ["misspelt.yaml: ", "max_epoch'", "did you mean trainer.max_epochs?", "echo-e3net fit --help"],
    ),
    (("--config", "value.yaml"), ["value.yaml: ", "data.loader.batch_size", "abc"]),
]
"""Errors whose report differs with subcommands."""
NETWORK_ERRORS = [
    (("--config", "misspelt.yaml"), ["misspelt.yaml: ", "'max_epoch'", "did you mean trainer.max_epochs?"]),
    (("--config", "moved.yaml"), ["moved.yaml: ", "'frames'", "did you mean data.clip.frames?"]),
    (("--config", "callback.yaml"), ["callback.yaml: ", "'montor'", "did you mean checkpoint.monitor?"]),
    (("--max_epochs", 3), ["--max_epochs", "did you mean --trainer.max_epochs?"]),
    (("--lr", 3), ["--lr", "did you mean --model.optimizer.lr?"]),
    (("--epochs", 3), ["--epochs", "did you mean --trainer.max_epochs?"]),
    (("--model.optimizer.lr", "1e4x"), ["model.optimizer.lr: expected float, found '1e4x'."]),
    (("--model.optimizer.betas", "[2]"), ["model.optimizer.betas: ", "2 elements, found [2]"]),
    (("--model.loss.ef.weight", "x"), ["model.loss.ef.weight: expected float, found 'x'."]),
    (
        ("--model.network.detector", "echo_e3net.nn.border_detector.BorderDetectr"),
        ["model.network.detector: ", "BorderDetectr does not exist (did you mean BorderDetector?)."],
    ),
    (
        ("--trainer.logger", "CSVLogger"),
        ["trainer.logger: lightning.pytorch.loggers.CSVLogger requires save_dir (--trainer.logger.save_dir)."],
    ),
    (("--config", "null.yaml"), ["null.yaml: data.clip.frames is null; expected int."]),
    (("--config", "group_null.yaml"), ["group_null.yaml: data.clip is None; expected a mapping"]),
    (("--config", "group_list.yaml"), ["group_list.yaml: trainer is [1]; expected a mapping"]),
    (("--data.loader.batch_size", ""), ["data.loader.batch_size: expected int, found ''."]),
    (("--trainer.logger", "WandbLogge"), ["trainer.logger: 'WandbLogge' is not a known class."]),
    (("--config", "folder/wrong.yaml"), ["folder/wrong.yaml: ", "model.loss.ef", "wieght", "did you mean weight?"]),
    (("--config", "folder/extra.yaml"), ["folder/extra.yaml: ", "max_epoch'", "did you mean trainer.max_epochs?"]),
    (("stray",), ["stray"]),
    (("--data.loader.batch_size", "abc"), ["data.loader.batch_size", "int", "abc"]),
    (("--data.loader.batch_size",), ["--data.loader.batch_size", "argument"]),
    (("--data.on_defect", "exclud"), ["data.on_defect", "exclud", "'raise', 'exclude'"]),
    (("--trainer.precision", 17), ["trainer.precision", "17", "'bf16-mixed'", "64"]),
    (("--model.network.nope", 1), ["model.network", "nope"]),
    (("--model.network.detector.dimm", 1), ["detector", "dimm", "did you mean dim?"]),
    (("--model.network.detector.dim", "wide"), ["detector", "dim", "wide"]),
    (("--model.network", "torch.nn.Linear"), ["model.network", "torch.nn.Linear", "E3Net"]),
    (("--trainer.callbacks", "Foo"), ["trainer.callbacks", "Foo"]),
    (("--data", "gone.yaml"), ["data", "gone.yaml"]),
    (("--config", "gone.yaml"), ["gone.yaml: "]),
    (("--config=gone.yaml",), ["gone.yaml: "]),
    (("--config", "group.yaml"), ["group.yaml: ", "modle.network", "did you mean model.network?"]),
    (("--config", "text.yaml"), ["text.yaml: ", "just text"]),
    (("--config", "list.yaml"), ["list.yaml: ", "['data']"]),
    (("--config", "syntax.yaml"), ["syntax.yaml, line 2: "]),
    (("--config", "binary.yaml"), ["binary.yaml: "]),
    (("--config", "class.yaml"), ["class.yaml: ", "backbone", "echo_e3net.nn.backbone.Nope"]),
    (("--config", "swap.yaml"), ["swap.yaml: ", "model.optimizer", "torch.optim.SGD", "betas"]),
    (("--config", "deep.yaml"), ["deep.yaml: ", "model.loss", "weight", "heavy"]),
]
"""Errors that are reported alike by every parser; profile has the fastest one."""


@pytest.mark.parametrize(
    ("name", "arguments", "facts"),
    [
        # Every third case runs by default, because building a parser takes time.
        pytest.param(*case, marks=[pytest.mark.slow] * (number % 3 > 0))
        for number, case in enumerate([("fit", *c) for c in FIT_ERRORS] + [("profile", *c) for c in NETWORK_ERRORS])
    ],
)
def test_errors_of_a_run_name_file_key_and_value(command, tmp_path, name, arguments, facts):
    (tmp_path / "folder").mkdir()
    for file, text in OVERLAYS.items():
        (tmp_path / file).write_text(text)
    code, error = command(name, "--config", BASE, *arguments)
    assert code == 2
    assert all(fact in error for fact in facts), error
    assert error.startswith("echo-e3net: error: ")
    assert error.count("\n") == 1


def test_a_file_is_named_only_for_its_own_errors(command, tmp_path):
    (tmp_path / "good.yaml").write_text("data: {loader: {batch_size: 4}}")
    error = command("profile", "--config", BASE, "--config", "good.yaml", "--data.loader.batch_size", "abc")[1]
    assert "abc" in error
    assert ".yaml" not in error


@pytest.mark.parametrize("name", ["--data.fill_cache", "--data.eval_clips", "--data.videos"])
def test_an_argument_without_a_similar_one_gets_no_suggestion(command, name):
    error = command("profile", "--config", BASE, name, 1)[1]
    assert name in error
    assert "did you mean" not in error


def test_a_missing_argument_gets_no_suggestion(command, tmp_path):
    (tmp_path / "partial.yaml").write_text("name: partial")
    error = command("fit", "--config", "partial.yaml")[1]
    assert "model.network" in error
    assert "did you mean" not in error


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("fot",), ["fot", "did you mean fit?"]),
        (("quite-other",), ["quite-other", "fit, validate, test, predict"]),
        (("data", "chek", "x"), ["data chek", "did you mean check?"]),
        (("data", "check"), ["root", "echo-e3net data check --help"]),
        (("data", "check", "x", "--decod"), ["--decod", "did you mean --decode?"]),
        (("data", "check", "x", "--decode", "maybe"), ["decode", "maybe"]),
        (("data", "import", "--out", "x"), ["sources"]),
        (("data", "phantom", "--n", 3), ["out"]),
        (("data", "phantom", "--out", "x", "--n", "abc"), ["n", "int", "abc"]),
        (("data", "phantom", "--out", "x", "--look", "handhelt"), ["look", "handhelt", "'adult_cart', 'handheld'"]),
        (("study",), ["file"]),
        (("study", "x.yaml", "--job", 3), ["--job", "did you mean --jobs?"]),
        (("study", "x.yaml", "--data.root"), ["--data.root", "argument"]),
        (("study", "x.yaml", "--data.root", "[a"), ["--data.root", "'[a'", "YAML"]),
        (("report", "x", "--vidoes", 3), ["--vidoes", "did you mean --videos?"]),
        (("profile", "--config", BASE, "--repeat", 3), ["did you mean --repeats?", "echo-e3net profile --help"]),
        (("draw", "architecture", "--config", BASE, "--ot", "x"), ["did you mean --out?"]),
        (("draw", "nonsense", "--config", BASE), ["nonsense", "architecture, attention"]),
    ],
)
def test_errors_of_the_other_commands(command, arguments, facts):
    code, error = command(*arguments)
    assert code == 2
    assert all(fact in error for fact in facts), error
    assert error.count("\n") == 1


def test_arguments_of_trials_are_those_with_a_dot():
    args = ["s.yaml", "--data.root", "a b", "--jobs", "2", "--trainer.max_epochs=9", "--data.root", "c"]
    assert trial_arguments(args) == (
        {"arguments": {"data.root": "c", "trainer.max_epochs": 9}},
        ["s.yaml", "--jobs", "2"],
    )
    assert trial_arguments(["s.yaml"]) == ({}, ["s.yaml"])


@pytest.mark.parametrize("words", [(), ("data",), ("draw",)])
def test_help_lists_the_commands(command, words):
    assert command(*words, "--help")[0] == 0
    listed = {(): COMMANDS, ("data",): DATA, ("draw",): DRAWINGS}[words]
    assert all(name in command.output for name in listed)


@pytest.mark.parametrize(
    "words", [("data", "check"), ("data", "cache"), ("data", "import"), ("data", "phantom"), ("study",), ("report",)]
)
def test_help_describes_every_argument(command, words):
    assert command(*words, "--help")[0] == 0
    assert f"usage: echo-e3net {' '.join(words)}" in command.output
    assert "Args:" not in command.output


def test_a_notebook_gets_the_same_errors():
    with pytest.raises(InputError, match=r"did you mean --data.clip.frames"):
        NetworkCLI("notebook", "", ["--config", str(BASE), "--data.frame", "3"])
