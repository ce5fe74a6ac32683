"""Shorten the errors of jsonargparse to one line: the key, what is wrong, and what is accepted."""

from __future__ import annotations

import re
import textwrap
from difflib import get_close_matches
from importlib import import_module

KEY = re.compile(r'Parser key "([^"]+)":')
CLASS = re.compile(r"class_path[ =]'([\w.]+)'")
OBJECT = re.compile(r"(?:\. Got|^Given) value: Namespace\(.*")
VALUE = re.compile(r"(?:\. Got value: ?|^Given value: ?)(?:NestedArg\(key='\w+', val=(.*)\)$|(.*))")
ACCEPTED = re.compile(
    r"Expected an? (?:<class '(?:[\w.]+\.)?(\w+)'>|typing\.Literal\[(.+)\]|"
    r"(?:[\w.]+\.)?(list|Iterable|int|float|bool|str)\b.*)"
)
NO_CLASS = "Expected a dot import path string: "
CALLABLE = re.compile(r"Type \S*Callable.*? expects a function or a callable class: ")
REQUIRED = re.compile(r"the following arguments are required: (.+)")
UNKNOWN = re.compile(r"Option '(\w+)' is not accepted")
MISSING = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
REPEATED = (
    "Does not validate",
    "Subtypes:",
    "Errors:",
    "Given value",
    "Problem with given class_path",
    "Expected a path but",
    "Subclass types expect",
    "a class path (str)",
    "a dict ",
)
"""Beginnings of lines that only lead to others, or repeat them."""
NAMES = {"NoneType": "null", "str": "text", "Iterable": "list", "Namespace": "a group"}
PLAIN = {"int", "float", "text"}
LONGEST = 100
"""Characters of a quoted value."""


def one_line(message: str) -> str:
    """Return an error of the parser in one line.

    jsonargparse tries each form that an argument may have. If one form matched and its content is wrong, only that is
    reported; otherwise the message lists the accepted forms.
    """
    keys: list[str] = []
    reasons: list[str] = []
    forms: list[tuple[int, str]] = []
    value, made, imports = "", (CLASS.findall(message) or [""])[-1], False
    for raw in message.splitlines():
        depth, line = len(raw) - len(raw.lstrip()), OBJECT.sub("", raw.strip().removeprefix("- "))
        found = VALUE.search(line)
        if found:
            value = (found[1] or found[2]).strip("'")
        line = CALLABLE.sub("", VALUE.sub("", line))
        made = (CLASS.findall(raw) or [made])[0]
        keys += [key for key in KEY.findall(line) if key not in keys]
        line = KEY.sub("", line).strip()
        if form := ACCEPTED.fullmatch(line):
            forms.append((depth, form[2] or NAMES.get(form[1] or form[3], form[1] or form[3])))
        elif line.startswith(NO_CLASS):
            value, imports = line.removeprefix(NO_CLASS), True
        elif line and not line.startswith(REPEATED):
            reasons.append(advice(line, ".".join(keys), made) + (f", found {quote(value)}" if found else ""))
    # The forms of an outer argument do not apply to the one in it.
    names = dict.fromkeys(name for depth, name in forms if depth == max(forms)[0] and name != "Tensor")
    if not reasons and imports and not PLAIN & names.keys():
        reasons = [f"{value!r} is not a known class. Write its import path, as in package.module.Class"]
    if not reasons and names:
        null = names.pop("null", "no")
        reasons = [f"expected {', '.join(names)}{' or null' if null is None else ''}, found {quote(value)!r}"]
    place = f"{'.'.join(keys) or made}: " if keys or made else ""
    return f"{place}{'; '.join(dict.fromkeys(reasons))}".removesuffix(".") + "."


def advice(reason: str, place: str, made: str) -> str:
    """Return a reason with what the user can do: ``place`` is the key, ``made`` the class that it holds."""
    if place and (required := REQUIRED.fullmatch(reason)):
        return f"{made or 'the class'} requires {required[1]} (--{place}.{required[1].split(', ')[0]})"
    if missing := MISSING.search(reason):
        near = get_close_matches(missing[2], dir(import_module(missing[1])), 1)
        return f"{missing[1]}.{missing[2]} does not exist" + (f" (did you mean {near[0]}?)" if near else "")
    if made:
        reason = UNKNOWN.sub(rf"{made} has no argument '\1'", reason)
    return re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1", reason).rstrip(".")


def quote(value: str) -> str:
    """Return a value for a message; a long one is cut between words."""
    return textwrap.shorten(value, LONGEST, placeholder=" …")
