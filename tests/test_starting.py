"""A training can start with the weights of a model, and says what it did not take."""

import copy
import json
import shutil

import pytest
import torch
import yaml

from echo_e3net.cli.model_option import with_model
from echo_e3net.errors import InputError
from echo_e3net.models import folder
from echo_e3net.models.building import build_network
from echo_e3net.models.description import FORM
from echo_e3net.models.weights import read_checkpoint
from echo_e3net.training.starting import start_from
from echo_e3net.types import TrainingStatistics
from tests.conftest import TINY
from tests.models.test_model_files import description

TREE = yaml.safe_load(TINY)["model"]["network"]
OWN = "tests.models.test_model_files.Own"
LIMITS = {"gap": 4.5, "together": 7.0}
"""Limits of the quality of the model."""


def changed(part, arguments):
    """Return the tiny network with other arguments of a part; None removes the part."""
    tree = copy.deepcopy(TREE)
    if arguments is None:
        tree["init_args"][part] = None
    else:
        tree["init_args"][part].setdefault("init_args", {}).update(arguments)
    return tree


def build(tree=TREE):
    torch.manual_seed(1)
    return build_network(tree, "here", trust=True).eval()


@pytest.fixture(scope="module")
def fresh():
    """The tiny network; tests that change it work on a copy."""
    return build()


@pytest.fixture(scope="module")
def trained_network(fresh):
    """The tiny network with other weights."""
    network = copy.deepcopy(fresh)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)
    network.normalise.mean.fill_(20)
    return network


@pytest.fixture(scope="module")
def model(tmp_path_factory, trained_network):
    """The trained network, exported."""
    place = tmp_path_factory.mktemp("model") / "model"
    folder.write_folder(place, description(grey=(20.0, 50.0), borders=("endo",), limits=LIMITS), trained_network)
    return place


def test_all_weights_and_the_grey_values_are_those_of_the_model(model, fresh, trained_network):
    network, theirs = copy.deepcopy(fresh), trained_network.state_dict()
    start = start_from(network, str(model))
    assert "not loaded" not in str(start)
    assert "only in the model" not in str(start)
    assert start.limits == LIMITS
    network.adopt(start.adapt(TrainingStatistics(99.0, 9.0, 0.25, (False, True), 30.0)))
    for name, value in network.state_dict().items():
        assert torch.equal(value, torch.tensor(30.0) if name == "fps" else theirs[name]), name
    assert network.normalise.mean == 20


