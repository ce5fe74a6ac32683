import contextlib
import math
import shutil

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_e3net import geometry
from echo_e3net.checks.rules import read_data
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.errors import InputError
from echo_e3net.tables import read_numbers, read_rows, write_csv
from tests.datamodules import data_module


@pytest.fixture
def root(phantom_root, tmp_path):
    """A copy of the phantom that a test may damage."""
    return shutil.copytree(phantom_root, tmp_path / "copy")


def edit(path, change):
    table = pd.read_csv(path, dtype=str)
    table = change(table)
    table.to_csv(path, index=False)


def put(row, column, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return change


def test_records_agree_with_the_tables(phantom_root):
    files = pd.read_csv(phantom_root / "FileList.csv")
    records = EchoNetDynamic().read(phantom_root).records
    assert [r.name for r in records] == files["FileName"].tolist()
    for record, row in zip(records, files.itertuples(), strict=True):
        assert record.ef * 100 == pytest.approx(row.EF)
        assert record.frames == row.NumberOfFrames
        assert record.landmark_mask.all()
        ed, es = torch.from_numpy(record.landmarks[:, 0])
        assert geometry.contour_volume(ed) > geometry.contour_volume(es)
        assert 100 * geometry.ejection_fraction(ed, es).item() == pytest.approx(row.EF, abs=0.1)


def test_the_epicardium_is_outside_the_endocardium(phantom_root):
    for record in EchoNetDynamic().read(phantom_root).records:
        areas = geometry.polygon_area(geometry.border_polygon(torch.from_numpy(record.landmarks)))
        assert (areas[:, 1] > areas[:, 0]).all()


@pytest.mark.parametrize(
    ("file", "change", "facts"),
    [
        ("FileList.csv", put(2, "EF", ""), ["row 4 ", "EF", "''", "0 to 100"]),
        ("FileList.csv", put(2, "EF", "NaN"), ["row 4 ", "EF", "'NaN'"]),
        ("FileList.csv", put(0, "EF", "155"), ["row 2 ", "EF", "'155'"]),
        ("FileList.csv", put(1, "NumberOfFrames", "many"), ["row 3 ", "NumberOfFrames", "'many'"]),
        ("FileList.csv", put(1, "NumberOfFrames", "1.002"), ["row 3 ", "NumberOfFrames", "'1.002'", "whole number"]),
        ("FileList.csv", put(1, "Split", "dev"), ["row 3 ", "Split", "'dev'", "TRAIN, VAL or TEST"]),
        ("FileList.csv", put(1, "FileName", "gone"), ["row 3 ", "(gone)", "gone.avi"]),
        ("FileList.csv", lambda t: t.drop(columns="Split"), ["'Split'", "'FileName'"]),
        ("FileList.csv", lambda t: pd.concat([t, t.iloc[:1]]), ["row 14 ", "row 2 "]),
        ("VolumeTracings.csv", lambda t: t.drop(columns="X2"), ["'X2'"]),
        ("VolumeTracings.csv", put(5, "Y1", "x"), ["row 7 ", "Y1", "'x'"]),
        ("VolumeTracings.csv", put(5, "Y1", ""), ["row 7 ", "Y1", "''"]),
        ("VolumeTracings.csv", lambda t: t.assign(Frame="4000"), ["row 2 ", "Frame", "'4000'", "from 0 to"]),
    ],
)
def test_errors_of_tables_name_file_row_and_value(root, file, change, facts):
    edit(root / file, change)
    with pytest.raises(InputError) as caught:
        data_module(root, frames=8).setup("fit")
    assert [fact for fact in [str(root / file), *facts] if fact not in str(caught.value)] == [], caught.value


def test_missing_files(root, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        read_data(EchoNetDynamic(), tmp_path / "nowhere")
    with pytest.raises(InputError, match="a file, not a folder"):
        read_data(EchoNetDynamic(), root / "FileList.csv")
    (root / "VolumeTracings.csv").unlink()
    with pytest.raises(InputError, match=r"VolumeTracings\.csv"):
        read_data(EchoNetDynamic(), root)
    (root / "FileList.csv").write_text("")
    with pytest.raises(InputError, match=r"FileList\.csv"):
        read_data(EchoNetDynamic(), root)


def test_unlabelled_frames_are_masked_not_refused(root):
    stem = pd.read_csv(root / "FileList.csv")["FileName"][0]

    def drop(table):
        mine = table["FileName"].str.startswith(stem)
        return table[~mine]

    edit(root / "VolumeTracings.csv", drop)
    edit(root / "FileList.csv", lambda t: t.assign(Split=t["Split"].str.lower(), FileName=t["FileName"] + ".avi"))
    (root / "EpiTracings.csv").unlink()
    first, *others = read_data(EchoNetDynamic(), root).records
    assert first.traced is None
    assert not first.landmark_mask.any()
    assert all(r.landmark_mask[:, 0].all() and not r.landmark_mask[:, 1].any() for r in others)


def test_a_frame_with_other_than_21_segments_masks_the_video(root):
    edit(root / "VolumeTracings.csv", lambda t: t.iloc[1:])
    masked = [r for r in read_data(EchoNetDynamic(), root).records if r.traced is None]
    assert len(masked) == 1
    assert not masked[0].landmark_mask.any()


def test_a_split_without_videos_is_refused(root):
    edit(root / "FileList.csv", lambda t: t.assign(Split="TRAIN"))
    with pytest.raises(InputError, match=r"(?s)FileList\.csv.*VAL"):
        data_module(root, frames=8).setup("fit")


def test_write_csv_writes_only_the_whole_file(tmp_path):
    target = tmp_path / "out" / "table.csv"
    write_csv(target, [{"a": 1, "b": math.nan}], ["a", "b"])
    assert target.read_text() == "a,b\n1,\n"
    assert [p.name for p in target.parent.iterdir()] == ["table.csv"]


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=6).map(
    str.strip
)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=5),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.permutations([0, 1, 2]),
)
def test_the_dialect_of_a_csv_does_not_matter(tmp_path_factory, rows, bom, windows, quoted, order):
    """Byte-order mark, line ends, quotes, order of columns and further columns do not matter."""
    frame = pd.DataFrame(rows, columns=["a", "b", "c"], dtype=str)
    text = (
        frame[[frame.columns[i] for i in order]]
        .assign(more="1")
        .to_csv(index=False, quoting=1 if quoted else 0, lineterminator="\r\n" if windows else "\n")
    )
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())
    assert [{k: row[k] for k in "abc"} for row in read_rows(path, "abc")] == [
        dict(zip("abc", row, strict=True)) for row in rows
    ]


