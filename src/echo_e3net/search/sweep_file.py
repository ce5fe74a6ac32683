"""Read a W&B sweep file.

Only settings that Optuna has too are accepted. The error for any other setting says that ``wandb agent`` runs the file.
Format: https://docs.wandb.ai/models/sweeps/sweep-config-keys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from echo_e3net.errors import InputError

COMMAND = ["${env}", "${interpreter}", "${program}", "${args}"]
"""W&B's default command."""
KEYS = ("method", "metric", "parameters", "command", "program", "name", "run_cap", "early_terminate")
NOT_USED = ("description", "entity", "project")
"""Keys that matter only to W&B's server."""
DISTRIBUTIONS = {
    "constant": ("value",),
    "categorical": ("values",),
    "uniform": ("min", "max"),
    "int_uniform": ("min", "max"),
    "log_uniform_values": ("min", "max"),
    "q_uniform": ("min", "max", "q"),
}
"""Supported distributions and their settings."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a sweep: choices or a range.

    Attributes:
        name: dotted name of the argument.
        values: the choices; empty for a range. A single choice is a constant.
        low: lower end of the range, included.
        high: upper end of the range, included.
        log: whether the range is logarithmic.
        step: distance between neighbouring values; None: the range is continuous.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None

    @property
    def constant(self) -> bool:
        """Whether the parameter has only one value."""
        return len(self.values) == 1


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file.

    Attributes:
        path: the file.
        name: name of the sweep's folder.
        method: grid, random or bayes.
        metric: column of metrics.csv to optimise.
        maximize: whether larger is better.
        parameters: all parameters, sorted by name.
        command: words of a trial's command line, with macros.
        program: value of the macro ``${program}``.
        run_cap: largest number of finished trials, failed ones included.
        min_iter: epochs before Hyperband may end a trial; None: it ends none.
        eta: Hyperband continues about one in eta trials.
    """

    path: Path
    name: str
    method: str
    metric: str
    maximize: bool
    parameters: tuple[Parameter, ...]
    command: tuple[str, ...]
    program: str | None
    run_cap: int | None
    min_iter: int | None
    eta: int

    @property
    def searched(self) -> list[Parameter]:
        """The parameters that are not constant."""
        return [parameter for parameter in self.parameters if not parameter.constant]


@dataclass(frozen=True)
class Section:
    """A mapping of a sweep file; every error names the file and the key."""

    path: Path
    name: str
    given: Mapping[str, Any]

    def key(self, name: str) -> str:
        """Return the full name of a key."""
        return f"{self.name}.{name}".lstrip(".")

    def refuse(self, name: str, expected: str) -> NoReturn:
        """Raise the error about a wrong value."""
        raise InputError(f"{self.path}: {self.key(name)} is {self.given.get(name)!r}; expected {expected}.")

    def unsupported(self, name: str) -> NoReturn:
        """Raise the error about a setting that only W&B may support."""
        raise InputError(
            f"{self.path}: {self.key(name)} ({self.given[name]!r}) is not supported by echo-e3net sweep. "
            "Correct it, or run the file with wandb sweep and wandb agent."
        )

    def require_known(self, known: Sequence[str]) -> None:
        """Check that there are no other keys."""
        for name in self.given:
            if name not in known:
                self.unsupported(name)

    def section(self, name: str) -> Section:
        """Return a nested mapping, which must not be empty."""
        if not isinstance(self.given.get(name), dict) or not self.given[name]:
            self.refuse(name, "a mapping")
        return Section(self.path, self.key(name), self.given[name])

    def text(self, name: str, default: str = "") -> str:
        """Return a text that is not empty."""
        value = self.given.get(name, default)
        return value if isinstance(value, str) and value else self.refuse(name, "a text")

    def choice(self, name: str, known: Sequence[str], default: str = "") -> str:
        """Return a text if it is a supported one."""
        return value if (value := self.text(name, default)) in known else self.unsupported(name)

    def number(self, name: str) -> float:
        """Return a number."""
        value = self.given.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.refuse(name, "a finite number (YAML reads 1e-4 as text; write 1.0e-4)")
        return value

    def whole(self, name: str, least: int | None = None) -> int:
        """Return a whole number."""
        value = self.number(name)
        if not isinstance(value, int) or (least is not None and value < least):
            self.refuse(name, "a whole number" if least is None else f"a whole number, at least {least}")
        return value


