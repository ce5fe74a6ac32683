"""The configuration files of a command line: which they are, whether they can be read, and which keys they state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from echo_e3net.errors import InputError


def configurations(args: Sequence[str]) -> list[Path]:
    """The configuration files of a command line, in order; a later one is laid over those before."""
    pairs = zip(args, [*args[1:], ""], strict=False)
    found = [
        after if arg in ("-c", "--config") else arg.removeprefix("--config=")
        for arg, after in pairs
        if re.fullmatch("-c|--config(=.*)?", arg)
    ]
    return [Path(path) for path in found if path]


def read_configuration(path: Path) -> dict[str, Any]:
    """A configuration's keys.

    Raises:
        InputError: it is not there, or no YAML, or no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: no such configuration ({error.strerror}). Check the path after --config.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "not a text file"
        raise InputError(f"{path}{f' line {mark.line + 1}' if mark else ''}: not YAML ({problem}).") from error
    if not isinstance(values, dict):
        raise InputError(
            f"{path}: a configuration is a mapping, as in `data: {{batch_size: 8}}`, not {str(values)[:60]!r}."
        )
    return values


def keys(values: Any, prefix: str = "") -> Iterator[tuple[Any, str]]:  # noqa: ANN401  (whatever YAML holds)
    """Every key of a configuration with its value, as :func:`short` spells it."""
    for name, value in values.items() if isinstance(values, dict) else ():
        inner = short(f"{prefix}.{name}".strip("."))
        yield value, inner
        yield from keys(value, inner)


def short(key: str) -> str:
    """A key as the command line takes it, without what a class_path brings."""
    return ".".join(part for part in key.lstrip("-").split(".") if part not in ("init_args", "class_path"))
