"""The guard against patient data: real files of each kind under an innocent name, and what must pass."""

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import zipfile
from pathlib import Path

import cv2
import guard_files
import numpy as np
import pytest
import torch
from pydicom.examples import get_path


def written(write) -> bytes:
    """What a function that takes an open file writes."""
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def avi(folder: Path) -> bytes:
    """A video as the phantom writes them."""
    path = folder / "made.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 50, (16, 16))
    for grey in (0, 255):
        writer.write(np.full((16, 16, 3), grey, np.uint8))
    writer.release()
    return path.read_bytes()


def zipped(file) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "a")


NIFTI = (348).to_bytes(4, "little") + bytes(340) + b"n+1\0" + bytes(100)
CONTENTS = {
    "mp4": ("video", b"\0\0\0\x20ftypisom\0\0\x02\0" + bytes(16)),
    "mkv": ("video", b"\x1aE\xdf\xa3" + bytes(32)),
    "gif": ("video", b"GIF89a" + bytes(32)),
    "dicom": ("medical image", get_path("ct").read_bytes()),
    "dicom without preamble": ("medical image", get_path("ct").read_bytes()[132:]),
    "nifti": ("medical image", NIFTI),
    "nifti.gz": ("medical image", gzip.compress(NIFTI)),
    "checkpoint": ("archive", written(lambda file: torch.save({"a": torch.ones(2)}, file))),
    "legacy checkpoint": (
        "checkpoint or array",
        written(lambda file: torch.save([1], file, _use_new_zipfile_serialization=False)),
    ),
    "pickle": ("checkpoint or array", pickle.dumps([1])),
    "array": ("checkpoint or array", written(lambda file: np.save(file, np.ones(3)))),
    "safetensors": ("checkpoint or array", (2).to_bytes(8, "little") + b"{}"),
    "zip": ("archive", written(zipped)),
    "gzip": ("archive", gzip.compress(b"text")),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_content_is_refused_under_an_innocent_name(tmp_path, name):
    kind, content = CONTENTS[name]
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    (refusal,) = guard_files.refusals(path)
    assert refusal.reason == f"its content is that of a {kind}"
    assert refusal.advice == guard_files.ADVICE[kind]


def test_video_that_opencv_writes_is_refused(tmp_path):
    path = tmp_path / "README"
    path.write_bytes(avi(tmp_path))
    assert [refusal.reason for refusal in guard_files.refusals(path)] == ["its content is that of a video"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("clip.avi", "video"),
        ("CLIP.MP4", "video"),
        ("clip.mov", "video"),
        ("image.dcm", "medical image"),
        ("patient0001_4CH_ED.nii.gz", "medical image"),
        ("epoch=007-rmse=6.12.ckpt", "checkpoint or array"),
        ("cache.npy", "checkpoint or array"),
        ("data.tar.gz", "archive"),
    ],
)
def test_name_is_refused_whatever_it_holds(tmp_path, name, kind):
    path = tmp_path / name
    path.write_text("text")
    assert [refusal.reason for refusal in guard_files.refusals(path)] == [f"named like a {kind}"]


def test_limit_is_200_kb(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"a" * 200_000)
    assert guard_files.refusals(path) == []
    path.write_bytes(b"a" * 300_000)
    assert [refusal.reason for refusal in guard_files.refusals(path)] == ["300 kB; the limit is 200 kB"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty", b""),
        ("module.py", b"the wide moat\n"),
        ("dat.csv", b"FileName,EF\nphantom,55.0\n"),
        ("config.yaml", "name: Echo-E³Net\n".encode()),
        ("figure.png", cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()),
    ],
)
def test_text_and_pictures_pass(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert guard_files.refusals(path) == []


def test_link_is_judged_by_its_name_alone(tmp_path):
    (tmp_path / "movie.avi").write_bytes(avi(tmp_path))
    for name, refused in (("data", False), ("other.avi", True)):
        link = tmp_path / name
        link.symlink_to(tmp_path / "movie.avi")
        assert bool(guard_files.refusals(link)) is refused


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Small weights in the place of the package's, with their checksum."""
    path, sums = tmp_path / "model.safetensors", tmp_path / "SHA256SUMS"
    path.write_bytes(CONTENTS["safetensors"][1])
    sums.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  model.safetensors\n")
    monkeypatch.setattr(guard_files, "WEIGHTS", path)
    monkeypatch.setattr(guard_files, "SUMS", sums)
    return path


def test_the_weights_of_the_package_pass_by_their_checksum(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert guard_files.refusals(weights) == guard_files.refusals(Path(weights.name)) == []
    content = weights.read_bytes()
    weights.write_bytes(content + b" ")
    assert [refusal.reason for refusal in guard_files.refusals(weights)] == ["its checksum is not that of SHA256SUMS"]
    weights.write_bytes(content)
    guard_files.SUMS.unlink()
    assert [refusal.reason for refusal in guard_files.refusals(weights)] == ["its checksum is not that of SHA256SUMS"]


def test_the_weights_of_the_package_are_at_most_2_mb(weights):
    weights.write_bytes(weights.read_bytes() + bytes(2_000_000))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    guard_files.SUMS.write_text(f"{digest}  model.safetensors\n")
    assert [refusal.reason for refusal in guard_files.refusals(weights)] == [
        "2000 kB; the limit of the weights is 2000 kB"
    ]


def test_the_same_file_elsewhere_and_a_link_are_refused(weights, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    assert len(guard_files.refusals(copy)) == 2
    link = tmp_path / "link.safetensors"
    link.symlink_to(weights)
    assert [refusal.reason for refusal in guard_files.refusals(link)] == ["named like a checkpoint or array"]


def test_command_names_file_reason_and_remedy(tmp_path, capsys):
    good, bad = tmp_path / "good.txt", tmp_path / "bad.avi"
    good.write_text("text")
    bad.write_text("text")
    assert guard_files.main([str(good)]) == 0
    assert guard_files.main([str(good), str(bad), str(tmp_path / "absent.txt")]) == 1
    printed = capsys.readouterr()
    assert f"{bad}: named like a video. " in printed.err
    assert "absent.txt: no such file" in printed.err
    assert "2 of 3 files refused" in printed.out


def test_without_arguments_every_tracked_file_is_looked_at(tmp_path, monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # set where the tests run inside a git hook
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    for name in ("kept name.avi", "gone.avi", "untracked.avi"):
        Path(name).write_text("text")
    subprocess.run(["git", "add", "kept name.avi", "gone.avi"], check=True)
    Path("gone.avi").unlink()
    assert guard_files.main([]) == 1
    assert capsys.readouterr().err.count(".avi: named like a video") == 1


def test_outside_git_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("GIT_DIR", raising=False)
    with pytest.raises(SystemExit, match="run in a git checkout"):
        guard_files.main([])
