"""What a check of ``echo-e3net doctor`` gives."""

from __future__ import annotations

from typing import Literal, NamedTuple

Mark = Literal["ok", "warning", "bad"]


class Finding(NamedTuple):
    """What a check found: of what, whether it is well, what it is, and what to do where it is not."""

    name: str
    mark: Mark
    what: str
    remedy: str = ""


def graded(name: str, value: float, good: float, least: float, what: str, remedy: str) -> Finding:
    """A tick from ``good`` on, a cross below ``least``."""
    return Finding(name, "ok" if value >= good else "warning" if value >= least else "bad", what, remedy)
