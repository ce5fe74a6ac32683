"""A picture of echo strengths on the polar grid while it is painted."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


class Canvas:
    """A picture on the polar grid while it is painted.

    Attributes:
        u: distance from the mid-line, cm, positive to the viewer's right.
        z: height along the long axis, cm.
        strength_db: echo strength.
        blood: mask of blood.
        patches: slow variation of brightness within tissue, dB.
    """

    def __init__(self, u: np.ndarray, z: np.ndarray, strength_db: np.ndarray, patches: np.ndarray) -> None:
        self.u, self.z, self.patches = u, z, patches
        self.strength_db: Float[np.ndarray, "R A"] = strength_db
        self.blood: Bool[np.ndarray, "R A"] = np.zeros(u.shape, bool)

    def cover(self, where: np.ndarray, level_db: float | np.ndarray, blood: bool = False) -> None:
        """Replace the echo strength within a mask; blood gets half of the patches."""
        self.strength_db = np.where(where, level_db + (0.5 if blood else 1.0) * self.patches, self.strength_db)
        self.blood = np.where(where, blood, self.blood)

    def cover_brighter(self, where: np.ndarray, level_db: np.ndarray) -> None:
        """Replace the echo strength within a mask where it is lower."""
        self.cover(where, np.maximum(self.strength_db - self.patches, level_db))
