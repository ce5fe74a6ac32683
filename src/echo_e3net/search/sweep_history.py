"""What a run's metrics file says of one figure, also while the run writes it."""

from __future__ import annotations

import csv
import math
from contextlib import suppress
from pathlib import Path

METRICS = "logs/version_*/metrics.csv"


def read_history(folder: Path, metric: str) -> dict[int, float]:
    """The figure by epoch, in order; what is no finite number is left out.

    A run that was started several times has several files; later starts win. A file that is being written may end in half a line: such a line is left for
    the next look.
    """
    found: dict[int, float] = {}
    for path in sorted(folder.glob(METRICS), key=lambda path: int(path.parent.name.removeprefix("version_"))):
        lines = path.read_text(errors="replace").splitlines(keepends=True)
        for row in csv.DictReader(line for line in lines if line.endswith("\n")):
            with suppress(ValueError):
                epoch, figure = int(row.get("epoch") or ""), float(row.get(metric) or "nan")
                if math.isfinite(figure):
                    found[epoch] = figure
    return dict(sorted(found.items()))
