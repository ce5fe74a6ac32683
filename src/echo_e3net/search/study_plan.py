"""Read a study file and plan its trials.

This module and its imports are light: no torch, Lightning, OpenCV or matplotlib.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from echo_e3net.data.fingerprint import hash_data, short_hash
from echo_e3net.errors import InputError
from echo_e3net.training.run_folder import CHECKPOINTS, ENVIRONMENT, LOGS, METRICS

PROFILE, FINGERPRINT, LOG, TIMES = "profile.json", "fingerprint.txt", "study.log", "trial.json"
OWN = "own"
"""Name of the test split of the data that a trial is trained on."""
OF_MACHINE = ("data.root", "data.cache.folder", "data.loader.workers")
"""Arguments that depend on the machine and do not change the results of a trial."""


@dataclass(frozen=True)
class Study:
    """The content of a study file.

    Attributes:
        name: the study's folder in ``runs``.
        configs: base configurations of every arm, relative to the study file; later ones win.
        arms: further configurations (overlays) of each arm by name; an empty list is the base itself.
        seeds: every arm is trained with each of these seeds.
        arguments: arguments of every trial, by dotted name; ``data.root`` is required.
        tests: further data sets by name; every checkpoint is scored on their test split too.
        base: the arm that the others are compared with; null: the first arm without overlays, else the first arm.
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
    """The folder of a checkpoint's scores on one data set. Those of further data sets are inside the trial's folder."""

    test: str
    folder: Path
    root: str
    fingerprint: str

    @property
    def done(self) -> bool:
        """Whether the scores exist."""
        return (self.folder / METRICS).is_file()

    @property
    def mark(self) -> str:
        """The fingerprint with which it was begun; empty if it was not."""
        path = self.folder / FINGERPRINT
        return path.read_text().strip() if path.is_file() else ""

    @property
    def worked(self) -> bool:
        """Whether something was trained or tested."""
        return self.done or (self.folder / CHECKPOINTS).is_dir()

    def recorded(self, name: str) -> list[str]:
        """Return the different values of a field in the records of the run's starts; empty if none is recorded."""
        path = self.folder / ENVIRONMENT
        starts = json.loads(path.read_text()) if path.is_file() else []
        return list(dict.fromkeys(start[name] for start in starts if start.get(name)))


@dataclass(frozen=True)
class Trial:
    """One arm with one seed.

    Attributes:
        arm: name of the arm.
        seed: the seed.
        arguments: arguments that all processes of the trial share.
        places: folders of its scores, that of the trial first.
        settings: hash of the arm's settings.
    """

    arm: str
    seed: int
    arguments: tuple[str, ...]
    places: tuple[Place, ...]
    settings: str

    def __str__(self) -> str:
        """Return the arm and the seed for messages."""
        return f"{self.arm}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.places[0].folder

    @property
    def begun(self) -> bool:
        """Whether the trial was started with these settings."""
        return self.places[0].mark == self.places[0].fingerprint

    @property
    def done(self) -> bool:
        """Whether the trial is trained and tested on every data set."""
        return all(place.done for place in self.places)


