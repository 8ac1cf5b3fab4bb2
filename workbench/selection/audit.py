"""The audit: the one look at the locked holdout, and what it may tell.

A holdout that is asked again and again, until a trial looks good on it, is one more validation set.
So every look is logged, and a later one tells a value only where it is better than what stands by
more than the paired standard error; else what stands is told again. After k looks the value told is
then off by little more than after one, whatever was chosen by them.

Source: Blum and Hardt 2015, "The Ladder: A Reliable Leaderboard for Machine Learning Competitions",
arXiv:1502.04585, algorithm 2 (the step is the standard error of the paired difference).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from workbench.data.facts import FactsStore
from workbench.data.holdout import HOLDOUT, Holdout, holdout_of, read_holdout, without_holdout
from workbench.data.manifest import Manifest, read_manifest_to_use
from workbench.data.prepare import Prepared, prepare
from workbench.data.prepared_report import require_classes, require_read
from workbench.errors import StudyError
from workbench.fence import num_cores
from workbench.parts.model_spec import ModelSpec
from workbench.scoring.any_model import scores_of
from workbench.scoring.slices import Slice
from workbench.scoring.stored import StoredViews
from workbench.scoring.stored_slices import Scores
from workbench.searching.devices import choose_seats
from workbench.selection.audited_files import (
    counted_once,
    labelled_files,
    of_other_files,
    of_other_studies,
    of_shared_files,
    require_both_classes,
    scored_as,
    without_copies,
)
from workbench.selection.champion import current_user, read_champion
from workbench.selection.ladder import Groups, estimate, interval, is_gain
from workbench.selection.leaderboard import objective_of
from workbench.selection.promotion import choose_trial
from workbench.selection.registration import load_trained, weights_of
from workbench.study.file_groups import numbered_groups
from workbench.study.folder import StudyFolder
from workbench.study.looks import Look, append_look, looks_elsewhere, read_looks, value_of
from workbench.study.packs import spec_of
from workbench.study.records import TrialRow
from workbench.study.repeats import read_repeats
from workbench.study.scored import read_scored_trials
from workbench.tables import counted
from workbench.trial.recipe import MetricName
from workbench.trial.stored_on_device import stored_for
from workbench.workspace import Workspace

_BATCH_SIZE = 32

_VALUE = "value", "low", "high"
"""What a look tells of a model."""


@dataclass(frozen=True)
class Audited:
    """What an audit told."""

    look: Look
    before: Look | None
    """What stood before."""

    num_looks: int
    """With this one."""

    picked: float
    """The objective of what was asked about, on the slices that it was chosen by."""

    num_copies: int
    """Files that were left out, being copies of files that were trained or chosen on."""

    num_unseen: int = 0
    """Files that were left out, being missing or such as no view could be made of."""

    shared: tuple[str, ...] = ()
    """Sentences on other files of former looks, and on speakers and near copies that are known."""

    elsewhere: str = ""
    """How often other studies here looked at the same files: `a 2 times, b once`."""

    num_same: int = 0
    """Files that were left out, being copies of others of the holdout."""

    num_before: int | None = None
    """Files that what stood had been measured on, where others could be decoded, or otherwise."""


def audit(
    folder: StudyFolder,
    workspace: Workspace,
    number: int | None = None,
    *,
    device: str = "auto",
) -> Audited:
    """Score the champion, or a trial that is named, on the study's holdout, and log the look.

    Args:
        folder: The study.
        workspace: Where caches are.
        number: The trial; the champion if none is named.
        device: A torch device, or `auto`.

    Raises:
        StudyError: the study has no holdout or no champion, the trial is not there, or its data
            changed since.
        DataError: the holdout's files are absent or unusable, or those that can be decoded hold one
            class.
        DamagedFileError: the log or what the trial wrote is damaged.
    """
    device = choose_seats(device, 1).devices[0]
    with folder.held():
        holdout = _require_holdout(folder)
        rows = read_scored_trials(folder)
        asked = _asked(folder, rows, number)
        searched = Prepared.load(folder.path)
        manifest, place = _manifest(folder, workspace, holdout, searched)
        seen = [searched, *of_other_studies(folder, asked.uid)]
        manifest, num_copies = without_copies(manifest, seen)
        manifest, num_same = counted_once(manifest)
        require_both_classes(manifest)
        looks = read_looks(folder)
        same = [look for look in looks if look.holdout == manifest.fingerprint]
        before = same[-1] if same else None
        metric = folder.experiment().objective.metric
        prepared = prepare(
            manifest,
            place,
            # All of the study's: so every trial is scored on the same files.
            searched.views,
            cache=workspace.cache,
            jobs=num_cores(),
        )
        require_read(prepared)
        require_classes(prepared)
        facts = FactsStore(workspace.cache)
        shared = (
            *of_other_files(looks, manifest.fingerprint),
            *of_shared_files(manifest, prepared, seen, facts),
        )
        targets, scores = _scored(folder, asked.uid, prepared, device)
        alike = numbered_groups(prepared.rows(HOLDOUT), prepared.metadata)
        is_told, scored, num_before = before is None, scored_as(prepared), None
        value, low, high = _value(metric, targets, scores, alike)
        if before is not None:
            _require_there(folder, rows, before)
            stood = scores
            if before.of_recipe != asked.uid:
                _, stood = _scored(folder, before.of_recipe, prepared, device)
                is_told = is_gain(metric, targets, scores, stood, alike)
            # A look of an older version says how many files it scored, not which.
            if (before.scored or before.num_files) != (scored if before.scored else len(targets)):
                num_before = before.num_files
                again = dict(zip(_VALUE, _value(metric, targets, stood, alike), strict=True))
                before = before.model_copy(update=again)
        look = Look(
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            who=current_user(),
            trial=asked.number,
            recipe=asked.uid,
            is_soup=asked.is_soup,
            place=asked.place,
            holdout=manifest.fingerprint,
            num_files=len(targets),
            scored=scored,
            metric=metric,
            is_told=is_told,
            of_trial=asked.number,
            of_recipe=asked.uid,
            of_soup=asked.is_soup,
            of_place=asked.place,
            of_weights_sha256=weights_of(folder, asked.uid),
            value=value,
            low=low,
            high=high,
        )
        if before is not None and not is_told:
            model = ("of_trial", "of_recipe", "of_soup", "of_place", "of_weights_sha256")
            look = look.model_copy(update={k: getattr(before, k) for k in (*model, *_VALUE)})
        append_look(folder, look)
    num_unseen = len(manifest.table) - len(targets)
    elsewhere = looks_elsewhere(folder, look.holdout)
    num_looks = len(looks) + 1
    picked = asked.objective
    left_out = num_copies, num_unseen
    told = Audited(look, before, num_looks, picked, *left_out, shared, elsewhere, num_same)
    return replace(told, num_before=num_before)


def describe_audit(audited: Audited) -> str:
    """Return what an audit told, in lines for a terminal."""
    look, before, title = audited.look, audited.before, audited.look.title
    files = counted(look.num_files, "file")
    lines = [f"Holdout {look.holdout}: {files}, look {audited.num_looks}."]
    if audited.num_copies:
        lines.append(
            f"Left out: {counted(audited.num_copies, 'copy', 'copies')} of files that were trained "
            "or chosen on."
        )
    if audited.num_same:
        lines.append(
            f"Left out: {counted(audited.num_same, 'copy', 'copies')} of other files of the "
            "holdout; each file counts once."
        )
    if audited.num_unseen:
        lines.append(
            f"Left out: {counted(audited.num_unseen, 'file')} missing or not to be decoded."
        )
    if before is not None and audited.num_before is not None:
        lines.append(
            f"What stood, of {before.of_title}, had been measured on "
            f"{counted(audited.num_before, 'file')} as they could be decoded then. It is measured "
            "anew as they are now."
        )
    lines += audited.shared
    if audited.elsewhere:
        lines.append(
            f"Other studies here looked at the same files: {audited.elsewhere}. Each counts its "
            "own looks alone: whoever chooses among studies by them makes a validation set of the "
            "holdout."
        )
    if before is None:
        lines.append(f"{value_of(look)}.")
    elif look.is_told:
        lines.append(
            f"{value_of(look)}. That is better than what stood, {value_of(before)}, by more than "
            "the paired standard error."
        )
    else:
        again = "was asked about again" if look.recipe == look.of_recipe else "is no gain"
        lines.append(
            f"{value_of(look)} stands: {title} {again}. A look tells another value only where it "
            "is better by more than the paired standard error (the Ladder), so that many "
            "looks do not make a validation set of the holdout."
        )
    lines.append(f"Where {title} was chosen it had {look.metric} {audited.picked:.4f}.")
    return "\n".join(lines)


def _value(
    metric: MetricName, targets: npt.NDArray[np.int64], scores: Scores, groups: Groups
) -> tuple[float, float | None, float | None]:
    """Return a model's metric on the holdout, and the ends of its interval."""
    found = estimate(metric, targets, scores)
    return found.value, *interval(metric, targets, scores, found, groups)


