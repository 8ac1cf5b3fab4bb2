"""The import of a study that was exported elsewhere, so that it goes on here."""

import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import yaml

from workbench.access import locked
from workbench.console import say
from workbench.errors import StudyError, WorkbenchError
from workbench.files import write_bytes, write_text
from workbench.folders import spare_folder, sweep_spare
from workbench.maintenance.archive import (
    RUNS,
    STUDY,
    UNPACKED,
    ArchiveManifest,
    extract,
    read_manifest,
)
from workbench.maintenance.unpacked import (
    checked,
    keep_here,
    keep_to_cache,
    rename_runs,
    require_no_plugins,
)
from workbench.searching.recording import show_trials
from workbench.selection.champion import Champion, read_champion, row_of_champion, write_champion
from workbench.selection.registration import known_version, register
from workbench.selection.soup_promotion import register_soup
from workbench.selection.told_in_mlflow import tell_in_mlflow
from workbench.study.folder import StudyFolder, StudyInfo, new_or_known, remember_last
from workbench.study.records import read_trials
from workbench.tables import counted
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.removal import StudyRecord
from workbench.tracking.runs import Tracking
from workbench.tracking.transfer import require_names, write_runs
from workbench.workspace import Workspace

LOCK = ".import.lock"
"""File beside the studies that an import holds."""

_IN_PART = ".importing"
"""File in the study's folder until it is imported as a whole; it names the archive."""


@dataclass(frozen=True)
class ImportedStudy:
    """What was imported."""

    folder: StudyFolder
    manifest: ArchiveManifest
    num_replaced: int
    """Runs of this study that the store held without its folder."""

    experiment: Path
    """The file by which it is searched on."""

    written: bool
    """Whether that file, and its search space, were written from what the study keeps."""

    unregistered: str
    """Why its champion is not registered here, in sentences; empty if it is, or there is none."""

    is_recipe: bool
    """Whether that file is a known recipe, and no experiment; it may be absent."""

    is_here: bool
    """Whether that file is there."""

    @property
    def next_command(self) -> str:
        """The command that goes on with it, as one types it."""
        study = "" if self.experiment.stem == self.folder.name else f" --study {self.folder.name}"
        if self.is_recipe:
            return f"workbench train {self.experiment} --data DIR{study}"
        return f"workbench search {self.experiment} --data DIR --trials N{study}"


def import_study(
    archive: Path, workspace: Workspace, *, trust_plugins: bool = False
) -> ImportedStudy:
    """Put an exported study among those of `workspace`, with its runs and its champion.

    The runs get other ids here, which the study's records then have. The champion is registered
    anew from its weights: of a model that comes from elsewhere nothing is taken over. If it is
    killed, the same call goes on.

    Args:
        archive: What `export_study` wrote, here or elsewhere; anybody may have made it.
        workspace: Where it belongs.
        trust_plugins: Whether to take over a study with plugins, which are run as programs.

    Raises:
        StudyError: it is no such archive, there is a study of that name, it has plugins that are
            not trusted, or the tracking store does not take its runs.
        LockError: there can be no lock beside the studies.
    """
    manifest = read_manifest(archive)
    folder = new_or_known(workspace.studies, manifest.study)
    workspace.studies.mkdir(parents=True, exist_ok=True)
    # One after the other: a second one of the same study would remove the runs of the first.
    with locked(workspace.studies / LOCK):
        sweep_spare(workspace.studies, UNPACKED)
        num_replaced = 0
        if not _is_half_done(folder, manifest):
            _require_free(folder)
            with spare_folder(workspace.studies, UNPACKED) as unpacked:
                manifest = extract(archive, unpacked)
                if not trust_plugins:
                    require_no_plugins(unpacked / STUDY)
                num_replaced = _put(unpacked, manifest, folder, workspace)
        elif not trust_plugins:
            require_no_plugins(folder.path)
        info = folder.info()
        remember_last(folder)
        runs = Tracking(workspace.tracking)
        if manifest.runs.runs:  # else it was exported without a store: the next search writes them
            show_trials(runs, runs.find_study(info.name, info.id), folder.experiment().objective)
        experiment, written = _experiment_file(folder, info, workspace)
        unregistered = _register_champion(folder, workspace)
        (folder.path / _IN_PART).unlink()
    return ImportedStudy(
        folder,
        manifest,
        num_replaced,
        experiment,
        written,
        unregistered,
        is_recipe=folder.is_of_recipe(),
        is_here=(workspace.root / experiment).is_file(),
    )


def _is_half_done(folder: StudyFolder, manifest: ArchiveManifest) -> bool:
    """Say whether an import of this archive was killed after the study was put in place."""
    in_part = folder.path / _IN_PART
    return in_part.is_file() and in_part.read_bytes() == _named(manifest)


def _named(manifest: ArchiveManifest) -> bytes:
    """Return what tells an archive from the other exports of its study."""
    return f"{manifest.study_id} {manifest.created}\n".encode()


def _require_free(folder: StudyFolder) -> None:
    with suppress(OSError):  # empty: the last that a killed deletion leaves, and no study to delete
        folder.path.rmdir()
    if os.path.lexists(folder.path):
        raise StudyError(
            f"There is a study {folder.name} in {folder.path.parent}. Delete it by `workbench "
            f"studies --delete {folder.name}`, or import in another folder."
        )


