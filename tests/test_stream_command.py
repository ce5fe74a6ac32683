"""``echo-e3net stream`` through the command line."""

import io
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from echo_e3net.cli.stream_command import COLUMNS, Lines
from echo_e3net.data.raster import write_mjpeg_avi
from echo_e3net.models import opening
from echo_e3net.models.description import SYNTHETIC
from echo_e3net.reading import live_source
from echo_e3net.reading.live import GradedBeat
from echo_e3net.reading.quality import Quality
from echo_e3net.reading.stream import Tally
from tests.reading.heart import heart
from tests.reading.heart import reader as heart_reader
from tests.reading.pulse import pulse
from tests.reading.test_stream import CYCLE_S, model


@pytest.fixture
def beating(monkeypatch, tmp_path):
    """Replace the network by one that reads the brightness, and return a video of three beats."""
    monkeypatch.setattr(opening, "open_model", lambda *_: model())
    write_mjpeg_avi(tmp_path / "clip.avi", pulse(1.6, 50, cycle_s=CYCLE_S), 50)
    return tmp_path / "clip.avi"


def test_each_beat_gives_a_line_and_a_row_and_nothing_is_overwritten(command, beating, tmp_path):
    for table, video in (("beats.csv", "clip-borders.mp4"), ("beats-2.csv", "clip-borders-2.mp4")):
        code, error = command("stream", beating, "--model", "x", "--every", "0.2", "--overlay", "mp4", "--out", "out")
        assert (code, error) == (0, ""), error
        lines = command.output.splitlines()
        assert [line.split()[2:4] for line in lines[3:6]] == [["beat", "1:"], ["beat", "2:"], ["beat", "3:"]]
        assert lines[6] == f"video: out/{video}"
        assert f"no usable beat in 1.6 s (3 unusable and not in the mean): out/{table}" in lines[7]
        assert "frames: 80 received, 0 lost" in lines[8]
        rows = pd.read_csv(tmp_path / "out" / table)
        assert list(rows.columns) == COLUMNS
        assert rows["ed_s"].tolist() == pytest.approx([0, CYCLE_S, 2 * CYCLE_S], abs=0.06)
        assert rows["mean_ef_percent"].isna().all()
        # the whole picture flashes
        assert rows["quality"].tolist() == ["unusable"] * 3
        assert rows["reasons"].str.contains("no sector").all()
        assert "unusable: no sector" in lines[3]
        assert rows["ef_percent"].tolist() == pytest.approx([50] * 3, abs=4)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "beats.csv",
        "beats-2.csv",
        "clip-borders.mp4",
        "clip-borders-2.mp4",
    }


def test_unusable_beats_do_not_count_in_the_mean(tmp_path, capsys):
    reading = heart_reader().read(heart(), fps=50)
    beat = reading.beats[0]
    running = SimpleNamespace(
        source=SimpleNamespace(fps=50.0, name="clip", kind="file"), live=None, tally=Tally(windows=3, seconds=2.4)
    )
    grades = [("good", 50.0), ("doubtful", 60.0), ("unusable", 5.0)]
    with Lines(running, tmp_path / "beats.csv", sys.stdout) as lines:
        for grade, ef in grades:
            quality = Quality(grade, () if grade == "good" else ("why",), {})
            lines.beat(GradedBeat(beat._replace(ef_percent=ef), quality))
    output = capsys.readouterr().out
    assert "EF 55.0 ± 5.0 % over 2 beats in 2.4 s (1 doubtful, 1 unusable and not in the mean)" in output
    rows = pd.read_csv(tmp_path / "beats.csv")
    assert rows["mean_ef_percent"].tolist() == [50, 55, 55]
    assert rows["quality"].tolist() == [grade for grade, _ in grades]


