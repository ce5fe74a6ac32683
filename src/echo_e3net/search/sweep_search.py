"""The memory of a sweep, in a journal that any number of workers share, and what it suggests next. The only file that knows Optuna.

The journal is a file that grows line by line (Optuna's JournalStorage): no server, and safe on network file systems. Whoever changes which trials there
are (``ask``, ``retry``) holds the sweep's lock meanwhile.

* random, bayes: a sampler is made anew for each trial from (seed, number of trials), so that workers never draw the same numbers, and a random search
  is the same for one worker and for ten.
* grid: all points wait in the journal from the start, in W&B's order. Not Optuna's GridSampler: with several workers it may try points twice, and by
  its source it fails where a trial that is a retry ends last.
* A trial whose worker is gone fails as *lost*, and its point waits again. Each trial is retried by one trial: the new one names it before the old one
  fails, so that being killed in between does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from echo_e3net.errors import InputError
from echo_e3net.search.sweep_early import Bands
from echo_e3net.search.sweep_file import Sweep
from echo_e3net.search.sweep_space import Choices, Parameter, coordinate, grid_points, value_at

STATES = {
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
}
LEAST = 5
"""Trials below which nothing is said of importance."""


@dataclass(frozen=True)
class Row:
    """A trial as it stands in the journal.

    Attributes:
        number: counts from 0.
        state: waiting, running, done, pruned, failed, or lost: its worker was stopped or killed, and another trial takes its point.
        figure: the best of its metric so far; None where there is none.
        epoch: the epoch of that figure.
        last: the last epoch that it reported.
        values: the value of each parameter that is searched, by name.
        point: the same as coordinates.
        notes: what its worker noted: worker, seconds, reason, retry_of.
    """

    number: int
    state: str
    figure: float | None
    epoch: int | None
    last: int | None
    values: Mapping[str, Any]
    point: Mapping[str, Any]
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it came to an end that counts."""
        return self.state in ("done", "pruned")


