"""The import of a study that was exported elsewhere, so that it goes on here."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from workbench.access import locked
from workbench.console import say
from workbench.errors import DamagedFileError, StudyError, WorkbenchError
from workbench.files import write_json, write_text
from workbench.folders import spare_folder, sweep_spare
from workbench.maintenance.archive import (
    RUNS,
    STUDY,
    UNPACKED,
    ArchiveManifest,
    extract,
    read_manifest,
)
from workbench.searching.recording import show_trials
from workbench.selection.champion import Champion, read_champion
from workbench.selection.registration import register
from workbench.selection.soup_promotion import register_soup
from workbench.selection.told_in_mlflow import tell_in_mlflow
from workbench.study.folder import StudyFolder, StudyInfo, new_or_known, remember_last
from workbench.study.records import TrialRow, read_trials
from workbench.study.repeats import read_repeats, row_of_repeat
from workbench.tables import counted
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.removal import StudyRecord
from workbench.tracking.runs import Tracking
from workbench.tracking.transfer import require_names, write_runs
from workbench.validation import read_record, shown
from workbench.workspace import Workspace

LOCK = ".import.lock"
"""File beside the studies that an import holds."""

_RUN_ID = re.compile(rb"\b[0-9a-f]{32}\b")
_STORE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_REMEDY = "Export it again where it comes from."


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

    @property
    def next_command(self) -> str:
        """The command that goes on with it, as one types it."""
        study = "" if self.experiment.stem == self.folder.name else f" --study {self.folder.name}"
        return f"workbench search {self.experiment} --data DIR --trials N{study}"


def import_study(
    archive: Path, workspace: Workspace, *, trust_plugins: bool = False
) -> ImportedStudy:
    """Put an exported study among those of `workspace`, with its runs and its champion.

    The runs get other ids here, which the study's records then have. The champion is registered
    anew from its weights: of a model that comes from elsewhere nothing is taken over.

    Args:
        archive: What `export_study` wrote, here or elsewhere; anybody may have made it.
        workspace: Where it belongs.
        trust_plugins: Whether to take over a study with plugins, which are run as programs.

    Raises:
        StudyError: it is no such archive, there is a study of that name, it has plugins that are
            not trusted, or the tracking store does not take its runs.
        LockError: there can be no lock beside the studies.
    """
    folder = new_or_known(workspace.studies, read_manifest(archive).study)
    workspace.studies.mkdir(parents=True, exist_ok=True)
    # One after the other: a second one of the same study would remove the runs of the first.
    with locked(workspace.studies / LOCK):
        sweep_spare(workspace.studies, UNPACKED)
        _require_free(folder)
        with spare_folder(workspace.studies, UNPACKED) as unpacked:
            manifest = extract(archive, unpacked)
            if not trust_plugins:
                _require_no_plugins(unpacked / STUDY)
            info, num_replaced = _put(unpacked, manifest, folder, workspace)
    remember_last(folder)
    runs = Tracking(workspace.tracking)
    if manifest.runs.runs:  # else it was exported without a store: the next search writes them
        show_trials(runs, runs.find_study(info.name, info.id), folder.experiment().objective)
    experiment, written = _experiment_file(folder, info, workspace)
    unregistered = _register_champion(folder, workspace)
    return ImportedStudy(folder, manifest, num_replaced, experiment, written, unregistered)


def _require_no_plugins(study: Path) -> None:
    """Raise StudyError if an unpacked study has parts of its user's own: to read it runs them.

    Any record may hold a recipe, as that of a pack does, so all are looked through.
    """
    trees: Iterator[Any] = map(_read_tree, study.rglob("*.json"))
    with suppress(DamagedFileError):
        trees = chain([StudyFolder(study).begun()["experiment"]], trees)
    if any(one.get("plugins") for tree in trees for one in _dicts_in(tree)):
        raise StudyError(
            "The study has plugins: programs that run as you when it is read. If you trust who "
            "made the archive, import it with --trust-plugins."
        )


def _read_tree(file: Path) -> Any:
    """Return what a record holds; nothing where it is damaged: no command reads it either.

    Raises:
        StudyError: it is nested so deep that it depends on who reads it whether it can be read.
    """
    with suppress(OSError, ValueError):
        try:
            return json.loads(file.read_bytes())
        except RecursionError as error:
            raise StudyError(
                f"{file.name} of the archive is nested too deep to be looked through. No export "
                "writes that."
            ) from error
    return None


def _dicts_in(tree: object) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a record, however deep it lies."""
    waiting = [tree]
    while waiting:
        match waiting.pop():
            case dict() as one:
                yield one
                waiting += one.values()
            case list() as several:
                waiting += several


