"""The command line of a trial, word for word as a W&B agent would build it, with the trial's own folder at its end.

Macros stand alone as words (``${args}``), but for ``${envvar:NAME}``, which may stand within one. ``${env}`` is ``/usr/bin/env`` and ``${interpreter}`` is
``python``, as W&B has them; the folder of the Python that runs the sweep comes first in ``PATH``, so that ``echo-e3net`` and ``python`` are its own.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echo_e3net.errors import InputError
from echo_e3net.files import write_text
from echo_e3net.search.sweep_file import Sweep

ARGUMENTS = "sweep_arguments.json"


def build_command(sweep: Sweep, values: Mapping[str, Any], folder: Path) -> list[str]:
    """The words of a trial's command.

    Args:
        sweep: the sweep.
        values: the value of each parameter; nested parameters are mappings, which W&B hands on as they print.
        folder: the trial's own folder, given as ``--runs`` and ``--name``.
    """
    fixed = {
        "env": ["/usr/bin/env"],
        "interpreter": ["python"],
        "program": [sweep.program or ""],
        "args_json_file": [str(folder / ARGUMENTS)],
    }
    macros = {**fixed, **argument_words(values)}
    if "${args_json_file}" in sweep.command:
        write_text(folder / ARGUMENTS, json.dumps(values))
    words: list[str] = []
    for word in sweep.command:
        filled = re.sub(r"\$\{envvar:([^}]*)\}", lambda match: variable(sweep, match[1]), word)
        words += macros[word[2:-1]] if re.fullmatch(r"\$\{\w+\}", word) else [filled]
    return [*words, "--runs", str(folder.parent), "--name", folder.name]


def argument_words(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """The arguments in each of W&B's forms."""
    pairs = {name: f"{name}={value}" for name, value in values.items()}
    flags = [
        f"--{name}" if value is True else f"--{pairs[name]}" for name, value in values.items() if value is not False
    ]
    return {
        "args": [f"--{pair}" for pair in pairs.values()],
        "args_no_equals": [word for name, value in values.items() for word in (f"--{name}", str(value))],
        "args_no_hyphens": list(pairs.values()),
        "args_no_boolean_flags": flags,
        "args_json": [json.dumps(dict(values))],
        "args_append_hydra": [f"+{pair}" for pair in pairs.values()],
        "args_override_hydra": [f"++{pair}" for pair in pairs.values()],
    }


def variable(sweep: Sweep, name: str) -> str:
    """A variable of the environment.

    Raises:
        InputError: it is not set.
    """
    if name not in os.environ:
        raise InputError(f"{sweep.path}: command names ${{envvar:{name}}}, which is not set. Set it: export {name}=...")
    return os.environ[name]


def search_path() -> str:
    """PATH with the folder of our own Python first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