class Search:
    """A sweep's trials.

    Args:
        sweep: the sweep.
        journal: the file.
        seed: of random and bayes.
        pruner: "file": as the file's early_terminate says; "median": a trial ends that is worse than the median of the others at its epoch; "none".

    Raises:
        InputError: the journal is of another sweep, or none.
    """

    def __init__(self, sweep: Sweep, journal: Path, seed: int, pruner: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.sweep, self.journal, self.seed = sweep, journal, seed
        self.varied = [parameter for parameter in sweep.parameters if not parameter.constant]
        self.distributions = {parameter.name: distribution(parameter) for parameter in self.varied}
        self.pruner = (
            MedianPruner()
            if pruner == "median"
            else BandPruner(sweep)
            if pruner == "file" and sweep.early
            else NopPruner()
        )
        self.storage = JournalStorage(JournalFileBackend(str(journal)))
        self.study = self.open()
        self.live: dict[int, Trial] = {}

    def open(self) -> optuna.Study:
        """The study of the journal, begun where it is new; of a grid all points wait in it. Hold the sweep's lock."""
        direction = (
            optuna.study.StudyDirection.MAXIMIZE if self.sweep.maximize else optuna.study.StudyDirection.MINIMIZE
        )
        sampler = RandomSampler(seed=0)  # asked for nothing: see ask
        study = optuna.create_study(
            storage=self.storage,
            sampler=sampler,
            pruner=self.pruner,
            study_name="sweep",
            direction=direction,
            load_if_exists=True,
        )
        meaning = fingerprint(self.sweep)
        if study.user_attrs.setdefault("meaning", meaning) != meaning:
            raise InputError(
                f"{self.journal} holds trials of other parameters, metric, method or command than {self.sweep.path} says now. "
                "Give the sweep another name, or another --storage."
            )
        study.set_user_attr("meaning", meaning)
        if self.sweep.method == "grid":
            for point in grid_points(self.varied)[len(study.get_trials(deepcopy=False)) :]:
                study.enqueue_trial(point)
        return study

    def sampler(self) -> BaseSampler:
        """What suggests the next point."""
        number = len(self.study.get_trials(deepcopy=False))
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        return TPESampler(seed=seed, constant_liar=True) if self.sweep.method == "bayes" else RandomSampler(seed=seed)

    def ask(self, worker: str) -> tuple[int, dict[str, Any]]:
        """Begin a trial: its number and point. Hold the sweep's lock."""
        study = optuna.load_study(study_name="sweep", storage=self.storage, sampler=self.sampler(), pruner=self.pruner)
        trial = study.ask(self.distributions)
        trial.set_user_attr("worker", worker)
        self.live[trial.number] = trial
        return trial.number, dict(trial.params)

    def report(self, number: int, epoch: int, figure: float) -> bool:
        """Note a figure of a trial; whether it is to end early."""
        try:
            self.live[number].report(figure, epoch)
        except (
            optuna.exceptions.UpdateFinishedTrialError
        ):  # somebody took us for gone, and its point waits again or is done
            return True
        return bool(self.live[number].should_prune())

    def end(self, number: int, state: str, figure: float | None = None, **notes: Any) -> None:  # noqa: ANN401  (what JSON holds)
        """Note how a trial ended: done, pruned or failed."""
        states = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        for name, note in notes.items():
            self.note(number, name, note)
        self.study.tell(number, figure if state == "done" else None, state=states[state], skip_if_finished=True)
        self.live.pop(number, None)

    def note(self, number: int, name: str, note: Any) -> None:  # noqa: ANN401
        """Note something of a trial that runs; of one that has ended nothing can be noted any more."""
        try:
            self.storage.set_trial_user_attr(self.frozen(number)._trial_id, name, note)
        except optuna.exceptions.UpdateFinishedTrialError:
            return

    def retry(self, number: int, reason: str) -> None:
        """Give up a trial that runs, and let its point wait again. Hold the sweep's lock."""
        trial = self.frozen(number)
        if trial.state != TrialState.RUNNING:
            return
        known = any(other.user_attrs.get("retry_of") == number for other in self.study.get_trials(deepcopy=False))
        point = trial.system_attrs.get("fixed_params", trial.params)  # a worker may be killed before the point is whole
        if not known and point.keys() == self.distributions.keys():
            self.study.enqueue_trial(point, user_attrs={"retry_of": number})
        self.end(number, "failed", lost=True, reason=reason)

    def frozen(self, number: int) -> FrozenTrial:
        """A trial by its number."""
        return self.study.get_trials(deepcopy=False)[number]

    def rows(self) -> list[Row]:
        """All trials, in order."""
        return [self.row(trial) for trial in self.study.get_trials(deepcopy=False)]

    def row(self, trial: FrozenTrial) -> Row:
        """A trial as it stands."""
        point = trial.system_attrs.get("fixed_params", trial.params)
        best = max if self.sweep.maximize else min
        epoch = best(trial.intermediate_values, key=trial.intermediate_values.__getitem__, default=None)
        figure = (
            trial.value
            if trial.state == TrialState.COMPLETE
            else trial.intermediate_values.get(-1 if epoch is None else epoch)
        )
        state = STATES.get(trial.state) or ("lost" if trial.user_attrs.get("lost") else "failed")
        values = {
            parameter.name: value_at(parameter, point[parameter.name])
            for parameter in self.varied
            if parameter.name in point
        }
        return Row(trial.number, state, figure, epoch, trial.last_step, values, point, dict(trial.user_attrs))

    def importances(self) -> dict[str, float]:
        """How much each parameter has to do with good figures (PED-ANOVA), of all together 1; nothing of few trials."""
        from optuna.importance import (  # late: it looks for scikit-learn
            PedAnovaImportanceEvaluator,
            get_param_importances,
        )

        done = [trial for trial in self.study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
        if len(done) < LEAST or len({trial.value for trial in done}) < 2:
            return {}
        return dict(get_param_importances(self.study, evaluator=PedAnovaImportanceEvaluator()))


class BandPruner(BasePruner):
    """Optuna's door for :class:`Bands`.

    Args:
        sweep: the sweep; it has an early_terminate.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.bands: Bands | None = sweep.early
        self.sign = -1.0 if sweep.maximize else 1.0

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether a trial is to end."""
        others = [self.history(other) for other in study.get_trials(deepcopy=False) if other.state != TrialState.FAIL]
        return self.bands is not None and self.bands.ends(self.history(trial), others)

    def history(self, trial: FrozenTrial) -> Sequence[float]:
        """What a trial has reported, smaller is better."""
        return [self.sign * figure for _, figure in sorted(trial.intermediate_values.items())]


def distribution(parameter: Parameter) -> BaseDistribution:
    """A parameter's coordinate in Optuna's words."""
    found = coordinate(parameter)
    if isinstance(found, Choices):
        return CategoricalDistribution(found.labels)
    if found.integer:
        return IntDistribution(int(found.low), int(found.high))
    return FloatDistribution(found.low, found.high, log=found.log)


def fingerprint(sweep: Sweep) -> str:
    """What must stay the same for trials to be compared."""
    parameters = {p.name: [p.distribution, dict(p.settings)] for p in sweep.parameters}
    return json.dumps(
        [parameters, sweep.metric, sweep.maximize, sweep.method, sweep.command, sweep.program], sort_keys=True
    )
