"""Compare the EF of every test video between the arms of a study.

videos.csv has one row per video of a test set, and one column per trial, named <arm>/<seed>. Values are EF in percent.
With this table, intervals can be computed again without the runs.

With e(a, s, v) = |predicted EF - labelled EF| of arm a, seed s and video v, the difference of arm a to base b is

    d(v) = mean over the seeds of e(a, s, v) - e(b, s, v),        D = mean over the videos of d(v).

Each video and seed is compared with itself, so the difficulty of a video cancels. The interval of D is a percentile
bootstrap over the videos. It covers the choice of test videos, but not the variation between trainings: the seeds are
too few to resample. The SD over the seeds describes that. Videos are treated as independent, also if a patient has
several.

References:
    Koehn, Statistical significance tests for machine translation evaluation, EMNLP 2004 (paired bootstrap over a test
    set).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from echo_e3net.errors import InputError
from echo_e3net.metrics import bootstrap_means, interval
from echo_e3net.search.study_plan import Trial
from echo_e3net.search.study_tables import Difference
from echo_e3net.tables import read_rows, write_csv
from echo_e3net.training.run_folder import TEST_VIDEOS

VIDEOS = "videos.csv"
KEYS = ["test", "name", "label_ef_percent"]
Errors = Mapping[str, float]
"""Absolute errors of EF in points, by name of the video."""


class Key(NamedTuple):
    """A trial on a test set."""

    arm: str
    seed: int
    test: str


class Read(NamedTuple):
    """EF of one video in percent: labelled (None without a label) and predicted."""

    label: float | None
    ef: float


Predictions = Mapping[Key, Mapping[str, Read]]


def compare(
    arm: Mapping[int, float], base: Mapping[int, float], of_arm: Mapping[int, Errors], of_base: Mapping[int, Errors]
) -> Difference | None:
    """Return the difference of an arm to the base; None if they share no seed.

    Args:
        arm: mean absolute error of the arm by seed.
        base: mean absolute error of the base by seed.
        of_arm: errors of each video by seed; without all shared seeds there is no interval.
        of_base: the same of the base.
    """
    shared = [seed for seed in arm if seed in base]
    if not shared:
        return None
    by_seed = [arm[seed] - base[seed] for seed in shared]
    mean, sd = statistics.fmean(by_seed), statistics.stdev(by_seed) if len(shared) > 1 else None
    pairs = [(of_arm.get(seed, {}), of_base.get(seed, {})) for seed in shared]
    names = [name for name in pairs[0][1] if all(name in errors for pair in pairs for errors in pair)]
    if not names:
        return Difference(mean, sd, None, None, len(shared), 0)
    by_video = [statistics.fmean(ours[name] - theirs[name] for ours, theirs in pairs) for name in names]
    low, high = interval(bootstrap_means(torch.tensor(by_video, dtype=torch.float64)[:, None]).flatten())
    return Difference(mean, sd, low, high, len(shared), len(names))


def trial_predictions(trial: Trial) -> dict[Key, dict[str, Read]]:
    """Return the predictions of a trial by test set and video."""
    found: dict[Key, dict[str, Read]] = {}
    for place in trial.places:
        path = place.folder / TEST_VIDEOS
        for row in read_rows(path, ("name", "ef_percent", "label_ef_percent")) if path.is_file() else []:
            if row["ef_percent"]:
                read = as_read(path, row["label_ef_percent"], row["ef_percent"])
                found.setdefault(Key(trial.arm, trial.seed, place.test), {})[row["name"]] = read
    return found


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write the table."""
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for key, videos in predictions.items():
        for name, read in videos.items():
            row: dict[str, object] = {"test": key.test, "name": name, "label_ef_percent": read.label}
            rows.setdefault((key.test, name), row)[f"{key.arm}/{key.seed}"] = read.ef
    write_csv(path, list(rows.values()))


def read_predictions(path: Path) -> dict[Key, dict[str, Read]]:
    """Read the table of an earlier study; the result is empty if the file does not exist.

    Raises:
        InputError: the file cannot be read, or a column or value is wrong.
    """
    found: dict[Key, dict[str, Read]] = {}
    for row in read_rows(path, KEYS) if path.is_file() else []:
        for column in row.keys() - set(KEYS):
            arm, _, seed = column.rpartition("/")
            if not arm or not seed.isdigit():
                raise InputError(f"{path}: column {column!r} is not named ARM/SEED. Rename it, or move the table away.")
            if row[column]:
                key = Key(arm, int(seed), row["test"])
                found.setdefault(key, {})[row["name"]] = as_read(path, row["label_ef_percent"], row[column])
    return found


def as_read(path: Path, label: str, ef: str) -> Read:
    """Return numbers of a table."""
    try:
        return Read(float(label) if label else None, float(ef))
    except ValueError as error:
        raise InputError(f"{path}: {error}. Correct the value, or move the table away.") from error


def errors_by_seed(predictions: Predictions, arm: str, test: str, seeds: Iterable[int]) -> dict[int, Errors]:
    """Return the absolute errors of the labelled videos by seed, without seeds whose predictions are not known."""
    return {
        seed: {name: abs(read.ef - read.label) for name, read in predictions[key].items() if read.label is not None}
        for seed in seeds
        if (key := Key(arm, seed, test)) in predictions
    }
