"""videos.csv: what every trial of a study predicted of every test video, so that differences can be computed again without the runs.

A row is a video of a test set; a column, named <arm>/<seed>, is a trial; values are EF in percent. A hundred trials and a thousand videos are half a
megabyte, where a row a trial and video would be five.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from echo_e3net.errors import InputError
from echo_e3net.search.intervals import Errors
from echo_e3net.search.study_plan import Trial
from echo_e3net.tables import read_rows, write_csv
from echo_e3net.training.run_folder import TEST_VIDEOS

VIDEOS = "videos.csv"
KEYS = ["test", "name", "label_ef_percent"]


class Key(NamedTuple):
    """A trial's scores on a test set."""

    arm: str
    seed: int
    test: str


class Read(NamedTuple):
    """EF of one video, percent: labelled (None where it is not), and read by the network."""

    label: float | None
    ef: float


Predictions = Mapping[Key, Mapping[str, Read]]


def trial_predictions(trial: Trial) -> dict[Key, dict[str, Read]]:
    """What a trial's networks read, by test set and video; nothing of a test that left no table."""
    tables = {place.test: place.folder / TEST_VIDEOS for place in trial.places}
    columns = ("name", "ef_percent", "label_ef_percent")
    return {
        Key(trial.arm, trial.seed, test): {
            row["name"]: as_read(path, row["label_ef_percent"], row["ef_percent"]) for row in rows if row["ef_percent"]
        }
        for test, path in tables.items()
        if path.is_file() and (rows := read_rows(path, columns))
    }


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write the table, test set by test set, videos in the order of the test."""
    trials = list(dict.fromkeys((key.arm, key.seed) for key in predictions))
    rows: list[dict[str, object]] = []
    for test in dict.fromkeys(key.test for key in predictions):
        found = {trial: predictions.get(Key(*trial, test), {}) for trial in trials}
        labels = {name: read.label for videos in found.values() for name, read in videos.items()}
        for name, label in labels.items():
            efs = {
                f"{arm}/{seed}": videos[name].ef if name in videos else None for (arm, seed), videos in found.items()
            }
            rows.append({"test": test, "name": name, "label_ef_percent": label, **efs})
    write_csv(path, rows, [*KEYS, *(f"{arm}/{seed}" for arm, seed in trials)])


def read_predictions(path: Path) -> dict[Key, dict[str, Read]]:
    """What an earlier study wrote; nothing where there is no such table.

    Raises:
        InputError: it cannot be read, or a value is no number.
    """
    found: dict[Key, dict[str, Read]] = {}
    for row in read_rows(path, KEYS) if path.is_file() else []:
        for column in row.keys() - set(KEYS):
            arm, _, seed = column.rpartition("/")
            if not arm or not seed.isdigit():
                raise InputError(
                    f"{path}: column {column!r} is no trial; they are called arm/seed. Move the table away to go on without intervals."
                )
            if row[column]:
                found.setdefault(Key(arm, int(seed), row["test"]), {})[row["name"]] = as_read(
                    path, row["label_ef_percent"], row[column]
                )
    return found


def as_read(path: Path, label: str, ef: str) -> Read:
    """Numbers of a table."""
    try:
        return Read(float(label) if label else None, float(ef))
    except ValueError as error:
        raise InputError(f"{path}: {error}. Move the table away to go on without it.") from error


def errors_by_seed(predictions: Predictions, arm: str, test: str, seeds: Iterable[int]) -> dict[int, Errors]:
    """Absolute errors of the labelled videos by seed; seeds whose videos are not known are missing."""
    found = {seed: predictions[Key(arm, seed, test)] for seed in seeds if Key(arm, seed, test) in predictions}
    return {
        seed: {name: abs(read.ef - read.label) for name, read in videos.items() if read.label is not None}
        for seed, videos in found.items()
    }
