"""Learning-rate schedules that know how many optimiser steps a run has."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class WarmupCosine(LRScheduler):
    """Linear warm-up, then half a cosine down to a fraction of the optimizer's rate; stepped once an optimiser step.

    Args:
        optimizer: whose rate is scheduled.
        total_steps: optimiser steps of the whole run; Lightning's estimate.
        warmup: fraction of the steps that warm up, 0…1.
        floor: the last rate, as a fraction of the optimizer's.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: float = 0.1, floor: float = 0.01) -> None:
        self.total_steps, self.warmup, self.floor = total_steps, warmup, floor
        super().__init__(optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Where the run is, not how long it is: a run that is resumed with more epochs goes on along its longer curve."""
        return {
            name: value
            for name, value in super().state_dict().items()
            if name not in ("total_steps", "warmup", "floor")
        }

    def get_lr(self) -> list[float | Tensor]:
        """The rates of the parameter groups at the current step."""
        return [rate * self.factor(self.last_epoch) for rate in self.base_lrs]

    def factor(self, step: int) -> float:
        """The rate at a step, as a fraction of the optimizer's."""
        warm = max(1, round(self.warmup * self.total_steps))
        if step < warm:
            return (step + 1) / warm
        done = min(1.0, (step - warm) / max(1, self.total_steps - warm))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2
