"""What takes the space of a study, and what of it can be deleted without losing a result.

Scores, records and plots of all trials stay: a trial without weights is ranked and shown as before,
and can no longer be promoted or exported.
"""

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from workbench.errors import DiskFullError, StudyError
from workbench.files import PART, no_space, sweep
from workbench.folders import sweep_spare
from workbench.maintenance.archive import UNPACKED
from workbench.maintenance.caches import is_elsewhere, remove_cache, view_caches
from workbench.selection.leaderboard import complete_trials, rank
from workbench.study.alike import measured_alike
from workbench.study.disk import (
    bytes_below,
    delete_weights,
    files_below,
    needed,
    note_removed,
    size_of,
)
from workbench.study.folder import StudyFolder
from workbench.study.packs import PACK_FILE
from workbench.study.records import TrialRow, read_trials
from workbench.study.refits import read_refit
from workbench.study.repeats import read_repeats
from workbench.study.scored import is_refuted, without_scores
from workbench.tables import size, text_table
from workbench.tracking.alias import champion_alias
from workbench.tracking.removal import RegisteredVersion, StudyRecord, artifact_folder, has_store
from workbench.tracking.store import WriteError
from workbench.trial.result import TrialFolder
from workbench.values import Frozen
from workbench.workspace import Workspace

BY = "`workbench clean`"

Kind = Literal[
    "weights",
    "pack",
    "soup",
    "refit",
    "checkpoint",
    "registered model",
    "decoded view",
    "features",
]


class Deletion(Frozen):
    """One thing that can be deleted."""

    kind: Kind
    what: str
    """In words, e.g. `trial 7`."""

    path: Path
    size_bytes: int


class Taken(Frozen):
    """One line of what takes the space."""

    what: str
    size_bytes: int
    deletable_bytes: int
    kept: str
    """What of it stays, in words."""


class CleaningPlan(Frozen):
    """What a study takes, and what is to be deleted of it."""

    study: str
    taken: tuple[Taken, ...]
    deletions: tuple[Deletion, ...]

    @property
    def freed_bytes(self) -> int:
        """What is free afterwards."""
        return sum(one.size_bytes for one in self.deletions)

    @property
    def taken_bytes(self) -> int:
        """What is taken before."""
        return sum(line.size_bytes for line in self.taken)


def plan_cleaning(folder: StudyFolder, workspace: Workspace, *, keep: int) -> CleaningPlan:
    """Return what can be deleted of a study, and of the views that no study uses.

    Args:
        folder: The study.
        workspace: Where caches and the tracking store are.
        keep: How many of the best trials keep their weights, besides the champion, finalists with
            their repeats, and what was audited. Of packs and soups the champion stays, what was
            audited, and those that were made last.

    Raises:
        StudyError: it has no trials.
        DamagedFileError: a record that says what has to be kept cannot be read.
    """
    experiment = folder.experiment()
    objective, limits = experiment.objective, experiment.constraints
    # By a record that was changed another trial could be the best, and one whose scores are gone
    # cannot be ranked until they are put back: it is failed, its weights stay.
    rows = read_trials(folder)
    lost = without_scores(folder, rows)
    rows = [
        row.model_copy(update={"state": "failed"})
        if row.recipe in lost or is_refuted(folder, row, objective, limits)
        else row
        for row in rows
    ]
    rows, _ = measured_alike(folder, rows)
    ranked = rank(complete_trials(rows), objective)
    best = dict.fromkeys(_best(folder, ranked, keep), "")
    kept = best | _of_alias(folder, workspace) | needed(folder, rows)
    weights = _weights(folder, rows, kept) + _joined(folder, kept)
    checkpoints = _checkpoints(folder)
    registered = _registered(folder, workspace, kept)
    caches = view_caches(workspace)
    views = [
        Deletion(
            kind="decoded view", what=one.folder.name, path=one.folder, size_bytes=one.size_bytes
        )
        for one in caches
        if not one.is_used and not one.is_elsewhere  # another project may use what lies there
    ]
    features = [
        Deletion(kind="features", what=file.name, path=file, size_bytes=file.stat().st_size)
        for file in sorted((workspace.cache / "features").glob("*.np[yz]"))
        if not is_elsewhere(file, workspace)
    ]
    whole = size_of(folder)
    taken = (
        _taken("weights", whole.weights, weights, _kept_trials(folder, ranked, kept, keep)),
        _taken("checkpoints", whole.checkpoints, checkpoints, "paused and cut off trials"),
        _taken("rest of the study", whole.rest, [], "scores, journal, plots"),
        *_in_mlflow(folder, workspace, registered),
        _taken(
            "decoded views",
            sum(one.size_bytes for one in caches),
            views,
            f"{len(caches) - len(views)} that a study uses, or that a link leads to",
        ),
    )
    if features:  # they are computed anew where a probe needs them
        size_bytes = sum(one.size_bytes for one in features)
        taken = (*taken, _taken("features of probes", size_bytes, features, ""))
    return CleaningPlan(
        study=folder.name,
        taken=taken,
        deletions=(*weights, *checkpoints, *(registered or ()), *views, *features),
    )


