import errno
import os
import re

import pytest

from echo_e3net.errors import InputError
from echo_e3net.files import require_place, whole, write_text


def test_a_failed_write_leaves_only_the_previous_file(tmp_path):
    target = tmp_path / "new" / "table.csv"
    write_text(target, "first\n")

    def fail():
        with whole(target) as aside:
            aside.write_text("half")
            raise OSError("disk full")

    with pytest.raises(InputError, match=r"table.csv .*disk full"):
        fail()
    assert target.read_text() == "first\n"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    def write(complete):
        with whole(tmp_path / "new/model") as aside:
            aside.mkdir()
            (aside / "weights").write_text("x")
            if not complete:
                raise OSError("disk full")

    with pytest.raises(InputError, match=r"model .*disk full"):
        write(False)
    assert not list((tmp_path / "new").iterdir())
    write(True)
    assert [path.name for path in (tmp_path / "new").rglob("*")] == ["model", "weights"]


def test_a_file_with_the_same_content_is_not_touched(tmp_path):
    target = tmp_path / "x.txt"
    write_text(target, "é\r\n")
    before = target.stat().st_mtime_ns
    write_text(target, "é\r\n")
    assert target.stat().st_mtime_ns == before
    assert target.read_bytes() == "é\r\n".encode()


def test_errors_of_writing_name_path_and_reason(tmp_path):
    (tmp_path / "plain").write_text("")
    with pytest.raises(InputError, match=r"plain/new/x.txt .*/plain is a file"):
        write_text(tmp_path / "plain/new/x.txt", "x")
    with pytest.raises(InputError, match=f"{tmp_path} .*it is a folder"):
        write_text(tmp_path, "x")

    def fill():
        with whole(tmp_path / "x.txt"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=r"x.txt .*no space left on device"):
        fill()


def test_require_place_writes_nothing(tmp_path):
    (tmp_path / "plain").write_text("")
    require_place(tmp_path / "new" / "folder" / "x.txt")
    require_place(tmp_path / "plain")
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]
    for place in (
        tmp_path / "plain" / "x.txt",
        tmp_path / "plain" / "new" / "x.txt",
        tmp_path,
        tmp_path / ("n" * 300),
        tmp_path / ("n" * 300) / "x",
    ):
        with pytest.raises(InputError, match=re.escape(str(place))):
            require_place(place)
