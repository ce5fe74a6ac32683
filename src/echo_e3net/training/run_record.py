"""What every start of a run leaves in its folder, ``runs/<name>/``: configuration, environment, and what was excluded.

Files are written aside and renamed.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import SaveConfigCallback

from echo_e3net.files import write_text
from echo_e3net.tables import write_csv
from echo_e3net.training.code_hash import code_hash
from echo_e3net.training.run_folder import CONFIG, ENVIRONMENT, EXCLUDED

PACKAGES = ("echo-e3net", "torch", "lightning", "jsonargparse", "torchmetrics", "numpy", "pandas")


class RunRecord(SaveConfigCallback):
    """Writes what a start of the command line was: the resolved configuration (for fit), and a row in environment.json."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write into the run's folder, once a process and on one rank."""
        if self.already_saved or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self.already_saved = True
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        record = self.config.clone()
        record["ckpt_path"] = (
            None  # where this start resumed from is in its command line; whoever reads the file wants the best
        )
        record["auto_resume"] = False
        text = self.parser.dump(record, skip_none=False)
        if stage == "fit":
            write_text(folder / CONFIG, text)
            for logger in trainer.loggers:
                logger.log_hyperparams({"config": self.config.as_dict()})
        starts = json.loads((folder / ENVIRONMENT).read_text()) if (folder / ENVIRONMENT).exists() else []
        write_text(folder / ENVIRONMENT, json.dumps([*starts, environment(stage, trainer)], indent=2) + "\n")


class ExclusionRecord(Callback):
    """Leaves excluded.csv: the videos of the data set that could not be used, and why."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write into the run's folder, on one rank, where ``data.on_defect`` excluded something."""
        excluded = getattr(trainer.datamodule, "excluded", [])  # type: ignore[attr-defined]
        if excluded and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            rows = [{"name": f.name, "defect": f.defect.title, "where": f.where, "detail": f.detail} for f in excluded]
            write_csv(Path(trainer.default_root_dir) / EXCLUDED, rows)


def environment(stage: str, trainer: Trainer) -> dict[str, Any]:
    """Versions, device, code revision and command line of a start."""
    revision = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "stage": stage,
        "command": sys.argv,
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name(),
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
        "revision": revision.stdout.strip() or None,
        "code": code_hash(),
    }


def cpu_name() -> str:
    """The CPU's name and its cores."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.is_file()
        else []
    )
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"
