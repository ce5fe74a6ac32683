"""What is wrong with a command line or a configuration, in one sentence: where it stands, which key, which value, and what to do.

jsonargparse answers with the usage, a hundred lines of it, and then a report that follows its own nesting of types and classes. :func:`sentence` reads
that report: the path of keys down to where it fails, and the first of ``LEAVES`` that fits what stands there. Of a report in another form its own last
line is shown, so that nothing is lost with a version of jsonargparse that words it otherwise.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn

from jsonargparse import ArgumentParser

from echo_e3net.cli.configurations import configurations, keys, read_configuration, short
from echo_e3net.errors import InputError

TYPES = {
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "a word",
    "<class 'NoneType'>": "null",
    "<class 'list'>": "a list",
    "<class 'collections.abc.Sequence'>": "a list",
}


class Context(NamedTuple):
    """What was typed, which arguments there are, and the command that lists them."""

    args: Sequence[str]
    known: Sequence[str]
    prog: str


class PlainParser(ArgumentParser):
    """A parser whose errors are sentences, and that completes no argument: ``--data.frame`` is not ``--data.clip.frames``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (the parser's own)
        kwargs.setdefault("allow_abbrev", False)
        self.words: list[str] = []
        super().__init__(*args, **kwargs)

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # noqa: ANN401
        """Look at the configuration files first: the parser would not say which of them it cannot use."""
        self.words = list(sys.argv[1:] if args is None else args)
        for path in configurations(self.words):
            read_configuration(path)
        return super().parse_args(args, *rest, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the sentence; a parser inside another leaves it to that one."""
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        known = [
            name.lstrip("-") for action in parser._actions for name in action.option_strings if name.startswith("--")
        ]
        raise InputError(sentence(message, Context(self.words, known, parser.prog.replace(" [options]", "")))) from ex


def sentence(message: str, context: Context) -> str:
    """What a parser reports, as one sentence that names where, key and value, and what to do."""
    leaf = next((match for pattern in LEAVES if (match := re.search(pattern, message))), None)
    path = ".".join(re.findall(r'Parser key "([\w.]+)"', message[: leaf.start()] if leaf else message))
    if leaf is not None:
        return LEAVES[leaf.re.pattern](path, leaf, message, context)
    last = message.strip().splitlines()[-1].strip(" .-")
    return f"{place(path, context)}: {last}. {listing(context)}" if path else f"{last}. {listing(context)}"


def unknown(path: str, leaf: re.Match[str], message: str, context: Context) -> str:
    """A key that no argument has."""
    key = leaf["key"].split("=")[0]
    near = nearest(key.lstrip("-"), context.known)
    where = place(key, context)
    what = "argument" if where == key else "key"
    return (
        f"{where}: there is no such {what}{f'; did you mean {dashed(near, key)}?' if near else '.'} {listing(context)}"
    )


def not_of_class(path: str, leaf: re.Match[str], message: str, context: Context) -> str:
    """An argument that a class does not take."""
    later = re.match(r"\. Got value: Namespace\((?:init_args=.*, )?class_path='([\w.]+)'", message[leaf.end() :])
    earlier = re.findall(r"class_path '([\w.]+)'", message[: leaf.start()])
    name = later[1] if later else earlier[-1] if earlier else "the class"
    names = parameters(name, "Callable[[" in message[: leaf.start()].rpartition("\n")[2])
    near = get_close_matches(leaf["option"], names, 1)
    takes = f" It takes {', '.join(names)}." if names else ""
    hint = f"; did you mean {near[0]}?" if near else ": take it out."
    return f"{place(path + '.' + leaf['option'], context)}: {name} takes no {leaf['option']}{hint}{takes}"


def no_class(path: str, leaf: re.Match[str], message: str, context: Context) -> str:
    """A class_path that names nothing."""
    return f"{place(path, context)}: {leaf['name']} names no class that can be imported. Give module and class, as in torch.optim.SGD. {listing(context)}"


def other_class(path: str, leaf: re.Match[str], message: str, context: Context) -> str:
    """A class_path that names a class of another kind."""
    return f"{place(path, context)}: {leaf['name']} is no {leaf['base']}. {listing(context)}"


def wrong_value(path: str, leaf: re.Match[str], message: str, context: Context) -> str:
    """A value of another type than any that is accepted."""
    report = message[leaf.start() :]
    if named := re.search(DOTTED, message):
        return no_class(path, named, message, context)
    near_by = re.search(r"Expected a (?P<type>.*?)\. Got value: (?P<value>\S.*?)(?:\. Got value|$)", report, re.M)
    given = near_by or re.search(r"Given value: (?:NestedArg\(.*val=)?(?P<value>.*?)\)?\s*$", report)
    value = given["value"].strip("'\"") if given else "of another type"
    names = [near_by["type"]] if near_by else re.findall(r"Expected a (<.*?>|typing\.Literal\[.*?\]|\S+)", report)
    types = list(dict.fromkeys(word for name in names for word in spelt(name)))
    near = get_close_matches(value, types, 1)
    accepted = " or ".join([", ".join(types[:-1]), types[-1]] if types[1:] else types)
    return f"{place(path, context)} is {value!r}: it must be {accepted}{f'; did you mean {near[0]}?' if near else '.'} {listing(context)}"


def no_value(path: str, leaf: re.Match[str], message: str, context: Context) -> str:
    """An argument at the end, or before another one."""
    return f"{leaf['key']} needs a value. {listing(context)}"


def missing(path: str, leaf: re.Match[str], message: str, context: Context) -> str:
    """What must be given and is not."""
    names = [name.strip() for name in leaf["names"].split(",")]
    verb, dot, _ = names[0].partition(".")
    command = f"{context.prog} {verb}" if dot and not context.prog.endswith(f" {verb}") else context.prog
    return f"{command} needs {' and '.join(name.removeprefix(f'{verb}.') for name in names)}. `{command} --help` shows how."


def unreadable(path: str, leaf: re.Match[str], message: str, context: Context) -> str:
    """A file given for a whole group of arguments that is not there, or a word where only a file could stand."""
    return f"{place(path, context)}: {leaf['name']} is no configuration that can be read. Name a YAML file, or set the arguments one by one."


def no_command(path: str, leaf: re.Match[str], message: str, context: Context) -> str:
    """A verb that is not said."""
    return f"{context.prog} needs to know what: {', '.join(leaf['choices'].split(','))}. {listing(context)}"


def no_choice(path: str, leaf: re.Match[str], message: str, context: Context) -> str:
    """A verb that there is not."""
    choices = re.findall(r"[\w-]+", leaf["choices"])
    near = get_close_matches(leaf["value"], choices, 1)
    return f"{context.prog} {leaf['value']}: there is no such command{f'; did you mean {near[0]}?' if near else '.'} There are {', '.join(choices)}."


DOTTED = r"Expected a dot import path string: (?P<name>.+)"
LEAVES: dict[str, Callable[[str, re.Match[str], str, Context], str]] = {
    r"unrecognized arguments: (?P<key>\S+)": unknown,
    r"does not accept option '(?P<key>[^']+)'": unknown,
    r"Option '(?P<option>[^']+)' is not accepted": not_of_class,
    r"Problem with given class_path '(?P<name>[^']+)':\s+(?:No module named|module \S+ has no attribute)": no_class,
    r"Import path (?P<name>\S+) does not correspond to a subclass of (?P<base>\S+)": other_class,
    r"argument (?:-c/)?(?P<key>--\S+): expected one argument": no_value,
    r"the following arguments are required: (?P<names>.+)": missing,
    r"argument \w+: invalid choice: '(?P<value>[^']*)' \(choose from (?P<choices>.*)\)": no_choice,
    r"Unable to load config [\"'](?P<name>[^\"']+)": unreadable,
    r"to be one of \{(?P<choices>[\w,]+)\}, but it was not provided": no_command,
    r"(?:Does not validate against any of the Union subtypes\s+Subtypes: .*\s+Errors:\s+- )?Expected a (?!path |dot )": wrong_value,
}
"""What stands where a report of jsonargparse 4 fails, the more telling first, and who puts it into words."""


def place(key: str, context: Context) -> str:
    """Where a key stands: as an argument, or in which configuration; the last one that says it wins."""
    bare = short(key)
    if key.startswith("-") or any(word.startswith("--") and short(word).split("=")[0] == bare for word in context.args):
        return f"--{bare}" if bare else key
    for path in reversed(configurations(context.args)):
        if bare in (name for _, name in keys(read_configuration(path))):
            return f"{path}: {key}"
    return key


def nearest(key: str, known: Iterable[str]) -> str | None:
    """The known key that is meant: the closest one under the parts that are right, or else one that ends alike."""
    names = [name.split(".") for name in known]
    parts, right = short(key).split("."), 0
    while right < len(parts) and any(name[: right + 1] == parts[: right + 1] for name in names):
        right += 1
    follow = {name[right]: name for name in names if name[:right] == parts[:right] and len(name) > right}
    near = get_close_matches(parts[min(right, len(parts) - 1)], follow, 1)
    if near:
        return ".".join([*parts[:right], *near, *parts[right + 1 :]])
    ends = {name[-1]: name for name in names}
    near = get_close_matches(parts[-1], ends, 1, 0.8)
    return ".".join(ends[near[0]]) if near else None


def dashed(name: str, key: str) -> str:
    """A name with dashes where the wrong one had them."""
    return f"--{name}" if key.startswith("-") else name


def parameters(name: str, called: bool) -> list[str]:
    """The names of what a class takes; none where it cannot be asked. What must be there is the program's to give, where that is who calls."""
    module, _, attribute = name.rpartition(".")
    try:
        signature = inspect.signature(getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError, TypeError, ValueError):
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, p in signature.parameters.items()
        if p.kind not in variadic and not (called and p.default is p.empty)
    ]


def spelt(name: str) -> list[str]:
    """A type in words: what may be given."""
    if name.startswith("typing.Literal"):
        return [word.strip(" '") for word in name[len("typing.Literal[") : -1].split(",")]
    return [TYPES.get(name, name.removeprefix("<class '").removesuffix("'>").rpartition(".")[2])]


def listing(context: Context) -> str:
    """What tells a user more."""
    return f"`{context.prog} --help` lists all."
