"""``predict FILES`` and ``export``, through the command line."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydicom import examples

import echo_e3net
from echo_e3net.cli.predict_files import COLUMNS, detail_of, row_of, worth_reading
from echo_e3net.data.raster import write_mjpeg_avi
from echo_e3net.errors import InputError
from tests.reading.pulse import describe, pulse, reader


@pytest.fixture
def videos(phantom_root, tmp_path):
    """Return a folder of three videos: two of the phantom, and a copy of the first."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for number, file in enumerate(sorted((phantom_root / "Videos").iterdir())[:2]):
        shutil.copy(file, folder / f"v{number}.avi")
    shutil.copy(folder / "v0.avi", folder / "v2.avi")
    return folder


def test_files_and_folders_are_read_and_nothing_is_overwritten(command, trained, videos, tmp_path):
    write_mjpeg_avi(videos / "short.avi", np.zeros((5, 64, 64), np.uint8), 50)
    (videos / "notes").write_text("nothing")
    for name in ("FileList.csv", "notes.txt"):
        (videos / name).write_text("nothing")
    (videos / "gone.avi").symlink_to("nowhere")
    code, error = command("predict", videos, "--model", trained)
    assert code == 0, error
    lines = command.output.splitlines()
    assert len([line for line in lines if line.startswith("[")]) == 6
    assert re.fullmatch(r"EF of 3 of 6 files \((\d (good|doubtful|unusable)(, )?)+\): predictions\.csv", lines[-1])
    assert f"skipped {videos / 'FileList.csv'} and 1 more, whose suffix is not that of a video" in error
    assert f"predict: using model {trained}. Its training videos are synthetic" in error
    table = pd.read_csv(tmp_path / "predictions.csv").set_index("name")
    assert list(pd.read_csv(tmp_path / "predictions.csv").columns) == COLUMNS
    assert "not a video" in table.loc["notes", "refused"]
    assert table.loc["gone", "refused"] == "no such file"
    assert "too short: 5 frames" in table.loc["short", "refused"]
    assert table.loc["v2", "remark"] == f"same content as {videos / 'v0.avi'}"
    assert table.loc["v0", "ef_percent"] == table.loc["v2", "ef_percent"]
    reading = echo_e3net.load(trained).read(videos / "v1.avi")
    assert table.loc["v1", "ef_percent"] == pytest.approx(reading.ef_percent, abs=0.01)
    assert table.loc["v1", "beats"] == len(reading.beats)
    assert table.loc["v1", "quality"] == reading.quality.grade
    assert (table.loc["v1", "model"], table.loc["v1", "synthetic"]) == (str(trained), True)
    first = (tmp_path / "predictions.csv").read_bytes()
    assert command("predict", videos / "v0.avi", "--model", trained)[0] == 0
    assert "predictions-2.csv" in command.output
    assert (tmp_path / "predictions.csv").read_bytes() == first
    for _ in range(2):
        assert command("predict", videos / "v0.avi", "--model", trained, "--json", "found.json")[0] == 0
    assert {path.name for path in tmp_path.glob("found*.json")} == {"found.json", "found-2.json"}


def test_json_has_beats_and_borders(command, trained, videos):
    assert command("predict", videos / "v0.avi", "--model", trained, "--json", "-")[0] == 0
    found = json.loads(command.output)[0]
    assert found["frame_size"] == [112, 112]
    reading = reader().read(pulse(2.0, 50), fps=50)
    row = row_of("clip", Path("clip.avi"), reading, "")
    beats = json.loads(json.dumps(detail_of(row, reading)))["beats"]
    assert len(beats) == len(reading.beats) == 3
    assert np.shape(beats[0]["landmarks"]["epi"]) == (2, 42, 2)
    assert row["ed_frames"].split(";")[0] == str(reading.beats[0].ed_frame)
    assert row["beats"] == 3
    assert row["quality"] == detail_of(row, reading)["quality"] == "unusable"
    assert detail_of(row, reading)["reasons"] == list(reading.quality.reasons)
    assert detail_of(row, reading)["cues"]["top_width"] == 1


@pytest.mark.slow
def test_a_real_file_gets_a_video_with_borders(command, trained, tmp_path):
    code, error = command(
        "predict", examples.get_path("ybr_color"), "--model", trained, "--out", "out", "--overlay", "gif"
    )
    assert code == 0, error
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"predictions.csv", "examples_ybr_color-borders.gif"}


