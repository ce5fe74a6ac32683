"""Frame rates outside 5 to 300 per second are never used without a remark."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_e3net.clinic import importing
from echo_e3net.clinic.frame_rate import file_rate, header_rate
from tests.clinic.test_sources import small_screen, write_avi, write_dicom
from tests.datamodules import data_module

STEPS = [0.0] + [20.0] * 8


@pytest.mark.parametrize(
    ("header", "fps", "says"),
    [
        ({"FrameTime": "20", "CineRate": "50"}, 50, "FrameTime"),
        ({"FrameTime": "0", "CineRate": 43}, 43, "CineRate"),
        ({"FrameTime": 20, "RecommendedDisplayFrameRate": 25}, 50, "FrameTime"),
        (
            {"FrameTime": 0.033, "CineRate": 30},
            30,
            "CineRate: 30 is used; FrameTime is 0.033 (30303 frames per second); expected 5 to 300 per second",
        ),
        (
            {"FrameTime": 0.04},
            25,
            "FrameTime: 25 is used; FrameTime is 0.04 (25000 frames per second); expected 5 to 300 per second; it was "
            "read as seconds",
        ),
        ({"FrameTime": 40000}, 25, "FrameTime: 25 is used; .* it was read as microseconds"),
        ({"FrameTime": 1}, 30, "assumed: FrameTime is 1 (1000 frames per second); .*; 30 is used"),
        ({"FrameTime": -20}, 30, "assumed: FrameTime is -20; .*; 30 is used"),
        ({"FrameTime": "nan", "CineRate": 2}, 30, "assumed: FrameTime is nan; .*; CineRate is 2 .*; 30 is used"),
        ({"FrameTime": "fast", "CineRate": 50}, 50, "CineRate: 50 is used; FrameTime is fast; .*"),
        ({"FrameTime": 20, "CineRate": 25}, 50, "FrameTime: 50 is used; CineRate gives 25"),
        ({"FrameTime": 20, "CineRate": 50000}, 50, "FrameTime: 50 is used; CineRate is 50000 .*"),
        ({"FrameTimeVector": STEPS}, 50, "FrameTimeVector"),
        ({"FrameTimeVector": STEPS[:5]}, 50, "FrameTimeVector: 50 is used; it has 5 numbers for 9 frames"),
        ({"FrameTimeVector": list(np.cumsum(STEPS))}, 50, "FrameTimeVector: .* times since the first frame"),
        ({"FrameTimeVector": [*STEPS[:8], 9000.0]}, 50, "FrameTimeVector: .* its steps are uneven, 20 to 9000 ms"),
        ({"FrameTimeVector": [0.0] * 9}, 30, "assumed: the file gives none; 30 is used"),
        ({}, 30, "assumed: the file gives none; 30 is used"),
    ],
)
def test_headers(header, fps, says):
    found, source = header_rate(header, 9)
    assert found == pytest.approx(fps)
    parts = says.split(".*")
    assert source.startswith(parts[0])
    assert source.endswith(parts[-1])
    assert all(part in source for part in parts)


FIELD = st.one_of(st.none(), st.floats(), st.integers(-(10**6), 10**6), st.just("text"))


@given(FIELD, FIELD, FIELD, st.lists(FIELD, max_size=6))
def test_no_field_gives_an_impossible_rate(time, cine, display, vector):
    header = {"FrameTime": time, "CineRate": cine, "RecommendedDisplayFrameRate": display, "FrameTimeVector": vector}
    fps, source = header_rate(header, len(vector))
    assert 5 <= fps <= 300
    assert ":" in source or source in header


@pytest.mark.parametrize("fps", [5, 29.97, 300])
def test_possible_rates_of_other_files_are_kept(fps):
    assert file_rate(fps) == (fps, "the file's frame rate")


@pytest.mark.parametrize("fps", [0, 4.9, 1000, -1, math.inf, math.nan])
def test_impossible_rates_of_other_files_are_replaced_and_named(fps):
    found, source = file_rate(fps)
    assert found == 30
    named = "gives none" if not fps or math.isnan(fps) else f"gives {fps:g}; expected 5 to 300 per second"
    assert source == f"assumed: the file {named}; 30 is used"


def test_the_user_sees_the_remark(tmp_path, capsys, monkeypatch):
    fast = write_avi(tmp_path / "fast.avi", small_screen(frames=9), fps=1000)
    seconds = write_dicom(tmp_path / "seconds.dcm", small_screen(frames=9, index=1), FrameTime="0.033")
    importing.import_videos([fast, seconds], tmp_path / "set", jobs=1)
    out = capsys.readouterr().out
    assert f"check {fast}: frame rate assumed: the file gives 1000; expected 5 to 300 per second; 30 is used" in out
    assert f"check {seconds}: frame rate FrameTime: 30.3 is used; FrameTime is 0.033" in out
    told = []
    monkeypatch.setattr("echo_e3net.training.predict_videos.rank_zero_info", told.append)
    data_module(videos=seconds).setup("predict")
    assert told[0].startswith(f"check {seconds}: frame rate FrameTime: 30.3 is used")
