"""The data of slices that a search needs beside its own: degraded copies, clusters, folders."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.checks.known_copies import near_copies_of, near_copies_within
from workbench.console import say
from workbench.data.degraded import copies_for, prepare_copies
from workbench.data.delimited import shown_cell
from workbench.data.facts import FactsStore
from workbench.data.manifest import Layout, Manifest, changes, read_labelled
from workbench.data.prepare import BESIDE, Prepared, prepare
from workbench.data.prepared_report import describe_prepared, require_read
from workbench.data.prepared_table import PREPARED_TABLE, read_prepared_table
from workbench.data.training_copies import prepare_training_copies
from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import CacheError, ConfigError, DataError, StudyError
from workbench.files import write_json
from workbench.scoring.slices import CLUSTERS, families_of
from workbench.screening.clusters import describe_clusters, find_clusters, with_clusters
from workbench.screening.probe import Where
from workbench.searching.as_begun import as_begun, lacks_what_trials_had
from workbench.searching.new_study import keep_data
from workbench.space.experiment import Experiment
from workbench.space.space import SampledConfig, Space
from workbench.space.weights_finder import WeightsFinder
from workbench.study.folder import StudyFolder
from workbench.study.records import has_trials
from workbench.study.slice_folders import FOLDERS_FILE, noted_folders
from workbench.tables import counted

SLICE_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}"
"""What names the slice of a labelled folder."""


def with_made_slices(
    prepared: Prepared,
    manifest: Manifest,
    experiment: Experiment,
    space: Space,
    folder: StudyFolder,
    *,
    data: Path,
    others: Mapping[str, Path],
    finder: WeightsFinder,
    where: Where,
) -> Prepared:
    """Return the data with what the slices need that an experiment names; the study keeps it.

    `others` are other labelled folders by the names of their slices.

    Raises:
        ConfigError: the experiment names a degradation or a family of slices that there is not, or
            a labelled folder is the holdout.
        DataError: see `prepare.prepare`.
        StudyError: the study began with other labelled folders, or see `as_begun`.
    """
    _require_unlocked(others, experiment, data)
    # Before copies are made of what it has.
    prepared = as_begun(prepared, folder)
    prepared = _with_folders(prepared, others, experiment.data, folder, where)
    names = copies_for(experiment.named_slices, prepared.views)
    if names:
        copies = prepare_copies(
            prepared, names, data, manifest.stamps, cache=where.cache, jobs=where.num_threads
        )
        for line in _lost(prepared, copies, "val", "could not be made whole"):
            say(line)
        prepared = replace(prepared, beside={**prepared.beside, **copies})
    prepared = _with_training_copies(prepared, manifest, space, data, where)
    require_read(prepared)  # before anything is kept, from which repeats and soups are scored
    beside = {name: as_begun(part, folder, beside=name) for name, part in prepared.beside.items()}
    prepared = replace(prepared, beside=beside)
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


def require_copies(space: Space, drafts: Mapping[str, SampledConfig]) -> None:
    """Refuse drafts that train on copies which are not made, since the space draws none such.

    Drafts go by where each came from.

    Raises:
        ConfigError: one does.
    """
    made = {name for names in _copies_of(space.corners()) for name in names}
    for source, draft in drafts.items():
        asked = [name for names in _copies_of([draft]) for name in names]
        lacking = [name for name in asked if name not in made]
        if lacking:
            raise ConfigError(
                f"{source} trains on copies ({', '.join(lacking)}) that the study does not make, "
                f"since {space.file} draws none. Add `copies` with these keys there, or take "
                "`copies` out of the recipe."
            )


def _copies_of(drafts: Iterable[SampledConfig]) -> tuple[list[str], list[str]]:
    """Return the forgeries that drafts train on, and the ways of damage, each once."""
    copies = [draft.copies for draft in drafts]
    forged = dict.fromkeys(name for each in copies for name in each.forged)
    damaged = dict.fromkeys(name for each in copies for name in each.damaged)
    return [*forged], [*damaged]


def _with_training_copies(
    prepared: Prepared, manifest: Manifest, space: Space, data: Path, where: Where
) -> Prepared:
    """Return the data with the copies beside that the space's trials may be trained on."""
    made = prepare_training_copies(
        prepared,
        *_copies_of(space.corners()),
        data,
        manifest.stamps,
        cache=where.cache,
        jobs=where.num_threads,
    )
    for line in _lost(prepared, made, "train", "have no such copy, and are trained on as they are"):
        say(line)
    return replace(prepared, beside={**prepared.beside, **made})


