"""A slip on the command line or in a configuration ends in one sentence: where, which key, which value, what to do."""

from pathlib import Path

import pytest

from echo_e3net.cli.arguments import Context, nearest, sentence
from echo_e3net.errors import InputError

BASE = Path(__file__).parents[1] / "experiments" / "e3net.yaml"
OVERLAYS = {
    "misspelt.yaml": "trainer: {max_epoch: 3}",
    "group.yaml": "modle: {network: null}",
    "value.yaml": "data: {loader: {batch_size: abc}}",
    "text.yaml": "just text",
    "list.yaml": "- data",
    "syntax.yaml": "data: {frames: 8\ntrainer: ]",
    "class.yaml": "model: {network: {init_args: {backbone: {class_path: echo_e3net.nn.backbone.Nope}}}}",
    "swap.yaml": "model: {optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1, betas: [0.9, 0.99]}}}",
    "deep.yaml": "model: {loss: {init_args: {ef: {init_args: {weight: heavy}}}}}",
}


def overlay(name):
    return ("--config", name)


@pytest.mark.parametrize(
    ("slip", "says"),
    [
        (
            ("--data.frame", 3),
            "--data.frame: there is no such argument; did you mean --data.clip.frames? `echo-e3net fit --help` lists all.",
        ),
        (("--max_epochs", 3), "did you mean --trainer.max_epochs?"),
        (("stray",), "stray: there is no such argument."),
        (("--data.loader.batch_size", "abc"), "--data.loader.batch_size is 'abc': it must be a whole number."),
        (("--data.loader.batch_size",), "--data.loader.batch_size needs a value."),
        (
            ("--data.on_defect", "exclud"),
            "--data.on_defect is 'exclud': it must be raise or exclude; did you mean exclude?",
        ),
        (("--trainer.precision", 17), "--trainer.precision is '17': it must be 64, 32, 16,"),
        (("--model.network.nope", 1), "E3Net takes no nope: take it out. It takes backbone, detector, aggregator."),
        (
            ("--model.network.detector.dimm", 1),
            "--model.network.detector.dimm: echo_e3net.nn.border_detector.BorderDetector takes no dimm; did you mean dim?",
        ),
        (("--model.network.detector.dim", "wide"), "--model.network.detector.dim is 'wide': it must be a whole number"),
        (("--model.network", "torch.nn.Linear"), "--model.network: torch.nn.Linear is no E3Net."),
        (("--trainer.callbacks", "Foo"), "--trainer.callbacks: Foo names no class that can be imported."),
        (("--data", "gone.yaml"), "--data: gone.yaml is no configuration that can be read."),
        (overlay("gone.yaml"), "gone.yaml: no such configuration"),
        (("--config=gone.yaml",), "gone.yaml: no such configuration"),
        (
            overlay("misspelt.yaml"),
            "misspelt.yaml: trainer.max_epoch: there is no such key; did you mean trainer.max_epochs?",
        ),
        (overlay("group.yaml"), "group.yaml: modle.network: there is no such key; did you mean model.network?"),
        (overlay("value.yaml"), "value.yaml: data.loader.batch_size is 'abc': it must be a whole number."),
        (overlay("text.yaml"), "text.yaml: a configuration is a mapping"),
        (overlay("list.yaml"), "list.yaml: a configuration is a mapping"),
        (overlay("syntax.yaml"), "syntax.yaml line 2: not YAML"),
        (
            overlay("class.yaml"),
            "class.yaml: model.network.backbone: echo_e3net.nn.backbone.Nope names no class that can be imported.",
        ),
        (
            overlay("swap.yaml"),
            "swap.yaml: model.optimizer.betas: torch.optim.SGD takes no betas: take it out. It takes lr, momentum,",
        ),
        (overlay("deep.yaml"), "deep.yaml: model.loss.ef.weight is 'heavy': it must be a number."),
    ],
)
def test_a_slip_in_a_run_s_configuration(command, tmp_path, slip, says):
    for name, text in OVERLAYS.items():
        (tmp_path / name).write_text(text)
    code, error = command("fit", "--config", BASE, *slip)
    assert code == 2
    assert says in error
    assert error.startswith("echo-e3net: error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("fot",), "fot: there is no such command; did you mean fit?"),
        (("fit", "--model.optimizer", "SGD"), "echo-e3net fit needs model.network and model.loss."),
        (("data",), "echo-e3net data needs to know what: check, cache, import, phantom."),
        (("data", "chek", "x"), "echo-e3net data chek: there is no such command; did you mean check?"),
        (("data", "check"), "echo-e3net data check needs root. `echo-e3net data check --help` shows how."),
        (("data", "check", "x", "--decod"), "did you mean --decode? `echo-e3net data check --help` lists all."),
        (("data", "phantom", "--n", 3), "echo-e3net data phantom needs out."),
        (("data", "phantom", "--out", "x", "--n", "abc"), "--n is 'abc': it must be a whole number."),
        (
            ("data", "phantom", "--out", "x", "--look", "handhelt"),
            "it must be adult_cart or handheld; did you mean handheld?",
        ),
        (("study",), "echo-e3net study needs file."),
        (("study", "x.yaml", "--job", 3), "did you mean --jobs?"),
        (("report", "x", "--vidoes", 3), "--vidoes: there is no such argument; did you mean --videos?"),
        (
            ("profile", "--config", BASE, "--repeat", 3),
            "did you mean --repeats? `echo-e3net profile --help` lists all.",
        ),
        (
            ("draw", "architecture", "--config", BASE, "--row", 3),
            "did you mean --rows? `echo-e3net draw architecture --help` lists all.",
        ),
    ],
)
def test_a_slip_in_a_verb(command, words, says):
    code, error = command(*words)
    assert code == 2
    assert says in error
    assert error.count("\n") == 1


def test_a_report_in_another_form_ends_in_its_own_last_line():
    context = Context([], ["data.clip.frames"], "echo-e3net fit")
    assert sentence("Something new:\n  - of this kind", context) == "of this kind. `echo-e3net fit --help` lists all."
    assert sentence('Parser key "data":\n  odd', context) == "data: odd. `echo-e3net fit --help` lists all."


def test_the_nearest_key_is_looked_for_where_the_key_is_right():
    known = ["data.clip.frames", "data.clip.period", "trainer.max_epochs", "model"]
    assert nearest("data.frame", known) == "data.clip.frames"
    assert nearest("dta.period", known) == "data.clip.period"
    assert nearest("max_epoch", known) == "trainer.max_epochs"
    assert nearest("quite.other", known) is None


def test_a_notebook_gets_the_sentence_too():
    from echo_e3net.cli.training_cli import NetworkCLI

    with pytest.raises(InputError, match=r"did you mean --data.clip.frames"):
        NetworkCLI("notebook", "", ["--config", str(BASE), "--data.frame", "3"])