def _require_free(folder: StudyFolder) -> None:
    if os.path.lexists(folder.path):
        raise StudyError(
            f"There is a study {folder.name} in {folder.path.parent}. Delete it by `workbench "
            f"studies --delete {folder.name}`, or import in another folder."
        )


def _put(
    unpacked: Path, manifest: ArchiveManifest, folder: StudyFolder, workspace: Workspace
) -> tuple[StudyInfo, int]:
    """Put an unpacked study and its runs where they belong.

    Returns:
        What it is, and how many runs of it the store had.
    """
    info = _check(unpacked / STUDY, manifest)
    require_names(info.name, manifest.runs)
    _keep_here(StudyFolder(unpacked / STUDY))
    _keep_to_cache(unpacked / STUDY, folder.path, workspace.cache)
    num_replaced = StudyRecord(workspace.tracking, info.name, info.id).remove().num_runs
    artifacts = {
        run.run_id: unpacked / RUNS / str(place)
        for place, run in enumerate(manifest.runs.runs)
        if (unpacked / RUNS / str(place)).is_dir()
    }
    record = StudyRecord(workspace.tracking, info.name, info.id)
    _rename_runs(unpacked / STUDY, write_runs(record, info.name, manifest.runs, artifacts))
    try:
        (unpacked / STUDY).rename(folder.path)
    except OSError:
        _require_free(folder)  # a search began one of this name meanwhile
        raise
    return info, num_replaced


def _check(study: Path, manifest: ArchiveManifest) -> StudyInfo:
    """Return what the unpacked study is.

    Raises:
        StudyError: it is not the one that the manifest names, does not say what it began with, or
            names a file of this machine.
        DamagedFileError: that cannot be read.
    """
    info = read_record(StudyInfo, study / "study.json", remedy=_REMEDY)
    if (info.name, info.id) != (manifest.study, manifest.study_id):
        raise StudyError(f"The archive says that it is {manifest.study}, and holds another study.")
    try:
        begun = StudyFolder(study).begun()
    except DamagedFileError:
        begun = {}
    if not all(isinstance(begun.get(part), dict) for part in ("experiment", "space")):
        raise StudyError(f"experiment.yaml of the archive is damaged. {_REMEDY}")
    _require_named_files(begun, "experiment.yaml")
    for kind in ("recipe.json", "pack.json", "prepared.json"):
        for file in study.rglob(kind):
            _require_named_files(_read_tree(file), kind)
    return info


def _keep_here(study: StudyFolder) -> None:
    """Let an unpacked study be kept in its folder and in `mlruns`, wherever it was before.

    A stranger's archive shall not choose where the user and the password of this machine go.
    """
    begun = study.begun()
    begun["experiment"] |= {"storage": None, "tracking": None}
    write_text(study.experiment_file, yaml.safe_dump(begun, sort_keys=False))


def _require_named_files(value: object, where: str) -> None:
    """Refuse a record with a face detector whose file has no hash: it would be any file of here.

    A hash that is left out is that of the file, and an export puts the file into the bundle.

    Raises:
        StudyError: there is one.
    """
    for one in _dicts_in(value):
        if one.get("kind") == "yunet" and not one.get("sha256"):
            raise StudyError(
                f"{where} of the archive names a file of this machine, "
                f"{shown(one.get('file'))}, without its hash. No export writes that."
            )