def test_a_start_does_not_change_ef_although_the_mean_ef_of_the_new_videos_is_low(model, fresh, trained_network):
    network = copy.deepcopy(fresh)
    network.adopt(start_from(network, str(model)).adapt(TrainingStatistics(99.0, 9.0, 0.25)))
    video = torch.randint(0, 256, (2, 1, 8, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    own, theirs = (each.eval()(video).ef for each in (network, trained_network))
    assert torch.equal(own, theirs)


def test_a_new_aggregator_starts_from_the_mean_ef_of_the_new_videos(model):
    network = build(changed("aggregator", {"dim": 12}))
    network.adopt(start_from(network, str(model)).adapt(TrainingStatistics(99.0, 9.0, 0.25)))
    assert network.ef_mean == 0.25


@pytest.mark.parametrize(
    ("part", "arguments", "borders", "messages"),
    [
        (
            "detector",
            {"borders": 1},
            (False, False),
            [
                "267 of 269 tensors of the network are loaded; not loaded, so they start with random values: detector",
                "queries: (2, 42, 16), in the model (2, 84, 16)",
                "8 frames, one every 2 at 50 frames per second, of 64 px",
            ],
        ),
        ("aggregator", {"dim": 12}, (True, False), ["start with random values: aggregator ", ", …)"]),
        ("detector", None, (False, False), ["only in the model: detector "]),
    ],
)
def test_what_does_not_fit_is_listed_and_starts_anew(model, trained_network, part, arguments, borders, messages):
    network, theirs = build(changed(part, arguments)), trained_network.state_dict()
    before = copy.deepcopy(network.state_dict())
    start = start_from(network, str(model))
    assert all(name.startswith(part) for name in start.new)
    assert all(message in str(start) for message in messages)
    assert "\n" not in str(start)
    assert start.borders == borders
    assert start.limits is None
    assert start.taken + len(start.new) == len(before) - 3
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in start.new)
    kept = network.state_dict().keys() - start.new.keys() - {"ef_mean", "fps", "borders_labelled"}
    assert all(torch.equal(network.state_dict()[name], theirs[name]) for name in kept)
    json.dumps(start.record())


def test_a_network_of_another_width_is_refused(model):
    network = build(changed("backbone", {"cnn_channels": [4, 16], "hybrid_channels": [16, 8]}))
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(InputError, match=r"has another network. Only \d+ % .*backbone\.stages\.1\.\S+ is \(16, 4,"):
        start_from(network, str(model))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_that_are_not_numbers_are_refused(fresh, trained_network, tmp_path):
    network = copy.deepcopy(trained_network)
    network.aggregator.query.data.fill_(torch.nan)
    folder.write_folder(tmp_path / "nan", description(), network)
    with pytest.raises(InputError, match=r"1 tensors of .*nan contain NaN or infinity \(first: aggregator\.query\)"):
        start_from(fresh, str(tmp_path / "nan"))


def test_foreign_classes_are_refused_unless_they_are_trusted(fresh, trained_network, tmp_path):
    tree = copy.deepcopy(TREE)
    tree["init_args"]["detector"]["class_path"] = OWN
    folder.write_folder(tmp_path / "own", description()._replace(network=tree), trained_network)
    with pytest.raises(InputError, match=r"names tests\.models\..*--trust true"):
        start_from(fresh, str(tmp_path / "own"))
    assert not start_from(copy.deepcopy(fresh), str(tmp_path / "own"), trust=True).new


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "nothing: no such model"),
        ("empty", "empty: contains no model"),
        ("text.ckpt", r"text\.ckpt: not a valid model file"),
        ("model.onnx", r"model\.onnx: ONNX files cannot be used here"),
        ("newer", r"newer/config\.json: was written by echo-e3net .* Update with"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(model, fresh, tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for file in ("text.ckpt", "model.onnx"):
        (tmp_path / file).write_text("nothing")
    shutil.copytree(model, "newer")
    config = tmp_path / "newer/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "form": FORM + 1}))
    with pytest.raises(InputError, match=message) as error:
        start_from(fresh, name)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_run_starts_from_another_and_resumes_without_it(command, tiny, trained):
    """Without a learning rate, the weights after an epoch are those of the model."""
    source = str(trained.rename(trained.parent / "first"))
    best_file = next((trained.parent / "first/checkpoints").glob("epoch=*.ckpt"))
    torch.save({**torch.load(best_file, weights_only=False), "limits": LIMITS}, best_file)
    best = read_checkpoint(best_file)["state_dict"]
    rate = ("--model.optimizer.lr", 0.0, "--trainer.max_epochs")
    for name, message in ((f"{source}-not", "first-not: no such model"), ("", "contains no model")):
        code, error = command("fit", *tiny, *rate, 1, "--init_from", name)
        assert (code, error.count("\n")) == (2, 1), error
        assert message in error
    assert not trained.exists()

    assert command("fit", *tiny, *rate, 1, "--init_from", source, "--trust")[0] == 0
    content = read_checkpoint(trained / "checkpoints/last.ckpt")
    moving = ("running_mean", "running_var", "num_batches_tracked")
    assert all(torch.equal(v, best[k]) for k, v in content["state_dict"].items() if not k.endswith(moving))
    assert content["settings"]["init_from"] == source
    assert content["limits"] == LIMITS
    assert content["settings"]["trust"] is False
    assert content["global_step"] == 2
    assert json.loads((trained / "environment.json").read_text())[0]["init_from"]["model"].startswith(source)

    shutil.rmtree(source)
    code, error = command("fit", *tiny, *rate, 2, "--ckpt_path", "last", "--init_from", "another")
    assert code == 2
    assert f"init_from is another, but was {source}" in error
    assert command("fit", *tiny, *rate, 2, "--auto_resume", "--init_from", source)[0] == 0
    content = read_checkpoint(trained / "checkpoints/last.ckpt")
    assert (content["global_step"], content["limits"]) == (4, LIMITS)
    starts = json.loads((trained / "environment.json").read_text())
    assert [(start["init_from"] is None, start["resumed"] is None) for start in starts] == [
        (False, True),
        (True, False),
    ]
    assert yaml.safe_load((trained / "resolved_config.yaml").read_text())["init_from"] == source


@pytest.mark.slow
def test_an_exported_folder_holds_the_configuration_to_train_it_further(command, tiny, trained, phantom_root):
    """The base configuration is of another network and clip."""
    assert command("export", trained, "--to", "model")[0] == 0
    base = ("--config", "e3net.yaml", "--data.root", phantom_root, "--init_from", "model", "--name", "further")
    code, error = command("fit", *base, "--trainer.max_epochs", 1)
    assert (code, error.count("\n")) == (2, 1), error
    assert "Add --config with network.yaml of its exported folder" in error

    assert command("fit", *base, "--config", "model/network.yaml", "--trainer.max_epochs", 1)[0] == 0
    start = json.loads((trained.parent / "further/environment.json").read_text())[0]["init_from"]
    assert not start["new"]
    assert not start["unused"]
    settings = yaml.safe_load((trained.parent / "further/resolved_config.yaml").read_text())["data"]["clip"]
    assert {name: start["clip"][name] for name in ("frames", "period", "size")}.items() <= settings.items()


@pytest.mark.parametrize("args", [["--name", "x"], ["--ckpt_path", "best"]])
def test_a_file_config_json_in_the_working_folder_is_not_a_model(tmp_path, monkeypatch, args):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert with_model(args) == args


@pytest.mark.slow
def test_an_exported_folder_is_tested_like_its_run(command, trained, phantom_root):
    assert command("export", trained, "--to", "model")[0] == 0
    data = ("--data.root", phantom_root, "--trainer.precision", "32-true")
    assert command("test", "--model", trained, *data)[0] == 0
    assert command("test", "--model", "model", *data)[0] == 0
    runs = (trained, trained.parent / "exported-model")
    run, exported = (json.loads((folder / "metrics.json").read_text()) for folder in runs)
    assert exported.pop("checkpoint").endswith("model")
    del run["checkpoint"]
    assert exported == run
    code, error = command("test", "--model", "model", *data, "--data.clip.frames", 16, "--name", "other")
    assert (code, "but the network was trained with" in error) == (2, True), error
    assert command("draw", "attention", "--model", "model", *data[:2])[0] == 0
    assert (runs[1] / "attention.png").is_file()

    # a local folder with the name of the shipped network, and the results of another model
    shutil.copytree("model", "shipped")
    code, error = command("test", "--model", "./shipped", *data, "--name", "exported-model")
    assert (code, "has results with checkpoint" in error) == (2, True), error
    assert command("validate", "--model", "./shipped", *data)[0] == 0
    # only config.json is read, and its classes are checked
    (trained.parent.parent / "shipped/network.yaml").write_text("no: configuration")
    assert command("validate", "--model", "./shipped", *data)[0] == 0
    config = trained.parent.parent / "shipped/config.json"
    content = json.loads(config.read_text())
    content["network"]["init_args"]["detector"]["class_path"] = OWN
    config.write_text(json.dumps(content))
    code, error = command("validate", "--model", "./shipped", *data)
    assert (code, "--trust true" in error) == (2, True), error
    assert command("validate", "--model", "./shipped", *data, "--trust")[0] == 0
