"""Choose some of the training videos, for learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from echo_e3net.data.records import VideoRecord
from echo_e3net.errors import InputError


def subset(records: Sequence[VideoRecord], number: int, root: Path | None) -> list[VideoRecord]:
    """Return a random choice of videos, in their order. It is always the same, and a larger number adds videos to it.

    Raises:
        InputError: there are fewer videos.
    """
    if number > len(records):
        raise InputError(f"data.train_videos is {number}, but {root} has {len(records)} training videos.")
    return [records[i] for i in sorted(np.random.default_rng(0).permutation(len(records))[:number])]
