"""Tables of large data sets."""

import sys

import pytest

from echo_e3net.benchmark.data_tables import measured, write_tables
from echo_e3net.checks.advice import advise
from echo_e3net.checks.rules import inspect
from echo_e3net.data.formats import EchoNetDynamic


def calls(root):
    """Return the number of Python functions that are called to read and check a data set, and its findings."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event == "call" and "echo_e3net" in frame.f_code.co_filename

    sys.setprofile(note)
    try:
        dataset = EchoNetDynamic().read(root)
        findings = inspect(dataset).findings + advise(dataset)
    finally:
        sys.setprofile(None)
    return count, dataset, findings


def test_work_grows_linearly_with_the_number_of_videos(tmp_path):
    counts = {}
    for number in (30, 60, 120):
        write_tables(tmp_path / str(number), number)
        counts[number], dataset, findings = calls(tmp_path / str(number))
        assert len(dataset.videos) == number
        assert all(video.record.landmark_mask[:, 0].all() for video in dataset.videos)
        assert findings == []
    assert counts[120] - counts[60] <= 2.1 * (counts[60] - counts[30])


def test_a_long_table_and_its_faults_are_the_same_in_parts(tmp_path, monkeypatch):
    write_tables(tmp_path, 5)
    table = tmp_path / "VolumeTracings.csv"
    lines = table.read_text().splitlines()
    for row, column, text in ((20, 5, "4000"), (60, 1, "True"), (100, 2, "x"), (150, 0, "unlisted"), (190, 5, "")):
        fields = lines[row].split(",")
        lines[row] = ",".join([*fields[:column], text, *fields[column + 1 :]])
    table.write_text("\n".join(lines))
    whole = EchoNetDynamic().read(tmp_path)
    assert [bad.text for bad in whole.bad_values] == ["4000", "True", "x", ""]
    monkeypatch.setattr("echo_e3net.tables.ROWS", 13)
    parts = EchoNetDynamic().read(tmp_path)
    assert inspect(parts).findings + advise(parts) == inspect(whole).findings + advise(whole)
    for one, other in zip(whole.records, parts.records, strict=True):
        assert one[:6] == other[:6]
        assert (one.landmarks == other.landmarks).all()


@pytest.mark.slow
def test_setup_and_check_are_measured():
    found = measured(20)
    assert found["setup_s"] > 0
    assert found["check_s"] > found["setup_s"]
    assert found["peak_mb"] >= found["setup_mb"] > 0
