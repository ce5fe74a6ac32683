"""Write the tables of predict."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from echo_e3net.errors import InputError
from echo_e3net.training.outputs import VIDEO_COLUMNS, ResultWriter
from echo_e3net.training.run_folder import PREDICTED_TRACINGS, PREDICTIONS
from echo_e3net.training.system import E3System


class PredictionWriter(ResultWriter):
    """Writes predictions.csv and predictions_tracings.csv.

    Args:
        overwrite: whether earlier predictions may be replaced.
    """

    def __init__(self, overwrite: bool = False) -> None:
        self.overwrite = overwrite

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse to replace predictions, before anything is computed."""
        super().setup(trainer, pl_module, stage)
        target = Path(trainer.default_root_dir) / PREDICTIONS
        if target.exists() and not self.overwrite:
            advice = "Move it away, choose another --name with --ckpt_path FILE, or add --overwrite true."
            raise InputError(f"{target} exists. {advice}")

    on_predict_batch_end = ResultWriter.on_test_batch_end

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write both tables."""
        records = trainer.datamodule.records["predict"]  # type: ignore[attr-defined]
        columns = [*VIDEO_COLUMNS, "clips", "path", "cropped"]
        rows = self.write_tables(cast(E3System, pl_module), records, (PREDICTIONS, PREDICTED_TRACINGS), columns)
        if rows:
            rank_zero_info(f"EF of {len(rows)} video{'s' * (len(rows) != 1)}: {self.folder / PREDICTIONS}")
