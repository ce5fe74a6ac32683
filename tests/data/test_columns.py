"""Columns that are plausible row by row and wrong as a whole are refused."""

import shutil

import numpy as np
import pandas as pd
import pytest

from echo_e3net.checks.columns import constant, faults, unrelated
from echo_e3net.checks.findings import Defect
from echo_e3net.checks.rules import read_data
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.errors import InputError
from tests.datamodules import data_module

LIST, ENDO = "FileList.csv", "VolumeTracings.csv"
POINTS = ["X1", "Y1", "X2", "Y2"]


@pytest.fixture
def root(phantom_root, tmp_path):
    """A copy of the phantom that a test may damage."""
    return shutil.copytree(phantom_root, tmp_path / "copy")


def change(root, name, **columns):
    """Replace columns of a table by functions of the table."""
    table = pd.read_csv(root / name)
    new = {column: value(table) if callable(value) else value for column, value in columns.items()}
    table.assign(**new).to_csv(root / name, index=False)


def times(column, factor):
    return {column: lambda t: t[column] * factor}


@pytest.mark.parametrize(
    ("name", "columns", "facts"),
    [
        (LIST, times("EF", 0.01), ["EF is 0.", "in 12 of 12 rows; expected percent", "Multiply fractions by 100"]),
        (LIST, {"EF": 0}, ["EF is 0 to 0 in 12 of 12 rows", "remove rows without EF"]),
        (LIST, {"EF": 60}, ["EF is 60 in 12 of 12 rows", "Enter the EF of each video"]),
        (LIST, {"EDV": lambda t: t["ESV"], "ESV": lambda t: t["EDV"]}, ["ESV is above EDV in 12 of 12", "Swap"]),
        (LIST, times("EDV", 1e-3) | times("ESV", 1e-3), ["EDV is 0.", "expected mL. Multiply litres"]),
        (LIST, times("EDV", 1e3) | times("ESV", 1e3), ["EDV is ", "expected mL. Divide microlitres"]),
        (LIST, {"FPS": lambda t: 1 / t["FPS"]}, ["FPS is 0.0", "expected frames per second. Replace seconds"]),
        (LIST, {"FPS": lambda t: 1e6 / t["FPS"]}, ["FPS is ", "Replace microseconds"]),
        (ENDO, {c: lambda t, c=c: t[c] / 112 for c in POINTS}, ["24 of 24 tracings have no area", "pixels"]),
        (
            ENDO,
            {x: lambda t, y=y: t[y] for x, y in zip(POINTS, ["Y1", "X1", "Y2", "X2"], strict=True)},
            ["across the picture in 24 of 24 tracings. Swap X and Y"],
        ),
        (ENDO, {c: lambda t, c=c: t[c] * 6 for c in POINTS}, ["24 of 24 tracings leave the frames", "of 112×112"]),
    ],
)
def test_a_wrong_column_stops_training_and_cannot_be_excluded(root, name, columns, facts):
    change(root, name, **columns)
    for on_defect in ("raise", "exclude"):
        with pytest.raises(InputError) as caught:
            data_module(root, frames=8, on_defect=on_defect).setup("fit")
        assert [f for f in (f"{root / name}, row 2", *facts, "data check") if f not in str(caught.value)] == [], (
            caught.value
        )
        assert "exclude" not in str(caught.value)


def test_one_ef_for_all_videos_stops_only_training(root):
    change(root, LIST, EF=60)
    data = data_module(root, frames=8)
    for stage in ("test", "validate"):
        with pytest.warns(UserWarning, match="EF is 60 in 12 of 12 rows") as caught:
            data.setup(stage)
        [line] = [str(warning.message) for warning in caught]
        assert line.startswith(f"{root / LIST}, row 2 (")
        assert line.endswith("The run continues without R².")
        assert "\n" not in line
    data.setup("predict")
    assert not data.excluded
    with pytest.raises(InputError, match="Enter the EF of each video"):
        data.setup("fit")


def test_data_check_says_that_one_ef_for_all_videos_stops_training(root, command):
    change(root, LIST, EF=60)
    assert command("data", "check", root)[0] == 1
    assert "training stops" in command.output
    assert "12 usable videos" in command.output


def test_data_check_lists_wrong_columns(root, command):
    change(root, LIST, **times("EF", 0.01))
    assert command("data", "check", root)[0] == 1
    assert "implausible column" in command.output
    assert "0 usable videos" in command.output


@pytest.mark.parametrize(
    ("ef", "found"),
    [
        ([0.6], True),
        ([0.6, 0.55], True),
        # One hospital of two writes fractions.
        ([0.6, 0.55, *range(40, 58)], True),
        ([0.6, *range(40, 58)], False),
        ([55.0], False),
        ([], False),
        ([np.nan] * 12, False),
    ],
)
def test_the_scale_of_ef_is_judged_by_the_column(ef, found):
    assert bool(list(faults({"EF": np.array(ef, float)}))) is found


@pytest.mark.parametrize(
    ("ef", "found"),
    [([60.0] * 9, False), ([60.0] * 10, True), ([60.0] * 10 + [61], False), ([60.0] * 10 + [np.nan], True)],
)
def test_ten_rows_with_one_ef_are_found(ef, found):
    assert bool(list(constant(np.array(ef)))) is found


def test_volumes_of_the_smallest_and_largest_hearts_are_accepted():
    rows = {"EF": [50, 62, 11], "EDV": [2.0, 40, 900], "ESV": [1.0, 15, 800], "FPS": [12, 50, 300]}
    assert not list(faults({name: np.array(values, float) for name, values in rows.items()}))
    # Zero means unknown.
    assert not list(faults({"EF": np.array([50.0]), "EDV": np.zeros(1), "ESV": np.zeros(1), "FPS": np.zeros(1)}))


def test_a_single_swapped_row_is_not_a_swapped_column():
    rows = {"EF": np.array([50.0, 60, 40]), "EDV": np.array([100.0, 40, 100]), "ESV": np.array([50.0, 100, 60])}
    assert not list(faults(rows))


def test_ef_that_belongs_to_other_rows_is_found():
    rng = np.random.default_rng(0)
    ef = rng.normal(55, 12, 200)
    assert not list(unrelated(ef, ef + rng.normal(0, 10, 200), "a second reader"))
    [(row, detail)] = unrelated(np.roll(ef, 1), ef, "a second reader")
    assert row == 0
    assert "over 200 rows" in detail
    edv = rng.uniform(60, 200, 200)
    shifted = {"EF": np.roll(ef, 1), "EDV": edv, "ESV": edv * (1 - ef / 100)}
    assert [detail.split(" (")[0] for _, detail in faults(shifted)] == ["EF does not follow 100"]
    assert not list(faults(shifted | {"EF": ef}))
    # Few rows, or rows of similar EF, show nothing.
    assert not list(unrelated(np.roll(ef, 1)[:40], ef[:40], "a second reader"))
    assert not list(unrelated(60 + np.roll(ef, 1) / 10, ef, "a second reader"))


@pytest.mark.slow
def test_an_ef_column_shifted_against_the_tracings_is_found(root, monkeypatch):
    monkeypatch.setattr("echo_e3net.checks.columns.UNRELATED_ROWS", 12)
    assert not read_data(EchoNetDynamic(), root).findings
    change(root, LIST, EF=lambda t: 90 - t["EF"])
    details = [f.detail for f in read_data(EchoNetDynamic(), root).findings if f.defect is Defect.COLUMN]
    assert [detail.split(" (")[0] for detail in details] == [
        "EF does not follow 100",
        "EF does not follow Simpson's EF of the tracings",
    ]
