"""Which trials to end early: W&B's hyperband rule.

A trial is looked at whenever it has reported as many figures as a *band* says. It ends if its figure there is worse than the best 1/eta of all trials that
came so far. Bands: ``min_iter`` times powers of eta; or ``max_iter`` divided by the first s powers of eta. ``strict: false`` lets a trial's best figure
so far stand for it, which ends fewer. Rule and defaults as in W&B's public package ``sweeps`` (0.3); after arXiv 1603.06560.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 10**6


@dataclass(frozen=True)
class Bands:
    """The rule.

    Attributes:
        bands: numbers of reported figures, ascending.
        eta: one in eta trials goes on.
        strict: whether the figure at the band counts, not the best so far.
    """

    bands: tuple[int, ...]
    eta: float
    strict: bool

    def ends(self, history: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
        """Whether a trial is to end.

        Args:
            history: what it has reported, smaller is better.
            others: the same of all trials that count, itself too.
        """
        reached = [band for band in self.bands if band <= len(history)]
        if not reached:
            return False
        band = reached[-1]
        there = sorted(other[band - 1] for other in others if len(other) >= band)
        figure = history[band - 1] if self.strict else min(history)
        return figure > there[int(len(there) / self.eta)]


def bands_from(min_iter: int, eta: float, strict: bool) -> Bands:
    """Bands at ``min_iter`` times 1, eta, eta² and so on."""
    bands, band = [], float(min_iter)
    while band < LONGEST:
        bands.append(int(band))
        band *= eta
    return Bands(tuple(dict.fromkeys(bands)), eta, strict)


def bands_below(max_iter: int, s: float, eta: float, strict: bool) -> Bands:
    """Bands at ``max_iter`` / eta, ``max_iter`` / eta², …, s of them at most."""
    bands = [int(max_iter / eta**power) for power in range(1, int(s) + 1)]
    return Bands(tuple(sorted({band for band in bands if band >= 1})), eta, strict)
