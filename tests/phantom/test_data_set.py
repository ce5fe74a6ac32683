"""The phantom on disk: format, reproducibility, resuming, errors."""

import csv
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from echo_e3net.data.frames import read_frames
from echo_e3net.data.tracings import canonical_contours
from echo_e3net.errors import InputError
from echo_e3net.geometry import ejection_fraction
from echo_e3net.phantom import generate as write
from echo_e3net.phantom import phantom

SMALL = {"n": 4, "seed": 1, "jobs": 1, "max_frames": 28}
TABLES = ("FileList.csv", "VolumeTracings.csv", "EpiTracings.csv")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "set"
    phantom(out, **SMALL)
    return out


def contents(root, *patterns):
    return {
        str(path.relative_to(root)): path.read_bytes() for pattern in patterns for path in sorted(root.glob(pattern))
    }


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def copy(made, tmp_path):
    for path in made.rglob("*"):
        target = tmp_path / "set" / path.relative_to(made)
        if path.is_dir():
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path / "set"


class TestFormat:
    def test_columns(self, made):
        heads = [(made / name).read_text().splitlines()[0] for name in TABLES]
        assert heads[0] == "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"
        assert heads[1] == heads[2] == "FileName,X1,Y1,X2,Y2,Frame"

    def test_every_listed_video_exists_and_has_its_length(self, made):
        for row in rows(made / "FileList.csv"):
            count = int(row["NumberOfFrames"])
            frames = read_frames(made / "Videos" / f"{row['FileName']}.avi")
            assert frames.shape == (count, 112, 112)
        assert len(list((made / "Videos").iterdir())) == SMALL["n"]

    def test_ef_is_that_of_the_volumes(self, made):
        for row in rows(made / "FileList.csv"):
            edv, esv = float(row["EDV"]), float(row["ESV"])
            assert float(row["EF"]) == pytest.approx(100 * (edv - esv) / edv, abs=1e-4)
            assert row["Split"] in {"TRAIN", "VAL", "TEST"}

    @pytest.mark.parametrize("name", TABLES[1:])
    def test_twenty_one_segments_of_two_frames(self, made, name):
        count = Counter((row["FileName"], row["Frame"]) for row in rows(made / name))
        assert set(count.values()) == {21}
        assert len(count) == 2 * SMALL["n"]
        assert all(file.endswith(".avi") for file, _ in count)

    def test_both_tables_trace_the_same_frames(self, made):
        traced = [[(row["FileName"], row["Frame"]) for row in rows(made / name)] for name in TABLES[1:]]
        assert traced[0] == traced[1]

    def test_tracings_give_the_listed_ef(self, made):
        listed = {f"{row['FileName']}.avi": float(row["EF"]) for row in rows(made / "FileList.csv")}
        for file, ef_percent in listed.items():
            segments = [row for row in rows(made / "VolumeTracings.csv") if row["FileName"] == file]
            one, other = (torch.from_numpy(canonical_contours(part[None])[0]) for part in by_frame(segments))
            larger = max(float(ejection_fraction(one, other)), float(ejection_fraction(other, one)))
            assert 100 * larger == pytest.approx(ef_percent, abs=0.1)

    def test_the_order_of_the_traced_frames_is_mixed(self, tmp_path, monkeypatch):
        monkeypatch.setattr(write, "each", lambda *args: ())
        phantom(tmp_path / "set", n=40, seed=0)
        order = {}
        for row in rows(tmp_path / "set" / "VolumeTracings.csv"):
            order.setdefault(row["FileName"], []).append(int(row["Frame"]))
        assert len(order) == 40
        assert 8 < sum(frames[0] < frames[-1] for frames in order.values()) < 32

    def test_manifest(self, made):
        manifest = json.loads((made / "phantom.json").read_text())
        assert manifest["seed"] == 1
        assert manifest["n"] == 4
        assert manifest["version"] == write.VERSION


def by_frame(segments):
    frames = {}
    for row in segments:
        frames.setdefault(row["Frame"], []).append([float(row[key]) for key in ("X1", "Y1", "X2", "Y2")])
    return [np.array(part, np.float32) for part in frames.values()]


