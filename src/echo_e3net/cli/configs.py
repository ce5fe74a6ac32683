"""The command ``echo-e3net configs``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from echo_e3net.files import shipped


def configs() -> None:
    """List the bundled configurations and the question that each one answers.

    Pass the listed name to --config: `echo-e3net fit --config e3net.yaml --config ablations/no_detector.yaml`. A file
    of the same name in the current folder takes precedence.
    """
    folder = shipped()
    table = Table(title=f"configurations in {folder}", title_justify="left", box=None)
    table.add_column("file", no_wrap=True)
    table.add_column("question")
    for path in sorted(folder.rglob("*.yaml"), key=lambda path: (len(path.parts), path)):
        table.add_row(str(path.relative_to(folder)), question(path))
    Console().print(table)


def question(path: Path) -> str:
    """Return the first line of a configuration, which is a comment with its question."""
    return path.read_text().partition("\n")[0].removeprefix("# ")
