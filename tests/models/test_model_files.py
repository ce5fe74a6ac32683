"""A model file holds everything that is needed to use it, and cannot run code."""

import json
import os
import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import echo_e3net
from echo_e3net.errors import InputError
from echo_e3net.models import folder
from echo_e3net.models.building import build_network
from echo_e3net.models.description import FORM, from_json
from echo_e3net.models.opening import find_model, load_network, open_model
from tests.conftest import TINY
from tests.reading.pulse import describe

TREE = yaml.safe_load(TINY)["model"]["network"]
VIDEO = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 64, 64), dtype=np.uint8)
MASK = np.array([[True] * 8, [True] * 6 + [False] * 2])


def description(**changes):
    found = describe()
    return found._replace(network=TREE, clip=found.clip._replace(frames=8), **changes)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(TREE, "here").eval()


@pytest.fixture
def exported(network, tmp_path):
    folder.write_folder(tmp_path / "model", description(), network)
    return tmp_path / "model"


def test_a_folder_gives_the_same_network_and_description(exported, network):
    opened = open_model(exported)
    assert opened.description == description()
    with torch.inference_mode():
        expected = network(torch.from_numpy(VIDEO), torch.from_numpy(MASK))
    found = opened.read(VIDEO, MASK)
    np.testing.assert_allclose(found.ef, expected.ef, atol=1e-5)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=1e-3)
    np.testing.assert_allclose(found.timing, expected.phase_logits.softmax(-1), atol=1e-5)
    assert found.timing[1, :, 6:].max() == 0


def test_a_copy_says_that_it_was_trained_on_synthetic_videos(network, command, tmp_path):
    folder.write_folder(tmp_path / "first", description(synthetic=True), network)
    assert command("export", "first", "--to", "copy")[0] == 0
    assert open_model(tmp_path / "copy").description.synthetic
    assert "training videos are synthetic" in (tmp_path / "copy/README.md").read_text()


def test_a_folder_has_a_card_and_no_path_or_name(exported, tmp_path):
    assert {path.name for path in exported.iterdir()} == {
        "model.safetensors",
        "config.json",
        "network.yaml",
        "README.md",
    }
    card = (exported / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "echo-e3net"
    assert "10 videos" in card
    assert "| val/mae | 5 |" in card
    assert "synthetic" not in card
    for file in exported.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


BROKEN = {
    "missing": (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors: no such file"),
    "truncated": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
        r"model\.safetensors: the file is damaged",
    ),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), r"config\.json: is not JSON"),
    "of another program": (
        lambda f: (f / "config.json").write_text('{"model_type": "bert"}'),
        r"config\.json: does not describe a network of echo-e3net",
    ),
}


@pytest.mark.parametrize("defect", BROKEN)
def test_a_damaged_folder_is_refused_in_one_line(exported, defect):
    damage, message = BROKEN[defect]
    damage(exported)
    with pytest.raises(InputError, match=message) as error:
        open_model(exported)
    assert "\n" not in str(error.value)


