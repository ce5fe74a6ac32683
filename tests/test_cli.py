"""Runs through the real command line with a tiny network."""

import errno
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pydicom
import pytest
import torch
import wandb
import yaml

from echo_e3net import geometry
from echo_e3net.cli.report_pictures import is_true
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.tracings import canonical_contours
from echo_e3net.errors import InputError


def test_a_run_from_fit_to_report(command, tiny, trained, phantom_root):
    run = trained
    assert (run / "checkpoints" / "last.ckpt").exists()
    assert len(list((run / "checkpoints").glob("epoch=*-rmse=*.ckpt"))) == 1
    resolved = yaml.safe_load((run / "resolved_config.yaml").read_text())
    assert resolved["data"]["clip"]["frames"] == 8
    assert json.loads((run / "environment.json").read_text())[0]["stage"] == "fit"

    assert command("test", *tiny)[0] == 0
    metrics = json.loads((run / "metrics.json").read_text())
    table = pd.read_csv(run / "test_videos.csv")
    records = {r.name: r for r in EchoNetDynamic().read(phantom_root).records if r.split == "test"}
    assert metrics["n"] == len(table) == len(records)
    assert set(table["name"]) == set(records)
    difference = table["ef_percent"] - table["label_ef_percent"]
    assert metrics["ef_mae"] == pytest.approx(difference.abs().mean(), abs=2e-3)
    assert metrics["ef_rmse"] == pytest.approx((difference**2).mean() ** 0.5, abs=2e-3)
    training = [r.ef for r in EchoNetDynamic().read(phantom_root).records if r.split == "train"]
    mean = 100 * sum(training) / len(training)
    assert metrics["training_mean_ef_mae"] == pytest.approx((table["label_ef_percent"] - mean).abs().mean(), abs=1e-2)
    names = (f"{prefix}ef_{name}" for prefix in ("", "training_mean_", "geometry_") for name in ("mae", "rmse", "r2"))
    assert all(math.isfinite(metrics[name]) for name in names)

    assert command("predict", *tiny, "--videos", *(r.path for r in records.values()))[0] == 0
    predicted = pd.read_csv(run / "predictions.csv")
    merged = predicted.merge(table, on="name")
    assert len(merged) == len(records)
    assert (merged["ef_percent_x"] - merged["ef_percent_y"]).abs().max() < 0.01
    assert predicted["label_ef_percent"].isna().all()
    check_tracings(run / "predictions_tracings.csv", predicted)

    code, error = command("predict", *tiny, "--videos", next(iter(records.values())).path)
    assert code == 2
    assert "predictions.csv exists" in error
    assert command("report", run)[0] == 0
    assert all((run / name).stat().st_size > 20_000 for name in ("scores.png", "borders.png"))
    assert not list(run.rglob(".*"))


def check_tracings(path, predicted):
    """Tracings have 21 segments per contour, as EchoNet's, and give the geometry EF of the table."""
    tracings = pd.read_csv(path)
    columns = ["X1", "Y1", "X2", "Y2"]
    groups = {
        key: torch.tensor(rows[columns].to_numpy(), dtype=torch.float32)
        for key, rows in tracings.groupby(["FileName", "Phase", "Border"])
    }
    assert len(groups) == len(predicted) * 4
    for _, row in predicted.iterrows():
        ed, es = (landmarks_of(groups[row["name"], phase, "endo"]) for phase in ("ED", "ES"))
        ef = 100 * geometry.ejection_fraction(ed, es).item()
        assert ef == pytest.approx(row["geometry_ef_percent"], abs=0.5)


def landmarks_of(segments):
    assert segments.shape == (21, 4)
    assert torch.from_numpy(canonical_contours(segments[None].numpy())).isfinite().all()
    return torch.cat([segments[0].view(2, 2), segments[1:, :2], segments[1:, 2:]])


