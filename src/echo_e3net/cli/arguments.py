"""A parser whose errors are one line each, in the words of jsonargparse.

The parser adds what jsonargparse leaves out: the configuration file that holds the error, and the argument with the
most similar name.
"""

from __future__ import annotations

import re
import sys
from argparse import Action
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace  # type: ignore[attr-defined]

from echo_e3net.cli.messages import one_line, quote
from echo_e3net.errors import InputError
from echo_e3net.files import find_shipped, shipped

UNKNOWN = re.compile(r"unrecognized arguments: (--)([\w.]+)|(?:Group '([\w.]+)' does not accept )?[oO]ption '([\w.]+)'")
TYPO, MOVED = 0.7, 0.85
"""Least similarity (difflib) of a suggested name in the same group, and of one elsewhere."""
LISTS = ("--videos", "--trainer.callbacks", "--trainer.logger", "--trainer.plugins")
"""Arguments that take several values, besides those whose value is written as [a, b]."""
USUAL = {
    "lr": "model.optimizer.lr",
    "learning_rate": "model.optimizer.lr",
    "weight_decay": "model.optimizer.weight_decay",
    "epochs": "trainer.max_epochs",
    "gpus": "trainer.devices",
    "num_workers": "data.loader.workers",
    "checkpoint": "ckpt_path",
    "resume": "auto_resume",
}
"""Names that other programs use, and the arguments that do the same here."""


class PlainParser(ArgumentParser):
    """Raise errors as :class:`InputError`, and do not accept abbreviated names of arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        kwargs.setdefault("allow_abbrev", False)
        self.configurations: dict[Path, dict[str, Any]] = {}
        super().__init__(*args, **kwargs)

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **settings: Any) -> Namespace:  # type: ignore[override]  # noqa: ANN401
        """Parse the arguments; a list may be given only once."""
        refuse_repeated_lists(sys.argv[1:] if args is None else args)
        return super().parse_args(args, *rest, **settings)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise an error; jsonargparse also calls this for the arguments of each nested class."""
        parsers = [p for action in self._actions for p in getattr(action, "_name_parser_map", {}).values()]
        parser = getattr(ex, "subcommand_parser", None) or next(iter(parsers), self)
        if ex is None or isinstance(ex, KeyError):
            message = parser.name_unknown(message)
        if not self.exit_on_error:
            super().error(message, ex)
        command = parser.prog.replace(" [options]", "")
        raise InputError(f"{one_line(message)} `{command} --help` lists all arguments.") from ex

    def name_unknown(self, message: str) -> str:
        """Add to a message about an unknown argument the file that contains it and the most similar argument."""
        found = UNKNOWN.search(message)
        if found is None:
            return message
        dashes, argument, group, key = found.groups()
        name = argument or f"{group or ''}.{key}".lstrip(".")
        known = [action.dest for action in self._actions]
        near = most_similar(name, known) or (USUAL.get(name.rpartition(".")[2], "") if "model.network" in known else "")
        hint = f" (did you mean {dashes or ''}{near}?)" if near else ""
        files = {} if argument else self.configurations
        holding = [path for path, values in files.items() if holds(values, name.split("."))]
        return f"{holding[-1]}: {message}{hint}" if holding else message + hint


def refuse_repeated_lists(args: Sequence[str]) -> None:
    """Check that no list is given twice, because the second would replace the first."""
    seen = set()
    for i, arg in enumerate(args):
        name, _, value = arg.partition("=")
        value = value or "".join(args[i + 1 : i + 2])
        if name in LISTS or (name.startswith("--") and value.startswith("[")):
            if name in seen:
                more = "" if name == "--videos" else f", or add one value with {name}+=VALUE"
                raise InputError(f"{name} is given twice. Give all values after one {name}{more}.")
            seen.add(name)


class ConfigurationFile(ActionConfigFile):
    """Read a configuration; errors name its file."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:  # noqa: ANN401
        """Check the file, then apply it."""
        path = find_shipped(Path(values))
        # Kept, because jsonargparse changes the folder while it reads a file in another one.
        parser.configurations[path] = read_configuration(path)
        for action in (action for action in parser._actions if not action.dest.endswith(".help")):
            check_form(action, parser.configurations[path], path)
        try:
            super().__call__(parser, cfg, str(path), option_string)  # type: ignore[no-untyped-call]
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def read_configuration(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        known = [str(file.relative_to(shipped())) for file in shipped().rglob("*.yaml")]
        near = get_close_matches(str(path), known, 1)
        hint = f"Did you mean {near[0]}?" if near else "Check the path after --config."
        raise InputError(
            f"{path}: {error.strerror}. {hint} `echo-e3net configs` lists the bundled configurations."
        ) from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line}: {error.problem}. Correct the YAML.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file ({one_line(str(error))}).") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping such as `data: {{root: FOLDER}}`, found {quote(str(values))!r}.")
    return values


def check_form(action: Action, values: Any, path: Path) -> None:  # noqa: ANN401
    """Check that groups are mappings and numbers are not null, which jsonargparse accepts in a file.

    Raises:
        InputError: the file holds something else for the argument.
    """
    *groups, last = action.dest.split(".")
    for i, group in enumerate(groups, 1):
        if not isinstance(values, dict) or group not in values:
            return
        values = values[group]
        if not isinstance(values, dict | str):
            raise InputError(f"{path}: {'.'.join(groups[:i])} is {values}; expected a mapping of its arguments.")
    kind = getattr(action, "_typehint", action.type)
    if isinstance(values, dict) and last in values and values[last] is None and kind in (int, float, bool, str):
        raise InputError(f"{path}: {action.dest} is null; expected {kind.__name__}.")


def holds(values: Any, keys: Sequence[str]) -> bool:  # noqa: ANN401
    """Return whether nested mappings hold a path of keys."""
    return not keys or (isinstance(values, dict) and keys[0] in values and holds(values[keys[0]], keys[1:]))


def most_similar(name: str, known: Sequence[str]) -> str:
    """Return the known argument that the user probably meant; empty if none is similar, or several are."""
    group, _, last = name.rpartition(".")
    siblings = [other for other in known if other.rpartition(".")[0] == group]
    for names, least in ((siblings, TYPO), (known, MOVED)):
        near = get_close_matches(last, {other.rpartition(".")[2] for other in names}, 1, least)
        found = [other for other in names if other.rpartition(".")[2] in near]
        if found:
            return found[0] if len(found) == 1 else ""
    return ""
