"""Make the schedule of the learning rate for a run."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from lightning.pytorch import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from echo_e3net.errors import InputError

STEPS, PLATEAU = "total_steps", "val/rmse"


def schedule_of(make: Callable[..., LRScheduler], optimizer: Optimizer, trainer: Trainer) -> dict[str, Any]:
    """Return the schedule and when it steps, as Lightning expects it.

    Raises:
        InputError: the schedule needs the number of steps, and the run has no end.
    """
    given = make.keywords if isinstance(make, partial) else inspect.signature(make).parameters
    if STEPS not in given or (isinstance(make, partial) and make.keywords[STEPS] is not None):
        schedule = make(optimizer)
    elif math.isinf(steps := trainer.estimated_stepping_batches):
        raise InputError(
            "model.scheduler needs the number of optimizer steps, but trainer.max_epochs is -1. Set "
            f"--trainer.max_epochs, --trainer.max_steps or --model.scheduler.{STEPS}, or --model.scheduler null."
        )
    else:
        schedule = make(optimizer, total_steps=int(steps))
    if isinstance(schedule, ReduceLROnPlateau):
        return {"scheduler": schedule, "interval": "epoch", "monitor": getattr(schedule, "monitor", PLATEAU)}
    return {"scheduler": schedule, "interval": "step"}