EXPORTED = "FileName,EF,NumberOfFrames,Split\nJürgen,55.25,100,TRAIN\nb,40,120,VAL\n"


def with_semicolons(text):
    return text.replace(",", ";").replace(".", ",")


@pytest.mark.parametrize(
    "content",
    [
        EXPORTED.encode("utf-16"),
        b"\xfe\xff" + EXPORTED.encode("utf-16-be"),
        EXPORTED.encode("cp1252"),
        with_semicolons(EXPORTED).encode("cp1252"),
        with_semicolons(EXPORTED).encode("utf-8-sig"),
        EXPORTED.replace(",", ";").encode(),
        EXPORTED.replace(",", "\t").encode("utf-16"),
        EXPORTED.replace(",", "\t").replace(".", ",").replace("\n", "\r\n").encode(),
    ],
)
def test_tables_of_spreadsheets_are_read(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    rows = read_rows(path, ("FileName", "EF"))
    assert rows == [
        {"FileName": "Jürgen", "EF": "55.25", "NumberOfFrames": "100", "Split": "TRAIN"},
        {"FileName": "b", "EF": "40", "NumberOfFrames": "120", "Split": "VAL"},
    ]
    numbers = read_numbers(path, "FileName", ("EF", "NumberOfFrames"), str.upper)
    assert [numbers.names[key] for key in numbers.keys] == ["JÜRGEN", "B"]
    assert numbers.values.tolist() == [[55.25, 100], [40, 120]]


def test_text_with_commas_is_kept_between_semicolons(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a;b;c\n1,5,2;x, y;-,5\n")
    assert read_rows(path, ("a", "b")) == [{"a": "1,5,2", "b": "x, y", "c": "-.5"}]


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (EXPORTED.encode("utf-16-le"), "UTF-16 without a byte-order mark; export it as CSV in UTF-8"),
        (b"PK\x03\x04\x00\x00 a workbook under the name of a CSV", "not a text file"),
        (EXPORTED.replace(".", ",").encode(), "decimal comma need semicolons"),
        (EXPORTED.encode("cp1252").replace(b"\xfc", b"\x81"), "not a readable CSV"),
    ],
)
def test_an_unknown_encoding_is_named(tmp_path, content, fact):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=fact):
        read_rows(path, ("FileName", "EF"))


