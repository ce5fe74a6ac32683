"""Tables of results as Markdown, and the tables of docs/BENCHMARKS.md.

``python -m echo_e3net.benchmark.document docs/BENCHMARKS.md benchmarks`` writes the results of each JSON file between
the markers ``<!-- bench: NAME -->`` and ``<!-- end -->``; NAME is the file without its suffix, or ``summary``.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from echo_e3net.benchmark.tasks import EAGER_RATIO, NETWORKS, RATIO, TASKS
from echo_e3net.errors import InputError
from echo_e3net.files import write_text

Row = Mapping[str, Any]
"""A row of a table by the names of its columns: texts and numbers; None is an empty cell."""
MARKED = re.compile(r"(<!-- bench: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
STEPS = 45 * 7465 / 16
"""Steps of the training of the paper: 45 epochs of the training split of EchoNet-Dynamic, 16 clips per step."""
EPOCHS = "45 epochs of 7,465 clips, minutes, from the training step"
ABSENT = {"cuda": "not run: no GPU"}
"""Why there is no file with results, by its name."""


class Table(NamedTuple):
    """Results to print and to store.

    Attributes:
        name: identifies the table in the JSON file.
        title: heading.
        rows: all rows have the same columns.
        notes: sentences below the table, for example why rows are missing.
    """

    name: str
    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()


def markdown(table: Table) -> str:
    """Return a table with its heading and notes as Markdown that is also aligned as plain text."""
    parts = [f"#### {table.title[:1].upper()}{table.title[1:]}"]
    if table.rows:
        columns = list(table.rows[0])
        right = [any(isinstance(row[name], int | float) for row in table.rows) for name in columns]
        cells = [columns, *([cell(row[name]) for name in columns] for row in table.rows)]
        widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(columns))]
        lines = [
            " | ".join(
                text.rjust(width) if number else text.ljust(width)
                for text, width, number in zip(line, widths, right, strict=True)
            )
            for line in cells
        ]
        rule = " | ".join(
            "-" * (width - 1) + (":" if number else "-") for width, number in zip(widths, right, strict=True)
        )
        parts.append("\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:])))
    return "\n\n".join([*parts, *table.notes])


def cell(value: object) -> str:
    """Return the text of a cell: numbers have three digits, or more before the point."""
    if isinstance(value, float) and math.isfinite(value):
        if abs(value) < 0.0005:
            return "0"
        digits = 2 - math.floor(math.log10(abs(value)))
        return f"{value:,.{min(max(digits, 0), 3)}f}"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value).replace("|", "/")


def setting(machine: Row) -> str:
    """Return one line about the machine."""
    return ", ".join(f"{name} {value}" for name, value in machine.items()) + "."


def as_json(machine: Row, tables: Sequence[Table]) -> str:
    """Return the content of a JSON file; numbers have four digits."""
    shorter = [table._replace(rows=[{k: rounded(v) for k, v in row.items()} for row in table.rows]) for table in tables]
    content = {"machine": machine, "tables": [table._asdict() for table in shorter]}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def rounded(value: object) -> object:
    """Return a fraction with four digits, and other values unchanged."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def read_json(path: Path) -> tuple[Row, list[Table]]:
    """Return machine and tables of a JSON file.

    Raises:
        InputError: the file does not hold results of the benchmark.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["machine"], [Table(**table) for table in content["tables"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not hold results of the benchmark. Measure again with make bench.") from error


def updated(text: str, folder: Path) -> str:
    """Return a document with the results of a folder between its markers."""

    def replaced(match: re.Match[str]) -> str:
        name = match[2]
        content = summary(folder) if name == "summary" else results(folder / f"{name}.json")
        return f"{match[1]}{content}\n{match[3]}"

    return MARKED.sub(replaced, text)


def results(path: Path) -> str:
    """Return all tables of a JSON file, or why there are none."""
    if not path.is_file():
        return ABSENT.get(path.stem, "not run")
    machine, tables = read_json(path)
    return "\n\n".join([setting(machine), *map(markdown, tables)])


def summary(folder: Path) -> str:
    """Return the ratios to the reference on all devices, and what the times on a GPU mean for a training."""
    rows, clock = [], []
    for device, tasks in TASKS.items():
        path = folder / f"{device}.json"
        tables = {table.name: table for table in read_json(path)[1]} if path.is_file() else {}
        for task in sorted(tasks, key=lambda task: (task.training, task.batch)):
            table = tables.get(task.name)
            failed = table is not None and any(note.startswith("Failed") for note in table.notes)
            why = ABSENT.get(device, "not run") if table is None else "failed" if failed else "not run: no time left"
            found = {row["network"]: row for row in table.rows} if table else {}
            ratios = {network: both(found.get(network), why) for network in NETWORKS}
            rows.append({"device": device, "task": task.title} | ratios)
            if device == "cuda" and (task.training or task.batch == 1):
                ms = found.get(NETWORKS[0], {}).get("ms")
                title, factor = (EPOCHS, STEPS / 60_000) if task.training else (f"{task.title}, ms", 1.0)
                clock.append({"version 1 on a GPU": title, "measured": ms * factor if isinstance(ms, float) else why})
    return "\n\n".join(
        [
            markdown(Table("summary", "Times as fast as R(2+1)D-18: best forms (torch eager only)", rows)),
            markdown(Table("clock", "Times on a GPU", clock)),
        ]
    )


def both(row: Row | None, why: str) -> str:
    """Return the ratio of the best forms and that of torch eager, or why there is none."""
    if row is None or row[RATIO] is None:
        return why
    return cell(row[RATIO]) + ("" if row[EAGER_RATIO] is None else f" ({cell(row[EAGER_RATIO])})")


if __name__ == "__main__":
    document, folder = map(Path, sys.argv[1:])
    write_text(document, updated(document.read_text(encoding="utf-8"), folder))