def _best(folder: StudyFolder, ranked: Sequence[TrialRow], keep: int) -> list[str]:
    """Return the recipes of the best trials that have their weights, `keep` of them.

    Besides, of those before them whose weights are damaged or cannot be read: no promotion takes
    them until they are put back.
    """
    found, num_whole = [], 0
    for row in ranked:
        files = folder.trial(row.recipe)
        if num_whole == keep:
            break
        if files.weights.exists():
            found.append(row.recipe)
            num_whole += files.is_whole()
    return found


def _of_alias(folder: StudyFolder, workspace: Workspace) -> dict[str, str]:
    """Return the recipe that MLflow calls the champion: the record of it may be lost or cut off."""
    there = champion_alias(workspace.tracking, folder.name)
    if there is None or there.uid is None or folder.experiment().tracking is not None:
        return {}
    return {there.uid: "champion in MLflow"}


def _in_mlflow(
    folder: StudyFolder, workspace: Workspace, registered: Sequence[Deletion] | None
) -> tuple[Taken, ...]:
    """Return what the tracking store takes; a server is not asked, and not cleaned."""
    if (server := folder.experiment().tracking) is not None:
        what = f"all that {server} has: `mlflow gc` cleans there"
        return (Taken(what="MLflow", size_bytes=0, deletable_bytes=0, kept=what),)
    artifacts = artifact_folder(workspace.tracking, folder.name)
    models = bytes_below(artifacts / "models")
    kept = "of trials that keep their weights"
    if registered is None:
        kept = f"all: the disk is full, and MLflow does not open on one. Run {BY} again afterwards"
    return (
        _taken("models in MLflow", models, registered or (), kept),
        _taken("rest in MLflow", bytes_below(artifacts) - models, [], "runs' files"),
    )


def _taken(what: str, size_bytes: int, deletions: Sequence[Deletion], kept: str) -> Taken:
    freed = sum(one.size_bytes for one in deletions)
    return Taken(
        what=what,
        size_bytes=size_bytes,
        deletable_bytes=freed,
        kept=kept if size_bytes > freed else "",
    )


def _kept_trials(
    folder: StudyFolder, ranked: Sequence[TrialRow], kept: Mapping[str, str], keep: int
) -> str:
    """Return which weights stay, in words."""
    there = [row for row in ranked if folder.trial(row.recipe).weights.exists()]
    named = [str(row.number) for row in there if row.recipe in kept]
    repeats = {repeat.recipe for repeat in read_repeats(folder)}
    more = sum(recipe in repeats and folder.repeat(recipe).weights.exists() for recipe in kept)
    said = f"best {keep} and needed: trial{'s' * (len(named) != 1)} {', '.join(named) or 'none'}"
    return said + (f"; {more} repeat{'s' * (more > 1)}" if more else "")


def _weights(
    folder: StudyFolder, rows: Sequence[TrialRow], kept: Mapping[str, str]
) -> list[Deletion]:
    # Of one whose recipe is damaged the weights stay: it may be put back.
    trials = [(row.recipe, f"trial {row.number}") for row in rows if row.state == "complete"]
    repeats = [(one.recipe, f"repeat {one.name}") for one in read_repeats(folder)]
    found = []
    for recipe, what in (*trials, *repeats):
        files = folder.trial(recipe)
        if recipe not in kept and _has_ended(files) and files.weights.exists():
            found.append(_deletion("weights", what, files.weights))
    return found


def _joined(folder: StudyFolder, kept: Mapping[str, str]) -> list[Deletion]:
    """Return the packs, soups and refits that nothing needs.

    The last pack and the last soup may still be promoted, and the last refit exported. All of a
    kind stay where nothing says which one was the last, as where a refit of the champion was cut
    off, or is still to be made. So does what is being written, and a soup that a pack has as a
    member, of whichever study: its scores tell what it adds.
    """
    needed_uids = set(kept)
    kinds: dict[str, Kind] = {
        "packs": "pack",
        "soups": "soup",
        "refits": "refit",
        "refit-packs": "refit",
    }
    try:
        needed_uids.add(folder.newest_pack().path.name)
    except StudyError:
        del kinds["packs"]
    packs = folder.path.parent.glob(f"*/packs/*/{PACK_FILE}")
    members = "".join(file.read_text(encoding="utf-8", errors="replace") for file in packs)
    last = folder.last_soup
    soup = last.read_text(encoding="utf-8", errors="replace").strip() if last.exists() else ""
    if soup in {made.name for made in folder.path.glob("soups/*/")}:
        needed_uids.add(soup)
    else:
        del kinds["soups"]
    if (refit := read_refit(folder)) and kept.get(refit.of) == "champion":
        needed_uids |= {refit.recipe, *(one.recipe for one in refit.models)}
    else:
        del kinds["refits"], kinds["refit-packs"]
    return [
        _deletion(kind, file.parent.name, file)
        for place, kind in kinds.items()
        for file in sorted(folder.path.glob(f"{place}/*/model.safetensors"))
        if file.parent.name not in needed_uids
        and not (file.parent.name.startswith(PART) or file.parent.is_symlink())
        and not (kind == "soup" and file.parent.name in members)
    ]