@pytest.mark.slow
def test_a_border_that_was_never_labelled_is_not_written(command, tiny, tmp_path, phantom_root):
    """EchoNet-Dynamic traces only the endocardium."""
    endo = tmp_path / "endo"
    endo.mkdir()
    for name in ("FileList.csv", "VolumeTracings.csv", "Videos"):
        (endo / name).symlink_to(phantom_root / name)
    assert command("fit", *tiny, "--data.root", endo, "--trainer.max_epochs", 1)[0] == 0
    assert command("test", *tiny, "--data.root", endo)[0] == 0
    assert set(pd.read_csv(tmp_path / "runs/tiny/test_tracings.csv")["Border"]) == {"endo"}
    assert json.loads((tmp_path / "runs/tiny/metrics.json").read_text())["epi_n"] == 0
    assert command("report", tmp_path / "runs/tiny")[0] == 0
    assert command("draw", "attention", *tiny, "--data.root", endo, "--rows", 1)[0] == 0


@pytest.mark.slow
def test_resume_goes_on_where_it_stopped(command, tiny, trained):
    checkpoint = trained / "checkpoints" / "last.ckpt"
    code, error = command("fit", *tiny)
    assert code == 2
    assert "--ckpt_path last" in error
    assert command("fit", *tiny, "--ckpt_path", "last", "--trainer.max_epochs", 3)[0] == 0
    state = torch.load(checkpoint, weights_only=True)
    assert state["epoch"] == 2
    assert len(list((trained / "logs").glob("version_*"))) == 2
    assert len(json.loads((trained / "environment.json").read_text())) == 2
    assert yaml.safe_load((trained / "resolved_config.yaml").read_text())["ckpt_path"] is None


@pytest.mark.slow
def test_other_clips_than_in_training_are_refused_unless_allowed(command, tiny, trained):
    code, error = command("test", *tiny, "--data.clip.period", 1)
    assert code == 2
    assert "data.clip.period is 1, but the network was trained with 2" in error
    assert not (trained / "metrics.json").exists()
    code, error = command("draw", "attention", *tiny, "--data.clip.size", 96)
    assert "data.clip.size is 96, but the network was trained with 64" in error
    assert command("test", *tiny, "--data.clip.period", 1, "--data.other_clip", "true")[0] == 0
    code, error = command("test", *tiny)
    assert code == 2
    assert "metrics.json has results with period 1, not 2" in error
    assert command("test", *tiny, "--overwrite")[0] == 0
    assert command("test", *tiny)[0] == 0
    assert json.loads((trained / "metrics.json").read_text())["period"] == 2
    assert command("test", *tiny, "--data.clip.period", 1, "--data.other_clip", "true", "--overwrite")[0] == 0
    metrics = json.loads((trained / "metrics.json").read_text())
    assert (metrics["frames"], metrics["period"], metrics["size"]) == (8, 1, 64)


@pytest.mark.slow
def test_report_without_low_ef(command, tiny, trained):
    assert command("test", *tiny)[0] == 0
    path = trained / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"low_ef_n": 0, "low_ef_mae": None, "low_ef_bias": None}))
    assert command("report", path.parent)[0] == 0
    assert "EF of 40 % and below: no video" in command.output
    assert "videos is 0" in command("report", path.parent, "--videos", 0)[1]
    (path.parent / "scores.png").unlink()
    (path.parent / "scores.png").mkdir()
    code, error = command("report", path.parent)
    assert (code, error.count("\n")) == (2, 1)
    assert "scores.png cannot be written: it is a folder" in error


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*EF is 60 in 12 of 12 rows")
def test_videos_with_one_ef_are_tested_without_r2(command, tiny, trained, phantom_root, tmp_path):
    root = shutil.copytree(phantom_root, tmp_path / "same")
    pd.read_csv(root / "FileList.csv").assign(EF=60, Split="TEST").to_csv(root / "FileList.csv", index=False)
    assert command("test", *tiny, "--data.root", root)[0] == 0
    metrics = json.loads((trained / "metrics.json").read_text())
    assert (metrics["n"], metrics["ef_r2"]) == (12, None)
    assert metrics["ef_mae_95"][0] < metrics["ef_mae"] < metrics["ef_mae_95"][1]
    assert "ef_r2_95" not in metrics
    assert command("report", trained)[0] == 0


@pytest.mark.slow
def test_the_last_checkpoint_is_of_the_last_epoch_also_when_nothing_improves(command, tiny, tmp_path):
    assert command("fit", *tiny, "--trainer.max_epochs", 3, "--model.optimizer.init_args.lr", "0.0")[0] == 0
    folder = tmp_path / "runs" / "tiny" / "checkpoints"
    assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 2
    assert len(list(folder.glob("epoch=000*.ckpt"))) == 1
    assert {path.name for path in folder.glob("[!e]*")} == {"last.ckpt", "before_last.ckpt"}


