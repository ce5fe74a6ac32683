"""Commands that are plain functions: their signatures and docstrings make the parsers and ``--help``."""

from __future__ import annotations

import argparse
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml

from echo_e3net.cli.arguments import PlainParser
from echo_e3net.errors import InputError

FUNCTIONS = {
    "data check": "echo_e3net.cli.check:check",
    "data cache": "echo_e3net.cli.fill_cache:cache",
    "data import": "echo_e3net.clinic.importing:import_videos",
    "data phantom": "echo_e3net.phantom:phantom",
    "configs": "echo_e3net.cli.configs:configs",
    "predict": "echo_e3net.cli.predict_files:predict",
    "stream": "echo_e3net.cli.stream_command:stream",
    "export": "echo_e3net.cli.export:export",
    "bench": "echo_e3net.cli.bench:bench",
    "study": "echo_e3net.cli.study:study",
    "sweep": "echo_e3net.cli.sweep:sweep",
    "doctor": "echo_e3net.cli.doctor:doctor",
    "report": "echo_e3net.cli.report:report",
}


def run_function(command: str, args: Sequence[str]) -> None:
    """Run the function of a command with the parsed arguments."""
    function = resolve_name(FUNCTIONS[command])
    further, args = trial_arguments(args) if command in ("study", "sweep") else ({}, args)
    parser = function_parser(command, function)
    if "_ARGCOMPLETE" in os.environ:
        from echo_e3net.cli.completion import complete_options

        complete_options(parser)
    values = parser.instantiate_classes(parser.parse_args(args)).as_dict()
    function(**values, **further)


def function_parser(command: str, function: Callable[..., None]) -> PlainParser:
    """Return a parser of a function's parameters. Required ones are positional, except ``--out``."""
    description = (inspect.getdoc(function) or "").partition("\nArgs:")[0]
    parser = PlainParser(prog=f"echo-e3net {command}", description=description)
    if "sources" in inspect.signature(function).parameters:
        parser.add_argument("sources", nargs="+", type=Path, metavar="FILE", help="video files, or folders of them")
    skip: set[str | int] = {"sources", "arguments"}
    if command == "export":
        places = "folder of a run, checkpoint (.ckpt), exported folder, hf://owner/name, or shipped"
        parser.add_argument("model", help=places)
        skip.add("model")
    named = command in ("data import", "data phantom", "export")
    parser.add_function_arguments(function, as_group=False, as_positional=not named, skip=skip)
    parameters = inspect.signature(function).parameters
    for action in parser._actions:
        if action.dest in parameters and isinstance(parameters[action.dest].default, bool):
            # A flag may be given without a value.
            action.nargs, action.const = "?", True
    return parser


def trial_arguments(args: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Split off the arguments of the trials, which have a dot in their names: ``--data.root FOLDER``.

    Returns:
        the parameter ``arguments`` of the command, if there are any, and the other arguments.

    Raises:
        InputError: an argument has no value, or its value is not YAML.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    names = {name for name in (arg.partition("=")[0] for arg in args) if name.startswith("--") and "." in name}
    for name in names:
        parser.add_argument(name, dest=name[2:], type=yaml_value)
    try:
        found, rest = parser.parse_known_args(args)
    except argparse.ArgumentError as error:
        raise InputError(f"{error}.") from error
    return ({"arguments": vars(found)} if names else {}), rest


def yaml_value(text: str) -> Any:  # noqa: ANN401
    """Return the value of a YAML text."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not YAML") from error
