"""The data that a bundle's training is repeated on: read, held against what it was, decoded."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from workbench.data.dataset import check_data
from workbench.data.holdout import without_holdout
from workbench.data.manifest import read_manifest_to_use
from workbench.data.prepare import Prepared, prepare
from workbench.data.prepared_report import require_read
from workbench.errors import BundleError, DataError
from workbench.fence import num_cores
from workbench.screening.clusters import FILE as CLUSTERS_FILE
from workbench.screening.probe import Where
from workbench.searching.fold_data import dealt
from workbench.searching.slice_data import with_made_slices
from workbench.space.experiment import Experiment
from workbench.space.space import Space, read_tree_as_space
from workbench.space.weights_finder import WeightsFinder
from workbench.study.folder import StudyFolder
from workbench.study.own_files import FOLDS
from workbench.submission.training_record import (
    FOLDER,
    FilesDigest,
    TrainingRecord,
    digests,
)
from workbench.submission.unread_views import without_unread
from workbench.workspace import Workspace

_WORDS = {"train": "the training files", "val": "the files of val"}


def retraining_data(
    record: TrainingRecord,
    study: str,
    bundle: Path,
    data: Path,
    workspace: Workspace,
    *,
    store: Path,
    slices: Mapping[str, Path],
    device: str,
) -> Prepared:
    """Return the data of a bundle's trainings, decoded, after comparing them with what they were.

    `study` is the one whose data they are; the bundle has its experiment. Should features be
    computed, that is with the local weights of `store`. `slices` are labelled folders by the names
    of their slices.

    Raises:
        DataError: the data are others, or cannot be read; a labelled folder is not named.
        BundleError: the bundle does not say what the study was about.
    """
    folder = _study_of(bundle, study, workspace)
    experiment, space = _asked(folder, record, study, slices)
    check_data(experiment, workspace, data)
    views = {name: experiment.views[name] for names in space.view_sets() for name in names}
    finder = WeightsFinder(store)
    where = Where(workspace.cache, finder.store, device, num_cores())
    holdout = experiment.holdout
    files = without_holdout(
        read_manifest_to_use(data, experiment.data, cache=workspace.cache),
        holdout if holdout and holdout.share else None,  # a folder takes nothing from these files
    )
    files = dealt(files, experiment, space, views, folder, data=data, finder=finder, where=where)
    files = replace(files, used=record.used_columns.get(study, ()))
    prepared = prepare(files, data, views, cache=workspace.cache, jobs=where.num_threads)
    prepared = prepared.with_all_folds()
    require_same(record.data.get(study, {}), digests(prepared.table, files.used), data)
    require_read(prepared)
    # As a study that goes on has it: which sounds go into a copy depends on what was decoded.
    prepared = without_unread(prepared, record.unread.get(study, {}), study)
    prepared = with_made_slices(
        prepared,
        files,
        experiment,
        space,
        folder,
        data=data,
        others=slices,
        finder=finder,
        where=where,
    )
    prepared = without_unread(prepared, record.unread.get(study, {}), study)
    for name, wanted in record.folders.get(study, {}).items():
        if name in slices and prepared.beside[name].fingerprint != wanted:
            raise DataError(
                f"The files or labels in {slices[name]} are not those of the slice {name} that the "
                "bundle was scored on. Name that folder."
            )
    return prepared


def has_same_test(record: TrainingRecord, study: str, prepared: Prepared) -> bool:
    """Say whether the test files are those of which the bundle holds predictions."""
    here = digests(prepared.table, ()).get("test")
    wanted = record.data.get(study, {}).get("test")
    return here is not None and wanted is not None and here.media == wanted.media


def other_orders(record: TrainingRecord, study: str, prepared: Prepared) -> list[str]:
    """Return in words which files are the same and stand in another order, as far as noted.

    By that of the training files a training draws. Files of val and test come into batches of
    others, or into a last one of another size, by which the last bits of a score may differ.
    """
    here, wanted = digests(prepared.table, ()), record.data.get(study, {})
    found = []
    for split, words in {**_WORDS, "test": "the test files"}.items():
        was, now = wanted.get(split), here.get(split)
        if was and now and was.order and was.media == now.media and was.order != now.order:
            found.append(f"the table has {words} in another order")
    return found


def _study_of(bundle: Path, study: str, workspace: Workspace) -> StudyFolder:
    """Return a study's folder with what the bundle keeps of it.

    Only what a training goes by is taken over. A bundle may hold more there, such as the files of a
    trial that has ended: taken over, they would stand for the training that is to be repeated.
    """
    source = bundle / FOLDER / study
    if not source.is_dir():
        raise BundleError(
            f"{bundle} does not say what the study {study} was about. Export it again."
        )
    folder = StudyFolder(workspace.studies / study)
    clusters = Path(CLUSTERS_FILE)
    for name in (Path(folder.experiment_file.name), clusters, Path(FOLDS) / clusters):
        if (source / name).is_file():
            target = folder.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target)
    return folder


def _asked(
    folder: StudyFolder, record: TrainingRecord, study: str, slices: Mapping[str, Path]
) -> tuple[Experiment, Space]:
    """Return what the trainings need of a study's experiment, and its search space."""
    experiment, tree = folder.experiment(), folder.begun()["space"]
    space = read_tree_as_space(
        tree, f"the search space of {study}", tuple(experiment.views), experiment.rulebook
    )
    trained = [one for one in (*record.models, *record.repeats) if one.study == study]
    over = tuple(dict.fromkeys(name for one in trained for name in one.recipe.objective.over))
    for name in record.folders.get(study, {}):
        if name in over and name not in slices:
            raise DataError(
                f"The bundle's training is measured on the slice {name}, another labelled folder. "
                f"Name it by --slice {name}=DIR."
            )
    for name in slices:
        if name not in record.folders.get(study, {}):
            raise DataError(f"The bundle knows no slice {name} of another folder. Leave it out.")
    # Slices that are for the report alone change no training.
    objective = experiment.objective.model_copy(update={"over": over})
    return experiment.model_copy(update={"objective": objective, "slices": ()}), space


def require_same(
    wanted: Mapping[str, FilesDigest], here: Mapping[str, FilesDigest], data: Path
) -> None:
    """Refuse data that are not those which the bundle's model was trained on.

    Raises:
        DataError: says what is another.
        BundleError: the bundle does not tell which files they were.
    """
    for split, words in _WORDS.items():
        was, now = wanted.get(split), here.get(split)
        if was is None and (split == "train" or now is not None):
            raise BundleError(
                f"The bundle does not say which were {words}, so nothing shows that {data} is what "
                "its model was trained on. Export it again."
            )
        if was is None or (now is not None and now.is_as(was)):
            continue
        if now is None or now.num_files != was.num_files:
            what = f"{words} are {now.num_files if now else 0}, not {was.num_files}"
        elif now.labels != was.labels:
            what = f"{words} have other names or labels"
        else:
            what = f"{words} hold something else than they did"
        raise DataError(
            f"{data} is not what the model of the bundle was trained on: {what}. Name the data "
            "folder that the study had."
        )