def test_results_in_a_folder_are_not_read_again(command, trained, videos):
    for name in ("predictions.csv", "predictions-2.csv", "v0-borders.gif", "v0-borders-2.mp4"):
        shutil.move(videos / "v2.avi", videos / name) if name == "v0-borders.gif" else (videos / name).write_text("")
    code, error = command("predict", videos, "--model", trained)
    assert code == 0
    assert "EF of 2 of 2 files" in command.output
    assert f"skipped {videos / 'predictions-2.csv'} and 3 more, named like results" in error
    # whoever names such a file means it
    assert worth_reading([videos / "v0-borders.gif"], [videos / "v0-borders.gif"])
    assert worth_reading([videos / "clip.txt"], [videos / "clip.txt"])


def test_dicom_names_keep_their_numbers(tmp_path):
    from echo_e3net.clinic.user_videos import distinct_names

    assert set(distinct_names([Path("1.2.840.11"), Path("1.2.840.12")]).values()) == {"1.2.840.11", "1.2.840.12"}


def test_a_missing_device_is_one_line(command, trained, videos):
    code, error = command("predict", videos, "--model", trained, "--device", "gpu")
    assert (code, len(error.splitlines())) == (2, 1)
    assert "device is 'gpu', which torch does not find here" in error


def test_an_argument_for_another_kind_of_model_is_refused(command, trained, videos, tmp_path):
    code, error = command("predict", videos, "--model", trained, "--runtime", "openvino")
    assert (code, len(error.splitlines())) == (2, 1)
    assert "runtime 'openvino' is for ONNX files; " in error
    with pytest.raises(InputError, match="threads 2 is for ONNX files"):
        echo_e3net.load(trained, threads=2)
    (tmp_path / "model.onnx").write_text("nothing")
    code, error = command("predict", videos, "--model", "model.onnx", "--device", "cuda")
    assert (code, len(error.splitlines())) == (2, 1)
    assert "device 'cuda' is for PyTorch models; model.onnx runs on the CPU" in error


def test_a_checkpoint_of_an_older_or_a_newer_version_is_refused(command, trained, videos):
    import torch

    path = next((trained / "checkpoints").glob("epoch=*.ckpt"))
    saved = torch.load(path, weights_only=True)
    torch.save({**saved, "form": 99}, path)
    assert "supports formats up to" in command("predict", videos, "--model", path)[1]
    torch.save({name: value for name, value in saved.items() if name != "scores"}, path)
    assert "lacks 'scores', as checkpoints of older versions do" in command("predict", videos, "--model", path)[1]


def test_nothing_to_read_is_an_error(command, trained, tmp_path):
    (tmp_path / "empty").mkdir()
    code, error = command("predict", "empty", "--model", trained)
    assert (code, len(error.splitlines())) == (2, 1)
    assert "empty: no file found" in error
    (tmp_path / "notes.txt").write_text("nothing")
    code, error = command("predict", "notes.txt", "--model", trained)
    assert code == 2
    assert "none of the 1 files could be read. The reasons are in predictions.csv" in error
    assert command("predict", "nowhere.avi", "--model", trained)[0] == 2


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(command, trained, videos):
    code, error = command("predict", videos, "--model", trained, "--out", "/proc/out")
    assert code == 2
    assert "cannot be written" in error
    assert "[1/" not in command.output


@pytest.mark.slow
def test_test_needs_only_the_run_or_the_checkpoint(command, trained, tmp_path, phantom_root):
    assert command("test", "--model", trained)[0] == 0
    expected = json.loads((trained / "metrics.json").read_text())
    (trained / "metrics.json").unlink()
    checkpoint = next((trained / "checkpoints").glob("epoch=*.ckpt"))
    assert command("test", "--ckpt_path", checkpoint)[0] == 0
    assert json.loads((trained / "metrics.json").read_text())["ef_mae"] == expected["ef_mae"]
    loose = shutil.copy(checkpoint, tmp_path / "loose.ckpt")
    shutil.rmtree(tmp_path / "runs")
    # explicit arguments win over those of the checkpoint
    assert command("test", "--model", loose, "--name", "other", "--data.loader.batch_size", 2)[0] == 0
    assert command("fit", "--model.compile", "false", "--print_config")[0] == 0
    assert json.loads((tmp_path / "runs/other/metrics.json").read_text())["ef_mae"] == pytest.approx(expected["ef_mae"])


