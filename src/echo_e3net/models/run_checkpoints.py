"""Find the best checkpoint of a run, and check checkpoints for damage."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import yaml

from echo_e3net.training.run_folder import CONFIG


def best_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint with the best score in its name, by the monitor and mode of the run's record, or None."""
    record = folder.parent / CONFIG
    kept = yaml.safe_load(record.read_text())["checkpoint"] if record.is_file() else {"monitor": "rmse", "mode": "min"}
    sign, pattern = -1 if kept["mode"] == "max" else 1, rf"epoch=\d+-{re.escape(kept['monitor'].rsplit('/', 1)[-1])}="
    named = {path: re.fullmatch(rf"{pattern}(-?[\d.]+?)(-v\d+)?\.ckpt", path.name) for path in folder.glob("*.ckpt")}
    scores = {path: sign * float(match[1]) for path, match in named.items() if match}
    return min(scores, key=lambda path: (scores[path], path.name)) if scores else None


def damage_of(path: Path) -> str:
    """Return what is wrong with a checkpoint file by its checksums; empty if it is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return str(error).strip(".").lower() or type(error).__name__
    return f"the checksum of {part} is wrong" if part else ""