def test_statistics_of_the_training_split_are_in_the_checkpoint(command, tiny, phantom_root, trained):
    state = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    training = [r.ef for r in EchoNetDynamic().read(phantom_root).records if r.split == "train"]
    for name in ("network.ef_mean", "training_ef"):
        assert state[name].item() == pytest.approx(sum(training) / len(training), abs=1e-6)
    assert 15 < state["network.normalise.mean"].item() < 60
    assert 25 < state["network.normalise.sd"].item() < 80


@pytest.mark.slow
def test_several_clips_a_video_are_averaged(command, tiny, trained):
    clips = (
        "--data.clip.evaluation",
        "echo_e3net.data.evaluation_policies.EvenClips",
        "--data.clip.evaluation.clips",
        3,
    )
    assert command("test", *tiny, *clips)[0] == 0
    table = pd.read_csv(trained / "test_videos.csv")
    assert table["clips"].max() == 3
    assert not table["name"].duplicated().any()


@pytest.mark.slow
def test_an_explicit_argument_beats_the_checkpoint(command, tiny, trained):
    code, error = command("test", *tiny, "--model.network.backbone.cnn_channels", "[8, 8]")
    assert code == 2
    assert "is of another network" in error
    assert str(next((trained / "checkpoints").glob("epoch=*"))).endswith(error.split("error: ")[1].split(" is of")[0])
    assert "resolved_config.yaml" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--data.root", "nowhere"), "nowhere: no such folder"),
        (("--data.clip.frames", 200), "spans 399 frames, but the longest video of the train split"),
        (("--data.clip.frames", 4), "frames is 4"),
        (("--model.network.detector.layers", 0), "layers is 0"),
        (("--model.network.backbone.hybrid_channels", "[8, 41]"), "channels is 41"),
        (("--ckpt_path", "last"), "last.ckpt"),
        (
            ("--model.network.detector", "null"),
            "landmarks, timing, volume_ratio",
        ),
        (("--model.network.backbone.temporal_strides", "[1, 1]"), "temporal_strides is [1, 1]"),
        (("--model.loss.ef.wieght", 3), "wieght"),
    ],
)
def test_input_errors_are_reported_in_one_line(command, tiny, change, message):
    code, error = command("fit", *tiny, *change)
    assert code == 2
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("fit", "--runs", "plain"), "plain/tiny/environment.json"),
        (("profile", "--repeats", 1, "--json", "plain/x.json"), "plain/x.json"),
        (("profile", "--repeats", 1, "--json", "folder"), "folder"),
        (("draw", "architecture", "--out", "plain/x.png"), "plain/x.png"),
        (("draw", "architecture", "--runs", "plain"), "plain/tiny/architecture.png"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(command, tiny, tmp_path, arguments, place):
    (tmp_path / "plain").write_text("")
    (tmp_path / "folder").mkdir()
    verbs = [word for word in arguments[:2] if word in ("fit", "profile", "draw", "architecture")]
    code, error = command(*verbs, *tiny, *arguments[len(verbs) :])
    assert code == 2
    assert f"{place} cannot be written: " in error
    assert "Traceback" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "plain", "tiny.yaml"]


@pytest.mark.slow
def test_a_picture_is_png_or_jpeg(command, tiny, tmp_path):
    assert command("draw", "architecture", *tiny, "--out", "x.jpg")[0] == 0
    code, error = command("draw", "architecture", *tiny, "--out", "x.gif")
    assert code == 2
    assert all(fact in error for fact in ("x.gif", ".png", ".jpg", ".jpeg"))


def test_errors_of_the_operating_system_are_reported_in_one_line(command, monkeypatch):
    def refuse(error):
        def run(args):
            raise error

        monkeypatch.setattr("echo_e3net.cli.main.run", run)
        return command("report", "x")

    assert refuse(PermissionError(errno.EACCES, "Permission denied", "a.csv"))[1].endswith(
        "a.csv: Permission denied. Check the path and your permissions.\n"
    )
    assert "No space left on device" in refuse(OSError(errno.ENOSPC, "No space left on device"))[1]
    # An error without a file is not an input error.
    with pytest.raises(BrokenPipeError):
        refuse(BrokenPipeError(errno.EPIPE, "Broken pipe"))


