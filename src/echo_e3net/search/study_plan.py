"""What a study file says, and the trials that follow from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from echo_e3net.data.layout import FILE_LIST, TRACINGS
from echo_e3net.data.layout import PHANTOM as MANIFEST
from echo_e3net.errors import InputError
from echo_e3net.training.run_folder import CHECKPOINTS, ENVIRONMENT, METRICS

PROFILE, FINGERPRINT, LOG, TIMES = "profile.json", "fingerprint.txt", "study.log", "trial.json"
OWN = "own"
"""Name of the test split of the data that a trial was trained on."""
TABLES, PACKED = (".csv", ".cfg"), ".gz"
"""Suffixes of files that say what a data set is, and of large ones whose size is enough."""
OF_MACHINE = ("data.root", "data.cache.folder", "data.loader.workers")
"""Arguments that say where a trial runs, not what it is: another value leaves its results as they are."""


@dataclass(frozen=True)
class Study:
    """What a study file says.

    Attributes:
        name: the study's folder in ``runs``.
        configs: configurations laid over each other, the base of every arm; relative to the study file.
        arms: overlays of each arm by name, relative to the study file; an empty list is the base itself.
        seeds: seeds that every arm is trained with.
        arguments: further arguments of every trial, by dotted name; ``data.root`` must be one of them.
        tests: further data sets whose test split every checkpoint is scored on, by name.
        base: the arm that the others are compared with; null: the first that is the base itself, or else the first.
    """

    name: str
    configs: list[str]
    arms: dict[str, list[str]]
    seeds: list[int]
    arguments: dict[str, Any] = field(default_factory=dict)
    tests: dict[str, str] = field(default_factory=dict)
    base: str | None = None

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return self.base or next((arm for arm, overlays in self.arms.items() if not overlays), next(iter(self.arms)))


@dataclass(frozen=True)
class Place:
    """Where a checkpoint's scores on one data set are: the trial's own folder, or one inside it for a further data set."""

    test: str
    folder: Path
    root: str
    fingerprint: str

    @property
    def done(self) -> bool:
        """Whether the scores are there."""
        return (self.folder / METRICS).is_file()

    @property
    def codes(self) -> set[str]:
        """The code that worked here (:func:`echo_e3net.training.code_hash.code_hash`); nothing of runs that did not record it."""
        return {start["code"] for start in read_starts(self.folder) if start.get("code")}


@dataclass(frozen=True)
class Trial:
    """One arm with one seed: the arguments that its processes share, its places, its own first, and a hash of the arm's settings."""

    arm: str
    seed: int
    arguments: tuple[str, ...]
    places: tuple[Place, ...]
    settings: str

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.places[0].folder

    @property
    def begun(self) -> bool:
        """Whether it was started with these settings."""
        mark = self.folder / FINGERPRINT
        return mark.is_file() and mark.read_text().strip() == self.places[0].fingerprint

    @property
    def done(self) -> bool:
        """Whether it is trained, and tested on every data set."""
        return all(place.done for place in self.places)


