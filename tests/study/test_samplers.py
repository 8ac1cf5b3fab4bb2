"""What samplers are shown of a study."""

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from workbench.search.samplers import Shown, make_sampler
from workbench.space.experiment import Sampler
from workbench.study.records import HIDDEN, UID
from workbench.values import build

RATE = FloatDistribution(0.0, 1.0)


def study_of(sampler: optuna.samplers.BaseSampler, *, maximize: bool = True) -> optuna.Study:
    return optuna.create_study(direction="maximize" if maximize else "minimize", sampler=sampler)


def quiet(kind: str, *, startup_trials: int, seed: int) -> optuna.samplers.BaseSampler:
    asked: Sampler = build(Sampler, {"kind": kind, "startup_trials": startup_trials}, where="test")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make_sampler(asked, seed)


def add(
    study: optuna.Study,
    state: TrialState,
    epochs: Mapping[int, float],
    *,
    value: float | None = None,
    rate: float | None = None,
    hidden: bool = False,
) -> None:
    study.add_trial(
        create_trial(
            state=state,
            value=value,
            intermediate_values=dict(epochs),
            user_attrs={UID: f"recipe {rate}"}
            | ({HIDDEN: "drew a known recipe"} if hidden else {}),
            params={} if rate is None else {"rate": rate},
            distributions={} if rate is None else {"rate": RATE},
        )
    )


class Looking(optuna.samplers.RandomSampler):
    """Keeps the trials that it was shown."""

    def infer_relative_search_space(self, study: optuna.Study, trial: Any) -> dict[str, Any]:
        self.all = study.get_trials()
        self.shown = study.get_trials(states=(TrialState.COMPLETE,))
        return {}


@pytest.mark.parametrize("maximize", [True, False])
def test_a_trial_that_ended_early_is_shown_with_what_complete_ones_won_after_its_epoch(
    *, maximize: bool
) -> None:
    sampler = Looking(seed=0)
    study = study_of(Shown(sampler, complete=True), maximize=maximize)
    sign = 1 if maximize else -1

    def put(state: TrialState, *epochs: float, value: float | None = None, rate: float) -> None:
        reported = {number: sign * epoch for number, epoch in enumerate(epochs, start=1)}
        add(study, state, reported, value=None if value is None else sign * value, rate=rate)

    # The best epoch is what a trial is worth: 0.75 until the second one of the first trial.
    put(TrialState.COMPLETE, 0.5, 0.75, 0.7, 0.9, value=0.9, rate=0.1)
    put(TrialState.COMPLETE, 0.6, 0.55, 0.65, 0.7, value=0.7, rate=0.2)
    put(TrialState.PRUNED, 0.5, rate=0.3)
    put(TrialState.PRUNED, 0.7, 0.6, rate=0.4)
    put(TrialState.RUNNING, 0.4, 0.5, 0.6, 0.8, rate=0.5)
    put(TrialState.RUNNING, rate=0.6)  # nothing is known of it
    study.ask().suggest_float("rate", 0.0, 1.0)
    assert {trial.params["rate"]: sign * trial.values[0] for trial in sampler.shown} == (
        pytest.approx(
            {
                0.1: 0.9,
                0.2: 0.7,
                0.3: 0.5 + ((0.9 - 0.5) + (0.7 - 0.6)) / 2,
                0.4: 0.7 + ((0.9 - 0.75) + (0.7 - 0.6)) / 2,
                0.5: 0.8,
            }
        )
    )
    # The study itself says what was.
    assert [trial.state for trial in study.get_trials()][2] == TrialState.PRUNED


@pytest.mark.parametrize("maximize", [True, False])
def test_what_came_to_nothing_is_shown_as_worse_than_all(*, maximize: bool) -> None:
    sign = 1 if maximize else -1
    for complete in (True, False):
        sampler = Looking(seed=0)
        study = study_of(Shown(sampler, complete=complete), maximize=maximize)
        for rate, value in ((0.1, 0.9), (0.2, 0.3)):
            add(study, TrialState.COMPLETE, {1: sign * value}, value=sign * value, rate=rate)
        add(study, TrialState.FAIL, {1: sign * 0.95}, rate=0.3)  # then it diverged
        add(study, TrialState.PRUNED, {}, rate=0.4)  # the rulebook refused it
        add(study, TrialState.FAIL, {}, rate=0.5, hidden=True)  # drawn twice
        add(study, TrialState.PRUNED, {1: sign * 0.2}, rate=0.6)
        study.ask().suggest_float("rate", 0.0, 1.0)
        nothing = [t for t in sampler.all if t.params.get("rate") in (0.3, 0.4)]
        assert len(nothing) == 2
        for trial in nothing:
            assert trial.intermediate_values == {}
            if complete:
                assert (trial.state, trial.value) == (TrialState.COMPLETE, sign * 0.3)
            else:
                assert (trial.state, trial.value) == (TrialState.PRUNED, None)
        (hidden,) = [t for t in sampler.all if t.params.get("rate") == 0.5]
        assert hidden.state == TrialState.FAIL


@pytest.mark.parametrize("kind", ["tpe", "tpe-flat", "gp"])
def test_failed_trials_keep_the_sampler_away(kind: str) -> None:
    below = []
    for seed in range(10):
        sampler = quiet(kind, startup_trials=5, seed=seed)
        study = study_of(sampler)
        for rate in (0.05, 0.15, 0.25, 0.35, 0.45):
            add(study, TrialState.COMPLETE, {1: 0.7}, value=0.7 + rate / 10, rate=rate)
        for rate in (0.55, 0.65, 0.75, 0.85, 0.95):
            add(study, TrialState.FAIL, {}, rate=rate)
        below.append(study.ask().suggest_float("rate", 0.0, 1.0) < 0.5)
    # Without the failed ones the best is expected still higher than 0.45.
    assert sum(below) >= 8


@pytest.mark.parametrize("kind", ["gp", "tpe-flat"])
def test_a_known_recipe_that_the_space_does_not_hold_leaves_a_flat_sampler_its_space(
    kind: str,
) -> None:
    study = study_of(quiet(kind, startup_trials=3, seed=0))
    add(study, TrialState.COMPLETE, {1: 0.5}, value=0.5)
    add(study, TrialState.RUNNING, {1: 0.5})
    for rate in (0.1, 0.2, 0.3, 0.4):
        add(study, TrialState.COMPLETE, {1: rate}, value=rate, rate=rate)
    trial = study.ask()
    assert trial.relative_params.keys() == {"rate"}
    # The best is at the upper bound, and it says so.
    assert trial.suggest_float("rate", 0.0, 1.0) > 0.3