@pytest.mark.slow
def test_predict_refuses_what_it_cannot_read(command, tiny, tmp_path, trained):
    (tmp_path / "text.avi").write_text("no video")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.ckpt").write_bytes((trained / "checkpoints/last.ckpt").read_bytes()[:5000])
    for arguments, message in {
        ("--videos", "text.avi"): "text.avi: not a video",
        ("--videos", "gone.avi"): "gone.avi: no such file or folder",
        ("--videos", "empty"): "empty: no file found",
        ("--videos",): "--videos",
        ("--ckpt_path", "cut.ckpt"): "cut.ckpt: ",
    }.items():
        code, error = command("predict", *tiny, *arguments)
        assert code == 2
        assert message in error
        assert "Traceback" not in error
    assert not (trained / "predictions.csv").exists()


@pytest.mark.slow
def test_the_network_and_its_attention_are_drawn(command, tiny, tmp_path, phantom_root):
    assert command("draw", "architecture", *tiny)[0] == 0
    assert (tmp_path / "runs/tiny/architecture.png").stat().st_size > 50_000
    code, error = command("draw", "attention", *tiny)
    assert code == 2
    assert "runs/tiny/checkpoints" in error
    assert command("fit", *tiny, "--trainer.max_epochs", 1)[0] == 0
    video = next((phantom_root / "Videos").glob("*.avi"))
    assert command("draw", "attention", *tiny, "--rows", 2, "--out", "a.png")[0] == 0
    assert command("draw", "attention", *tiny, "--videos", video, "--out", "b.png")[0] == 0
    assert (tmp_path / "a.png").stat().st_size > (tmp_path / "b.png").stat().st_size > 50_000
    bare = (
        "--model.network.detector",
        "null",
        *(w for term in ("landmarks", "volume_ratio", "timing") for w in (f"--model.loss.{term}", "null")),
    )
    assert command("draw", "architecture", *tiny, *bare, "--out", "bare.png")[0] == 0
    assert command("draw", "--help")[0] == 0
    assert "architecture" in command.output
    for arguments, message in {
        ("draw",): "required: COMMAND",
        ("draw", "attention"): "draw attention: no --config given, so e3net.yaml is used.",
        ("draw", "attention", *tiny, "--rows", 0): "rows is 0",
        ("draw", "attention", *tiny, *bare): "another network",
    }.items():
        code, error = command(*arguments)
        assert code == 2
        assert message in error
        assert "Traceback" not in error


@pytest.mark.slow
def test_without_a_configuration_the_base_is_used_and_named(command):
    code, error = command("fit")
    assert code == 2
    assert "fit: no --config given, so e3net.yaml is used." in error
    assert "--data.root" in error
    assert command("fit", "--print_config")[0] == 0
    assert yaml.safe_load(command.output)["model"]["network"]["class_path"] == "echo_e3net.nn.network.E3Net"


def test_help_names_every_command(command, capsys):
    assert command("--help")[0] == 0
    assert command("nonsense")[0] == 2
    assert command("test", "--config", "no.yaml")[0] == 2


def test_phantom_through_the_command_line(command, tmp_path):
    assert (
        command("data", "phantom", "--out", "p", "--n", 2, "--jobs", 1, "--max_frames", 28, "--preview", "sheet.png")[0]
        == 0
    )
    assert len(list((tmp_path / "p" / "Videos").glob("*.avi"))) == 2
    assert (tmp_path / "sheet.png").stat().st_size > 20_000
    code, error = command("data", "phantom", "--out", "p", "--n", 2, "--seed", 5, "--max_frames", 28)
    assert code == 2
    assert "seed 0, not 5" in error


