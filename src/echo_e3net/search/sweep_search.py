"""The trials of a sweep, in an Optuna journal that all workers share. The only module that imports Optuna.

The journal is a file that grows line by line; it needs no server and works on network file systems. Hold the sweep's
lock to call :meth:`Search.ask` or :meth:`Search.retry`.

- random, bayes: each trial gets a new sampler, seeded by (seed, trial number). Workers never repeat each other's draws,
  and a random search is the same for any number of workers.
- grid: all points wait in the journal from the start. GridSampler is not used: several workers may get the same point
  from it.
- A trial whose worker is gone fails as *lost*, and its point is queued again. The new trial is queued before the old
  one fails, so an interruption between the two loses nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from echo_e3net.errors import InputError
from echo_e3net.search.study_plan import OF_MACHINE
from echo_e3net.search.sweep_file import Parameter, Sweep

STATES = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
NAMES = {TrialState.RUNNING: "running", TrialState.WAITING: "waiting"} | {state: name for name, state in STATES.items()}
ENOUGH_TRIALS = 5
"""Smallest number of finished trials for importances."""


@dataclass(frozen=True)
class Row:
    """A trial as recorded in the journal.

    Attributes:
        number: counts from 0.
        state: waiting, running, done, pruned, failed, or lost (its worker was stopped or killed, and its point is
            queued again).
        figure: best value of the metric so far; None if there is none.
        epoch: epoch of that value.
        values: value of each parameter by name, constants included.
        notes: what the worker noted: worker, seconds, reason, retry_of.
    """

    number: int
    state: str
    figure: float | None
    epoch: int | None
    values: Mapping[str, Any]
    notes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the trial and of its folder."""
        return f"trial{self.number:04d}"