def test_a_data_set_of_a_german_spreadsheet_is_the_same(root):
    before = EchoNetDynamic().read(root).records
    for name in ("FileList.csv", "VolumeTracings.csv", "EpiTracings.csv"):
        table = pd.read_csv(root / name)
        table.to_csv(root / name, index=False, sep=";", decimal=",", encoding="utf-16")
    after = EchoNetDynamic().read(root).records
    assert [(r.name, r.ef, r.frames, r.traced) for r in after] == [(r.name, r.ef, r.frames, r.traced) for r in before]
    assert all((a.landmarks == b.landmarks).all() for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize(
    ("name", "listed", "traced", "held"),
    [
        ("0X1A", "0X1A.AVI", "0X1A.avi", "0X1A.avi"),
        ("0X1A", "0X1A", "0X1A.AVI", "0X1A.AVI"),
        ("0X1A", "0X1A.mp4", "0X1A", "0X1A.mp4"),
        ("0X1A", "0X1A.MP4", "0X1A.mp4", "0X1A.avi"),
        ("1.2.840.113", "1.2.840.113", "1.2.840.113.avi", "1.2.840.113.avi"),
        ("1.2.840.113", "1.2.840.113.Avi", "1.2.840.113", "1.2.840.113.mov"),
    ],
)
def test_the_suffix_of_a_name_does_not_matter(root, name, listed, traced, held):
    table = pd.read_csv(root / "FileList.csv", dtype=str)
    old = table["FileName"][0]
    edit(root / "FileList.csv", put(0, "FileName", listed))
    edit(
        root / "VolumeTracings.csv",
        lambda t: t.assign(FileName=[traced if n == f"{old}.avi" else n for n in t["FileName"]]),
    )
    (root / "EpiTracings.csv").unlink()
    (root / "Videos" / f"{old}.avi").rename(root / "Videos" / held)
    record = read_data(EchoNetDynamic(), root).records[0]
    assert (record.name, record.path.name) == (name, held)
    assert record.traced is not None


def test_of_several_files_the_listed_one_is_read(root):
    name = pd.read_csv(root / "FileList.csv")["FileName"][0]
    video = root / "Videos" / f"{name}.avi"
    shutil.copy(video, video.with_suffix(".mp4"))
    assert EchoNetDynamic().read(root).records[0].path == video
    edit(root / "FileList.csv", put(0, "FileName", f"{name}.mp4"))
    assert EchoNetDynamic().read(root).records[0].path == video.with_suffix(".mp4")
    video.rename(video.with_suffix(".mov"))
    edit(root / "FileList.csv", put(0, "FileName", name))
    with pytest.raises(InputError, match=rf"{name}\.avi does not exist"):
        data_module(root, frames=8).setup("fit")


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("a,b,a\n1,2,3\n", "'a', 'b', 'a'"),
        ("a,c\n1,2\n", "'b' is missing"),
        ("a,b\n1,2,3\n", "CSV"),
        ("a,b\n1,2\n1,2,3,4\n", "CSV"),
        ('a,b\n1,"2\n', "CSV"),
        ("\n\n", "CSV|'a' is missing"),
        ("", "CSV"),
        ("\x89PNG\r\n\x1a\n\xff", "CSV|'a' is missing"),
    ],
)
def test_unusable_tables_are_refused(tmp_path, text, fact):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=fact) as caught:
        read_rows(path, "ab")
    assert str(path) in str(caught.value)


def test_a_short_row_has_empty_values(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1\n3,4\n")
    assert read_rows(path, "ab") == [{"a": "1", "b": ""}, {"a": "3", "b": "4"}]


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_content_of_the_list_gives_findings_or_an_input_error(phantom_root, tmp_path_factory, content):
    root = tmp_path_factory.mktemp("bytes")
    (root / "VolumeTracings.csv").write_text("FileName,X1,Y1,X2,Y2,Frame\n")
    for start in (b"", b"FileName,EF,NumberOfFrames,Split\n"):
        (root / "FileList.csv").write_bytes(start + content)
        with contextlib.suppress(InputError):
            assert read_data(EchoNetDynamic(), root).records == []
