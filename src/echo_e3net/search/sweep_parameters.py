"""Reads the parameters of a sweep file: what W&B's schema says of each distribution, its settings and their ranges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from echo_e3net.search.sweep_reader import Reader
from echo_e3net.search.sweep_space import Parameter, grid_values

LIMITS = {"min": None, "max": None}
DISTRIBUTIONS: dict[str, dict[str, Any]] = {
    "constant": {"value": None},
    "categorical": {"values": None},
    "categorical_w_probabilities": {"values": None, "probabilities": None},
    "int_uniform": LIMITS,
    **dict.fromkeys(
        ("uniform", "log_uniform", "log_uniform_values", "inv_log_uniform", "inv_log_uniform_values"), LIMITS
    ),
    **{name: {**LIMITS, "q": 1} for name in ("q_uniform", "q_log_uniform", "q_log_uniform_values")},
    **{name: {"mu": 0, "sigma": 1} for name in ("normal", "log_normal")},
    **{name: {"mu": 0, "sigma": 1, "q": 1} for name in ("q_normal", "q_log_normal")},
    "beta": {"a": 1, "b": 1},
    "q_beta": {"a": 1, "b": 1, "q": 1},
}
"""What each distribution takes, with defaults; None: it must be given."""


def read_parameters(reader: Reader, above: tuple[str, ...], value: Any) -> list[Parameter]:  # noqa: ANN401
    """The parameters of a mapping, nested ones too."""
    place = ".".join(["parameters", *above])
    if not isinstance(value, dict) or not value:
        reader.refuse(place, value, "give at least one parameter")
    found: list[Parameter] = []
    for name, given in value.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][\w.-]*", name, re.ASCII):
            reader.refuse(place, name, "a parameter's name begins with a letter; letters, digits, _ . and - follow")
        if isinstance(given, dict) and given.keys() == {"parameters"}:
            found += read_parameters(reader, (*above, name), given["parameters"])
        else:
            found.append(read_parameter(reader, (*above, name), given))
    names = [parameter.name for parameter in found]
    if len(set(names)) < len(names):
        reader.refuse(place, names, "a name is there twice")
    return found


def read_parameter(reader: Reader, path: tuple[str, ...], value: Any) -> Parameter:  # noqa: ANN401
    """One parameter: its distribution, given or inferred as W&B does, and settings."""
    key = ".".join(("parameters", *path))
    every = tuple(dict.fromkeys(name for takes in DISTRIBUTIONS.values() for name in takes))
    given = reader.mapping(key, value, ("distribution", *every, "parameters"))
    distribution = given.get("distribution") or infer(reader, key, given)
    takes = DISTRIBUTIONS[reader.one_of(f"{key}.distribution", distribution, tuple(DISTRIBUTIONS))]
    needed = tuple(name for name, default in takes.items() if default is None)
    reader.mapping(key, given, ("distribution", *takes), needed)
    settings = {name: given.get(name, default) for name, default in takes.items()}
    check_numbers(reader, key, distribution, settings)
    return Parameter(path, distribution, settings)


def infer(reader: Reader, key: str, given: Mapping[str, Any]) -> str:
    """The distribution that W&B takes where none is named."""
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical_w_probabilities" if "probabilities" in given else "categorical"
    if {"min", "max"} <= given.keys():
        return "int_uniform" if all(type(given[name]) is int for name in ("min", "max")) else "uniform"
    reader.refuse(key, dict(given), "give value, values, min and max, or a distribution")


def check_numbers(reader: Reader, key: str, distribution: str, settings: Mapping[str, Any]) -> None:
    """Check settings that are there."""
    for name in ("min", "max", "mu"):
        if name in settings:
            reader.number(f"{key}.{name}", settings[name])
    for name in {"q", "a", "b"} & settings.keys():
        reader.number(f"{key}.{name}", settings[name], lambda value: value > 0, "a number above 0")
    if "sigma" in settings:
        reader.number(f"{key}.sigma", settings["sigma"], lambda value: value >= 0, "a number, at least 0")
    if distribution == "int_uniform":
        for name in ("min", "max"):
            reader.number(f"{key}.{name}", settings[name], lambda value: isinstance(value, int), "a whole number")
    if distribution.endswith("_values"):
        reader.number(
            f"{key}.min",
            settings["min"],
            lambda value: value > 0,
            "a number above 0; log_uniform without _values takes exponents",
        )
    if "min" in settings and settings["min"] >= settings["max"]:
        reader.refuse(f"{key}.min", settings["min"], f"it must be below max, which is {settings['max']!r}")
    if distribution == "log_uniform" and max(abs(settings["min"]), abs(settings["max"])) > 700:
        reader.refuse(
            key, dict(settings), "log_uniform takes exponents of e; for the values themselves write log_uniform_values"
        )
    check_values(reader, key, settings)


def check_values(reader: Reader, key: str, settings: Mapping[str, Any]) -> None:
    """Check values and their probabilities."""
    values = settings.get("values", [settings["value"]] if "value" in settings else ["none needed"])
    if not isinstance(values, list) or not values:
        reader.refuse(f"{key}.values", values, "give a list with at least one value")
    if None in values:
        reader.refuse(key, dict(settings), 'W&B hands null on as the word None; write "null" in quotes')
    if "probabilities" in settings:
        chances = settings["probabilities"]
        if not isinstance(chances, list) or len(chances) != len(values):
            reader.refuse(f"{key}.probabilities", chances, f"give a list of {len(values)} numbers, one for each value")
        for chance in chances:
            reader.number(f"{key}.probabilities", chance, lambda value: value >= 0, "numbers, at least 0")
        if abs(sum(chances) - 1) > 1e-5:
            reader.refuse(f"{key}.probabilities", chances, f"they sum to {sum(chances):g} and must sum to 1")


def as_grid(reader: Reader, parameter: Parameter) -> Parameter:
    """The parameter as a grid tries it: by its values."""
    if parameter.constant:
        return parameter
    if parameter.distribution not in ("categorical", "int_uniform", "q_uniform"):
        advice = "a grid takes value, values, int_uniform and q_uniform alone; give values, or another method"
        reader.refuse(f"parameters.{parameter.name}.distribution", parameter.distribution, advice)
    return replace(parameter, distribution="categorical", settings={"values": grid_values(parameter)})
