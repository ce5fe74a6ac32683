"""Damaged files: the findings of ``data check``, and the errors of training."""

import os
import signal
import struct

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from echo_e3net.checks.decoding import decode
from echo_e3net.checks.rules import read_data
from echo_e3net.data.dataset import ClipKey, TrainingClips
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.frames import read_frames
from echo_e3net.data.raster import write_mjpeg_avi
from echo_e3net.data.records import unlabelled
from echo_e3net.data.settings import ClipSettings
from echo_e3net.errors import InputError
from echo_e3net.training import datamodule
from tests.conftest import TINY

FRAMES, FPS = 40, 50.0
MOVING = np.clip(np.random.default_rng(0).normal(120, 60, (FRAMES, 112, 112)), 0, 255).astype(np.uint8)


def cut(share):
    return lambda data: data[: int(share * len(data))]


def claim_300(data):
    """Set avih's dwTotalFrames and the stream header's dwLength to 300."""
    changed = bytearray(data)
    struct.pack_into("<I", changed, data.find(b"avih") + 8 + 16, 300)
    struct.pack_into("<I", changed, data.find(b"strh") + 8 + 32, 300)
    return bytes(changed)


def flip_bits(data):
    changed = bytearray(data)
    for place in np.random.default_rng(1).integers(5000, len(data) - 5000, 400):
        changed[place] ^= 1 << int(place % 8)
    return bytes(changed)


def hole(data):
    start = len(data) // 3
    return data[:start] + bytes(len(data) // 5) + data[start + len(data) // 5 :]


def rate(fps):
    """Set the frames per second in both headers."""

    def change(data):
        changed = bytearray(data)
        struct.pack_into("<I", changed, data.find(b"avih") + 8, int(1e6 / fps))
        struct.pack_into("<II", changed, data.find(b"strh") + 8 + 20, 1000, int(1000 * fps))
        return bytes(changed)

    return change


def pictures(frames):
    def write(path):
        write_mjpeg_avi(path, frames, FPS)

    return write


def coded(codec):
    def write(path):
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FPS, (112, 112))
        assert writer.isOpened()
        for frame in MOVING:
            writer.write(np.repeat(cv2.GaussianBlur(frame, (0, 0), 3)[..., None], 3, -1))
        writer.release()

    return write


SHORT = "40"
"""The listed number of frames."""
BROKEN = r"\.avi"
# Fault: how the file is made (from the good file's bytes, or written), findings, and a fact in the error of training.
FAULTS = {
    "good": (lambda data: data, set(), None),
    "cut_in_the_header": (cut(0.001), {"undecodable"}, BROKEN),
    "cut_at_a_third": (cut(0.33), {"short", "header"}, SHORT),
    "cut_at_the_middle": (cut(0.5), {"short", "header"}, SHORT),
    "cut_at_nine_tenths": (cut(0.9), {"undecodable"}, SHORT),
    "cut_in_the_index": (lambda data: data[: data.rfind(b"idx1") + 30], {"header"}, None),
    "header_claims_300": (claim_300, {"header"}, None),
    "hole": (hole, {"short", "header"}, SHORT),
    "bit_flips": (flip_bits, {"undecodable"}, BROKEN),
    "no_index": (lambda data: data[: data.rfind(b"idx1")], {"header"}, None),
    "empty": (lambda data: b"", {"undecodable"}, BROKEN),
    "text": (lambda data: b"this is not a video\n" * 100, {"undecodable"}, BROKEN),
    "one_frame": (pictures(MOVING[:1]), {"short"}, SHORT),
    "half_a_frame_a_second": (rate(0.5), set(), None),
    "138_frames_a_second": (rate(138), set(), None),
    "odd_size": (pictures(MOVING[:, :97, :110]), {"size"}, "97×110.*112×112"),
    "mpeg4": (coded("XVID"), set(), None),
    "black": (pictures(MOVING * 0), {"blank"}, r"\.avi"),
    "still": (pictures(np.repeat(MOVING[:1], FRAMES, 0)), {"still"}, None),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set with all faults."""
    root = tmp_path_factory.mktemp("faults")
    videos = root / "Videos"
    videos.mkdir()
    write_mjpeg_avi(videos / "good.avi", MOVING, FPS)
    good = (videos / "good.avi").read_bytes()
    for name, (make, _, _) in FAULTS.items():
        made = make(good) if make.__code__.co_varnames[:1] == ("data",) else make(videos / f"{name}.avi")
        if made is not None:
            (videos / f"{name}.avi").write_bytes(made)
    row = {
        "EF": 50,
        "ESV": 50,
        "EDV": 100,
        "FrameHeight": 112,
        "FrameWidth": 112,
        "FPS": 50,
        "NumberOfFrames": FRAMES,
        "Split": "TRAIN",
    }
    pd.DataFrame([{"FileName": name, **row, "EF": 50 + i} for i, name in enumerate(FAULTS)]).to_csv(
        root / "FileList.csv", index=False
    )
    (root / "VolumeTracings.csv").write_text("FileName,X1,Y1,X2,Y2,Frame\n")
    return root


@pytest.fixture(scope="module")
def findings(root):
    """The findings of ``data check --decode``."""
    reading = read_data(EchoNetDynamic(), root)
    found = {name: set() for name in FAULTS}
    for finding in reading.findings + decode(reading.records, 1):
        found[finding.name].add(finding.defect.name.lower())
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_check_finds_each_fault(findings, fault):
    assert findings[fault] - {"untraced", "copy"} == FAULTS[fault][1]


@pytest.mark.parametrize("fault", FAULTS)
def test_training_names_the_faulty_file(root, fault):
    record = unlabelled(root / "Videos" / f"{fault}.avi")._replace(frames=FRAMES, size=(112, 112), ef=0.5)
    clips = TrainingClips([record], ClipSettings(8, 2, 64))
    if FAULTS[fault][2] is None:
        assert clips[ClipKey(0, 0)].video.any()
    else:
        with pytest.raises(InputError, match=FAULTS[fault][2]) as caught:
            clips[ClipKey(0, 0)]
        assert str(record.path) in str(caught.value)
        assert "data check --decode" in str(caught.value) or "cannot be decoded" not in str(caught.value)


def test_frames_before_a_cut_are_those_of_the_good_file(root):
    good = read_frames(root / "Videos" / "good.avi")
    for fault in ("cut_at_the_middle", "no_index", "header_claims_300"):
        whole = read_frames(root / "Videos" / f"{fault}.avi")
        np.testing.assert_array_equal(whole[:15], good[:15])


# torch raises in a signal handler.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_worker_that_is_killed_names_its_file(command, phantom_root, tmp_path, monkeypatch):
    """SIGKILL during an epoch, as when memory runs out, gives one line with the video."""

    def deadly(path, index=None, listed=None):
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return read_frames(path, index, listed)

    monkeypatch.setattr(datamodule, "read_frames", deadly)
    (tmp_path / "tiny.yaml").write_text(TINY)
    code, error = command(
        "fit",
        "--config",
        "tiny.yaml",
        "--data.root",
        phantom_root,
        "--data.loader.workers",
        1,
        "--data.loader.start_method",
        "fork",
    )
    assert code == 2
    assert f"{phantom_root}/Videos/0X" in error
    assert "Killed" in error or "exited unexpectedly" in error
