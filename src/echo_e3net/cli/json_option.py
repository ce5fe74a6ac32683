"""The argument ``--json`` of the commands that print a table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
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
    """Print a table and also write ``content`` to a JSON file; ``-`` prints the JSON instead of the table.

    JSON has no NaN and no infinity; null replaces them.
    """
    if place != STDOUT:
        print_table()
    if place is None:
        return
    text = json.dumps(with_null(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if place == STDOUT:
        print(text, end="")
    else:
        write_text(Path(place), text)


def with_null(content: object) -> object:
    """Return values of JSON with None for numbers that are not finite."""
    if isinstance(content, Mapping):
        return {name: with_null(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [with_null(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
