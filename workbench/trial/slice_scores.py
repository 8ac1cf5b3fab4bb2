"""The scores that a trial leaves: of every slice of the data, by the model that may score it."""

from collections.abc import Mapping, Sequence
from typing import get_args

import pandas as pd

from workbench.data.prepare import Prepared
from workbench.scoring.slices import labelled_slices, scored_by, slices_of
from workbench.scoring.stored_slices import StoredSlices
from workbench.trial.model_in_training import ModelInTraining
from workbench.trial.recipe import MetricName, Objective


def all_scores(training: ModelInTraining, prepared: Prepared) -> pd.DataFrame:
    """Return the best epoch's scores on every slice of the data as rows of the scores file.

    Those of the objective come first. What has their files is dealt their scores, and the rest is
    scored now. Of several folds, a training scores the files of its own. A refit learned from the
    files with labels, so it scores those without alone: none, where the data have none.
    """
    measured, best = training.measured, training.best_scores
    is_refit = training.recipe.refit is not None
    tables, left = [measured.table(best)[: 0 if is_refit else None]], []
    for whole in slices_of(prepared).values():
        if is_refit and whole.is_labelled:
            continue
        other = scored_by(whole, training.fold)
        if other.name in measured.names or other.rows.empty:
            continue
        table = measured.table_of(other, best)
        if table is None:
            left.append(other)
        else:
            tables.append(table)
    if left:
        rest = StoredSlices(left, training.stored)
        tables.append(rest.table([training.predict_best(source) for source in rest.sources]))
    return pd.concat(tables, ignore_index=True)


def in_order_of_slices(
    tables: Sequence[pd.DataFrame], prepared: Prepared, objective: Objective
) -> pd.DataFrame:
    """Return the scores of several folds as one table, the slices in order as `all_scores` says."""
    measured = [part.name for part in labelled_slices(prepared, objective.over)]
    order = {name: n for n, name in enumerate(dict.fromkeys([*measured, *slices_of(prepared)]))}
    scores = pd.concat(tables, ignore_index=True)
    return scores.sort_values(
        "slice", key=lambda names: names.map(order), kind="stable", ignore_index=True
    )


def whole_metrics(
    objective: Objective, by_slice: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Return every metric over the objective's slices, given those on each slice of the data."""
    known = {
        name: {metric: metrics[metric] for metric in get_args(MetricName)}
        for name, metrics in by_slice.items()
    }
    return {str(name): value for name, value in objective.aggregated(known).items()}
