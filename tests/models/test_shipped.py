"""The shipped network: how it is found and named, half precision, and the shipped file itself."""

import json
import math
import re
import warnings
from pathlib import Path

import cv2
import guard_files
import learning_curves
import make_weights
import numpy as np
import pytest
import torch
import yaml
from pydicom import examples
from safetensors.torch import load_file

import echo_e3net
from echo_e3net.cli.main import main
from echo_e3net.data.raster import fill_polygon
from echo_e3net.errors import InputError
from echo_e3net.models import folder, opening
from echo_e3net.models.building import build_network
from echo_e3net.models.description import SYNTHETIC
from echo_e3net.models.opening import find_model, load_network, open_model
from echo_e3net.phantom.look import LOOKS
from echo_e3net.phantom.render import plan_video, render
from echo_e3net.reading.border_cues import outline
from echo_e3net.reading.quality import CUES
from echo_e3net.training.starting import start_from
from tests.models.test_model_files import MASK, TREE, VIDEO, description

SHIPPED = opening.SHIPPED_FOLDER


@pytest.fixture(scope="module")
def network():
    """The tiny network, with norms whose statistics leave the range of float16."""
    torch.manual_seed(0)
    network = build_network(TREE, "here").eval()
    first, *_, last = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm3d)]
    first.running_var.fill_(1e5)
    last.running_var.fill_(1e-8)
    return network


@pytest.fixture
def stand_in(network, tmp_path, monkeypatch):
    """Replace the shipped network by a tiny one, and return its folder."""
    place = tmp_path / "package/weights"
    folder.write_folder(place, description(synthetic=True), network, half=True)
    monkeypatch.setattr(opening, "SHIPPED_FOLDER", place)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return place


class TestName:
    def test_load_without_a_model_opens_it_with_a_warning(self, stand_in):
        with pytest.warns(UserWarning, match="training videos are synthetic; no accuracy on patients is claimed"):
            reader = echo_e3net.load()
        assert reader.model.where == stand_in
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert echo_e3net.load("shipped").model.where == stand_in
            assert open_model().where == stand_in

    def test_a_local_folder_of_that_name_is_not_mistaken(self, stand_in, network, tmp_path):
        folder.write_folder(tmp_path / "work/shipped", description(videos=77), network)
        with pytest.raises(InputError, match=r"pass \./shipped; for the shipped network, rename") as error:
            find_model("shipped")
        assert "\n" not in str(error.value)
        for local in ("./shipped", tmp_path / "work/shipped"):
            assert echo_e3net.load(local).description.videos == 77
        # without a name, nothing is ambiguous
        assert open_model().where == stand_in

    def test_a_package_without_it_says_so_in_one_line(self, tmp_path, monkeypatch):
        monkeypatch.setattr(opening, "SHIPPED_FOLDER", tmp_path)
        for source in (None, "shipped"):
            with pytest.raises(InputError, match=r"has no trained network\. Name another") as error:
                open_model(source)
            assert "\n" not in str(error.value)

    def test_a_training_starts_from_it(self, stand_in, network):
        fresh = build_network(TREE, "here")
        start = start_from(fresh, "shipped")
        assert not start.new
        taken = folder.read_folder(stand_in)[1].state_dict()
        assert all(torch.equal(fresh.state_dict()[name], taken[name]) for name in ("backbone.stem.0.weight",))

    def test_predict_and_stream_use_it_and_say_so(self, stand_in, command, monkeypatch, phantom_root, tmp_path):
        video = min((phantom_root / "Videos").iterdir())
        code, error = command("predict", video, "--json", "-")
        assert code == 0, error
        assert re.fullmatch(r"predict: no --model given, .* used\. .* videos are synthetic; .*\n", error)
        (found,) = json.loads(command.output)
        reading = echo_e3net.load(stand_in).read(video)
        assert found["ef_percent"] == pytest.approx(reading.ef_percent, abs=0.01)
        code, error = command("stream", video)
        assert code == 0, error
        assert error.startswith("stream: no --model given, so the shipped network is used.")
        code, error = command("predict", video, "--model", "shipped")
        assert (code, error) == (0, "predict: using model shipped. " + SYNTHETIC + "\n")
        assert json.loads((stand_in / "config.json").read_text())["synthetic"]

    def test_export_copies_it(self, stand_in, command, tmp_path):
        code, error = command("export", "shipped", "--to", "copy", "--half")
        assert code == 0, error
        assert (tmp_path / "copy/model.safetensors").read_bytes() == (stand_in / "model.safetensors").read_bytes()
        code, error = command("export", "shipped", "--to", "copy.onnx", "--half")
        assert (code, error.count("\n")) == (2, 1)
        assert "--half is for folders" in error


