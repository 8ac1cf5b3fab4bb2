"""The data of slices that have to be made before a search: degraded copies, clusters of fakes."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from workbench.console import say
from workbench.data.degraded import copies_for, prepare_copies
from workbench.data.manifest import Manifest
from workbench.data.prepare import Prepared
from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import ConfigError
from workbench.scoring.slices import CLUSTERS, families_of
from workbench.screening.clusters import describe_clusters, find_clusters, with_clusters
from workbench.screening.probe import Where
from workbench.search.new_study import keep_data
from workbench.space.experiment import Experiment
from workbench.space.space import Space
from workbench.space.weights_finder import WeightsFinder
from workbench.study.folder import StudyFolder


def with_made_slices(
    prepared: Prepared,
    manifest: Manifest,
    experiment: Experiment,
    space: Space,
    folder: StudyFolder,
    *,
    data: Path,
    finder: WeightsFinder,
    where: Where,
) -> Prepared:
    """Return the data with what the slices need that an experiment names; the study keeps it.

    Args:
        prepared: The data.
        manifest: Its files.
        experiment: What the study is about.
        space: What its trials may choose.
        folder: The study's.
        data: The data folder.
        finder: Of pretrained weights.
        where: How and where features are computed, and with how many processes files are decoded.

    Raises:
        ConfigError: the experiment names a degradation or a family of slices that there is not.
        DataError: see `prepare.prepare`.
    """
    names = copies_for(experiment.named_slices, prepared.views)
    if names:
        copies = prepare_copies(
            prepared, names, data, manifest.stamps, cache=where.cache, jobs=where.num_threads
        )
        for line in _lost(prepared, copies):
            say(line)
        prepared = replace(prepared, beside={**prepared.beside, **copies})
    keep_data(folder, manifest, prepared)
    _require_known(prepared, experiment)
    if CLUSTERS in {name.partition(".")[0] for name in experiment.named_slices}:
        clusters = find_clusters(
            space,
            {name: experiment.views[name] for name in prepared.views},
            prepared,
            folder.path,
            num_clusters=experiment.num_clusters,
            rulebook=experiment.rulebook,
            finder=finder,
            where=where,
        )
        say(describe_clusters(clusters))
        prepared = with_clusters(prepared, clusters)
        keep_data(folder, manifest, prepared)
    return prepared


def _require_known(prepared: Prepared, experiment: Experiment) -> None:
    """Refuse a family that the report names and that there is not."""
    families = families_of(prepared)
    for name in experiment.slices:
        if name.partition(".")[0] not in families:
            raise ConfigError(
                f"`slices` names {name!r}, which is no slice of the data. Name of these: "
                f"{', '.join(families)}."
            )


def _lost(prepared: Prepared, copies: dict[str, Prepared]) -> list[str]:
    """Return a line for each copy of which a view cannot be made though the file has it."""
    rows, lines = prepared.rows("val"), []
    for name, copy in copies.items():
        lost = np.logical_or.reduce(
            [
                (copy.table[f"row.{view}"] == NEUTRAL_ROW) & (rows[f"row.{view}"] != NEUTRAL_ROW)
                for view in prepared.views
            ]
        )
        if lost.any():
            example = rows["name"][lost].iloc[0]
            lines.append(
                f"{name}: {int(lost.sum())} files of val could not be made whole, e.g. {example}"
            )
    return lines