def read_sweep(path: Path, arguments: Mapping[str, Any] | None = None) -> Sweep:
    """Read and check a sweep file.

    Args:
        path: the file.
        arguments: arguments of the trials by dotted name; they replace constants of the file.

    Raises:
        InputError: a setting is missing, wrong or not supported.
        OSError: the file cannot be read.
    """
    try:
        given = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not a sweep file: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict):
        raise InputError(f"{path}: not a sweep file: expected a mapping with {', '.join(KEYS)}.")
    file = Section(path, "", given)
    file.require_known([*KEYS, *NOT_USED])
    metric, parameters = file.section("metric"), file.section("parameters")
    metric.require_known(("name", "goal"))
    rule = file.section("early_terminate") if "early_terminate" in given else Section(path, "", {})
    rule.choice("type", ("hyperband",), "hyperband")
    rule.require_known(("type", "min_iter", "eta"))
    method = file.choice("method", ("grid", "random", "bayes"))
    found = {name: read_parameter(parameters.section(name), name, method) for name in parameters.given}
    for name, value in (arguments or {}).items():
        if name in found and not found[name].constant:
            raise InputError(f"--{name} {value}: {path} searches this parameter. Remove one of them.")
        found[name] = Parameter(name, ("null" if value is None else value,))
    return Sweep(
        path,
        re.sub(r"[^\w.-]+", "-", file.text("name", path.stem)).strip("-."),
        method,
        metric.text("name"),
        metric.choice("goal", ("minimize", "maximize"), "minimize") == "maximize",
        tuple(found[name] for name in sorted(found)),
        read_command(file),
        file.text("program") if "program" in given else None,
        file.whole("run_cap", 1) if "run_cap" in given else None,
        rule.whole("min_iter", 1) if rule.given else None,
        rule.whole("eta", 2) if "eta" in rule.given else 3,
    )


def read_command(file: Section) -> tuple[str, ...]:
    """Return the words of the command; all macros must be supported."""
    words = file.given.get("command", COMMAND)
    if not isinstance(words, list) or not all(isinstance(word, str | int | float) for word in words):
        file.refuse("command", "a list of words")
    if any("${" in str(word) and word not in COMMAND for word in words):
        file.unsupported("command")
    if "${program}" in words and "program" not in file.given:
        file.refuse("program", "the program that command uses")
    return tuple(map(str, words))


def read_parameter(section: Section, name: str, method: str) -> Parameter:
    """Return a parameter; its distribution is inferred as W&B does."""
    given = section.given
    whole = all(type(given.get(end)) is int for end in ("min", "max"))
    inferred = "constant" if "value" in given else "categorical" if "values" in given else "uniform"
    inferred = "int_uniform" if whole and inferred == "uniform" else inferred
    kind = section.choice("distribution", tuple(DISTRIBUTIONS), inferred)
    section.require_known(("distribution", *DISTRIBUTIONS[kind]))
    if kind in ("constant", "categorical"):
        values = given.get("values") if kind == "categorical" else [given.get("value")]
        if not isinstance(values, list) or not values or None in values:
            expected = 'at least one value, and no null (W&B passes it as the text None; write "null")'
            section.refuse(DISTRIBUTIONS[kind][0], expected)
        return Parameter(name, tuple(values))
    if method == "grid":
        section.refuse("min", "values instead of a range, because method is grid")
    low, high = map(section.whole if kind == "int_uniform" else section.number, ("min", "max"))
    step = 1 if kind == "int_uniform" else section.number("q") if kind == "q_uniform" else None
    log = kind == "log_uniform_values"
    if low >= high or (log and low <= 0):
        section.refuse("min", f"a number {'above 0 and ' if log else ''}below max, which is {high}")
    if step is None:
        return Parameter(name, (), low, high, log)
    if step <= 0:
        section.refuse("q", "a number above 0")
    # Rounding removes noise such as 0.30000000000000004.
    return Parameter(name, (), low, round(low + math.floor((high - low) / step + 1e-9) * step, 12), step=step)
