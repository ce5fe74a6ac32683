"""Base classes of augmentation policies.

A policy describes one kind of change by ranges and a probability. It has no state: all chance comes from the generator
that it receives.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from echo_e3net.errors import InputError

SMALLEST, LARGEST = 0.01, 100.0
"""Smallest and largest factor of a :class:`Factor`."""


class Policy:
    """One kind of change to a training clip; a subclass of one of the kinds in :mod:`.augmentation`.

    Args:
        probability: share of the clips that are changed, 0 to 1.
    """

    def __init__(self, probability: float = 1.0) -> None:
        require_between(self, 0, 1, probability=probability)
        self.probability = probability


class Factor(Policy):
    """A change by a factor. Its logarithm is uniform, so halving and doubling are equally likely.

    Args:
        low: smallest factor, 0.01 to ``high``.
        high: largest factor, at most 100.
        probability: share of the clips that are changed, 0 to 1.
    """

    def __init__(self, low: float, high: float, probability: float = 1.0) -> None:
        super().__init__(probability)
        require_between(self, SMALLEST, LARGEST, high=high)
        require_between(self, SMALLEST, high, low=low)
        self.low, self.high = low, high

    def draw(self, rng: np.random.Generator) -> float:
        """Return a factor."""
        return float(self.draws(rng, 1, 1)[0, 0])

    def draws(self, rng: np.random.Generator, rows: int, columns: int) -> Float[np.ndarray, "R C"]:
        """Return a table of factors."""
        return np.exp(rng.uniform(np.log(self.low), np.log(self.high), (rows, columns)))


def require_between(policy: Policy, low: float, high: float, /, **values: float) -> None:
    """Check arguments of a policy.

    Raises:
        InputError: a value is below ``low``, above ``high``, or not a number.
    """
    for name, value in values.items():
        if not low <= value <= high:
            raise InputError(f"{type(policy).__name__}: {name} is {value:g}; expected {low:g} to {high:g}.")
