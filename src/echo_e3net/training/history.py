"""Read the logged metrics of a run. Imports neither torch nor Lightning."""

from __future__ import annotations

import csv
import math
from contextlib import suppress
from pathlib import Path

from echo_e3net.training.run_folder import LOGGED_METRICS


def read_history(folder: Path, metric: str) -> dict[int, float]:
    """Return a metric by epoch, without values that are not finite.

    Later starts of a run replace epochs of earlier ones. An incomplete last line is ignored, because the run may still
    be writing it.
    """
    found: dict[int, float] = {}
    for path in sorted(folder.glob(LOGGED_METRICS), key=lambda path: int(path.parent.name.removeprefix("version_"))):
        lines = path.read_text(errors="replace").splitlines(keepends=True)
        for row in csv.DictReader(line for line in lines if line.endswith("\n")):
            with suppress(ValueError):
                epoch, value = int(row.get("epoch") or ""), float(row.get(metric) or "nan")
                if math.isfinite(value):
                    found[epoch] = value
    return dict(sorted(found.items()))