def _keep_to_cache(study: Path, home: Path, cache: Path) -> None:
    """Let what an unpacked study says of decoded arrays name those of this workspace's cache.

    Raises:
        StudyError: it names no store of views.
    """
    for file in study.rglob("prepared.json"):
        try:
            saved: dict[str, Any] = json.loads(file.read_bytes())
            views: dict[str, dict[str, Any]] = saved["views"]
            stores = {name: Path(view["array"]).parent.name for name, view in views.items()}
            if not all(_STORE.fullmatch(store) for store in stores.values()):
                raise ValueError("no store")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise StudyError(f"{file.name} of the archive is damaged. {_REMEDY}") from error
        for name, view in views.items():
            array = cache / "views" / stores[name] / "array.u8"
            view["array"] = os.path.relpath(array, home / file.parent.relative_to(study))
        write_json(file, saved)


def _rename_runs(study: Path, ids: dict[str, str]) -> None:
    """Write the runs' new ids into the journal and the records of repeats."""
    new = {old.encode(): value.encode() for old, value in ids.items()}
    for file in (study / "journal.log", *study.glob("repeats/*/repeat.json")):
        if file.exists():
            file.write_bytes(_RUN_ID.sub(lambda old: new.get(old[0], old[0]), file.read_bytes()))


def _experiment_file(
    folder: StudyFolder, info: StudyInfo, workspace: Workspace
) -> tuple[Path, bool]:
    """Return the experiment file of a study; one is written where there is none here."""
    own = workspace.studies / f"{folder.name}.yaml"
    # An archive may name a file of elsewhere, which might have plugins.
    is_here = not {"..", "/"} & {*Path(info.experiment).parts}
    for file in (workspace.root / info.experiment, own):
        if is_here and os.path.isfile(file):  # noqa: PTH113 (of a long name it raises nothing)
            return file.relative_to(workspace.root), False
    begun = folder.begun()
    space = workspace.root / "search_spaces" / f"{folder.name}.yaml"
    if own.exists() or space.exists():
        return own.relative_to(workspace.root), False
    begun["experiment"]["search_space"] = os.path.relpath(space, own.parent)
    for place, plugin in enumerate(begun["experiment"].get("plugins", ())):
        if not (file := own.parent / plugin["file"]).exists():  # else it keeps the text itself
            write_text(file, plugin["source"])
            begun["experiment"]["plugins"][place] = file.name
    write_text(space, yaml.safe_dump(begun["space"], sort_keys=False))
    write_text(own, yaml.safe_dump(begun["experiment"], sort_keys=False))
    return own.relative_to(workspace.root), True


def _register_champion(folder: StudyFolder, workspace: Workspace) -> str:
    """Register the champion as it is recorded; return why that cannot be, in sentences."""
    if not folder.champion.exists():
        return ""
    try:
        champion = read_champion(folder)
        if champion.is_pack:
            raise StudyError("It is a pack.")
        say(f"Registering the champion, {champion.title} ...")
        version = _register(folder, champion, ModelRegistry(workspace.tracking))
    except WorkbenchError as error:
        return f"{error} `workbench promote {folder.name}` registers a champion."
    champion = champion.model_copy(update={"model_version": version})
    write_text(folder.champion, champion.model_dump_json(indent=2) + "\n")
    tell_in_mlflow(folder, workspace.tracking, champion)
    return ""


def _register(folder: StudyFolder, champion: Champion, registry: ModelRegistry) -> str:
    """Register the trial, the repeat of one or the soup that the champion is; return the version.

    Raises:
        StudyError: the journal does not know it, or what it is made of is gone.
        DamagedFileError: a record or weights are not what was written.
    """
    if champion.is_soup:
        return register_soup(folder, registry, champion.recipe, read_trials(folder))
    row = None if champion.number is None else _row_of(folder, champion, champion.number)
    if row is None:
        raise StudyError(f"The journal does not know {champion.title}.")
    return register(folder, registry, row, champion.objective)


def _row_of(folder: StudyFolder, champion: Champion, number: int) -> TrialRow | None:
    """Return the row of the trial, or of its repeat, that the champion is."""
    row = {row.number: row for row in read_trials(folder)}.get(number)
    if row is None or row.recipe == champion.recipe:
        return row
    for repeat in read_repeats(folder):
        if repeat.recipe == champion.recipe:
            return row_of_repeat(folder, row, repeat)
    return None


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
    if imported.unregistered:
        lines.append(f"Its champion is not registered here: {imported.unregistered}")
    elif folder.champion.exists():
        lines.append(f"Its champion is registered as models:/{folder.name}@champion.")
    return "\n".join(lines)
