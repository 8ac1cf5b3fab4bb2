"""Optuna's samplers and pruners, as an experiment asks for them."""

from typing import assert_never

import optuna

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
        case "tpe" | "tpe-flat":
            return optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=sampler.startup_trials,
                multivariate=True,
                # Without groups it would drop what only some options open.
                group=sampler.kind == "tpe",
                # Paused trials run on in Optuna; this counts them among the worse ones.
                constant_liar=True,
            )
        case "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=sampler.startup_trials)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case _:
            assert_never(sampler.kind)