class Search:
    """The trials of a sweep. Hold the sweep's lock to create it; a new grid is queued.

    Args:
        sweep: the sweep.
        journal: the journal's file.
        seed: seed of random and bayes.
        pruner: "file" applies early_terminate of the sweep file, "median" Optuna's median rule, "none" ends no trial
            early.

    Raises:
        InputError: the journal holds trials of another sweep.
    """

    def __init__(self, sweep: Sweep, journal: Path, seed: int, pruner: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # Before 5, Optuna warns that constant_liar and PED-ANOVA are experimental.
        warnings.simplefilter("ignore", ExperimentalWarning)
        self.sweep, self.seed = sweep, seed
        self.distributions = {parameter.name: distribution(parameter) for parameter in sweep.searched}
        self.storage = JournalStorage(JournalFileBackend(str(journal)))
        self.live: dict[int, Trial] = {}
        self.study = study = optuna.create_study(
            storage=self.storage,
            pruner=make_pruner(sweep, pruner),
            study_name="sweep",
            direction="maximize" if sweep.maximize else "minimize",
            load_if_exists=True,
        )
        parameters = tuple(p for p in sweep.parameters if p.name not in OF_MACHINE)
        meaning = repr((parameters, sweep.metric, sweep.maximize, sweep.method, sweep.command, sweep.program))
        if study.user_attrs.get("meaning", meaning) != meaning:
            raise InputError(
                f"{journal} holds trials of other parameters, metric, method or command than {sweep.path} and the "
                "arguments after it have. Use the same ones, or give the sweep file another `name`, or set --storage."
            )
        study.set_user_attr("meaning", meaning)
        if sweep.method == "grid":
            points = list(product(*(range(len(parameter.values)) for parameter in sweep.searched)))
            for point in points[len(study.trials) :]:
                study.enqueue_trial(dict(zip(self.distributions, point, strict=True)))

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, in order."""
        return self.study.get_trials(deepcopy=False)

    def sampler(self, number: int) -> BaseSampler:
        """Return the sampler of a trial."""
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        return TPESampler(seed=seed, constant_liar=True) if self.sweep.method == "bayes" else RandomSampler(seed=seed)

    def ask(self, worker: str) -> Row:
        """Begin a trial. Hold the sweep's lock."""
        self.study.sampler = self.sampler(len(self.trials))
        trial = self.study.ask(self.distributions)
        trial.set_user_attr("worker", worker)
        self.live[trial.number] = trial
        return self.row(self.trials[trial.number])

    def report(self, number: int, epoch: int, figure: float) -> bool:
        """Record the metric of an epoch; return whether the trial is to end early."""
        trial = self.live[number]
        try:
            # Pruners count finished epochs, epochs count from 0.
            trial.report(figure, epoch + 1)
            return bool(trial.should_prune())
        except UpdateFinishedTrialError:
            # Another worker considered this one gone and queued the point again.
            return True

    def end(self, number: int, state: str, figure: float | None = None, **notes: Any) -> None:  # noqa: ANN401
        """Record how a trial ended: done, pruned or failed."""
        with suppress(UpdateFinishedTrialError):
            for name, note in notes.items():
                self.storage.set_trial_user_attr(self.trials[number]._trial_id, name, note)
        self.study.tell(number, figure if state == "done" else None, state=STATES[state], skip_if_finished=True)
        self.live.pop(number, None)

    def retry(self, number: int, reason: str) -> None:
        """Give up a running trial and queue its point again. Hold the sweep's lock."""
        trial = self.trials[number]
        if trial.state != TrialState.RUNNING:
            return
        queued = any(other.user_attrs.get("retry_of") == number for other in self.trials)
        # A worker that was killed early has not recorded its whole point.
        if not queued and (point := point_of(trial)).keys() == self.distributions.keys():
            self.study.enqueue_trial(point, user_attrs={"retry_of": number})
        self.end(number, "failed", lost=True, reason=reason)

    def rows(self) -> list[Row]:
        """Return all trials, in order."""
        return [self.row(trial) for trial in self.trials]

    def row(self, trial: FrozenTrial) -> Row:
        """Return a trial as a row."""
        best, figures = max if self.sweep.maximize else min, trial.intermediate_values.items()
        step, figure = best(figures, key=itemgetter(1), default=(None, None))
        point, values = point_of(trial), {}
        for parameter in self.sweep.parameters:
            if parameter.constant or parameter.name in point:
                place = point.get(parameter.name, 0)
                values[parameter.name] = parameter.values[place] if parameter.values else place
        return Row(
            number=trial.number,
            state="lost" if trial.user_attrs.get("lost") else NAMES[trial.state],
            figure=trial.value if trial.state == TrialState.COMPLETE else figure,
            epoch=None if step is None else step - 1,
            values=values,
            notes=dict(trial.user_attrs),
        )

    def importances(self) -> dict[str, float]:
        """Return the importance of each parameter (PED-ANOVA); together they are 1. Empty for too few trials."""
        # Imported late: it looks for scikit-learn.
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        figures = [trial.value for trial in self.trials if trial.state == TrialState.COMPLETE]
        if len(figures) < ENOUGH_TRIALS or len(set(figures)) < 2:
            return {}
        return dict(get_param_importances(self.study, evaluator=PedAnovaImportanceEvaluator()))


def point_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's coordinates: numbers of ranges, places of choices. Queued trials have them before they run."""
    return dict(trial.system_attrs.get("fixed_params", trial.params))


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return the distribution of a parameter. Choices are searched by their places, so any YAML value can be one."""
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.values:
        return CategoricalDistribution(range(len(parameter.values)))
    if step is not None and {type(low), type(high), type(step)} == {int}:
        return IntDistribution(int(low), int(high), step=int(step))
    return FloatDistribution(low, high, log=parameter.log, step=step)


def make_pruner(sweep: Sweep, pruner: str) -> BasePruner:
    """Return the rule that ends trials early.

    W&B's hyperband with ``min_iter`` has a single bracket, which is successive halving.
    """
    if pruner == "median":
        return MedianPruner()
    if pruner == "file" and sweep.min_iter is not None:
        return SuccessiveHalvingPruner(min_resource=sweep.min_iter, reduction_factor=sweep.eta)
    return NopPruner()
