"""A patient or a video in two splits is found, and the evaluation keeps its videos."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from echo_e3net.checks.findings import Defect
from echo_e3net.checks.leaks import patient_of
from echo_e3net.checks.pictures import same_pictures
from echo_e3net.checks.rules import read_data
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.frames import read_frames
from echo_e3net.data.raster import write_mjpeg_avi
from echo_e3net.data.records import unlabelled
from echo_e3net.errors import InputError
from tests.datamodules import data_module

LIST = "FileList.csv"


@pytest.fixture
def root(phantom_root, tmp_path):
    """A copy of the phantom that a test may damage."""
    return shutil.copytree(phantom_root, tmp_path / "copy")


def with_patients(root, column, patients):
    """Write a column of patients, and return the videos by split."""
    table = pd.read_csv(root / LIST, dtype=str)
    table.assign(**{column: patients(table)}).to_csv(root / LIST, index=False)
    return {split.lower(): rows["FileName"].tolist() for split, rows in table.groupby("Split")}


@pytest.mark.parametrize("column", ["Patient", "PatientID", "patient_id", "Patient Id"])
def test_a_patient_in_two_splits_is_refused_or_stays_in_the_evaluation(root, column):
    videos = with_patients(root, column, lambda t: ["P1"] * 3 + [""] * 3 + ["P2"] * (len(t) - 6))
    with pytest.raises(InputError, match=r"FileList.*patient 'P\d' is in split \w+ and.*Move all videos.*exclude"):
        data_module(root, frames=8).setup("fit")
    reading = read_data(EchoNetDynamic(), root)
    assert {finding.defect for finding in reading.findings} == {Defect.PATIENT_SPLITS}
    used = {record.name for record in reading.records}
    table = pd.read_csv(root / LIST, dtype=str, keep_default_na=False).set_index("FileName")
    by_patient = table.loc[sorted(used)].groupby(column)["Split"].nunique()
    assert by_patient[["P1", "P2"]].tolist() == [1, 1]
    assert used >= set(videos["test"])
    assert used >= set(table.index[table[column] == ""])


def test_patients_in_one_split_each_are_no_finding(root):
    with_patients(root, "Patient", lambda t: t["Split"] + "-1")
    assert not read_data(EchoNetDynamic(), root).findings


def test_rows_without_a_patient_or_a_split_are_not_compared(root):
    with_patients(root, "Patient", lambda t: [" "] * len(t))
    assert not read_data(EchoNetDynamic(), root).findings
    table = pd.read_csv(root / LIST, dtype=str)
    first = table["Split"] == table["Split"][0]
    # The other splits have other patients; a video for predict may show a patient of any split.
    table["Patient"] = table["Split"]
    table.loc[~first & (table["Split"] == "TEST"), ["EF", "Split", "Patient"]] = ["", "", table["Split"][0]]
    table.to_csv(root / LIST, index=False)
    assert not read_data(EchoNetDynamic(), root).findings


def test_decoding_finds_copies_that_were_written_again(root, command):
    table = pd.read_csv(root / LIST, dtype=str)
    train, test = (root / "Videos" / f"{n}.avi" for n in table.groupby("Split")["FileName"].first()[["TRAIN", "TEST"]])
    frames = read_frames(test)
    write_mjpeg_avi(train, frames[: len(frames) - 1], 50, quality=40)
    table.loc[table["FileName"] == train.stem, "NumberOfFrames"] = str(len(frames) - 1)
    table.to_csv(root / LIST, index=False)
    code, _ = command("data", "check", root, "--decode", "--jobs", 1, "--json", "-")
    found = [finding for finding in json.loads(command.output)["findings"] if finding["defect"].startswith("copy")]
    assert code == 1
    assert [(finding["defect"], finding["name"]) for finding in found] == [("copy_splits", train.stem)]
    assert f"same pictures as {test.name} (splits: train and test)" in found[0]["detail"]


def test_of_many_copies_each_is_named_once(tmp_path, monkeypatch):
    monkeypatch.setattr("echo_e3net.checks.pictures.CHUNK", 2)
    rng = np.random.default_rng(0)
    pictures = {name: rng.integers(0, 250, 512) for name in "abc"}
    records, thumbnails = [], {}
    for number, name in enumerate("abacbaa"):
        path = tmp_path / f"{number}.avi"
        path.write_text("same" if number in (1, 4) else str(number))
        records.append(unlabelled(path)._replace(split="test" if number == 5 else "train"))
        thumbnails[path] = (pictures[name] + number % 3).astype(np.uint8).tobytes()
    # Two black videos have no picture in common.
    records += [unlabelled(tmp_path / "black.avi"), unlabelled(tmp_path / "dark.avi")]
    thumbnails |= {record.path: b"" for record in records[-2:]}
    found = [(finding.defect, finding.name) for finding in same_pictures(records, thumbnails)]
    assert found == [(Defect.COPY_SPLITS, name) for name in "026"]
    assert not list(same_pictures(records[:1], thumbnails))


def test_only_columns_of_patients_name_a_patient():
    assert patient_of({"PatientAge": "60", "Patients": "3", "PATIENT-ID": " 7 "}) == "7"
    assert patient_of({"PatientAge": "60"}) == ""