@pytest.mark.parametrize(("seconds", "beats"), [(1.3, 3), (1.2, 2)])
def test_raw_frames_come_from_standard_input(command, beating, monkeypatch, tmp_path, seconds, beats):
    """The third ES is at 1.12 s; if the stream ends right after it, that beat may be cut off."""
    content = pulse(seconds, 50, cycle_s=CYCLE_S).tobytes()
    monkeypatch.setattr(live_source, "standard_input", lambda: io.BytesIO(content))
    code, error = command("stream", "-", "--model", "x", "--fps", "50", "--frame_size", "64x64", "--every", "0.2")
    assert (code, error) == (0, ""), error
    assert "standard input: no usable beat" in command.output
    assert len(pd.read_csv(tmp_path / "beats.csv")) == beats


def test_a_stream_without_a_beat_says_what_to_do(command, beating, monkeypatch):
    content = np.repeat(pulse(1, 50)[:1], 80, 0).tobytes()
    monkeypatch.setattr(live_source, "standard_input", lambda: io.BytesIO(content))
    assert command("stream", "-", "--model", "x", "--fps", "50", "--frame_size", "64x64")[0] == 0
    assert "standard input: no beat found" in command.output
    assert "For a short video, use `predict`." in command.output


def test_ctrl_c_ends_the_stream_with_its_results(command, beating, monkeypatch, tmp_path):
    def pictures(path):
        for number, frame in enumerate(pulse(60, 50, cycle_s=CYCLE_S)):
            if number == 60:
                signal.raise_signal(signal.SIGINT)
            yield frame

    monkeypatch.setattr("echo_e3net.data.sequential.pictures", pictures)
    before = signal.getsignal(signal.SIGINT)
    code, error = command("stream", beating, "--model", "x", "--every", "0.2")
    assert (code, error) == (0, ""), error
    assert len(pd.read_csv(tmp_path / "beats.csv")) in (2, 3)
    assert signal.getsignal(signal.SIGINT) is before


def test_wrong_input_is_one_line_and_leaves_no_file(command, beating, tmp_path):
    write_mjpeg_avi(tmp_path / "short.avi", np.zeros((5, 64, 64), np.uint8), 50)
    for arguments, message in (
        (("none.avi", "--model", "x"), "none.avi: no such file"),
        (("short.avi", "--model", "x", "--overlay", "mp4"), "short.avi: too short: 5 frames"),
        (("clip.avi", "--model", "x", "--every", "0"), "every is 0 s"),
        (("clip.avi", "--model", "x", "--out", "clip.avi"), "is a file, not a folder"),
        (("short.avi", "--model", "x", "--out", "new"), "short.avi: too short: 5 frames"),
    ):
        code, error = command("stream", *arguments)
        assert code == 2, error
        assert error.startswith("echo-e3net: error: ")
        assert message in error
        assert error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"clip.avi", "short.avi"}


def test_a_closed_pipe_of_the_lines_ends_the_stream(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        running = SimpleNamespace(source=SimpleNamespace(fps=50.0), stop=lambda: stopped.append(True))
        stopped = []
        lines = Lines(running, tmp_path / "beats.csv", closed)
        lines.print("a beat")
        lines.print("a beat")
    assert stopped == [True]


@pytest.mark.slow
def test_a_trained_network_streams_to_a_player(trained, phantom_root, tmp_path):
    video = sorted((phantom_root / "Videos").iterdir())[0]
    arguments = ["stream", str(video), "--model", str(trained), "--overlay", "-"]
    found = subprocess.run(
        [sys.executable, "-m", "echo_e3net", *arguments], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout[:4] == b"\x1aE\xdf\xa3"
    assert b"received, 0 lost" in found.stderr


@pytest.mark.slow
def test_ctrl_c_while_a_pipe_is_silent(trained, tmp_path):
    arguments = ["stream", "-", "--model", str(trained), "--fps", "50", "--frame_size", "64x64"]
    program = [sys.executable, "-m", "echo_e3net", *arguments]
    with subprocess.Popen(program, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(pulse(1.2, 50, cycle_s=CYCLE_S).tobytes())
        process.stdin.flush()
        while not list(tmp_path.glob("beats.csv")):
            time.sleep(0.1)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        error = process.stderr.read()
        assert process.wait(20) == 0, error
        assert error.decode().splitlines() == [f"stream: using model {trained}. {SYNTHETIC}"]
