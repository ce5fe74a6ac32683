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
        target: no further trial starts once the metric reaches this value.
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
    target: float | None
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

    def text(self, name: str) -> str:
        """Return a text that is not empty."""
        value = self.given.get(name)
        return value if isinstance(value, str) and value.strip() else self.refuse(name, "a text")

    def choice(self, name: str, known: Sequence[str]) -> str:
        """Return a text if it is a supported one."""
        return value if (value := self.text(name)) in known else self.unsupported(name)

    def number(self, name: str) -> float:
        """Return a number."""
        value = self.given.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(name, "a number; YAML reads 1e-4 as text, write 1.0e-4")
        return value

    def whole(self, name: str, least: int) -> int:
        """Return a whole number with a lower bound."""
        value = self.number(name)
        return value if isinstance(value, int) and value >= least else self.refuse(name, f"a whole number from {least}")


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep file.

    Raises:
        InputError: the file cannot be read, or a setting is missing, wrong or not supported.
    """
    try:
        given = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a sweep file: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict):
        raise InputError(f"{path}: not a sweep file: expected a mapping with {', '.join(KEYS)}.")
    file = Section(path, "", {"name": path.stem, "command": COMMAND, **given})
    file.require_known([*KEYS, *NOT_USED])
    metric = file.section("metric")
    metric.require_known(("name", "goal", "target"))
    method, parameters = file.choice("method", ("grid", "random", "bayes")), file.section("parameters")
    min_iter, eta = read_hyperband(file)
    return Sweep(
        path,
        re.sub(r"[^\w.-]+", "-", file.text("name")).strip("-."),
        method,
        metric.text("name"),
        "goal" in metric.given and metric.choice("goal", ("minimize", "maximize")) == "maximize",
        metric.number("target") if "target" in metric.given else None,
        tuple(read_parameter(parameters.section(name), name, method) for name in sorted(parameters.given)),
        read_command(file),
        file.text("program") if "program" in given else None,
        file.whole("run_cap", 1) if "run_cap" in given else None,
        min_iter,
        eta,
    )


def read_hyperband(file: Section) -> tuple[int | None, int]:
    """Return ``min_iter`` and ``eta`` of ``early_terminate``."""
    if "early_terminate" not in file.given:
        return None, 3
    rule = file.section("early_terminate")
    rule = Section(rule.path, rule.name, {"eta": 3, **rule.given})
    rule.choice("type", ("hyperband",))
    rule.require_known(("type", "min_iter", "eta"))
    return rule.whole("min_iter", 1), rule.whole("eta", 2)


def read_command(file: Section) -> tuple[str, ...]:
    """Return the words of the command; all macros must be supported."""
    words = file.given["command"]
    if not isinstance(words, list) or not all(isinstance(word, str | int | float) for word in words):
        file.refuse("command", "a list of words")
    if any("${" in str(word) and word not in COMMAND for word in words):
        file.unsupported("command")
    if "${program}" in words and "program" not in file.given:
        file.refuse("program", "the program that command names")
    return tuple(map(str, words))


def read_parameter(section: Section, name: str, method: str) -> Parameter:
    """Return a parameter; its distribution is inferred as W&B does."""
    given = section.given
    kind = section.choice("distribution", tuple(DISTRIBUTIONS)) if "distribution" in given else infer(given)
    section.require_known(("distribution", *DISTRIBUTIONS[kind]))
    if kind in ("constant", "categorical"):
        return Parameter(name, read_values(section, kind))
    low, high = section.number("min"), section.number("max")
    if low >= high:
        section.refuse("min", f"a number below max, which is {high}")
    if kind == "log_uniform_values" and low <= 0:
        section.refuse("min", "a number above 0")
    step = read_step(section, kind)
    if method != "grid":
        top = high if step is None else on_grid(low, math.floor((high - low) / step + 1e-9), step)
        return Parameter(name, (), low, top, kind == "log_uniform_values", step)
    if step is None:
        section.refuse("min", "values instead of a range, because method is grid")
    # As in W&B, q_uniform excludes its upper end in a grid and int_uniform includes it.
    count = math.ceil((high - low) / step - 1e-9) + (kind == "int_uniform")
    return Parameter(name, tuple(on_grid(low, place, step) for place in range(count)))


def infer(given: Mapping[str, Any]) -> str:
    """Return the distribution that W&B infers where none is named."""
    if "value" in given or "values" in given:
        return "constant" if "value" in given else "categorical"
    return "int_uniform" if all(type(given.get(end)) is int for end in ("min", "max")) else "uniform"


def read_values(section: Section, kind: str) -> tuple[Any, ...]:
    """Return the choices of a parameter."""
    values = [section.given.get("value")] if kind == "constant" else section.given.get("values")
    if not isinstance(values, list) or not values:
        section.refuse("values", "a list with at least one value")
    if None in values:
        section.refuse(DISTRIBUTIONS[kind][0], 'no null, which W&B passes as the text None; write "null"')
    return tuple(values)


def read_step(section: Section, kind: str) -> float | None:
    """Return the distance between neighbouring values; None: the range is continuous."""
    if kind == "int_uniform":
        for end in ("min", "max"):
            if not isinstance(section.given[end], int):
                section.refuse(end, "a whole number")
        return 1
    if kind != "q_uniform":
        return None
    step = section.number("q")
    return step if step > 0 else section.refuse("q", "a number above 0")


def on_grid(low: float, place: int, step: float) -> float:
    """Return ``low + place * step`` without rounding noise."""
    value = low + place * step
    return value if isinstance(value, int) else float(f"{value:.12g}")
