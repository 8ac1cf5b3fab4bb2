"""The samplers that an experiment can ask for."""

from typing import assert_never

import optuna

from workbench.space.experiment import Sampler


def make_sampler(sampler: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    """Return what draws the values of a trial."""
    match sampler.kind:
        case "tpe":
            return optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=sampler.startup_trials,
                multivariate=True,
                group=True,  # without groups it would drop what only some options open
                # Paused trials run on in Optuna; this counts them among the worse ones.
                constant_liar=True,
            )
        case "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=sampler.startup_trials)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case _:
            assert_never(sampler.kind)
