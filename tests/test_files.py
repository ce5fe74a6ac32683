import pytest

from echo_e3net.files import whole, write_text


def test_a_failed_write_leaves_the_former_file_and_nothing_else(tmp_path):
    target = tmp_path / "new" / "table.csv"
    write_text(target, "first\n")

    def fail():
        with whole(target) as aside:
            aside.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert target.read_text() == "first\n"
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_already_says_so_is_left_alone(tmp_path):
    target = tmp_path / "x.txt"
    write_text(target, "é\r\n")
    before = target.stat().st_mtime_ns
    write_text(target, "é\r\n")
    assert target.stat().st_mtime_ns == before
    assert target.read_bytes() == "é\r\n".encode()
