"""Checks what stands in a YAML file, and names the place of what is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from echo_e3net.errors import InputError


@dataclass(frozen=True)
class Reader:
    """Checks what stands in a sweep file, and names the place of what is wrong."""

    path: Path

    def refuse(self, key: str, value: object, advice: str) -> NoReturn:
        """Say what is wrong."""
        raise InputError(f"{self.path}: {key} is {value!r}: {advice}.")

    def mapping(self, key: str, value: Any, known: tuple[str, ...], needed: tuple[str, ...] = ()) -> dict[str, Any]:  # noqa: ANN401  (YAML)
        """A mapping of known keys."""
        if not isinstance(value, dict):
            self.refuse(key, value, "give a mapping of " + ", ".join(known))
        prefix = "" if key == "the file" else f"{key}."
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}."
                raise InputError(f"{self.path}: {prefix}{name} ({value[name]!r}) is not known to this engine; {advice}")
        for name in needed:
            if name not in value:
                raise InputError(f"{self.path}: {prefix}{name} is missing; {key} needs {', '.join(needed)}.")
        return value

    def text(self, key: str, value: Any) -> str:  # noqa: ANN401
        """A text with something in it."""
        return value if isinstance(value, str) and value.strip() else self.refuse(key, value, "give a text")

    def one_of(self, key: str, value: Any, known: tuple[str, ...]) -> str:  # noqa: ANN401
        """One of some words."""
        return str(value) if value in known else self.refuse(key, value, f"give one of {', '.join(known)}")

    def number(
        self, key: str, value: Any, fits: Callable[[float], bool] = lambda value: True, what: str = "a number"
    ) -> float:  # noqa: ANN401
        """A number in a range."""
        if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?e[-+]?\d+", value, re.IGNORECASE):
            self.refuse(
                key,
                value,
                f"give a number; YAML reads {value} as text: write {float(value)!r} with a point, such as 1.0e-4",
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not fits(value):
            self.refuse(key, value, f"give {what}")
        return value

    def whole(self, key: str, value: Any, least: int) -> int:  # noqa: ANN401
        """A whole number."""
        return int(
            self.number(
                key, value, lambda value: isinstance(value, int) and value >= least, f"a whole number, at least {least}"
            )
        )
