"""data import: a folder of clips becomes a data set that contains nothing about the patients."""

import json
import re
import stat
import struct
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest

from echo_e3net.clinic import importing as write
from echo_e3net.clinic.labels import Fractions, Label, assign_splits, draw_split, read_labels
from echo_e3net.clinic.private import read_entries
from echo_e3net.data import raster
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.data.frames import read_frames
from echo_e3net.data.probe import read_colour
from echo_e3net.errors import InputError
from tests.clinic.test_sources import small_screen, write_avi, write_dicom, write_gif, write_mp4
from tests.screen import NAME

CINE = pydicom.examples.get_path("ybr_color")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Write a folder with four good clips of three kinds, and one of each kind that is refused."""
    root = tmp_path_factory.mktemp("clinic") / NAME
    (root / "day2").mkdir(parents=True)
    write_dicom(root / "IM0001", small_screen(), region={}, InstitutionName=f"{NAME} HOSPITAL")
    write_mp4(root / "day2" / f"{NAME}.mp4", small_screen(index=2))
    write_gif(root / "one.gif", small_screen(index=1))
    (root / "cine.dcm").write_bytes(CINE.read_bytes())
    flow = small_screen(frames=12)
    for frame in flow:
        cv2.circle(frame, (155, 120), 12, (220, 20, 0), -1)
    write_avi(root / "flow.avi", flow)
    write_dicom(root / "region.dcm", small_screen(frames=9), region={"data_type": 2})
    write_avi(root / "frozen.avi", small_screen(still=True, frames=16))
    (root / "still.dcm").write_bytes(pydicom.examples.get_path("rgb_color").read_bytes())
    write_avi(root / "short.avi", small_screen(frames=5))
    (root / "day2" / "copy.dcm").write_bytes((root / "IM0001").read_bytes())
    (root / "cut.dcm").write_bytes(CINE.read_bytes()[:60_000])
    (root / "notes.txt").write_text(NAME)
    return root


REFUSED = {
    "flow.avi": "colour Doppler",
    "region.dcm": "colour Doppler",
    "frozen.avi": "no sector",
    "still.dcm": "still image",
    "short.avi": "too few frames",
    "copy.dcm": "same bytes as another file",
    "cut.dcm": "does not decode",
    "notes.txt": "not a video",
}
GOOD = {"IM0001": 50.0, f"{NAME}.mp4": 29.97, "one.gif": 25.0, "cine.dcm": 30.0003}


@pytest.fixture(scope="module")
def imported(clips):
    """Import the folder once; read-only."""
    root = clips.parent / "set"
    with pytest.raises(SystemExit) as stop:
        write.import_videos([clips], root, jobs=1)
    assert stop.value.code == 1
    return root


def table(root):
    return pd.read_csv(root / "FileList.csv", dtype=str, keep_default_na=False).set_index("FileName")


def book_of(root):
    return root.with_name(f"{root.name}.private.csv")


def by_file(root):
    return {entry.source.rsplit("/", 1)[1]: entry for entry in read_entries(book_of(root)).values()}


def test_good_clips_become_videos_of_a_data_set(imported):
    entries, rows = by_file(imported), table(imported)
    assert {name for name, entry in entries.items() if entry.name} == set(GOOD)
    assert sorted(rows.index) == sorted(entry.name for entry in entries.values() if entry.name)
    for name, fps in GOOD.items():
        row = rows.loc[entries[name].name]
        assert float(row["FPS"]) == pytest.approx(fps, rel=1e-4)
        video = imported / "Videos" / f"{entries[name].name}.avi"
        frames, held_fps = read_colour(video, lambda *_: None)
        assert frames.shape == (int(row["NumberOfFrames"]), 112, 112, 3)
        assert held_fps == pytest.approx(fps, rel=1e-3)
        assert row["EF"] == row["Split"] == ""
    assert float(rows.loc[entries["cine.dcm"].name]["PixelMm"]) == pytest.approx(2.34, abs=0.08)
    assert rows.loc[entries["one.gif"].name]["PixelMm"] == ""
    assert all(len(name) == 18 and name.startswith("0X") for name in rows.index)
    assert (imported / "VolumeTracings.csv").read_text() == "FileName,X1,Y1,X2,Y2,Frame\n"


def test_each_refusal_has_its_reason(imported):
    entries = by_file(imported)
    assert {name: entry.refused.split(":")[0] for name, entry in entries.items() if not entry.name} == REFUSED


def test_data_check_finds_nothing(imported, command):
    code, _ = command("data", "check", imported, "--decode", "--jobs", 1, "--json", "-")
    assert code == 0
    assert json.loads(command.output)["findings"] == []
    assert [record.split for record in EchoNetDynamic().read(imported).records] == [""] * len(GOOD)


def test_nothing_about_the_patient_remains(imported):
    files = [path for path in imported.rglob("*") if path.is_file()]
    assert len(files) == len(GOOD) + 2
    secret = [
        word.encode() for word in (NAME, "DOE", "JANE", "MRN-4711", "IM0001", "cine", "PLA", "SonoSite", "20160503")
    ]
    for path in files:
        held = path.read_bytes()
        # Words of three letters occur by chance in JPEG data.
        words = secret if path.suffix == ".csv" else [word for word in secret if len(word) > 4]
        assert not [word for word in words if word in held or word in path.name.encode()]
    for name in ("IM0001", f"{NAME}.mp4", "one.gif"):
        frames = read_frames(imported / "Videos" / f"{by_file(imported)[name].name}.avi")
        # The screen showed the name and the heart rate there.
        corners = np.stack([frames[:, :20, :25], frames[:, :20, -25:]])
        assert corners.max() <= 12
        assert frames[:, 40:80, 40:80].mean() > 20


def test_the_private_file_is_readable_only_by_its_owner(imported):
    book = book_of(imported)
    assert stat.S_IMODE(book.stat().st_mode) == 0o600
    assert NAME in book.read_text()


def test_a_second_import_adds_nothing_and_a_new_file_one(clips, tmp_path, capsys):
    root, source = tmp_path / "set", tmp_path / "in"
    source.mkdir()
    for name in ("IM0001", "one.gif"):
        (source / name).write_bytes((clips / name).read_bytes())
    write.import_videos([source], root, jobs=1)
    held = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.*") if path.is_file()}
    names = {path.name: entry.name for path, entry in ((source / n, e) for n, e in by_file(root).items())}
    (source / "one.gif").rename(source / "moved.gif")
    write.import_videos([source, source / "IM0001"], root, jobs=1)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in held} == held
    assert by_file(root)["moved.gif"].name == names["one.gif"]
    assert "2 videos, 0 of them new" in capsys.readouterr().out
    (source / "cine.dcm").write_bytes(CINE.read_bytes())
    write.import_videos([source], root, jobs=1)
    assert len(table(root)) == 3
    assert "3 videos, 1 of them new; 0 of 3 files refused" in capsys.readouterr().out


def test_swapped_sources_keep_their_videos(clips, tmp_path):
    root, source = tmp_path / "set", tmp_path / "in"
    source.mkdir()
    for old, new in (("IM0001", "a.dcm"), ("one.gif", "b.dcm")):
        (source / new).write_bytes((clips / old).read_bytes())
    write.import_videos([source], root, jobs=1)
    before = {entry.content: entry.name for entry in by_file(root).values()}
    (source / "a.dcm").rename(tmp_path / "aside")
    (source / "b.dcm").rename(source / "a.dcm")
    (tmp_path / "aside").rename(source / "b.dcm")
    write.import_videos([source], root, jobs=1)
    assert {entry.content: entry.name for entry in by_file(root).values()} == before


def test_an_interrupted_import_is_resumed(clips, tmp_path, monkeypatch):
    root, make = tmp_path / "set", write.make_video

    def stop(entry, **kwargs):
        made = make(entry, **kwargs)
        if entry.source.endswith("one.gif"):
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(write, "make_video", stop)
    with pytest.raises(KeyboardInterrupt):
        write.import_videos([clips / "IM0001", clips / "one.gif"], root, jobs=1)
    assert len(table(root)) == 1
    planned = by_file(root)
    monkeypatch.setattr(write, "make_video", make)
    write.import_videos([clips / "IM0001", clips / "one.gif"], root, jobs=1)
    assert len(table(root)) == len(list((root / "Videos").iterdir())) == 2
    assert by_file(root)["one.gif"].name == planned["one.gif"].name


@pytest.mark.slow
def test_processes_make_the_same_videos(clips, imported, tmp_path, command):
    assert command("data", "import", clips, "--out", "set", "--jobs", 2)[0] == 1
    for name in GOOD:
        one, two = (root / "Videos" / f"{by_file(root)[name].name}.avi" for root in (imported, tmp_path / "set"))
        assert one.read_bytes() == two.read_bytes()


def test_through_the_command_line(clips, tmp_path, command):
    (tmp_path / "ef.csv").write_text("FileName,EF,Split\none,55,TRAIN\nIM0001,31.5,test\n")
    code, _ = command(
        "data",
        "import",
        clips / "one.gif",
        clips / "IM0001",
        "--out",
        "set",
        "--labels",
        "ef.csv",
        "--jobs",
        1,
        "--preview",
        "sheet.png",
    )
    assert code == 0
    rows = table(tmp_path / "set")
    assert sorted(rows["EF"]) == ["31.5", "55"]
    assert sorted(rows["Split"]) == ["TEST", "TRAIN"]
    assert (tmp_path / "sheet.png").stat().st_size > 20_000
    assert "2 videos, 2 of them new; 0 of 2 files refused" in command.output
    assert "Labelled videos: 1 TRAIN, 0 VAL, 1 TEST." in command.output
    assert "No video has split VAL. Set Split in the table of --labels" in command.output
    assert command("data", "check", "set", "--decode")[0] == 0
    assert "set: no video has tracings." in command.output
    assert "2 usable videos, no findings" in command.output
    code, _ = command("data", "import", clips / "notes.txt", clips / "one.gif", "--out", "set2", "--jobs", 1)
    assert code == 1
    assert f"refused {clips / 'notes.txt'}: not a video" in command.output
    assert command("data", "import", "--help")[0] == 0
    assert "FILE [FILE ...]" in command.output


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("FileName,EF\nIM0001,55\nnobody,40\n", r"row 3 \(nobody\)"),
        (
            "FileName,EF\nIM0001,fifty\n",
            r"row 2 \(IM0001\): EF is 'fifty'.* 0 to 100",
        ),
        ("FileName,EF\nIM0001,155\n", "EF is '155'"),
        ("FileName,EF,Split\nIM0001,,TRAIN\n", "EF is ''"),
        ("FileName,EF,EDV\nIM0001,55,-3\n", "EDV is '-3'"),
        ("FileName,EF,Split\nIM0001,55,middle\n", "Split is 'middle'"),
        ("FileName,EF\nIM0001,55\nIM0001,40\n", r"row 3 \(IM0001\): .*IM0001 "),
        ("FileName,EF\nsame.dcm,55\n", "2 files have this name"),
        ("FileName\nIM0001\n", "'EF'"),
        (
            "FileName,EF\nIM0001,0.55\n",
            r"row 2 \(IM0001\): EF is 0.55 to 0.55 in 1 of 1 rows; expected percent. Multiply",
        ),
        ("FileName,EF,ESV,EDV\nIM0001,55,100,45\n", r"row 2 \(IM0001\): ESV is above EDV in 1 of 1 rows. Swap"),
        (
            "FileName;EF;Split;Patient ID\nIM0001;55,5;TRAIN;7\ndeep/same.dcm;40,2;VAL;7\n",
            r"row 3 \(deep/same.dcm\): patient '7' is in split VAL and, in ef.csv, row 2 \(IM0001\), in split TRAIN",
        ),
    ],
)
def test_wrong_labels_are_errors_before_anything_is_written(clips, tmp_path, command, text, fact):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("IM0001", "same.dcm", "deep/same.dcm"):
        (tmp_path / "in" / name).write_bytes((clips / "IM0001").read_bytes())
    (tmp_path / "ef.csv").write_text(text)
    code, error = command("data", "import", "in", "--out", "set", "--labels", "ef.csv")
    assert code == 2
    assert not list(tmp_path.glob("set*"))
    assert re.search(fact, error), error


def test_labels_are_matched_by_path_and_can_be_added_later(clips, tmp_path, capsys):
    root = tmp_path / "set"
    for day, name in (("a", "IM0001"), ("b", "one.gif"), ("b", "cine.dcm")):
        (tmp_path / day).mkdir(exist_ok=True)
        (tmp_path / day / ("clip.dcm" if name != "cine.dcm" else name)).write_bytes(
            (CINE if name == "cine.dcm" else clips / name).read_bytes()
        )
    extra = (tmp_path / "b/cine.dcm").rename(tmp_path / "cine.dcm")
    write.import_videos([tmp_path / "a", tmp_path / "b"], root, jobs=1)
    extra.rename(tmp_path / "b/cine.dcm")
    labels = tmp_path / "ef.csv"
    labels.write_text("FileName,EF,ESV,EDV,Patient\na/clip.dcm,60,40,100,P1\nb/clip,30,,,P1\n")
    with pytest.raises(SystemExit):
        write.import_videos([tmp_path / "a", tmp_path / "b"], root, labels=labels, jobs=1)
    out = capsys.readouterr().out
    assert "cine.dcm: no label" in out
    ours = {
        (e.source.split("/")[-2]): e.name for e in read_entries(book_of(root)).values() if e.source.endswith("clip.dcm")
    }
    rows = table(root)
    assert len(rows) == 2
    assert list(rows.loc[ours["a"]][["EF", "ESV", "EDV"]]) == ["60", "40", "100"]
    assert list(rows.loc[ours["b"]][["EF", "ESV", "EDV"]]) == ["30", "", ""]
    # Imported videos stay, with or without a row.
    labels.write_text("FileName,EF,Patient\na/clip.dcm,61,P1\n")
    write.import_videos([tmp_path / "a", tmp_path / "b/clip.dcm"], root, labels=labels, jobs=1)
    assert list(table(root).loc[[ours["a"], ours["b"]]]["EF"]) == ["61", "30"]
    assert {e.name for e in read_entries(book_of(root)).values()} >= set(ours.values())
    assert rows.loc[ours["a"]]["Split"] == rows.loc[ours["b"]]["Split"] in ("TRAIN", "VAL", "TEST")


def test_patients_keep_their_split_and_get_a_random_name(clips, tmp_path):
    root, source, labels = tmp_path / "set", tmp_path / "in", tmp_path / "ef.csv"
    source.mkdir()
    for name in ("IM0001", "one.gif"):
        (source / name).write_bytes((clips / name).read_bytes())
    labels.write_text("FileName;EF;Split;Patient\nIM0001;55,5;TEST;Doe, Jane\none;40;TRAIN;4711\n")
    write.import_videos([source], root, labels=labels, jobs=1)
    first = table(root)
    assert "Doe" not in (root / "FileList.csv").read_text()
    assert first["Patient"].nunique() == 2
    assert first["Patient"].str.fullmatch("P[0-9A-F]{8}").all()
    assert set(first["EF"]) == {"55.5", "40"}
    (source / "cine.dcm").write_bytes(CINE.read_bytes())
    # All shares would draw the training split.
    labels.write_text('FileName,EF,Patient\ncine,50,"Doe, Jane"\n')
    write.import_videos([source], root, labels=labels, jobs=1, val_fraction=0, test_fraction=0)
    rows = table(root)
    new = rows.loc[by_file(root)["cine.dcm"].name]
    old = first.loc[by_file(root)["IM0001"].name]
    assert (new["Split"], new["Patient"]) == ("TEST", old["Patient"])
    # A later table without patients changes neither.
    labels.write_text("FileName,EF\ncine,51\n")
    write.import_videos([source], root, labels=labels, jobs=1, val_fraction=0, test_fraction=0)
    rows = table(root)
    assert rows.loc[new.name][["EF", "Split", "Patient"]].tolist() == ["51", "TEST", old["Patient"]]
    held = {path: path.read_bytes() for path in tmp_path.rglob("*.csv")}
    labels.write_text('FileName,EF,Split,Patient\ncine,50,TRAIN,"Doe, Jane"\n')
    with pytest.raises(
        InputError, match="patient 'Doe, Jane' is in split TRAIN and, in earlier imports, in split TEST"
    ):
        write.import_videos([source], root, labels=labels, jobs=1)
    assert {path: path.read_bytes() for path in held if path != labels} == {
        p: b for p, b in held.items() if p != labels
    }


def test_a_split_of_one_video_decides_for_the_patient():
    labels = [
        Label(EF="50", patient="P"),
        Label(EF="50", Split="VAL", patient="P"),
        Label(EF="50", name="c"),
        Label(patient="P"),
    ]
    assigned = assign_splits({Path(str(i)): label for i, label in enumerate(labels)}, {}, Fractions(0, 0))
    assert [label.Split for label in assigned.values()] == ["VAL", "VAL", "TRAIN", ""]


def test_a_data_set_of_an_earlier_version_is_continued(clips, tmp_path):
    root, source = tmp_path / "set", tmp_path / "one.gif"
    source.write_bytes((clips / "one.gif").read_bytes())
    write.import_videos([source], root, jobs=1)
    for path, columns in ((root / "FileList.csv", ["Patient"]), (book_of(root), ["patient", "code"])):
        pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns=columns).to_csv(path, index=False)
    (tmp_path / "ef.csv").write_text("FileName,EF,Patient\none,55,7\n")
    write.import_videos([source], root, labels=tmp_path / "ef.csv", jobs=1)
    assert table(root)[["EF"]].iloc[0].tolist() == ["55"]
    assert table(root)["Patient"].str.fullmatch("P[0-9A-F]{8}").all()


def test_splits_of_patients_have_the_requested_shares():
    drawn = [draw_split(Label(patient=f"P{i}"), Fractions(0.15, 0.2)) for i in range(2000)]
    assert drawn.count("VAL") == pytest.approx(300, abs=50)
    assert drawn.count("TEST") == pytest.approx(400, abs=55)


def test_wrong_arguments_are_errors(clips, tmp_path, command):
    (tmp_path / "other" / "Videos").mkdir(parents=True)
    for arguments, fact in {
        ("nowhere", "--out", "set"): "nowhere",
        (clips, "--out", "other"): "--private",
        (clips, "--out", "set", "--private", "set/names.csv"): "set/names.csv",
        (clips, "--out", "set", "--size", 20): "size is 20",
        (clips / "one.gif", "--out", "set", "--labels", clips / "notes.txt"): "'FileName'",
    }.items():
        code, error = command("data", "import", *arguments)
        assert code == 2
        assert fact in error
        assert not (tmp_path / "set").exists()


def test_labels_with_one_ef_are_refused(tmp_path):
    files = [tmp_path / f"v{i}.avi" for i in range(10)]
    (tmp_path / "labels.csv").write_text("FileName,EF\n" + "".join(f"{file.name},60\n" for file in files))
    with pytest.raises(InputError, match=r"row 2 \(v0.avi\): EF is 60 in 10 of 10 rows"):
        read_labels(tmp_path / "labels.csv", files)


@pytest.mark.parametrize("fps", [0.5, 29.97, 30000 / 1001, 33.333, 50, 138.7])
def test_frame_rates_are_kept_exactly(tmp_path, fps):
    frames = np.random.default_rng(0).integers(0, 255, (9, 64, 64), dtype=np.uint8)
    raster.write_mjpeg_avi(tmp_path / "a.avi", frames, fps)
    assert read_colour(tmp_path / "a.avi", lambda *_: None)[1] == pytest.approx(fps, rel=1e-5)
    assert read_frames(tmp_path / "a.avi").shape == frames.shape
    data = (tmp_path / "a.avi").read_bytes()
    assert struct.unpack_from("<I", data, data.find(b"avih") + 8)[0] == pytest.approx(1e6 / fps, abs=1)
