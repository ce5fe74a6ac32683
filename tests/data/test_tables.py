import contextlib
import math
import shutil

import pandas as pd
import pytest
from hypothesis import given, settings
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
    ("file", "change", "facts"),
    [
        ("FileList.csv", put(2, "EF", ""), ["row 4 ", "EF", "''", "0 to 100"]),
        ("FileList.csv", put(2, "EF", "NaN"), ["row 4 ", "EF", "'NaN'"]),
        ("FileList.csv", put(0, "EF", "155"), ["row 2 ", "EF", "'155'"]),
        ("FileList.csv", put(1, "NumberOfFrames", "many"), ["row 3 ", "NumberOfFrames", "'many'"]),
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
