"""The parameters of a sweep: W&B's distributions, and what each is to an optimiser.

An optimiser searches *coordinates*: ranges, linear or logarithmic, and choices. What it has of its own (uniform, log-uniform by values, integers,
choices) is its coordinate as it stands; every other distribution is a transform of a coordinate x, so that a uniform x gives W&B's distribution exactly:

    log_uniform      X = exp(x),   x in [min, max]          inv_log_uniform         X = exp(-x),  x in [min, max]
    normal           X = mu + sigma Φ⁻¹(x)                  inv_log_uniform_values  X = x, logarithmic in [min, max]: log(1/X) is uniform as log X is
    log_normal       X = exp(mu + sigma Φ⁻¹(x))             categorical_w_…         X = the first value whose cumulated probability exceeds x
    beta             X = I⁻¹(x; a, b)                       q_…                     X = round(X / q) q of the same without q_

with x in [0, 1] where no range is given. Φ is the normal and I the beta distribution function. The outermost millionth of normal tails is left out.
Source of the semantics: docs.wandb.ai, "Sweep configuration options", and W&B's public package ``sweeps`` (0.3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist
from typing import Any, NamedTuple

EDGE = 1e-6


@dataclass(frozen=True)
class Parameter:
    """A parameter of a sweep.

    Attributes:
        path: its name; several names where it stands in nested ``parameters``.
        distribution: W&B's name.
        settings: what the distribution needs, defaults filled in.
    """

    path: tuple[str, ...]
    distribution: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name, nested ones dotted."""
        return ".".join(self.path)

    @property
    def constant(self) -> bool:
        """Whether there is nothing to search."""
        return self.distribution == "constant"


class Range(NamedTuple):
    """A coordinate between two numbers, both included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False


class Choices(NamedTuple):
    """A coordinate that is one of some labels."""

    labels: tuple[Any, ...]


def coordinate(parameter: Parameter) -> Range | Choices:
    """What an optimiser searches for a parameter."""
    given = parameter.settings
    base = parameter.distribution.removeprefix("q_")
    if base == "categorical":
        return Choices(labels(given["values"]))
    if base == "int_uniform":
        return Range(given["min"], given["max"], integer=True)
    if base in ("uniform", "log_uniform", "inv_log_uniform"):
        return Range(given["min"], given["max"])
    if base in ("log_uniform_values", "inv_log_uniform_values"):
        return Range(given["min"], given["max"], log=True)
    return Range(EDGE, 1 - EDGE) if "normal" in base else Range(0.0, 1.0)


def labels(values: Sequence[Any]) -> tuple[Any, ...]:
    """The values themselves where an optimiser can tell and keep them; else their places, counted from 0."""
    plain = all(isinstance(value, str | int | float | bool) for value in values)
    return tuple(values) if plain and len(set(values)) == len(values) else tuple(range(len(values)))


def value_at(parameter: Parameter, x: Any) -> Any:  # noqa: ANN401  (whatever stands in the sweep file)
    """The parameter's value at a coordinate; a constant needs none."""
    given = parameter.settings
    base = parameter.distribution.removeprefix("q_")
    if base == "constant":
        return given["value"]
    if base == "categorical":
        return given["values"][labels(given["values"]).index(x)]
    if base == "categorical_w_probabilities":
        return given["values"][place_of(x, given["probabilities"])]
    found = x
    if "normal" in base:
        found = given["mu"] + given["sigma"] * NormalDist().inv_cdf(x)
    elif base == "beta":
        found = beta_quantile(x, given["a"], given["b"])
    elif base == "inv_log_uniform":
        found = -x
    if base in ("log_uniform", "inv_log_uniform", "log_normal"):
        found = math.exp(found)
    return quantize(found, given["q"]) if "q" in given else found


def quantize(x: float, q: float) -> float:
    """The nearest multiple of q; whole numbers where q is one."""
    steps = round(x / q)
    return steps * q if isinstance(q, int) else float(f"{steps * q:.12g}")


def place_of(x: float, probabilities: Sequence[float]) -> int:
    """The first place where the cumulated probabilities exceed x; the last possible one at 1."""
    total = 0.0
    for place, probability in enumerate(probabilities):
        total += probability
        if x < total:
            return place
    return max(place for place, probability in enumerate(probabilities) if probability > 0)


def beta_quantile(x: float, a: float, b: float) -> float:
    """The inverse of the beta distribution function, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if beta_probability(middle, a, b) < x else (low, middle)
    return (low + high) / 2


def beta_probability(x: float, a: float, b: float) -> float:
    """The beta distribution function, the regularised incomplete beta function I_x(a, b).

    By its continued fraction (DLMF 8.17.22, https://dlmf.nist.gov/8.17.E22), which converges fast below the mean, and above by
    I_x(a, b) = 1 - I_{1-x}(b, a).
    """
    if not 0 < x < 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_probability(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    fraction = 1.0
    for m in range(200, 0, -1):
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        fraction = 1 + even / (1 + odd / fraction)
    return front / (1 - (a + b) * x / (a + 1) / fraction)


def grid_values(parameter: Parameter) -> list[Any]:
    """The values of a parameter in a grid, as W&B's: of ``q_uniform`` those from min by steps of q below max."""
    given = parameter.settings
    if parameter.distribution == "int_uniform":
        return list(range(given["min"], given["max"] + 1))
    if parameter.distribution == "q_uniform":
        steps = math.ceil((given["max"] - given["min"]) / given["q"] - 1e-9)
        return [quantize_from(given["min"], step, given["q"]) for step in range(steps)]
    return list(given["values"])


def quantize_from(low: float, step: int, q: float) -> float:
    """A number of steps above ``low``."""
    found = low + step * q
    return found if isinstance(found, int) else float(f"{found:.12g}")


def grid_points(parameters: Iterable[Parameter]) -> list[dict[str, Any]]:
    """All points of a grid by coordinates, the last parameter (by name) changing fastest."""
    varied = sorted((p for p in parameters if not p.constant), key=lambda p: p.name)
    return [
        dict(zip((p.name for p in varied), point, strict=True))
        for point in product(*(labels(p.settings["values"]) for p in varied))
    ]


def nested_values(parameters: Iterable[Parameter], point: Mapping[str, Any]) -> dict[str, Any]:
    """The values at a point, sorted by name as W&B does; nested parameters as mappings."""
    values: dict[str, Any] = {}
    for parameter in sorted(parameters, key=lambda p: p.path):
        here = values
        for part in parameter.path[:-1]:
            here = here.setdefault(part, {})
        here[parameter.path[-1]] = value_at(parameter, point.get(parameter.name))
    return values
