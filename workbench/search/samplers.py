"""Optuna's samplers and pruners, as an experiment asks for them."""

import copy
import statistics
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, assert_never, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from workbench.space.experiment import Pruning, Sampler
from workbench.study.records import is_row


def make_pruner(pruning: Pruning) -> optuna.pruners.BasePruner:
    """Return what tells which trials to stop, where this is Optuna's to tell."""
    match pruning.kind:
        case "median":
            return optuna.pruners.MedianPruner(
                n_startup_trials=pruning.startup_trials,
                n_warmup_steps=pruning.warmup_epochs + 1,  # epochs count from 1
            )
        case "halving" | "none":  # Optuna's halving gives up whom it stopped
            return optuna.pruners.NopPruner()


def make_sampler(sampler: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    """Return what draws the values of a trial."""
    match sampler.kind:
        case "tpe" | "tpe-flat":
            tpe = optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=sampler.startup_trials,
                multivariate=True,
                # Without groups it would drop what only some options open.
                group=sampler.kind == "tpe",
                # Paused trials run on in Optuna; this counts them among the worse ones.
                constant_liar=True,
            )
            return Shown(tpe)
        case "gp":
            gp = optuna.samplers.GPSampler(seed=seed, n_startup_trials=sampler.startup_trials)
            return Shown(gp, complete=True)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case _:
            assert_never(sampler.kind)


class Shown(optuna.samplers.BaseSampler):
    """A sampler that is shown what it can learn from, of which Optuna's pass some by.

    A trial that failed, or that the rulebook refused, is shown as one that did worse than all. A
    known recipe that the space does not hold is not shown: nothing was drawn for it, and of what
    all trials drew, which is what samplers of a flat space learn from, it would leave nothing.

    Args:
        sampler: Draws.
        complete: Whether all trials with epochs are shown as complete ones, with the value that is
            to be expected of them: a Gaussian process knows of no others, and successive halving
            leaves few.
    """

    def __init__(self, sampler: optuna.samplers.BaseSampler, *, complete: bool = False) -> None:
        self._sampler, self._complete = sampler, complete

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return what it draws together."""
        return self._sampler.infer_relative_search_space(self._as_shown(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw that."""
        return self._sampler.sample_relative(self._as_shown(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Draw one value by itself."""
        study = self._as_shown(study)
        return self._sampler.sample_independent(study, trial, name, distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Pass it on."""
        self._sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Pass it on."""
        self._sampler.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Pass it on."""
        self._sampler.reseed_rng()

    def _as_shown(self, study: optuna.Study) -> optuna.Study:
        return cast(optuna.Study, _View(study, complete=self._complete))


class _View:
    """A study as `Shown` shows it; what it does not change is the study's."""

    def __init__(self, study: optuna.Study, *, complete: bool) -> None:
        self._study, self._complete = study, complete

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials that are shown."""
        return self._get_trials(deepcopy, states)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        """Return the trials that are shown, where samplers ask for them."""
        trials = self._study._get_trials(deepcopy, use_cache=use_cache)
        if self._complete:
            maximizes = self._study.direction == optuna.study.StudyDirection.MAXIMIZE
            shown = _as_complete(trials, sign=1 if maximizes else -1)
        else:
            shown = map(_as_pruned, trials)
        return [
            trial
            for trial in shown
            if (trial.params or not trial.state.is_finished())
            and (states is None or trial.state in states)
        ]


def _came_to_nothing(trial: FrozenTrial) -> bool:
    """Say whether a trial of the study failed, or was refused."""
    if not is_row(trial):
        return False
    refused = trial.state == TrialState.PRUNED and not trial.intermediate_values
    return refused or trial.state == TrialState.FAIL


def _as_pruned(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial that came to nothing as TPE ranks the worst: pruned without an epoch."""
    return _changed(trial, TrialState.PRUNED) if _came_to_nothing(trial) else trial


def _as_complete(trials: list[FrozenTrial], *, sign: int) -> Iterator[FrozenTrial]:
    """Yield trials with the value of a complete one.

    Where they ended early it is what they reached, and the mean of what complete ones won after the
    same epoch; where they came to nothing, the worst that is known.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    worst = min((trial.values[0] for trial in complete), key=lambda v: sign * v, default=None)
    for trial in trials:
        early = trial.state in (TrialState.PRUNED, TrialState.RUNNING)
        if _came_to_nothing(trial):
            yield trial if worst is None else _changed(trial, TrialState.COMPLETE, worst)
        elif early and trial.intermediate_values:
            epoch = max(trial.intermediate_values)
            won = [
                whole.values[0] - _best(whole.intermediate_values, epoch, sign)
                for whole in complete
                if whole.intermediate_values and max(whole.intermediate_values) > epoch
            ]
            value = _best(trial.intermediate_values, epoch, sign)
            value += statistics.mean(won) if won else 0.0
            yield _changed(trial, TrialState.COMPLETE, value)
        else:
            yield trial


def _changed(trial: FrozenTrial, state: TrialState, value: float | None = None) -> FrozenTrial:
    """Return a copy in another state, without its epochs."""
    shown = copy.copy(trial)
    shown.state = state
    shown.intermediate_values = {}
    shown.values = None if value is None else [value]
    return shown


def _best(values: Mapping[int, float], until: int, sign: int) -> float:
    """Return the best value of the epochs up to `until`."""
    return max((value for epoch, value in values.items() if epoch <= until), key=lambda v: sign * v)