class TestHalfPrecision:
    def test_kernels_take_half_the_space_and_vectors_stay_exact(self, stand_in, network):
        stored, own = load_file(stand_in / "model.safetensors"), network.state_dict()
        for name, value in own.items():
            kernel = value.is_floating_point() and value.dim() > 1
            assert stored[name].dtype == (torch.float16 if kernel else value.dtype), name
            assert kernel or torch.equal(stored[name], value), name

    def test_a_kernel_beyond_the_range_stays_exact(self):
        wide = torch.tensor([[1.0, 1e6]])
        assert torch.equal(folder.halved(wide), wide)
        small = torch.linspace(-1e-7, 1e-7, 27).reshape(1, 1, 3, 3, 3)
        assert torch.equal(folder.halved(small), small)

    def test_it_computes_in_float32_with_the_rounded_weights(self, stand_in, network):
        _, found = load_network(stand_in)
        assert {value.dtype for value in found.state_dict().values() if value.is_floating_point()} == {torch.float32}
        for name, value in network.state_dict().items():
            expected = value.half().float() if value.is_floating_point() and value.dim() > 1 else value
            assert torch.equal(found.state_dict()[name], expected), name

    def test_the_outputs_hardly_change(self, stand_in, network):
        with torch.inference_mode():
            expected = network(torch.from_numpy(VIDEO), torch.from_numpy(MASK))
        found = open_model(stand_in).read(VIDEO, MASK)
        np.testing.assert_allclose(found.ef, expected.ef, atol=1e-3)
        np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=0.05)


@pytest.mark.slow
class TestScript:
    def test_a_finished_run_becomes_weights_card_checksum_and_pinned_ef(
        self, trained, phantom_root, tmp_path, monkeypatch, capsys
    ):
        """Without a step, it also makes the data and trains, through the same command line."""
        made, pinned = tmp_path / "package/weights/model.safetensors", tmp_path / "shipped_ef.json"
        changes = {"WEIGHTS": made, "SUMS": made.with_name("SHA256SUMS"), "PINNED": pinned, "COMPARED": 2}
        for name, value in changes.items():
            monkeypatch.setattr(make_weights, name, value)
        for name in ("WEIGHTS", "SUMS"):
            monkeypatch.setattr(guard_files, name, changes[name])
        monkeypatch.setattr(opening, "SHIPPED_FOLDER", made.parent)
        ran = []
        monkeypatch.setattr(make_weights, "program", lambda *words: ran.append(words) or main(list(map(str, words))))
        monkeypatch.chdir(tmp_path)
        (tmp_path / "data").mkdir()
        for name in ("mixed", *(f"family-{look}" for look in make_weights.FAMILIES)):
            (tmp_path / "data" / name).symlink_to(phantom_root)
        for name in make_weights.FURTHER:
            further = tmp_path / "data" / name
            further.mkdir()
            (further / "FileList.csv").symlink_to(phantom_root / "FileList.csv")
            (further / "phantom.json").write_text('{"look": "filling", "seed": 9}')
        run = str(trained.relative_to(tmp_path))
        for part in range(1, len(make_weights.PARTS)):
            trained.with_name(f"{trained.name}-part{part}").symlink_to(trained)
        make_weights.main(["test", "export", "pin", "--run", run])
        assert [words[0] for words in ran] == ["test"] * 6 + ["export"]
        assert guard_files.refusals(made) == []
        card = (made.parent / "README.md").read_text(encoding="utf-8")
        assert "phantom: 12 videos for each data seed, at most 40 frames per video" in card
        assert card.count("data seed 1 |") == len(make_weights.PARTS) - len(make_weights.FURTHER)
        assert card.count("videos of look `filling`, data seed 9 |") == len(make_weights.FURTHER)
        assert card.count("| part ") == len(make_weights.PARTS)
        assert all(f"| `{look}` | 4 |" in card for look in ("mixed", *make_weights.FAMILIES))
        assert json.loads(pinned.read_text())["ef_percent"] > 0
        assert "outside the required ranges" in capsys.readouterr().out
        # results are kept, weights are replaced
        made.write_bytes(b"old")
        make_weights.main(["test", "export", "--run", run])
        assert [words[0] for words in ran[7:]] == ["export"]
        assert guard_files.refusals(made) == []