class TestRuns:
    def test_a_process_that_makes_videos_does_not_load_torch(self):
        """Every worker process imports the package, and torch takes seconds."""
        code = "import sys, echo_e3net.phantom; print('torch' in sys.modules)"
        words = [sys.executable, "-c", code]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == "False"

    @pytest.mark.slow
    def test_jobs_do_not_matter(self, made, tmp_path):
        phantom(tmp_path / "set", **{**SMALL, "jobs": 2})
        assert contents(tmp_path / "set", "*.csv", "*.json", "Videos/*.avi") == contents(
            made, "*.csv", "*.json", "Videos/*.avi"
        )

    def test_a_lost_video_is_made_again(self, made, copy):
        lost = sorted((copy / "Videos").iterdir())[1]
        lost.unlink()
        (copy / "Videos" / ".half-written.avi").write_bytes(b"x")
        phantom(copy, **SMALL)
        assert contents(copy, "*.csv", "Videos/*") == contents(made, "*.csv", "Videos/*")

    def test_a_truncated_table_is_written_again(self, made, copy):
        table = copy / "VolumeTracings.csv"
        table.write_bytes(table.read_bytes()[:1000])
        (copy / "FileList.csv").unlink()
        phantom(copy, **SMALL)
        assert contents(copy, "*.csv") == contents(made, "*.csv")

    def test_a_complete_set_is_not_changed(self, copy, capsys):
        before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
        phantom(copy, **SMALL)
        assert {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()} == before
        assert "4 videos, 0 of them new" in capsys.readouterr().out

    def test_growing_keeps_existing_videos(self, made, copy):
        phantom(copy, **{**SMALL, "n": 5})
        grown = contents(copy, "*.csv", "Videos/*")
        for name, data in contents(made, "*.csv", "Videos/*").items():
            assert grown[name].startswith(data)

    def test_preview(self, copy, tmp_path):
        phantom(copy, **SMALL, preview=tmp_path / "pictures" / "sheet.png")
        assert (tmp_path / "pictures" / "sheet.png").read_bytes().startswith(b"\x89PNG")


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"n": 0}, "n is 0"),
            ({"seed": -3}, "seed is -3"),
            ({"jobs": 0}, "jobs is 0"),
            ({"max_frames": 10}, "max_frames is 10"),
            ({"max_frames": 301}, "max_frames is 301"),
            ({"val_fraction": -0.1}, "val_fraction is -0.1"),
            ({"val_fraction": 0.5, "test_fraction": 0.5}, "no training videos"),
        ],
    )
    def test_bad_numbers(self, tmp_path, change, message):
        with pytest.raises(InputError, match=message):
            phantom(tmp_path / "set", **{**SMALL, **change})
        assert not (tmp_path / "set").exists()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"seed": 2}, "seed 1, not 2"),
            ({"max_frames": 40}, "max_frames 28, not 40"),
            ({"n": 3}, "n 4, not 3"),
            ({"look": "handheld"}, "look adult_cart, not handheld"),
        ],
    )
    def test_another_data_set_in_the_folder(self, copy, change, message):
        before = contents(copy, "*.csv", "*.json")
        with pytest.raises(InputError, match=message):
            phantom(copy, **{**SMALL, **change})
        assert contents(copy, "*.csv", "*.json") == before

    def test_a_real_data_set_is_not_changed(self, tmp_path):
        (tmp_path / "FileList.csv").write_text("FileName,EF\n")
        with pytest.raises(InputError, match=r"no phantom.json"):
            phantom(tmp_path, **SMALL)
        assert [path.name for path in tmp_path.iterdir()] == ["FileList.csv"]

    def test_a_broken_manifest(self, copy):
        (copy / "phantom.json").write_text("{")
        with pytest.raises(InputError, match=r"phantom\.json"):
            phantom(copy, **SMALL)

    def test_a_file_where_the_folder_should_be(self, tmp_path):
        (tmp_path / "set").write_text("")
        with pytest.raises(InputError, match=r"set\b"):
            phantom(tmp_path / "set", **SMALL)
        with pytest.raises(InputError, match=r"p\.png"):
            phantom(tmp_path / "other", **SMALL, preview=tmp_path / "set" / "p.png")
        assert not (tmp_path / "other").exists()
