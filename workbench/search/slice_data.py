"""The data of slices that have to be made before a search: degraded copies, clusters of fakes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from workbench.console import say
from workbench.data.degraded import copies_for, prepare_copies
from workbench.data.manifest import Manifest
from workbench.data.prepare import Prepared
from workbench.data.view_store import NEUTRAL_ROW
from workbench.media.views import AnyView
from workbench.scoring.slices import CLUSTERS
from workbench.screening.clusters import describe_clusters, find_clusters, with_clusters
from workbench.screening.probe import Where
from workbench.space.experiment import Experiment
from workbench.space.space import Space
from workbench.space.weights_finder import WeightsFinder


def with_copies(
    prepared: Prepared,
    experiment: Experiment,
    manifest: Manifest,
    data: Path,
    *,
    cache: Path,
    jobs: int,
) -> Prepared:
    """Return the data with the degraded copies that the experiment names.

    Raises:
        ConfigError: it names a degradation that there is not.
        DataError: see `prepare.prepare`.
    """
    names = copies_for(experiment.named_slices, prepared.views)
    if not names:
        return prepared
    copies = prepare_copies(prepared, names, data, manifest.stamps, cache=cache, jobs=jobs)
    for name, copy in copies.items():
        if lost := _num_lost(prepared, copy):
            say(f"{name}: of {lost} files of val, some view of the copy cannot be made.")
    return replace(prepared, beside={**prepared.beside, **copies})


def _num_lost(prepared: Prepared, copy: Prepared) -> int:
    """Return how many files of `val` lack a view in the copy that they have themselves."""
    rows = prepared.rows("val")
    lost = [
        (copy.table[f"row.{view}"].to_numpy() == NEUTRAL_ROW)
        & (rows[f"row.{view}"].to_numpy() != NEUTRAL_ROW)
        for view in prepared.views
    ]
    return sum(any(of_file) for of_file in zip(*lost, strict=True))


def clustered(
    prepared: Prepared,
    experiment: Experiment,
    space: Space,
    views: Mapping[str, AnyView],
    folder: Path,
    *,
    finder: WeightsFinder,
    where: Where,
) -> Prepared:
    """Return the data with the clusters of its fakes, if the experiment names them.

    Args:
        prepared: The data, which the study's folder has already.
        experiment: What the study is about.
        space: What its trials may choose.
        views: The experiment's that a trial may read.
        folder: The study's.
        finder: Of the weights.
        where: How and where features are computed.
    """
    if CLUSTERS not in {name.partition(".")[0] for name in experiment.named_slices}:
        return prepared
    clusters = find_clusters(
        space,
        views,
        prepared,
        folder,
        num_clusters=experiment.num_clusters,
        rulebook=experiment.rulebook,
        finder=finder,
        where=where,
    )
    say(describe_clusters(clusters))
    return with_clusters(prepared, clusters)
