"""The frames that ``echo-e3net report`` draws, with their borders."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from echo_e3net.clinic.user_videos import read_cropped
from echo_e3net.data.frames import read_frames
from echo_e3net.data.tracings import canonical_contours
from echo_e3net.errors import InputError
from echo_e3net.reporting import BorderPicture
from echo_e3net.tables import read_rows
from echo_e3net.training.run_folder import PREDICTIONS
from echo_e3net.types import PHASES

Row = Mapping[str, str]


def border_pictures(rows: Sequence[Row], predicted: Path, labelled: Path | None = None) -> list[BorderPicture]:
    """Return the predicted ED and ES frames with their borders. Videos without borders or file are skipped.

    Args:
        rows: rows of the table of videos.
        predicted: table of the predicted borders.
        labelled: table of the labelled borders.
    """
    names = {row["name"] for row in rows}
    found, truth = read_borders(predicted, names), read_borders(labelled, names)
    pictures = []
    for row in rows:
        if not row["ed_frame"] or not Path(row["path"]).is_file():
            continue
        read = read_cropped if is_true(row.get("cropped", "false")) else read_frames
        frames = read(Path(row["path"]), np.array([int(row["ed_frame"]), int(row["es_frame"])]))
        for frame, phase in zip(frames, PHASES, strict=True):
            key = row["name"], phase
            pictures.append(BorderPicture(frame, picture_title(row, phase), found.get(key, {}), truth.get(key, {})))
    return pictures


def is_true(text: str) -> bool:
    """Return the truth value in a column of a table.

    Raises:
        InputError: the text is neither true nor false.
    """
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise InputError(f"{PREDICTIONS}: cropped is {text!r}; expected True or False. Run predict again.")
    return values[text.lower()]


def picture_title(row: Row, phase: str) -> str:
    """Return the title of the frame of a phase."""
    label = f", label {float(row['label_ef_percent']):.0f}" if row["label_ef_percent"] else ""
    traced = row.get(f"{phase.lower()}_traced")
    frame = row[f"{phase.lower()}_frame"]
    title = f"{row['name'][:10]}: EF {float(row['ef_percent']):.0f}{label}\n{phase} in frame {frame}"
    return f"{title}, traced in {traced}" if traced else title


def read_borders(path: Path | None, names: Collection[str]) -> dict[tuple[str, str], dict[str, Tensor]]:
    """Read the landmarks of some videos from a table of borders.

    Returns:
        landmarks (K, 2) by border, by video and phase; nothing if there is no table.
    """
    segments: dict[tuple[str, str, str], list[list[float]]] = {}
    for line in read_rows(path) if path and path.is_file() else []:
        if line["FileName"] in names:
            segment = [float(line[c]) for c in ("X1", "Y1", "X2", "Y2")]
            segments.setdefault((line["FileName"], line["Phase"], line["Border"]), []).append(segment)
    borders: dict[tuple[str, str], dict[str, Tensor]] = {}
    for (name, phase, border), rows in segments.items():
        contour = canonical_contours(np.array([rows], np.float32))[0]
        borders.setdefault((name, phase), {})[border] = torch.from_numpy(contour)
    return borders
