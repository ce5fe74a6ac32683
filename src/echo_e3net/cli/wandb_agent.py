"""What is different for a run that a W&B agent starts: ``wandb agent`` runs the command of a sweep file, and says in the environment which run it is.

The command is the same for all runs, so that the folder must come from the agent's name of the run; and figures must reach W&B without a word in the
command, since the same file runs without W&B too (``echo-e3net sweep``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger


def agent_run() -> str | None:
    """The agent's name of the run; None where no agent started us."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def agent_loggers(loggers: Sequence[Any], folder: Path) -> list[Logger]:
    """The logger that an agent's run lacks: W&B's, writing into the run's folder."""
    if agent_run() is None or any(isinstance(logger, WandbLogger) for logger in loggers):
        return []
    return [WandbLogger(save_dir=str(folder))]