EDITS = {
    "a newer form": (("form", FORM + 1), rf"\(format {FORM + 1}\); this version, .*pip install -U echo-e3net"),
    "no clip": (("clip", {}), "the description is damaged"),
    "an impossible clip": (("clip", {"frames": 2, "period": 1, "size": 64, "fps": 50}), "invalid clip"),
    "a foreign class": (("network", {"class_path": "os.system"}), "names os.system, which is not part"),
    # imported by a module of torch.nn
    "a foreign class behind a name of torch": (
        ("network", {**TREE, "init_args": {**TREE["init_args"], "detector": "torch.nn.modules.module.warnings.warn"}}),
        "which is not part",
    ),
    "an unknown class": (("network", {"class_path": "echo_e3net.nn.network.Nothing"}), "does not have"),
    "a class of another kind": (("network", {"class_path": "echo_e3net.losses.EFTerm"}), "cannot be built"),
    "an unknown argument": (("network", {**TREE, "init_args": {"depth": 3}}), "cannot be built"),
    "another network": (
        ("network", {**TREE, "init_args": {**TREE["init_args"], "detector": None}}),
        r"model\.safetensors: \d+ weights do not match",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_wrong_description_is_refused_in_one_line(exported, edit):
    (name, value), message = EDITS[edit]
    content = json.loads((exported / "config.json").read_text())
    (exported / "config.json").write_text(json.dumps({**content, name: value}))
    with pytest.raises(InputError, match=message) as error:
        open_model(exported)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"class_path": "tests.models.test_model_files.Own"}',
        "class_path: tests.models.test_model_files.Own",
        "/tmp/configuration",
        "configuration",
        "echo_e3net.clinic.user_videos.shutil.rmtree",
    ],
)
def test_no_text_leads_to_a_foreign_class(text, tmp_path, monkeypatch):
    """jsonargparse reads texts as YAML and as files, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configuration").write_text("class_path: tests.models.test_model_files.Own")
    for part in ("backbone", "detector", "aggregator"):
        with pytest.raises(InputError, match="could run other code"):
            build_network({**TREE, "init_args": {**TREE["init_args"], part: text}}, "here")


def test_a_foreign_class_can_be_allowed():
    tree = {**TREE, "init_args": {**TREE["init_args"], "detector": {"class_path": "tests.models.test_model_files.Own"}}}
    with pytest.raises(InputError, match="could run other code"):
        build_network(tree, "here")
    assert isinstance(build_network(tree, "here", trust=True).detector, Own)


from echo_e3net.nn.border_detector import BorderDetector  # noqa: E402


class Own(BorderDetector):
    """A detector outside the package."""


def test_a_description_survives_json():
    assert from_json(json.loads(json.dumps(description().as_json())), "here") == description()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "nothing: no such model"),
        ("empty", "empty: contains no model"),
        ("run", "run: the run has no checkpoint yet"),
        ("text.ckpt", r"text\.ckpt: not a valid model file"),
        ("text.onnx", r"text\.onnx: "),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    for text in ("text.ckpt", "text.onnx"):
        (tmp_path / text).write_text("nothing")
    with pytest.raises(InputError, match=message) as error:
        open_model(name)
    assert "\n" not in str(error.value)


def test_the_hub_is_asked_for_a_name_and_its_cache_works_offline(exported, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(InputError, match="hf://heart/small: the Hugging Face Hub gave no such model"):
        find_model("hf://heart/small")
    place = tmp_path / "hub/models--heart--small"
    (place / "snapshots").mkdir(parents=True)
    exported.rename(place / "snapshots/0123456789012345678901234567890123456789")
    (place / "refs").mkdir()
    (place / "refs/main").write_text("0123456789012345678901234567890123456789")
    assert echo_e3net.load("hf://heart/small").description == description()


@pytest.fixture(scope="module")
def both_forms(network, tmp_path_factory):
    """Return the same network as a folder and as an ONNX file; read-only."""
    for library in ("onnx", "onnxscript"):
        pytest.importorskip(library)
    place = tmp_path_factory.mktemp("exported")
    folder.write_folder(place / "model", description(), network)
    # in a process of its own: torch takes several times as long to trace functions whose shapes are checked
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    export = [sys.executable, "-m", "echo_e3net", "export", "model", "--to", "model.onnx"]
    subprocess.run(export, cwd=place, env=paths, check=True)
    return place / "model", place / "model.onnx"


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_onnx_agrees_with_eager_for_any_batch(both_forms, tmp_path, runtime):
    pytest.importorskip(runtime)
    eager, opened = open_model(both_forms[0]), open_model(both_forms[1], runtime=runtime)
    assert opened.description == description()
    for number in (1, 2):
        expected, found = eager.read(VIDEO[:number], MASK[:number]), opened.read(VIDEO[:number], MASK[:number])
        np.testing.assert_allclose(100 * found.ef, 100 * expected.ef, atol=0.01)
        np.testing.assert_allclose(100 * found.simpson_ef, 100 * expected.simpson_ef, atol=0.01)
        np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=0.01)
        np.testing.assert_allclose(found.timing, expected.timing, atol=1e-4)
    with pytest.raises(InputError, match="ONNX files cannot be used here"):
        load_network(both_forms[1])
    content = both_forms[1].read_bytes()
    (tmp_path / "half.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"half\.onnx: {runtime} cannot read it"):
        open_model(tmp_path / "half.onnx", runtime=runtime)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_whole_videos_give_the_same_ef_and_borders_in_each_runtime(both_forms, phantom_root, runtime):
    """docs/LOG.md has the differences over 50 videos with trained networks."""
    pytest.importorskip(runtime)
    files = sorted((phantom_root / "Videos").iterdir())[:2]
    expected = echo_e3net.load(both_forms[0]).read(files)
    for eager, found in zip(expected, echo_e3net.load(both_forms[1], runtime=runtime).read(files), strict=True):
        assert found.ef_percent == pytest.approx(eager.ef_percent, abs=0.01)
        assert found.simpson_ef_percent == pytest.approx(eager.simpson_ef_percent, abs=0.01)
        for beat, known in zip(found.beats, eager.beats, strict=True):
            np.testing.assert_allclose(beat.landmarks, known.landmarks, atol=0.01)
    assert any(reading.beats for reading in expected)


PACKAGES = ("numpy", "opencv-python-headless", "av", "decord", "jaxtyping", "onnxruntime")
"""What README.md names for reading an ONNX file without torch."""


def with_requirements(names):
    """Return packages and everything that they require, as pip would install it without extras."""
    found, left = {}, list(names)
    while left:
        package = metadata.distribution(left.pop())
        if package.name not in found:
            found[package.name] = package
            required = [line for line in package.requires or () if ";" not in line]
            left += [re.match(r"[\w.-]+", line)[0] for line in required]
    return found


@pytest.mark.slow
def test_an_environment_without_torch_and_lightning_reads_an_onnx_file(both_forms, phantom_root, tmp_path):
    for package in PACKAGES:
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed")
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"pip install {' '.join(PACKAGES)}" in readme
    venv.create(tmp_path / "venv", symlinks=True)
    (place,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    installed = with_requirements(PACKAGES)
    for package in installed.values():
        for top in {file.parts[0] for file in package.files if file.parts[0] not in ("..", "__pycache__")}:
            (place / top).exists() or (place / top).symlink_to(package.locate_file(top))
    (place / "echo_e3net").symlink_to(Path(echo_e3net.__file__).parent)
    program = """
import importlib.util, sys
import echo_e3net
reading = echo_e3net.load(sys.argv[1]).read(sys.argv[2])
print(reading.ef_percent, reading.overlay("borders.mp4"))
print([name for name in ("torch", "lightning") if importlib.util.find_spec(name)])
try:
    echo_e3net.load(sys.argv[3])
except echo_e3net.errors.InputError as error:
    print(error)
"""
    video = min((phantom_root / "Videos").iterdir())
    python = tmp_path / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    arguments = [str(value) for value in (both_forms[1], video, both_forms[0])]
    done = subprocess.run([python, "-I", "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read, found, refusal = done.stdout.splitlines()
    ef_percent, overlay = read.split()
    assert float(ef_percent) == pytest.approx(echo_e3net.load(both_forms[0]).read(video).ef_percent, abs=0.01)
    assert (tmp_path / overlay).stat().st_size > 10_000
    assert found == "[]"
    assert "needs torch; without it, only .onnx files are read" in refusal