def _checkpoints(folder: StudyFolder) -> list[Deletion]:
    """Return the checkpoints that nothing goes on from: an ended trial's that a kill left."""
    found = []
    for file in files_below(folder.path):
        if file.name == "checkpoint.pt" and _has_ended(TrialFolder(file.parent)):
            found.append(_deletion("checkpoint", file.parent.name, file))
    return found


def _has_ended(files: TrialFolder) -> bool:
    result = files.kept_result()  # of what lies elsewhere nothing goes
    return result is not None and result.state != "paused" and not files.path.is_symlink()


def _deletion(kind: Kind, what: str, path: Path) -> Deletion:
    return Deletion(kind=kind, what=what, path=path, size_bytes=path.stat().st_size)


def _registered(
    folder: StudyFolder, workspace: Workspace, kept: Mapping[str, str]
) -> list[Deletion] | None:
    """Return the registered versions of trials that keep no weights; none that has an alias.

    None where the store cannot be opened since the disk is full: to be freed is what this is for.
    """
    try:
        versions = _old_versions(folder, workspace, kept)
    except (StudyError, WriteError):
        if not no_space(workspace.tracking):
            raise
        return None
    return [
        Deletion(
            kind="registered model",
            what=f"version {one.version}",
            path=one.folder or Path(),
            size_bytes=bytes_below(one.folder) if one.folder else 0,
        )
        for one in versions
    ]


def _old_versions(
    folder: StudyFolder, workspace: Workspace, kept: Mapping[str, str]
) -> list[RegisteredVersion]:
    if folder.experiment().tracking is not None or not has_store(workspace.tracking):
        return []
    record = StudyRecord(workspace.tracking, folder.name, folder.info().id)
    return [one for one in record.versions() if not one.aliases and one.uid not in kept]


def carry_out(folder: StudyFolder, workspace: Workspace, *, keep: int) -> CleaningPlan:
    """Delete what `plan_cleaning` returns, as it is now; return that.

    Raises:
        StudyError: a search holds the study, or it has no trials.
    """
    sweep_spare(workspace.studies, UNPACKED)
    # In this order: a promotion that is waited for may have to hold the study for an instant.
    with folder.promoting(), folder.held():
        sweep(folder.path)
        plan = plan_cleaning(folder, workspace, keep=keep)
        joined = [one.what for one in plan.deletions if one.kind in ("pack", "soup", "refit")]
        is_noted = False
        if joined:
            with suppress(DiskFullError):  # there is space for it once they are gone
                note_removed(folder, joined)
                is_noted = True
        for one in plan.deletions:
            match one.kind:
                case "weights":
                    delete_weights(TrialFolder(one.path.parent), by=BY)
                case "pack" | "soup" | "refit":
                    shutil.rmtree(one.path.parent)
                case "checkpoint" | "features":
                    one.path.unlink(missing_ok=True)
                case "decoded view":
                    remove_cache(one.path)
                case "registered model":
                    pass  # all together, below
        if joined and not is_noted:
            note_removed(folder, joined)
        _remove_versions(folder, workspace, plan)
    return plan


def _remove_versions(folder: StudyFolder, workspace: Workspace, plan: CleaningPlan) -> None:
    named = {one.what for one in plan.deletions if one.kind == "registered model"}
    if not named:
        return
    record = StudyRecord(workspace.tracking, folder.name, folder.info().id)
    record.remove_versions([one for one in record.versions() if f"version {one.version}" in named])


def describe_plan(plan: CleaningPlan) -> str:
    """Return what takes the space, and what is to go, as a table for a terminal."""
    rows = [[line.what, size(line.size_bytes), size(line.deletable_bytes)] for line in plan.taken]
    rows.append(["together", size(plan.taken_bytes), size(plan.freed_bytes)])
    lines = [f"The study {plan.study}:", "", text_table(["what", "takes", "to delete"], rows), ""]
    lines += [_wrapped(f"kept of {line.what}: {line.kept}") for line in plan.taken if line.kept]
    return "\n".join(lines)


def describe_deletions(plan: CleaningPlan) -> str:
    """Return each thing that is to be deleted, in lines of its kind."""
    lines = []
    for kind in get_args(Kind):
        names = [one.what for one in plan.deletions if one.kind == kind]
        if names:
            lines.append(_wrapped(f"{kind}: {', '.join(names)}"))
    return "\n".join(lines)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 80, subsequent_indent="  ", break_on_hyphens=False)
