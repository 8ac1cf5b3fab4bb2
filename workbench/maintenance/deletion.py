"""The deletion of a study from all places that have something of it."""

import shutil
from collections.abc import Sequence
from contextlib import suppress

from workbench.addresses import ServerAddress
from workbench.data.delimited import shown_cell
from workbench.errors import DamagedFileError, StudyError, WorkbenchError
from workbench.selection.champion import read_champion
from workbench.study.disk import bytes_below
from workbench.study.folder import StudyFolder
from workbench.study.looks import read_looks
from workbench.study.own_files import LOCKS
from workbench.study.storage import remove_trials
from workbench.tables import counted, size
from workbench.tracking.removal import RemovedRecord, StudyRecord, artifact_folder, has_store
from workbench.values import Frozen
from workbench.workspace import Workspace


class DeletedStudy(Frozen):
    """What was deleted."""

    name: str
    record: RemovedRecord
    freed_bytes: int
    server: str | None = None
    """The MLflow server that had its runs, if one had."""

    others: tuple[str, ...] = ()
    """What lies in its folder and is not the study's."""


def delete_study(folder: StudyFolder, workspace: Workspace) -> DeletedStudy:
    """Delete a study: its runs with their artifacts, its registered model, then its folder.

    A kill in between leaves a study that is still listed, and that this deletes when called again.
    Its trials need not be readable.

    Raises:
        StudyError: a search holds it; or it is not known what it is, since its folder was renamed.
        DamagedFileError: the same, since its record is damaged.
        StoreError: its database or server does not answer, or refuses to.
    """
    info = folder.info()
    with folder.promoting(), folder.held():
        before = _own_bytes(folder)
        artifacts = artifact_folder(workspace.tracking, folder.name)
        logged, record = bytes_below(artifacts), RemovedRecord()
        server = _leave_database(folder)
        if has_store(workspace.tracking):
            record = StudyRecord(workspace.tracking, info.name, info.id).remove()
        if server is not None:
            kept = StudyRecord(ServerAddress(server), info.name, info.id).remove()
            record = RemovedRecord(
                num_runs=record.num_runs + kept.num_runs,
                num_versions=record.num_versions + kept.num_versions,
            )
        # The locks last: who comes meanwhile is kept away by them.
        others = _anothers(folder)
        for place in sorted(folder.path.iterdir(), key=lambda place: place.name in LOCKS):
            if place.name in others:
                continue
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            elif place != folder.info_file:
                place.unlink()
        folder.info_file.unlink()
        if not others:
            home = folder.path.resolve()
            if folder.path.is_symlink():  # it lies on another disk
                folder.path.unlink()
            home.rmdir()
    last = workspace.studies / ".last-study"
    if last.exists() and last.read_text(encoding="utf-8", errors="replace").strip() == folder.name:
        last.unlink()
    return DeletedStudy(
        name=folder.name,
        record=record,
        freed_bytes=before + logged - bytes_below(artifacts),
        server=server,
        others=others,
    )


def _anothers(folder: StudyFolder) -> tuple[str, ...]:
    """Return the names of what lies in a study's folder and no study wrote, as somebody's data."""
    return tuple(sorted(p.name for p in folder.path.iterdir() if not folder.is_own(p.name)))


def _own_bytes(folder: StudyFolder) -> int:
    """Return the bytes of what is the study's in its folder; a link counts as itself."""
    own = [place for place in folder.path.iterdir() if folder.is_own(place.name)]
    whole = {place: place.is_dir() and not place.is_symlink() for place in own}
    return sum(bytes_below(p) if is_dir else p.lstat().st_size for p, is_dir in whole.items())


def kept_told(folder: StudyFolder, names: Sequence[str]) -> str:
    """Return a sentence on what is not the study's and stays where it is; or nothing."""
    if not names:
        return ""
    some = ", ".join(map(shown_cell, names[:9])) + (", ..." if len(names) > 9 else "")
    return f"What is not the study's stays in {folder.path}: {some}."


def _leave_database(folder: StudyFolder) -> str | None:
    """Remove a study from its database, if it has one; return the server that has its runs."""
    try:
        experiment = folder.experiment()
    except WorkbenchError:  # what it was about is lost: what its folder names is all there is
        return None
    remove_trials(folder)
    return experiment.tracking


def packs_of(folder: StudyFolder, workspace: Workspace) -> str:
    """Return a sentence on the champions of other studies that join trials of this; or nothing."""
    found = []
    for place in sorted(workspace.studies.glob("*/champion.json")):
        other = StudyFolder(place.parent)
        with suppress(StudyError, DamagedFileError):
            members = read_champion(other).members
            if any(member.startswith(f"{folder.name}:") for member in members):
                found.append(other.name)
    if not found:
        return ""
    return (
        f"The champion of {', '.join(found)} is a pack with trials of {folder.name}: it keeps its "
        "weights, but can be refitted or trained again no more."
    )


def looks_of(folder: StudyFolder) -> str:
    """Return a sentence on a study's looks at its holdout, which nothing else knows; or nothing."""
    with suppress(DamagedFileError):
        if looks := read_looks(folder):
            return (
                f"The log of its {counted(len(looks), 'look')} at the holdout is deleted, too: "
                "studies of the same files no longer tell of them."
            )
    return ""


def lost_elsewhere(folder: StudyFolder, workspace: Workspace) -> str:
    """Return in sentences what other studies lose by the deletion of one; or nothing."""
    return " ".join(filter(None, (packs_of(folder, workspace), looks_of(folder))))


def describe_study(folder: StudyFolder, workspace: Workspace) -> str:
    """Return what would be deleted with a study, in a few sentences."""
    logged = bytes_below(artifact_folder(workspace.tracking, folder.name))
    promoted = "It has a champion." if folder.champion.exists() else ""
    taken = (
        f"The study {folder.name} takes {size(_own_bytes(folder))} in {folder.path} and "
        f"{size(logged)} in {workspace.tracking}."
    )
    kept = kept_told(folder, _anothers(folder))
    return " ".join(filter(None, (taken, promoted, lost_elsewhere(folder, workspace), kept)))