class _Asked(NamedTuple):
    """The model that is asked about."""

    uid: str
    number: int | None
    """Of the trial; none of a pack or a soup."""

    objective: float
    is_soup: bool = False
    place: int = 0
    """Of the repeat, from 1; 0 of what is none."""


def _asked(folder: StudyFolder, rows: Sequence[TrialRow], number: int | None) -> _Asked:
    """Return what is asked about: the trial of a number, or the champion."""
    if number is not None:
        row = choose_trial(rows, folder.objective(), number)
        return _Asked(row.recipe, row.number, objective_of(row))
    champion = read_champion(folder)
    if champion.number is not None and champion.number not in {row.number for row in rows}:
        raise StudyError(
            f"The study no longer has trial {champion.number}, which was promoted. Promote "
            "another one."
        )
    repeats = {repeat.recipe: repeat.place for repeat in read_repeats(folder)}
    place = repeats.get(champion.recipe, 0)
    return _Asked(champion.recipe, champion.number, champion.value, champion.is_soup, place)


def _require_there(folder: StudyFolder, rows: Sequence[TrialRow], look: Look) -> None:
    """Raise StudyError if the study has the model no more whose value stands, or other weights."""
    if look.of_trial is None:
        place = folder.soup if look.of_soup else folder.pack
        is_there = place(look.of_recipe).path.is_dir()
    else:
        is_there = look.of_trial in {row.number for row in rows}
    if not is_there:
        raise StudyError(
            f"The holdout's value that stands is that of {look.of_title}, whose files the study "
            "no longer has, so nothing can be compared with it. Put its folder back."
        )
    if look.of_weights_sha256 not in ("", weights_of(folder, look.of_recipe)):
        raise StudyError(
            f"The holdout's value that stands is that of {look.of_title} with other weights than "
            "it has now, as where it was trained again: that value is not theirs, and nothing can "
            "be compared with it. Put its former folder back."
        )