def _put(
    unpacked: Path, manifest: ArchiveManifest, folder: StudyFolder, workspace: Workspace
) -> int:
    """Put an unpacked study and its runs where they belong; return how many the store had."""
    info = checked(unpacked / STUDY, manifest)
    require_names(info.name, manifest.runs)
    keep_here(StudyFolder(unpacked / STUDY))
    keep_to_cache(unpacked / STUDY, folder.path, workspace.cache)
    num_replaced = StudyRecord(workspace.tracking, info.name, info.id).remove().num_runs
    artifacts = {
        run.run_id: unpacked / RUNS / str(place)
        for place, run in enumerate(manifest.runs.runs)
        if (unpacked / RUNS / str(place)).is_dir()
    }
    record = StudyRecord(workspace.tracking, info.name, info.id)
    rename_runs(unpacked / STUDY, write_runs(record, info.name, manifest.runs, artifacts))
    write_bytes(unpacked / STUDY / _IN_PART, _named(manifest))
    try:
        (unpacked / STUDY).rename(folder.path)
    except OSError:
        _require_free(folder)  # a search began one of this name meanwhile
        raise
    return num_replaced


def _experiment_file(
    folder: StudyFolder, info: StudyInfo, workspace: Workspace
) -> tuple[Path, bool]:
    """Return the experiment file of a study, and whether it was written, as there is none here.

    A known recipe says more than the study keeps, as which trials are members: none is written.
    """
    own = workspace.studies / f"{folder.name}.yaml"
    # An archive may name a file of elsewhere, which might have plugins.
    is_here = not {"..", "/"} & {*Path(info.experiment).parts}
    for file in (workspace.root / info.experiment, own):
        if is_here and os.path.isfile(file):  # noqa: PTH113 (of a long name it raises nothing)
            return file.relative_to(workspace.root), False
    begun = folder.begun()
    if begun["experiment"].get("search_space") == info.experiment:
        return Path(Path(info.experiment).name), False
    if os.path.lexists(own):
        return own.relative_to(workspace.root), False
    text = yaml.safe_dump(begun["space"], sort_keys=False)
    space = _space_file(workspace.root / "search_spaces", folder.name, text)
    begun["experiment"]["search_space"] = os.path.relpath(space, own.parent)
    for place, plugin in enumerate(begun["experiment"].get("plugins", ())):
        if not (file := own.parent / plugin["file"]).exists():  # else it keeps the text itself
            write_text(file, plugin["source"])
            begun["experiment"]["plugins"][place] = file.name
    write_text(space, text)
    write_text(own, yaml.safe_dump(begun["experiment"], sort_keys=False))
    return own.relative_to(workspace.root), True


def _space_file(folder: Path, name: str, text: str) -> Path:
    """Return where a search space goes: no file that says something else is written over."""
    for end in chain([""], (f"-{number}" for number in count(2))):
        file = folder / f"{name}{end}.yaml"
        if not os.path.lexists(file) or (file.is_file() and file.read_bytes() == text.encode()):
            break
    return file


def _register_champion(folder: StudyFolder, workspace: Workspace) -> str:
    """Register the champion as it is recorded; return why that cannot be, in sentences."""
    if not folder.champion.exists():
        return ""
    registry = ModelRegistry(workspace.tracking)
    # The study is in place, so another process may promote a model of it.
    with folder.promoting():
        champion = None
        try:
            champion = read_champion(folder)
            # There is a version where an import was killed.
            version = known_version(folder, registry, champion.recipe)
            if version is None:
                version = _register(folder, champion, registry)
        except WorkbenchError as error:
            if champion is not None:  # the version that it has is one of another registry
                write_champion(folder, champion.model_copy(update={"model_version": ""}))
            return f"{error} `workbench promote {folder.name}` registers a champion."
        champion = champion.model_copy(update={"model_version": version})
        write_champion(folder, champion)
        tell_in_mlflow(folder, workspace.tracking, champion)
    return ""


def _register(folder: StudyFolder, champion: Champion, registry: ModelRegistry) -> str:
    """Register the trial, the repeat of one or the soup that the champion is; return the version.

    Raises:
        StudyError: it is a pack, the journal does not know it, or what it is made of is gone.
        DamagedFileError: a record or weights are not what was written.
    """
    if champion.is_pack:
        raise StudyError("It is a pack.")
    say(f"Registering the champion, {champion.title} ...")
    if champion.is_soup:
        return register_soup(folder, registry, champion.recipe, read_trials(folder))
    row = row_of_champion(folder, champion, read_trials(folder))
    if row is None:
        raise StudyError(f"The journal does not know {champion.title}.")
    return register(folder, registry, row, champion.objective)


def describe_imported(imported: ImportedStudy) -> str:
    """Return what was imported, for a terminal."""
    manifest, folder = imported.manifest, imported.folder
    lines = [
        f"{folder.path}:",
        f"the study {manifest.study}, exported on {manifest.created[:10]} by version "
        f"{manifest.version}, {len(manifest.runs.runs)} MLflow runs.",
    ]
    if imported.num_replaced:
        lines.append(
            f"Replaced in MLflow: {counted(imported.num_replaced, 'run')} of it without its folder."
        )
    if imported.written:
        lines.append(f"{imported.experiment} was not here: written from what the study keeps.")
    elif imported.is_recipe and not imported.is_here:
        lines.append(
            f"Its known recipe is not here: put {imported.experiment.name} where you work, "
            "as it was."
        )
    if imported.unregistered:
        lines.append(f"Its champion is not registered here: {imported.unregistered}")
    elif folder.champion.exists():
        lines.append(f"Its champion is registered as models:/{folder.name}@champion.")
    return "\n".join(lines)