def _with_folders(
    prepared: Prepared,
    given: Mapping[str, Path],
    layout: Layout,
    folder: StudyFolder,
    where: Where,
) -> Prepared:
    """Return the data with labelled folders beside; those that the study began with, always."""
    noted, known = folder.path / FOLDERS_FILE, noted_folders(folder)
    # Where that table was lost, the trials tell.
    if is_begun := (folder.path / PREPARED_TABLE).exists() or has_trials(folder):
        for name in given.keys() - known.keys():
            raise StudyError(
                f"The study {folder.name} was begun without the slice {name}, so its first trials "
                "have no scores on it. Leave it out, or start another study by --study NAME."
            )
    places = {name: Path(about["data"]) for name, about in known.items()} | dict(given)
    beside, notes = {}, {}
    for name, place in places.items():
        _require_free(name, prepared)
        manifest = read_labelled(place, layout, cache=where.cache)
        decode = partial(
            prepare, manifest, place, prepared.views, cache=where.cache, jobs=where.num_threads
        )
        beside[name] = decode()
        # `workbench prepare --retry` knows nothing of this folder.
        if is_begun and lacks_what_trials_had(beside[name], folder, beside=name):
            beside[name] = decode(retry=True)
        notes[name] = {"data": str(place.resolve()), "fingerprint": manifest.fingerprint}
        if is_begun and notes[name]["fingerprint"] != known[name]["fingerprint"]:
            what = ""
            with suppress(CacheError):
                before = read_prepared_table(folder.path / BESIDE / name / PREPARED_TABLE)
                what = changes(before, manifest.table)
            raise StudyError(
                f"The files or labels of the slice {name} in {place} are not those that the study "
                f"{folder.name} began with{what and f' ({what})'}. Undo the change, or name "
                "another study by --study."
            )
        rows = beside[name].rows("val")
        if rows["target"].nunique() < 2:
            raise DataError(
                f"Of the slice {name} in {place}, no files of both classes can be decoded. "
                "Check that it has real and fake files, and that the experiment's views "
                "suit them."
            )
        for line in manifest.understood:
            say(f"{name}: {line}")
        fake = f"{int(rows['target'].sum())} fake, of {place}"
        say(f"{name}: {counted(len(rows), 'file')}, {fake}")
        for line in describe_prepared(beside[name]):
            say(f"{name}: {line}")
        if num_known := _num_known(rows, prepared):
            say(
                f"warning: {num_known} of the {len(rows)} files of {name} are copies of files that "
                "are trained on, so that what is measured on it flatters. Take them out of "
                f"{place}."
            )
        facts = FactsStore(where.cache)
        for line in (
            _near_copies(name, rows, beside[name], prepared, facts),
            _copies_within(name, rows, beside[name], facts),
        ):
            if line:
                say(line)
    if not beside:
        return prepared
    prepared = replace(prepared, beside=beside)
    require_read(prepared)
    write_json(noted, notes)
    return prepared


def _require_unlocked(others: Mapping[str, Path], experiment: Experiment, data: Path) -> None:
    """Refuse a labelled folder with the holdout's labels, which no search may read."""
    if experiment.holdout is None:
        return
    locked = experiment.holdout.folder() or data
    for name, place in others.items():
        if place.resolve() == locked.resolve():
            raise ConfigError(
                f"The slice {name} is {place}, where files are locked by `holdout`: no search may "
                "read their labels. Name another folder."
            )


def _num_known(rows: pd.DataFrame, prepared: Prepared) -> int:
    """Return how many of a slice's files are copies of files of `train`, byte for byte."""
    known = set(prepared.rows("train")["content"])
    return int(rows["content"].isin(known).sum())


def _near_copies(
    name: str, rows: pd.DataFrame, beside: Prepared, prepared: Prepared, facts: FactsStore
) -> str:
    """Return a warning of a slice's files that look and sound the same as files of `train`."""
    train = prepared.rows("train")
    said = facts.table({*rows["content"], *train["content"]})
    found = near_copies_of(beside, rows, prepared, train, said)
    if not found:
        return ""
    one, other = map(shown_cell, next(iter(found.items())))
    return (
        f"warning: {len(found)} of the {len(rows)} files of {name} look and sound the same as "
        f"files that are trained on (e.g. {one} as {other}), so that what is measured on it "
        "flatters."
    )


def _copies_within(name: str, rows: pd.DataFrame, beside: Prepared, facts: FactsStore) -> str:
    """Return a warning of a slice's files that are the same as others of it, or nearly."""
    again = rows[rows["content"].duplicated()]
    near = near_copies_within(beside, rows, facts.table(rows["content"]))
    if again.empty and not near:
        return ""
    first = rows.drop_duplicates("content").set_index("content")["path"]
    same = {row["path"]: str(first[row["content"]]) for _, row in again.iterrows()}
    one, other = map(shown_cell, next(iter({**same, **near}.items())))
    return (
        f"warning: {len(same)} of the {len(rows)} files of {name} are the same as others of it, "
        f"byte for byte, and {len(near)} look and sound the same as others (e.g. {one} as "
        f"{other}). Each counts, so that some files weigh more than others."
    )


def _require_free(name: str, prepared: Prepared) -> None:
    if not re.fullmatch(SLICE_NAME, name):
        raise ConfigError(
            f"The slice name {name!r} cannot be used: letters, digits, '_' and '-', 40 at most."
        )
    if name in families_of(prepared):
        raise ConfigError(
            f"The slice name {name} is taken by a slice of the data itself. Choose another."
        )


def _require_known(prepared: Prepared, experiment: Experiment) -> None:
    """Refuse a family that the report names and that there is not."""
    families = families_of(prepared)
    for name in experiment.slices:
        if name.partition(".")[0] not in families:
            raise ConfigError(
                f"`slices` names {name!r}, which is no slice of the data. Choose from "
                f"{', '.join(families)}."
            )


def _lost(prepared: Prepared, copies: dict[str, Prepared], split: str, what: str) -> list[str]:
    """Return a line for the files of which a view of a copy cannot be made though they have it."""
    lines = []
    for name, copy in copies.items():
        rows, table = prepared.rows(split).loc[copy.table.index], copy.table
        of_view = {
            view: (table[f"row.{view}"] == NEUTRAL_ROW) & (rows[f"row.{view}"] != NEUTRAL_ROW)
            for view in prepared.views
        }
        if num := int(np.logical_or.reduce([*of_view.values()]).sum()):
            view = next(view for view, lost in of_view.items() if lost.any())
            first = table[of_view[view]].iloc[0]
            example = shown_cell(f"{first['name']}: {first[f'reason.{view}']}", most=200)
            lines.append(f"{name}: {num} of {len(rows)} files of {split} {what}, e.g. {example}")
    return lines