def test_each_part_of_the_training_has_its_data_and_starts_from_the_part_before(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(make_weights, "program", lambda *words: ran.append(list(map(str, words))))
    make_weights.main(["data", "train", "--data", str(tmp_path), "--run", str(tmp_path / "run")])

    def given(words, name):
        return Path(words[words.index(name) + 1]).name if name in words else None

    made = {given(words, "--out"): given(words, "--seed") for words in ran if words[:2] == ["data", "phantom"]}
    assert (made["mixed"], made["mixed-second"], made["filling"], made["calibration"]) == ("0", "1", "2", "100")
    fits = [words for words in ran if words[0] == "fit"]
    assert [given(words, "--data.root") for words in fits] == [*3 * ["mixed"], "mixed-second", "filling"]
    assert [given(words, "--name") for words in fits] == [*(f"run-part{part}" for part in (1, 2, 3, 4)), "run"]
    assert [given(words, "--init_from") for words in fits] == [None, *(f"run-part{part}" for part in (1, 2, 3, 4))]


def test_a_learning_curve_uses_no_result_of_other_arguments_configurations_or_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(learning_curves, "ROOT", tmp_path)
    (tmp_path / "experiments").mkdir()
    config, checkpoint = tmp_path / "experiments/a.yaml", tmp_path / "start/checkpoints/epoch=000-rmse=1.0.ckpt"
    checkpoint.parent.mkdir(parents=True)

    def name(*words):
        run = learning_curves.Run("run", {}, ("--config", "a.yaml", *words), {})
        return learning_curves.with_digest(run).name

    config.write_text("lr: 1")
    checkpoint.write_bytes(b"one")
    start = ("--init_from", tmp_path / "start")
    names = [name(), name(*start), name("--epochs", 3)]
    assert names == [name(), name(*start), name("--epochs", 3)]
    checkpoint.write_bytes(b"other")
    names.append(name(*start))
    config.write_text("lr: 2")
    names.append(name())
    assert len(set(names)) == len(names)


class TestFile:
    """The file in the package. scripts/make_weights.py makes it, its card, and the pinned EF."""

    def test_it_is_small_and_is_the_one_binary_that_the_guard_allows(self):
        assert (SHIPPED / "model.safetensors").stat().st_size <= 2_000_000
        assert guard_files.WEIGHTS == SHIPPED / "model.safetensors"
        assert guard_files.refusals(guard_files.WEIGHTS) == []
        names = {"model.safetensors", "config.json", "network.yaml", "README.md", "SHA256SUMS"}
        assert {path.name for path in SHIPPED.iterdir()} == names

    def test_it_has_the_network_and_the_clip_of_its_configurations(self):
        from echo_e3net.cli.network_cli import NetworkCLI

        configs = [word for name in ("e3net.yaml", "e3net_small.yaml") for word in ("--config", name)]
        cli = NetworkCLI("profile", "", configs)
        found, network = load_network(SHIPPED)
        shapes = {name: value.shape for name, value in network.state_dict().items()}
        assert shapes == {name: value.shape for name, value in cli.network.state_dict().items()}
        clip = cli.config.data.clip
        assert found.clip[:3] == (clip.frames, clip.period, clip.size)
        assert found.borders == ("endo", "epi")
        assert found.limits, "run make_weights.py calibrate"
        assert found.synthetic
        assert all(value.isfinite().all() for value in network.state_dict().values())

    def test_its_card_states_data_limits_and_licence(self):
        card = (SHIPPED / "README.md").read_text(encoding="utf-8")
        assert yaml.safe_load(card.split("---")[1])["license"] == "mit"
        for text in ("synthetic videos only", "Not a medical device", "No accuracy on patients is claimed", "reader"):
            assert text in card
        assert all(f"| `{look}` |" in card for look in ("mixed", *make_weights.FAMILIES))

    def test_the_model_card_has_its_limits(self):
        card = (make_weights.ROOT / "docs/MODEL_CARD.md").read_text(encoding="utf-8")
        limits = load_network(SHIPPED)[0].limits
        rows = [f"| {name} | {CUES[name].limit:g} | {limit:g} |" for name, limit in limits.items()]
        assert "\n".join(rows) in card

    def test_its_ef_of_a_phantom_clip_is_the_pinned_one(self):
        pinned = json.loads(make_weights.PINNED.read_text(encoding="utf-8"))
        assert pinned.items() >= make_weights.PINNED_CLIP.items()
        found = make_weights.pinned_reading()
        # other processors round differently
        assert found.ef_percent == pytest.approx(pinned["ef_percent"], abs=0.5)
        assert len(found.beats) == pinned["beats"]

    def test_another_rate_and_size_change_ef_little(self):
        plan = make_weights.pinned_plan()
        frames = np.stack([cv2.resize(frame, (224, 224)) for frame in render(plan)[::2]])
        found = echo_e3net.load("shipped").read(frames, fps=plan.scan.fps / 2)
        pinned = json.loads(make_weights.PINNED.read_text())["ef_percent"]
        assert found.ef_percent == pytest.approx(pinned, abs=4)

    @pytest.mark.parametrize("index", [22, 27, 28, 30, 56])
    def test_a_video_that_ends_within_its_only_systole_is_not_good(self, reader, index):
        """Its EF is far too low, because the ventricle is not yet at its smallest."""
        plan = plan_video(78, index, 100, LOOKS["mixed"])
        end = (plan.ejection.ed + plan.ejection.es) // 2 + 1
        start = end - max(38, math.ceil(0.72 * plan.scan.fps))
        found = reader.read(render(plan)[start:end], fps=plan.scan.fps)
        assert found.ef_percent < plan.ejection.ef_percent - 10
        assert found.quality.grade != "good"


@pytest.fixture(scope="module")
def reader():
    return echo_e3net.load("shipped")


@pytest.fixture(scope="module")
def reading(reader):
    return reader.read(examples.get_path("ybr_color"))


class TestRealVideo:
    """The apical four-chamber video of pydicom: no label, but its EF must not depend on how the video was cut."""

    @pytest.mark.parametrize(("first", "last"), [(5, 0), (3, 0), (0, 3), (0, 5)])
    def test_frames_cut_from_either_end_change_ef_little(self, reader, reading, first, last):
        frames = reading.frames[first : len(reading.frames) - last]
        assert reader.read(frames, fps=reading.fps).ef_percent == pytest.approx(reading.ef_percent, abs=3)

    @pytest.mark.parametrize("factor", [0.8, 1.25])
    def test_another_rate_changes_ef_little(self, reader, reading, factor):
        found = reader.read(reading.frames, fps=factor * reading.fps)
        # the goal is 3 points (docs/LOG.md)
        assert found.ef_percent == pytest.approx(reading.ef_percent, abs=4.5)

    def test_the_borders_lie_around_the_dark_cavity_and_move_inwards(self, reading):
        beat = reading.beats[0]
        ed, es = (fill_polygon(reading.frames.shape[1:], outline(points[0])) for points in beat.landmarks)
        frames = reading.frames[[beat.ed_frame, beat.es_frame]].astype(float)
        assert es.sum() < 0.8 * ed.sum()
        for mask, frame in zip((ed, es), frames, strict=True):
            around = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))).astype(bool) & ~mask
            assert frame[mask].mean() < 0.7 * frame[around].mean()