def _require_holdout(folder: StudyFolder) -> Holdout:
    holdout = folder.experiment().holdout
    if holdout is None:
        raise StudyError(
            f"The study {folder.name} was begun without a holdout. Write `holdout: {{data: DIR}}` "
            "or `holdout: {share: 0.2}` into the experiment, and search into a new study."
        )
    return holdout


def _manifest(
    folder: StudyFolder, workspace: Workspace, holdout: Holdout, searched: Prepared
) -> tuple[Manifest, Path]:
    """Return the holdout's files with their labels, and the folder that their paths are in."""
    experiment, info = folder.experiment(), folder.info()
    if (own := holdout.folder()) is not None:
        return read_holdout(own, experiment.data, cache=workspace.cache), own
    place = Path(info.data)
    whole = read_manifest_to_use(place, experiment.data, cache=workspace.cache)
    # However the files that are left were dealt into splits and folds then.
    if labelled_files(without_holdout(whole, holdout).table) != labelled_files(searched.table):
        raise StudyError(
            f"The data in {place} changed since the study {folder.name} began, so other files may "
            "be held out now than then. Undo the change."
        )
    return holdout_of(whole, holdout), place


def _scored(
    folder: StudyFolder, uid: str, prepared: Prepared, device: str
) -> tuple[npt.NDArray[np.int64], Scores]:
    """Return the targets of the holdout's files and what a trained model gives them."""
    files = folder.model(uid)
    spec = spec_of(files)
    model = load_trained(files, spec, f"model {uid}").to(device)
    part = Slice(HOLDOUT, prepared, prepared.rows(HOLDOUT))

    def source_for(member: ModelSpec) -> StoredViews:
        return stored_for(part, member, torch.device(device))

    scores = scores_of(spec, model, source_for, batch_size=_BATCH_SIZE)
    return part.rows["target"].to_numpy(np.int64), scores
