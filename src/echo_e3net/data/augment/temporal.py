"""Temporal policies: which frames of the video a training clip shows.

Times stay true: a traced frame keeps its place in time, and the clip frames nearest to it are not replaced. EF does not
depend on the rate. Where a clip starts is drawn by ``data.clip.training``, also without augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from echo_e3net.data.augment.policy import Factor, Policy, require_between


class TemporalPolicy(Policy):
    """A change of the frames of the video that a clip shows."""

    def rate(self, rng: np.random.Generator) -> float:
        """Return the factor of the time between two clip frames."""
        return 1.0

    def places(self, frames: int, kept: Sequence[int], rng: np.random.Generator) -> Int[np.ndarray, " T"]:
        """Return for each place in the clip from which place its frame is taken.

        Args:
            frames: frames of the clip that are not padded.
            kept: places whose frames must stay.
            rng: source of chance.
        """
        return np.arange(frames)


class Rate(Factor, TemporalPolicy):
    """Play faster (above 1) or slower: another heart rate, or another frame rate of the scanner."""

    def rate(self, rng: np.random.Generator) -> float:
        """Return the factor of the time between two clip frames."""
        return self.draw(rng)


class RepeatedFrames(TemporalPolicy):
    """Show the frame before again, as where a scanner or a converter dropped frames.

    Args:
        share: largest share of repeated frames, 0 to 1. The share of a clip is uniform from 0.
        probability: share of the clips that are changed, 0 to 1.
    """

    def __init__(self, share: float, probability: float = 1.0) -> None:
        super().__init__(probability)
        require_between(self, 0, 1, share=share)
        self.share = share

    def places(self, frames: int, kept: Sequence[int], rng: np.random.Generator) -> Int[np.ndarray, " T"]:
        """Return the places, some of them replaced by the place before."""
        repeated = rng.random(frames) < rng.uniform(0, self.share)
        repeated[[0, *kept]] = False
        return np.maximum.accumulate(np.where(repeated, 0, np.arange(frames)))
