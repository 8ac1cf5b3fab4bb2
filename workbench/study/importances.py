"""How much each searched dimension mattered, held against what chance alone would give it."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from workbench.study.folder import StudyFolder
from workbench.study.records import read_study

SHUFFLES = 19
"""By chance a share is above all of so many in one study of 20."""

_LEAST_COMPLETE = 10


class Importance(NamedTuple):
    """The share of one dimension."""

    share: float
    """All shares sum to 1."""

    chance: float
    """The largest share that it had where the objectives were shuffled among the trials."""

    @property
    def is_told(self) -> bool:
        """Whether it is more than chance would give it."""
        return self.share > self.chance


def importances(folder: StudyFolder) -> dict[str, Importance]:
    """Return how much each searched dimension of a study mattered; see `importances_of`."""
    return importances_of(read_study(folder))


def importances_of(study: optuna.Study) -> dict[str, Importance]:
    """Return how much each searched dimension mattered, the largest share first.

    Source: Watanabe et al. 2023, "PED-ANOVA", arXiv:2304.10255, as Optuna computes it: which
    dimensions set the best tenth of the complete trials apart. Shares sum to 1 whether anything
    mattered or not, so each is held against those of shuffled objectives. Empty with too few
    trials.
    """
    complete = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
    values = [trial.value for trial in complete if trial.value is not None]
    if len(complete) < _LEAST_COMPLETE or len(set(values)) < 2:
        return {}
    shares = _shares(study)
    chance = dict.fromkeys(shares, 0.0)
    same = _copy(study, complete)
    rng = np.random.default_rng(0)
    for _ in range(SHUFFLES):
        # Its own trials, not copies of them: to make those would take most of the time.
        for trial, value in zip(
            same.get_trials(deepcopy=False), rng.permutation(values), strict=True
        ):
            trial.value = float(value)
        for name, share in _shares(same).items():
            chance[name] = max(chance[name], share)
    return {name: Importance(share, chance[name]) for name, share in shares.items()}


def _shares(study: optuna.Study) -> dict[str, float]:
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        # A dimension that few trials opened is unsure; the page says what the figures are.
        warnings.filterwarnings("ignore", message="Some regimes for parameter")
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _copy(study: optuna.Study, complete: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a study of the same draws, in memory."""
    made = optuna.create_study(direction=study.direction)
    made.add_trials(
        create_trial(params=trial.params, distributions=trial.distributions, value=trial.value)
        for trial in complete
    )
    return made
