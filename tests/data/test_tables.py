import contextlib
import math
import shutil

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_e3net import geometry
from echo_e3net.checks.rules import read_data
from echo_e3net.data.formats import EchoNetDynamic
from echo_e3net.errors import InputError
from echo_e3net.tables import read_rows, write_csv
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
        ed, es = record.landmarks[0, 0], record.landmarks[1, 0]
        assert geometry.contour_volume(ed) > geometry.contour_volume(es)
        assert 100 * geometry.ejection_fraction(ed, es).item() == pytest.approx(row.EF, abs=0.1)


def test_the_epicardium_is_outside_the_endocardium(phantom_root):
    for record in EchoNetDynamic().read(phantom_root).records:
        areas = geometry.polygon_area(geometry.border_polygon(record.landmarks))
        assert (areas[:, 1] > areas[:, 0]).all()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("FileList.csv", put(2, "EF", ""), r"FileList\.csv row 4 .*EF is ''.*number from 0 to 100"),
        ("FileList.csv", put(2, "EF", "NaN"), r"row 4 .*EF is 'NaN'"),
        ("FileList.csv", put(0, "EF", "155"), r"row 2 .*EF is '155'"),
        ("FileList.csv", put(1, "NumberOfFrames", "many"), r"row 3 .*NumberOfFrames is 'many'"),
        ("FileList.csv", put(1, "Split", "dev"), r"row 3 .*Split is 'dev'\. It must be TRAIN, VAL or TEST"),
        ("FileList.csv", put(1, "FileName", "gone"), r"row 3 \(gone\): .*gone\.avi does not exist"),
        ("FileList.csv", lambda t: t.drop(columns="Split"), r"column 'Split' is missing; it has 'FileName'"),
        (
            "FileList.csv",
            lambda t: pd.concat([t, t.iloc[:1]]),
            r"row 14 \(0X\w+\): video .* is listed twice, first in row 2\. Keep",
        ),
        ("VolumeTracings.csv", lambda t: t.drop(columns="X2"), r"VolumeTracings\.csv: column 'X2' is missing"),
        ("VolumeTracings.csv", put(5, "Y1", "x"), r"VolumeTracings\.csv row 7 \(0X\w+\): Y1 is 'x'"),
        ("VolumeTracings.csv", put(5, "Y1", ""), r"VolumeTracings\.csv row 7 \(0X\w+\): Y1 is ''"),
        (
            "VolumeTracings.csv",
            lambda t: t.assign(Frame="4000"),
            r"VolumeTracings\.csv row 2 \(0X\w+\): Frame is 4000, but the video has \d+ frames",
        ),
    ],
)
def test_bad_tables_name_file_row_and_value(root, file, change, message):
    edit(root / file, change)
    with pytest.raises(InputError, match=message):
        data_module(root, frames=8).setup("fit")


def test_missing_files(root, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_data(EchoNetDynamic(), tmp_path / "nowhere")
    (root / "VolumeTracings.csv").unlink()
    with pytest.raises(InputError, match=r"VolumeTracings\.csv: no such file"):
        read_data(EchoNetDynamic(), root)
    (root / "FileList.csv").write_text("")
    with pytest.raises(InputError, match="not a readable CSV"):
        read_data(EchoNetDynamic(), root)


def test_what_is_not_labelled_is_masked_not_refused(root):
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
    with pytest.raises(InputError, match="no video of split VAL, which fit needs"):
        data_module(root, frames=8).setup("fit")


def test_write_csv_leaves_no_half_file(tmp_path):
    target = tmp_path / "out" / "table.csv"
    write_csv(target, [{"a": 1, "b": math.nan}], ["a", "b"])
    assert target.read_text() == "a,b\n1,\n"
    assert [p.name for p in target.parent.iterdir()] == ["table.csv"]


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=6).map(
    str.strip
)


@given(
    st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=5),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.permutations([0, 1, 2]),
)
def test_a_csv_reads_the_same_however_it_is_written(tmp_path_factory, rows, bom, windows, quoted, order):
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,a\n1,2,3\n", r"column 'a' is there 2 times; it has 'a', 'b', 'a'"),
        ("a,c\n1,2\n", r"column 'b' is missing; it has 'a', 'c'"),
        ("a,b\n1,2,3\n", "not a readable CSV"),
        ("a,b\n1,2\n1,2,3,4\n", "not a readable CSV"),
        ('a,b\n1,"2\n', "not a readable CSV"),
        ("\n\n", "not a readable CSV|column 'a' is missing"),
        ("", "not a readable CSV"),
        ("\x89PNG\r\n\x1a\n\xff", "not a readable CSV|column 'a' is missing"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_rows(path, "ab")
    assert str(path) in str(caught.value)


def test_a_short_row_has_empty_values(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1\n3,4\n")
    assert read_rows(path, "ab") == [{"a": "1", "b": ""}, {"a": "3", "b": "4"}]


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise(phantom_root, tmp_path_factory, content):
    """Whatever stands in FileList.csv, the reader gives findings or one clear error."""
    root = tmp_path_factory.mktemp("bytes")
    (root / "VolumeTracings.csv").write_text("FileName,X1,Y1,X2,Y2,Frame\n")
    for start in (b"", b"FileName,EF,NumberOfFrames,Split\n"):
        (root / "FileList.csv").write_bytes(start + content)
        with contextlib.suppress(InputError):
            assert read_data(EchoNetDynamic(), root).records == []