@pytest.mark.slow
def test_a_module_is_loaded_as_lightning_users_expect(trained):
    import torch

    from echo_e3net.errors import InputError
    from echo_e3net.losses import E3Loss, EFTerm
    from echo_e3net.training.system import E3System

    checkpoint = next((trained / "checkpoints").glob("epoch=*.ckpt"))
    system = E3System.load_from_checkpoint(checkpoint)
    saved = torch.load(checkpoint, weights_only=True)
    torch.testing.assert_close(dict(system.state_dict()), saved["state_dict"])
    assert set(system.loss.terms) == {"ef", "landmarks", "volume_ratio", "timing"}
    assert system.network.fps > 0
    replaced = E3System.load_from_checkpoint(checkpoint, loss=E3Loss(EFTerm()), scheduler=None)
    assert set(replaced.loss.terms) == {"ef"}
    saved["settings"]["model"]["network"]["class_path"] = "os.system"
    torch.save(saved, checkpoint)
    with pytest.raises(InputError, match=r"names os\.system, which is not part of echo-e3net"):
        E3System.load_from_checkpoint(checkpoint)


@pytest.mark.slow
def test_an_exported_folder_reads_alike_and_holds_the_scores_of_the_test(command, trained, videos, tmp_path):
    assert command("test", "--model", trained)[0] == 0
    assert command("export", trained, "--to", "model")[0] == 0
    expected, found = (echo_e3net.load(place).read(videos / "v0.avi") for place in (trained, tmp_path / "model"))
    assert found.ef_percent == pytest.approx(expected.ef_percent, abs=1e-3)
    description = echo_e3net.load("model").description
    assert description.program == echo_e3net.__version__
    metrics = json.loads((trained / "metrics.json").read_text())
    assert description.scores["test/ef_mae"] == metrics["ef_mae"]
    assert description.videos > 0
    assert description.clip.fps == pytest.approx(50, abs=15)
    for file in (tmp_path / "model").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()
    (trained / "metrics.json").write_text(json.dumps({**metrics, "checkpoint": "another.ckpt"}))
    assert command("export", trained, "--to", "rel-0.1")[0] == 0
    assert "test/ef_mae" not in echo_e3net.load("rel-0.1").description.scores
    code, error = command("export", trained, "--to", "model")
    assert code == 2
    assert "model exists" in error
    assert ".pt is not written" in command("export", trained, "--to", "model.pt")[1]


def fill(disk, free_kb):
    """Leave only some space on a disk."""
    (disk / "filler").unlink(missing_ok=True)
    size = shutil.disk_usage(disk).free - 1024 * free_kb
    (disk / "filler").write_bytes(bytes(size))


def test_a_full_disk_leaves_no_part_of_an_export(command, trained, small_disk, tmp_path):
    assert command("export", trained, "--to", "model")[0] == 0
    pages = -(-(tmp_path / "model/model.safetensors").stat().st_size // 4096)
    # space for nothing, and for the weights only
    for free_kb in (0, 4 * pages):
        fill(small_disk, free_kb)
        code, error = command("export", trained, "--to", small_disk / "model")
        assert (code, len(error.splitlines())) == (2, 1)
        assert "model cannot be written: no space left on device. Free space and run again" in error
        assert [path.name for path in small_disk.iterdir()] == ["filler"]


@pytest.mark.slow
def test_a_full_disk_leaves_no_part_of_an_onnx_file(small_disk, monkeypatch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from echo_e3net.models import onnx_export
    from echo_e3net.nn.backbone import LHUNetEncoder
    from echo_e3net.nn.network import E3Net

    large = onnx.numpy_helper.from_array(np.ones(3_000_000, np.float32), "large")
    output = onnx.helper.make_tensor_value_info("ef", onnx.TensorProto.FLOAT, [3_000_000])
    node = onnx.helper.make_node("Identity", ["large"], ["ef"])
    graph = onnx.helper.make_graph([node], "network", [], [output], [large])
    monkeypatch.setattr(onnx_export, "export", lambda *_: onnx.helper.make_model(graph))
    with pytest.raises(InputError, match=r"model\.onnx cannot be written: no space left on device"):
        onnx_export.write_onnx(small_disk / "model.onnx", describe(), E3Net(LHUNetEncoder()))
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_a_full_disk_leaves_no_part_of_a_video(small_disk, suffix):
    fill(small_disk, 8)
    reading = reader().read(pulse(1.0, 50), fps=50)
    with pytest.raises(InputError, match=rf"x\.{suffix} cannot be written: no space left on device"):
        reading.overlay(small_disk / f"x.{suffix}")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_full_disk_leaves_no_part_of_a_table(command, trained, videos, small_disk):
    fill(small_disk, 0)
    code, error = command("predict", videos / "v0.avi", "--model", trained, "--out", small_disk)
    *_, last = error.splitlines()
    assert code == 2
    assert "predictions.csv cannot be written: no space left on device" in last
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