def read_study(path: Path, changes: Mapping[str, Any] | None = None) -> Study:
    """Read and check a study file.

    Args:
        path: the study file.
        changes: arguments by dotted name that replace or extend those of the file; ``tests.NAME`` is the root of a further test set.

    Raises:
        InputError: it cannot be read, a field is missing or wrong, or an overlay is not there.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Study, "study")
    try:
        values = changed(yaml.safe_load(path.read_text()), changes or {})
        plan: Study = parser.instantiate_classes(parser.parse_object({"study": values})).study
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, ArgumentError, TypeError) as error:
        raise InputError(f"{path}: not a study: {' '.join(str(error).split())}") from error
    if not plan.arms or not plan.seeds or len(set(plan.seeds)) < len(plan.seeds):
        raise InputError(f"{path}: a study needs at least one arm, and seeds of which none is there twice.")
    if "data.root" not in plan.arguments or OWN in plan.tests:
        raise InputError(
            f"{path}: arguments must say data.root, the data to train on (or add --data.root FOLDER), and no further test set may be named {OWN!r}."
        )
    if plan.reference not in plan.arms:
        raise InputError(f"{path}: base is {plan.base!r}, which is no arm. There are {', '.join(plan.arms)}.")
    names = [plan.name, *plan.arms, *plan.tests]
    if not all(re.fullmatch(r"[\w-]+", name) for name in names) or {CHECKPOINTS, "logs"} & plan.tests.keys():
        raise InputError(
            f"{path}: {', '.join(names)}: names become folders; use letters, digits, _ and - alone, and not {CHECKPOINTS} or logs."
        )
    if "seed_everything" in plan.arguments:
        raise InputError(f"{path}: seed_everything stands in arguments: the seeds are the study's.")
    for overlay in [*plan.configs, *(overlay for arm in plan.arms.values() for overlay in arm)]:
        if not (path.parent / overlay).is_file():
            raise InputError(f"{path}: {overlay} is not there. Overlays are found relative to the study file.")
    return plan


def changed(values: Any, changes: Mapping[str, Any]) -> Any:  # noqa: ANN401  (whatever YAML holds)
    """What a study file says, with the arguments and the roots of test sets that the command line gives instead."""
    if not changes or not isinstance(values, dict):
        return values
    tests = {name.removeprefix("tests."): root for name, root in changes.items() if name.startswith("tests.")}
    arguments = {name: value for name, value in changes.items() if not name.startswith("tests.")}
    return values | {
        "arguments": (values.get("arguments") or {}) | arguments,
        "tests": (values.get("tests") or {}) | tests,
    }


def plan_trials(plan: Study, base: Path, folder: Path) -> list[Trial]:
    """All trials, seed by seed, so that a study that is cut short has every arm.

    Raises:
        InputError: a data set is not there.
    """
    roots = {OWN: str(plan.arguments["data.root"]), **plan.tests}
    data = {name: hash_data(Path(root)) for name, root in roots.items()}
    settings = {name: value for name, value in plan.arguments.items() if name not in OF_MACHINE}
    trials = []
    for seed in plan.seeds:
        for arm, overlays in plan.arms.items():
            configs = [base / overlay for overlay in (*plan.configs, *overlays)]
            arguments = [word for path in configs for word in ("--config", str(path))]
            arguments += [word for name, value in plan.arguments.items() for word in (f"--{name}", as_word(value))]
            meaning = [yaml.safe_load(path.read_text()) for path in configs]
            own = hash_of([meaning, settings, seed, data[OWN]])
            home = folder / arm / f"seed{seed}"
            places = [Place(OWN, home, roots[OWN], own)]
            places += [Place(name, home / name, root, hash_of([own, data[name]])) for name, root in plan.tests.items()]
            trials.append(
                Trial(
                    arm, seed, (*arguments, "--seed_everything", str(seed)), tuple(places), hash_of([meaning, settings])
                )
            )
    return trials


def hash_data(root: Path) -> str:
    """What a data set is, wherever it lies and whatever its format: a hash of its tables.

    In EchoNet-Dynamic's form these are the tables at the top, and what a phantom says of its look. In any other form they are all CSV and cfg files below
    ``root``, by name and content, and compressed images and masks, by name and size.

    Raises:
        InputError: there is no table.
    """
    if (root / FILE_LIST).is_file():
        known = [root / name for name in (FILE_LIST, *TRACINGS.values(), MANIFEST)]
        return short_hash(b"\0".join(path.read_bytes() for path in known if path.is_file()))
    files = sorted(path for path in root.rglob("*") if path.suffix in (*TABLES, PACKED) and path.is_file())
    if not any(path.suffix in TABLES for path in files):
        raise InputError(
            f"{root}: the study needs this data set, and neither {FILE_LIST} nor any other table is there. Make or fetch it first."
        )
    contents = [str(path.stat().st_size).encode() if path.suffix == PACKED else path.read_bytes() for path in files]
    names = [str(path.relative_to(root)).encode() for path in files]
    return short_hash(b"\0".join(part for pair in zip(names, contents, strict=True) for part in pair))


def hash_of(meaning: Any) -> str:  # noqa: ANN401  (whatever YAML holds)
    """A short name for settings."""
    return short_hash(json.dumps(meaning, sort_keys=True).encode())


def short_hash(content: bytes) -> str:
    """A short name for bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def as_word(value: Any) -> str:  # noqa: ANN401  (whatever YAML holds)
    """An argument's value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def refuse_changed(trials: Sequence[Trial]) -> None:
    """Refuse to mix results: what was begun with other settings or data must be moved away.

    Raises:
        InputError: something was.
    """
    for place in (place for trial in trials for place in trial.places):
        begun = place.folder / FINGERPRINT
        if worked(place) and begun.is_file() and begun.read_text().strip() != place.fingerprint:
            raise InputError(
                f"{place.folder} was begun with other settings or data than the study has now. Move it away, or give the study another name."
            )


def worked(place: Place) -> bool:
    """Whether something was trained or tested there."""
    return place.done or (place.folder / CHECKPOINTS).is_dir()


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """What a run recorded of each of its starts; nothing where it has not started."""
    path = folder / ENVIRONMENT
    return list(json.loads(path.read_text())) if path.is_file() else []
