"""What is compared with the reference: inference and training steps, by device."""

from __future__ import annotations

from typing import NamedTuple

REFERENCE = "R(2+1)D-18"
NETWORKS = ("version 1", "lite", "small")
"""The presets that are compared with it."""
RATIO, EAGER_RATIO = "times as fast", "torch eager only"
"""Columns with the ratio to the reference: best form against best form, and the same for the forms in eager mode."""


class Task(NamedTuple):
    """Inference or training steps with a batch size; ``name`` identifies it in files."""

    batch: int
    training: bool = False

    @property
    def name(self) -> str:
        """Name without spaces."""
        return f"{'training' if self.training else 'inference'}-{self.batch}"

    @property
    def title(self) -> str:
        """Title in words."""
        return f"{'training step' if self.training else 'inference'}, batch {self.batch}"


TASKS = {
    "cpu": (Task(1), Task(4, training=True), Task(8)),
    "cuda": (Task(16, training=True), Task(64), Task(1), Task(8)),
}
"""The most important first."""
