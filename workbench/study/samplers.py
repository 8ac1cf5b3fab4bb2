"""Optuna's samplers and pruners, as an experiment asks for them."""

import copy
import statistics
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, assert_never, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from workbench.study.experiment import Pruning, Sampler


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
        case "tpe":
            return _tpe(sampler, seed, group=True)
        case "tpe-flat":
            return Shown(_tpe(sampler, seed, group=False))
        case "gp":
            return Shown(
                optuna.samplers.GPSampler(seed=seed, n_startup_trials=sampler.startup_trials),
                foretold=True,
            )
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case _:
            assert_never(sampler.kind)


def _tpe(sampler: Sampler, seed: int, *, group: bool) -> optuna.samplers.TPESampler:
    return optuna.samplers.TPESampler(
        seed=seed,
        n_startup_trials=sampler.startup_trials,
        multivariate=True,
        # Without groups it would drop what only some options open.
        group=group,
        # Paused trials run on in Optuna; this counts them among the worse ones.
        constant_liar=True,
    )


class Shown(optuna.samplers.BaseSampler):
    """A sampler of a flat space that is shown only what it can learn from.

    Of a known recipe that the space does not hold nothing was drawn. Such a sampler learns from
    what all trials drew, so a single one of them would leave it nothing.

    Args:
        sampler: Draws.
        foretold: Whether trials that have not ended, or ended early, are shown as complete ones,
            with the value that is to be expected of them: a Gaussian process knows of no others,
            and successive halving leaves few.
    """

    def __init__(self, sampler: optuna.samplers.BaseSampler, *, foretold: bool = False) -> None:
        self._sampler, self._foretold = sampler, foretold

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
        return cast(optuna.Study, _View(study, foretold=self._foretold))


class _View:
    """A study as `Shown` shows it; what it does not change is the study's."""

    def __init__(self, study: optuna.Study, *, foretold: bool) -> None:
        self._study, self._is_foretold = study, foretold

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
        trials = self._study.get_trials(deepcopy=deepcopy)
        if self._is_foretold:
            trials = list(_foretold(trials, sign=1 if _maximizes(self._study) else -1))
        return [
            trial
            for trial in trials
            if (trial.params or not trial.state.is_finished())
            and (states is None or trial.state in states)
        ]


def _maximizes(study: optuna.Study) -> bool:
    return study.direction == optuna.study.StudyDirection.MAXIMIZE


def _foretold(trials: list[FrozenTrial], *, sign: int) -> Iterator[FrozenTrial]:
    """Yield trials with epochs as complete ones: of what they have, and what is usually still won.

    That is the mean of what complete trials won after the same epoch.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    for trial in trials:
        early = trial.state in (TrialState.PRUNED, TrialState.RUNNING)
        if not early or not trial.intermediate_values:
            yield trial
            continue
        epoch = max(trial.intermediate_values)
        won = [
            whole.values[0] - _best(whole.intermediate_values, epoch, sign)
            for whole in complete
            if whole.intermediate_values and max(whole.intermediate_values) > epoch
        ]
        shown = copy.copy(trial)
        shown.state = TrialState.COMPLETE
        shown.values = [
            _best(trial.intermediate_values, epoch, sign) + (statistics.mean(won) if won else 0.0)
        ]
        yield shown


def _best(values: Mapping[int, float], until: int, sign: int) -> float:
    """Return the best value of the epochs up to `until`."""
    return max((value for epoch, value in values.items() if epoch <= until), key=lambda v: sign * v)