@pytest.mark.slow
def test_clips_of_any_form_are_read_as_they_would_be_imported(command, tiny, tmp_path, phantom_root, trained):
    """The cine inside pydicom, a phantom's own file, and a file that is not a clip, by name and in folders."""
    cine = pydicom.examples.get_path("ybr_color")
    phantom_video = min((phantom_root / "Videos").glob("*.avi"))
    for place in ("one/IM1.dcm", "two/IM1.dcm"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_bytes(cine.read_bytes())
    (tmp_path / "two/notes.txt").write_text("nothing")
    assert command("data", "import", cine, "--out", "mine")[0] == 0
    imported = next((tmp_path / "mine/Videos").iterdir())

    code, error = command("predict", *tiny, "--videos", "one", "two")
    assert code == 2
    assert "two/notes.txt: not a video" in error
    assert "--data.on_defect exclude" in error
    videos = ("--videos", "one", "two", imported, phantom_video)
    assert command("predict", *tiny, *videos, "--data.on_defect", "exclude")[0] == 0
    rows = pd.read_csv(trained / "predictions.csv").set_index("name")
    assert list(rows.index) == ["one/IM1.dcm", "two/IM1.dcm", imported.stem, phantom_video.stem]
    assert list(rows["path"]) == ["one/IM1.dcm", "two/IM1.dcm", str(imported), str(phantom_video)]
    assert 0 < rows["ef_percent"].iloc[0] < 100
    assert 0 <= rows["ed_frame"].iloc[0] < 30
    assert rows["ef_percent"].iloc[0] == rows["ef_percent"].iloc[1]
    # They differ by JPEG compression.
    assert rows["ef_percent"].iloc[0] == pytest.approx(rows["ef_percent"][imported.stem], abs=0.05)
    assert rows["cropped"].tolist() == [True, True, False, False]
    assert command("report", trained)[0] == 0
    assert (trained / "borders.png").is_file()
    assert pd.read_csv(trained / "excluded.csv")["where"].tolist() == ["two/notes.txt"]
    assert set(pd.read_csv(trained / "predictions_tracings.csv")["FileName"]) == set(rows.index)

    # A video of a data set gives the same EF when it is named.
    assert command("test", *tiny)[0] == 0
    listed = pd.read_csv(trained / "test_videos.csv").set_index("name")["ef_percent"]
    one = listed.index[0]
    assert command("predict", *tiny, "--videos", phantom_root / "Videos" / f"{one}.avi", "--overwrite", "true")[0] == 0
    # In bfloat16, the last digits depend on the number of clips in a batch.
    assert pd.read_csv(trained / "predictions.csv")["ef_percent"][0] == pytest.approx(listed[one], abs=0.02)


@pytest.mark.parametrize(
    ("text", "value"), [("True", True), ("true", True), ("1", True), ("False", False), ("0", False)]
)
def test_report_reads_truth_values(text, value):
    assert is_true(text) is value


def test_report_refuses_other_truth_values():
    with pytest.raises(InputError, match="maybe"):
        is_true("maybe")


@pytest.mark.slow
def test_weights_and_biases_offline(command, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    overlay = Path(__file__).parents[1] / "experiments" / "overlays" / "wandb.yaml"
    steps = ("--trainer.max_epochs", 1, "--trainer.limit_train_batches", 1, "--trainer.limit_val_batches", 1)
    assert command("fit", *tiny, "--config", overlay, *steps)[0] == 0
    run = tmp_path / "runs" / "tiny"
    assert (run / "checkpoints" / "last.ckpt").exists()
    assert not (tmp_path / "wandb").exists()
    assert list((run / "wandb").glob("offline-run-*/*.wandb"))
    assert (wandb.run.name, wandb.run.project) == ("tiny", "echo-e3net")
    assert wandb.run.config["config"]["data"]["clip"]["frames"] == 8
    wandb.finish()
    assert (
        yaml.safe_load((run / "resolved_config.yaml").read_text())["trainer"]["logger"]["init_args"]["save_dir"] == "."
    )


@pytest.mark.slow
def test_a_missing_decord_is_reported_in_one_line(tmp_path, tiny):
    (tmp_path / "decord.py").write_text("raise ImportError('no wheel')")
    code = "import sys; from echo_e3net.cli.main import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    words = [sys.executable, "-c", code, "fit", *map(str, tiny)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert "decord2" in done.stderr
    assert "Traceback" not in done.stderr


def test_traceback_is_shown_when_asked_for(command, tiny, monkeypatch):
    monkeypatch.setenv("ECHO_E3NET_TRACEBACK", "1")
    with pytest.raises(InputError):
        command("fit", *tiny, "--data.root", "nowhere")
