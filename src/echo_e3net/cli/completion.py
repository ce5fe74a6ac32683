"""Completion of commands, options and configurations in the shell, by argcomplete.

``eval "$(register-python-argcomplete echo-e3net)"`` turns it on in bash and zsh. The shell then runs the
program with the command line in environment variables, and reads the choices from it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import argcomplete
from argcomplete.completers import FilesCompleter
from argcomplete.lexers import split_line
from jsonargparse import ArgumentParser

from echo_e3net.files import shipped

ASKED = "_ARGCOMPLETE"
"""Variable that a shell sets to ask for completion: the number of the first word that the parser gets, from 1."""


def complete_command(commands: Mapping[str, str], groups: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Complete a command; return the words of the line if it is complete, so that its own parser completes the rest.

    Args:
        commands: the commands with their descriptions.
        groups: commands that have commands of their own.
    """
    line, point = os.environ["COMP_LINE"], int(os.environ["COMP_POINT"])
    words = split_line(line, point)[3][1:]
    choices: Mapping[str, str] | None = commands
    for depth, word in enumerate(words, 2):
        if choices is None or word not in choices:
            break
        os.environ[ASKED] = str(depth)
        choices = groups.get(word)
    if choices is not None:
        parser = argparse.ArgumentParser()
        # argcomplete shows the help of subcommands beside their names
        added = parser.add_subparsers()
        for name, text in choices.items():
            added.add_parser(name, help=text)
        argcomplete.autocomplete(parser)
    return words


def complete_options(parser: ArgumentParser) -> None:
    """Complete the options of a parser and their values, and exit."""
    actions: list[Any] = parser._actions
    for action in actions:
        values = getattr(action, "_typehint", None)
        kinds = (values, *get_args(values))
        if choices := [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]:
            action.choices = choices
        elif "--config" in action.option_strings:
            action.completer = configurations
        elif Path in kinds:
            action.completer = FilesCompleter()
        elif hasattr(action, "completer"):
            action.completer = partial(completions_or_empty, action.completer)
    # jsonargparse calls argcomplete when it parses
    parser.parse_args([])


def completions_or_empty(completer: Any, prefix: str, **given: Any) -> list[str]:  # noqa: ANN401
    """Return what a completer of jsonargparse finds; it returns None for an open type, which argcomplete refuses."""
    return list(completer(prefix, **given) or [])


def configurations(prefix: str, **_: Any) -> list[str]:  # noqa: ANN401
    """Return configurations that begin with the prefix: local files, and those that ship."""
    folder = shipped()
    names = [str(path.relative_to(folder)) for path in folder.rglob("*.yaml")]
    return [*FilesCompleter(("yaml", "yml"))(prefix), *(name for name in names if name.startswith(prefix))]
