"""The files of a study dealt into those that are trained on and those that validate."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from workbench.console import say
from workbench.data.folds import with_fold
from workbench.data.manifest import Manifest
from workbench.data.prepare import Prepared, prepare
from workbench.data.prepared_report import require_read
from workbench.errors import DataError
from workbench.media.views import AnyView
from workbench.screening.clusters import FILE, Clusters, find_clusters
from workbench.screening.probe import Where
from workbench.searching.new_study import is_untried
from workbench.space.experiment import Experiment
from workbench.space.space import Space
from workbench.space.weights_finder import WeightsFinder
from workbench.study.folder import StudyFolder
from workbench.study.own_files import FOLDS


def dealt(
    manifest: Manifest,
    experiment: Experiment,
    space: Space,
    views: Mapping[str, AnyView],
    folder: StudyFolder,
    *,
    data: Path,
    finder: WeightsFinder,
    where: Where,
) -> Manifest:
    """Return the manifest with its labelled files dealt as the experiment says.

    Clusters are those that the study began with; a new study finds them, and keeps them. `views`
    are those that the space may read.

    Raises:
        DataError: see `folds.with_fold` and `prepare.prepare`; or there are no clusters.
    """
    validation = experiment.validation
    if validation.kind != "cluster":
        return with_fold(manifest, validation)
    prepared = prepare(manifest, data, views, cache=where.cache, jobs=where.num_threads)
    require_read(prepared)  # clusters are kept
    # A start that failed may have left those of other data.
    if not folder.experiment_file.exists() or is_untried(folder, experiment):
        (folder.path / FOLDS / FILE).unlink(missing_ok=True)
    found = _clusters(prepared, experiment, space, folder.path / FOLDS, finder, where)
    if found.reason:
        (folder.path / FOLDS / FILE).unlink()  # another time there may be weights
        why = found.reason.removeprefix("No clusters: ")
        raise DataError(
            f"The files cannot be dealt by clusters: {why} Choose another `kind` by `validation` "
            "in the experiment."
        )
    by = f"{found.backbone}, {found.weights}" if found.backbone else "their values"
    say(f"validation: the fakes are clustered by {'+'.join(found.views)} ({by})")
    return with_fold(manifest, validation, found.numbers)


def _clusters(
    prepared: Prepared,
    experiment: Experiment,
    space: Space,
    folder: Path,
    finder: WeightsFinder,
    where: Where,
) -> Clusters:
    """Return the clusters of all labelled fakes, by their paths."""
    table = prepared.table[prepared.table["target"] >= 0].drop_duplicates("path")
    labelled = replace(prepared, table=table.assign(split="val", name=table["path"]))
    folder.mkdir(parents=True, exist_ok=True)
    labelled.save(folder)
    return find_clusters(
        space,
        {name: experiment.views[name] for name in prepared.views},
        labelled,
        folder,
        num_clusters=experiment.validation.folds,
        rulebook=experiment.rulebook,
        finder=finder,
        where=where,
    )