def read_study(path: Path, changes: Mapping[str, Any] | None = None) -> Study:
    """Read and check a study file.

    Args:
        path: the study file.
        changes: arguments by dotted name, which replace those of the file; ``tests.NAME`` adds a further test set.

    Raises:
        InputError: a field is missing or wrong, or an overlay does not exist.
        OSError: the file cannot be read.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Study, "study")
    try:
        values = yaml.safe_load(path.read_bytes())
        plan: Study = parser.instantiate_classes(parser.parse_object({"study": values})).study
    except (yaml.YAMLError, ArgumentError, TypeError) as error:
        raise InputError(f"{path}: not a study file: {' '.join(str(error).split())}") from error
    for name, value in (changes or {}).items():
        if name.startswith("tests."):
            plan = replace(plan, tests=plan.tests | {name.removeprefix("tests."): str(value)})
        else:
            plan = replace(plan, arguments=plan.arguments | {name: value})
    for fault in faults(plan, path.parent):
        raise InputError(f"{path}: {fault}.")
    return plan


def faults(plan: Study, base: Path) -> Iterator[str]:
    """Yield what is wrong in a study, and what to do."""
    if not plan.arms:
        yield "arms is empty; add at least one arm"
    if not plan.seeds or len(set(plan.seeds)) < len(plan.seeds):
        yield f"seeds is {plan.seeds}; expected different seeds, at least one"
    if "data.root" not in plan.arguments:
        yield "arguments has no data.root, the data to train on; add it, or --data.root FOLDER to the command"
    if "seed_everything" in plan.arguments:
        yield "arguments has seed_everything; use seeds instead"
    if plan.reference not in plan.arms:
        yield f"base is {plan.base!r}, which is not an arm; choose from {', '.join(plan.arms)}"
    for name in (plan.name, *plan.arms, *plan.tests):
        if not re.fullmatch(r"[\w-]+", name):
            yield f"{name!r} cannot be the name of a folder; use letters, digits, _ and -"
    for name in {OWN, CHECKPOINTS, LOGS} & plan.tests.keys():
        yield f"tests has {name!r}, which is reserved; rename it"
    texts = [yaml.safe_load((base / config).read_text()) for config in plan.configs if (base / config).is_file()]
    chosen = "trainer.precision" in plan.arguments or any("precision" in (t.get("trainer") or {}) for t in texts)
    if not chosen and any(text.get("precision") == "auto" for text in texts):
        yield "the precision depends on the machine; add trainer.precision to arguments (32-true or bf16-mixed)"
    for overlay in [*plan.configs, *(overlay for arm in plan.arms.values() for overlay in arm)]:
        if not (base / overlay).is_file():
            yield f"{overlay} does not exist; paths are relative to the study file"


def plan_trials(plan: Study, base: Path, folder: Path) -> list[Trial]:
    """Return all trials, seed by seed, so that an interrupted study has results of every arm.

    Args:
        plan: the study.
        base: folder of the study file.
        folder: folder of the study's runs.

    Raises:
        InputError: a data set has no tables.
    """
    roots = {OWN: str(plan.arguments["data.root"]), **plan.tests}
    data = {name: hash_data(Path(root)) for name, root in roots.items()}
    settings = {name: value for name, value in plan.arguments.items() if name not in OF_MACHINE}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in plan.arguments.items()}
    words = [word for name, text in texts.items() for word in (f"--{name}", text)]
    trials = []
    for seed in plan.seeds:
        for arm, overlays in plan.arms.items():
            configs = [base / overlay for overlay in (*plan.configs, *overlays)]
            arguments = [word for path in configs for word in ("--config", str(path))]
            meaning = [yaml.safe_load(path.read_text()) for path in configs]
            own = hash_of([meaning, settings, seed, data[OWN]])
            home = folder / arm / f"seed{seed}"
            places = [Place(OWN, home, roots[OWN], own)]
            places += [Place(name, home / name, root, hash_of([own, data[name]])) for name, root in plan.tests.items()]
            arguments += [*words, "--seed_everything", str(seed)]
            trials.append(Trial(arm, seed, tuple(arguments), tuple(places), hash_of([meaning, settings])))
    return trials


def hash_of(meaning: Any) -> str:  # noqa: ANN401
    """Return a short hash of settings."""
    return short_hash(json.dumps(meaning, sort_keys=True).encode())


def refuse_changed(trials: Sequence[Trial]) -> None:
    """Check that no folder holds results of other settings or data.

    Raises:
        InputError: a folder does.
    """
    for place in (place for trial in trials for place in trial.places):
        if place.worked and place.mark not in ("", place.fingerprint):
            raise InputError(
                f"{place.folder} was begun with other settings or data than the study has now. "
                "Move it away, or give the study another name."
            )
