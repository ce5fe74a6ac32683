"""Tables as Markdown, and the tables of docs/BENCHMARKS.md, which are generated."""

from pathlib import Path

import pytest

from echo_e3net.benchmark.document import Table, as_json, cell, markdown, read_json, summary, updated
from echo_e3net.benchmark.presets import PRESETS
from echo_e3net.benchmark.tasks import EAGER_RATIO, NETWORKS, RATIO, TASKS, Task
from echo_e3net.errors import InputError

ROOT = Path(__file__).parents[2]
TEXT = "before\n<!-- bench: cpu -->\nold\n<!-- end -->\nbetween\n<!-- bench: cuda -->\n<!-- end -->\nafter\n"


def write(path, *tables):
    path.write_text(as_json({"device": "a CPU", "threads": 2}, tables))


def test_the_tables_of_the_documentation_are_those_of_the_results():
    path = ROOT / "docs/BENCHMARKS.md"
    text = path.read_text(encoding="utf-8")
    assert "<!-- bench: cpu -->" in text
    advice = "run python -m echo_e3net.benchmark.document docs/BENCHMARKS.md benchmarks"
    assert updated(text, ROOT / "benchmarks") == text, advice


def test_a_table_is_aligned_and_numbers_are_on_the_right():
    table = Table(
        "name", "Title", [{"part": "a|b", "ms": 12.345, "rounds": 3}, {"part": "c", "ms": None, "rounds": 12}]
    )
    assert markdown(table) == (
        "#### Title\n\n"
        "| part |   ms | rounds |\n"
        "| ---- | ---: | -----: |\n"
        "| a/b  | 12.3 |      3 |\n"
        "| c    |      |     12 |"
    )
    assert markdown(Table("name", "Title", [], ["Not run."])) == "#### Title\n\nNot run."


@pytest.mark.parametrize(
    ("value", "text"),
    [(2506.21, "2,506"), (12.345, "12.3"), (1.0, "1.00"), (0.01234, "0.012"), (0.0, "0"), (9156, "9,156"), (None, "")],
)
def test_numbers_have_three_digits(value, text):
    assert cell(value) == text


def test_results_replace_what_is_between_the_markers(tmp_path):
    table = Table("name", "Title", [{"part": "a", "ms": 1.23456}], ["A note."])
    write(tmp_path / "cpu.json", table)
    assert read_json(tmp_path / "cpu.json")[1] == [table._replace(rows=[{"part": "a", "ms": 1.235}])]
    once = updated(TEXT, tmp_path)
    assert once.startswith("before\n<!-- bench: cpu -->\ndevice a CPU, threads 2.\n\n#### Title\n")
    assert "A note.\n<!-- end -->\nbetween" in once
    assert "<!-- bench: cuda -->\nnot run: no GPU\n<!-- end -->\nafter\n" in once
    assert updated(once, tmp_path) == once


def test_the_summary_has_a_row_for_every_task_and_says_why_a_ratio_is_missing(tmp_path):
    first, second, third = Task(1), Task(8), Task(4, training=True)
    ratios = {"version 1": (3.0, 2.5), "lite": (None, None), "small": (4.0, None)}
    rows = [{"network": name, RATIO: best, EAGER_RATIO: eager} for name, (best, eager) in ratios.items()]
    write(tmp_path / "cpu.json", Table(first.name, "", rows), Table(second.name, "", [], ["Not run."]))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary(tmp_path).splitlines()[4:]]
    assert lines[0] == ["cpu", first.title, "3.00 (2.50)", "not run: no time left", "4.00"]
    assert lines[1] == ["cpu", second.title, *["not run: no time left"] * 3]
    assert lines[2] == ["cpu", third.title, *["not run"] * 3]
    assert [line[2] for line in lines[3 : 3 + len(TASKS["cuda"])]] == ["not run: no GPU"] * len(TASKS["cuda"])


def test_the_summary_projects_a_training_from_the_time_of_a_step(tmp_path):
    assert summary(tmp_path).partition("Times on a GPU")[2].count("| not run: no GPU |") == 2
    steps = [{"network": "version 1", "ms": 40.0, RATIO: 3.0, EAGER_RATIO: None}]
    write(tmp_path / "cuda.json", Table("training-16", "", steps), Table("inference-1", "", [], ["Failed: no memory."]))
    text = summary(tmp_path)
    assert "| 45 epochs of 7,465 clips, minutes, from the training step |     14.0 |" in text
    assert "| failed " in text


def test_the_networks_of_the_summary_are_the_presets():
    assert list(NETWORKS) == list(PRESETS)


def test_other_files_are_input_errors(tmp_path):
    path = tmp_path / "cpu.json"
    for content in ("{", "[]", '{"rows": []}'):
        path.write_text(content)
        with pytest.raises(InputError, match=r"cpu\.json does not hold results .* make bench"):
            read_json(path)
