"""Write the record of a run into its folder: settings, versions and excluded videos."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info

from echo_e3net import __version__
from echo_e3net.files import code_hash, write_text
from echo_e3net.hardware import cpu_name
from echo_e3net.models.description import FORM
from echo_e3net.tables import write_csv
from echo_e3net.training import run_folder
from echo_e3net.training.resuming import Resumed
from echo_e3net.training.starting import Start

PACKAGES = ("torch", "lightning", "jsonargparse", "torchmetrics", "numpy", "pandas")


class RunRecord(SaveConfigCallback):
    """Write at each start: the resolved configuration (fit), an entry in environment.json, and excluded.csv.

    Checkpoints contain the settings too. A resume with other settings is noted in the first lines of the configuration
    and in environment.json.
    """

    def __init__(self, *args: Any, resumed: Resumed | None = None, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.resumed = resumed
        self.limits: dict[str, float] | None = None
        # Later commands that read the record use the best checkpoint, not the one that was resumed.
        record = self.config.clone()
        # Trust in one model file is not trust in the next one.
        record["ckpt_path"], record["auto_resume"], record["trust"] = None, False, False
        self.record = str(self.parser.dump(record, skip_none=False))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the limits of the quality that the first start of the run took from a model."""
        self.limits = checkpoint.get("limits")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the settings, the last scores and the limits of the quality to a checkpoint."""
        checkpoint["limits"] = self.limits
        checkpoint["settings"] = yaml.safe_load(self.record)
        checkpoint |= {"form": FORM, "program": __version__}
        scores = trainer.callback_metrics.items()
        checkpoint["scores"] = {name: float(value) for name, value in scores if name.startswith("val/")}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the record on rank 0, and take the limits of the quality from the model that the run starts from."""
        start: Start | None = getattr(pl_module, "start", None)
        if start is not None:
            self.limits = start.limits
        if self.already_saved or trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        self.already_saved = True
        folder = Path(trainer.default_root_dir)
        if stage == "fit":
            write_text(folder / run_folder.CONFIG, self.history(folder / run_folder.CONFIG) + self.record)
            for logger in trainer.loggers:
                logger.log_hyperparams({"config": self.config.as_dict()})
        path = folder / run_folder.ENVIRONMENT
        starts = json.loads(path.read_text()) if path.exists() else []
        entry = environment(stage, str(trainer.precision))
        entry["resumed"] = None if self.resumed is None else self.resumed._asdict()
        entry["init_from"] = None if start is None else start.record()
        write_text(path, json.dumps([*starts, entry], indent=2) + "\n")
        if excluded := trainer.datamodule.excluded:  # type: ignore[attr-defined]
            rows = [{"name": f.name, "defect": f.defect.title, "where": f.where, "detail": f.detail} for f in excluded]
            write_csv(folder / run_folder.EXCLUDED, rows)

    def history(self, path: Path) -> str:
        """Return the comments at the beginning of the record, with a line about this resume if settings changed."""
        lines = path.read_text().splitlines() if path.is_file() and self.resumed else []
        notes = list(takewhile(lambda line: line.startswith("# "), lines))
        if self.resumed and self.resumed.changed:
            notes.append(f"# {self.resumed}")
            rank_zero_info(f"The training is {self.resumed}.")
        return "".join(f"{note}\n" for note in notes)


def environment(stage: str, precision: str) -> dict[str, Any]:
    """Return versions, device, code revision and command line of this start; null for what is unknown."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in PACKAGES}
    cpu = f"{cpu_name()}, {os.cpu_count()} cores"
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "stage": stage,
        "command": sys.argv,
        "packages": {"echo-e3net": __version__, **versions},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "revision": revision or None,
        "code": code_hash(),
    }
