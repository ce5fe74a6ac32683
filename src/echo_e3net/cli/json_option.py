"""The argument ``--json`` of the commands that print a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from echo_e3net.files import require_place, write_text

STDOUT = "-"


def require_json_place(place: str | None) -> None:
    """Check before the work starts that the JSON file can be written.

    Raises:
        InputError: it cannot.
    """
    if place not in (None, STDOUT):
        require_place(Path(place))


def show(place: str | None, content: object, print_table: Callable[[], None]) -> None:
    """Print a table and also write ``content`` to a JSON file; ``-`` prints the JSON instead of the table."""
    if place != STDOUT:
        print_table()
    if place is None:
        return
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if place == STDOUT:
        print(text, end="")
    else:
        write_text(Path(place), text)
