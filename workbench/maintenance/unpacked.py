"""A study that was unpacked, before it is put in place: what is refused, what becomes of here."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import ConfigError, DamagedFileError, StudyError
from workbench.files import write_json, write_text
from workbench.maintenance.archive import ArchiveManifest
from workbench.space.experiment import Experiment, require_no_gone_setting
from workbench.space.space import read_tree_as_space
from workbench.study.folder import StudyFolder, StudyInfo
from workbench.validation import build, read_record, shown

_RUN_ID = re.compile(rb"\b[0-9a-f]{32}\b")
_STORE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_REMEDY = "Export it again where it comes from."


def require_no_plugins(study: Path) -> None:
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


def checked(study: Path, manifest: ArchiveManifest) -> StudyInfo:
    """Return what the unpacked study is. Its plugins are run, if it has any.

    Raises:
        StudyError: it is not the one that the manifest names, does not say what it began with in
            words that this version knows, names a file of this machine, or has a champion of
            another study.
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
    champion = _read_tree(study / "champion.json")
    # By its names the registered model of another study here would be described as this one's.
    if isinstance(champion, dict) and any(
        champion.get(key, info.name) != info.name for key in ("study", "model_name")
    ):
        raise StudyError(f"champion.json of the archive is of another study. {_REMEDY}")
    _require_known(begun, manifest)
    return info


def _require_known(begun: dict[str, Any], manifest: ArchiveManifest) -> None:
    """Refuse what a study began with if this version could not go on with it."""
    try:
        require_no_gone_setting(begun["experiment"], of="Its experiment", remedy="")
        experiment: Experiment = build(Experiment, begun["experiment"], where="experiment")
        views = tuple(experiment.views)
        read_tree_as_space(begun["space"], "space", views, experiment.rulebook)
    except ConfigError as error:
        first = str(error).splitlines()[0]
        why = re.split(r"\. (?:Remove or rename|Add) it\.|\.\s*$", first)[0]
        raise StudyError(
            f"The study {manifest.study} cannot be imported: {why}. It was exported by version "
            f"{manifest.version}: import it with that version."
        ) from error


def keep_here(study: StudyFolder) -> None:
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


def keep_to_cache(study: Path, home: Path, cache: Path) -> None:
    """Let what an unpacked study says of decoded arrays name those of this workspace's cache.

    Raises:
        StudyError: it names no store of views.
    """
    for file in filter(Path.is_file, study.rglob("prepared.json")):
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


def rename_runs(study: Path, ids: dict[str, str]) -> None:
    """Write the runs' new ids into the journal and the records of repeats."""
    new = {old.encode(): value.encode() for old, value in ids.items()}
    for file in (study / "journal.log", *study.glob("repeats/*/repeat.json")):
        if file.is_file():
            file.write_bytes(_RUN_ID.sub(lambda old: new.get(old[0], old[0]), file.read_bytes()))
