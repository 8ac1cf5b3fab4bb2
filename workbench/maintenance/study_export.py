"""The export of a study: all that it needs to go on elsewhere, as one file."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from workbench.access import require_writable
from workbench.addresses import TrackingPlace
from workbench.errors import StudyError
from workbench.folders import put_new, spare_folder, sweep_spare
from workbench.maintenance.archive import (
    RUNS,
    STUDY,
    ArchiveManifest,
    entry_of,
    is_plain,
    write_archive,
)
from workbench.study.disk import files_below
from workbench.study.folder import StudyFolder
from workbench.study.provenance import code_tags
from workbench.study.storage import address_of, copy_study, find_trials, open_journal
from workbench.tables import counted, size
from workbench.tracking.removal import StudyRecord, has_store
from workbench.tracking.transfer import StoredRuns, artifacts_of, read_runs

_SPARE = ".export-"


@dataclass(frozen=True)
class ExportedStudy:
    """What was written."""

    path: Path
    manifest: ArchiveManifest
    left_out: tuple[str, ...]
    """Files of the study, or artifacts, that are none of this program's; they stay behind."""


def export_study(folder: StudyFolder, tracking: TrackingPlace, out: Path) -> ExportedStudy:
    """Write a study into one file: its journal, trials, repeats, checkpoints and MLflow runs.

    Trials that a database keeps are written as a journal, artifacts of a server are fetched: the
    file needs neither.

    The cache is not in it, nor the page of `compare`: both are made anew. Nor is the registered
    model, which is made from the champion's weights where the study is imported.

    Raises:
        StoreError: its database or server does not answer, or refuses to.
        AccessError: `out` cannot be written, or another command made it meanwhile.
        StudyError: a search holds the study, `out` is there, or something of the study is a link.
    """
    if os.path.lexists(out):
        raise StudyError(f"{out} exists. Name another file, or remove it.")
    info = folder.info()
    folder.experiment()  # whole
    require_writable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.absolute().parent
    sweep_spare(beside, _SPARE)
    with folder.held(), spare_folder(beside, _SPARE) as spare:
        _require_no_links(folder.path)
        files, left_out = _files_of(folder)
        files |= _journal_of(folder, spare)
        runs = StoredRuns()
        if has_store(tracking):
            record = StudyRecord(tracking, info.name, info.id)
            runs = read_runs(record)
            places = {run.run_id: place for place, run in enumerate(runs.runs)}
            for run_id, artifacts in artifacts_of(record, spare):
                _require_no_links(artifacts)
                for file in files_below(artifacts):
                    below = file.relative_to(artifacts).as_posix()
                    name = f"{RUNS}/{places[run_id]}/{below}"
                    if is_plain(name):
                        files[name] = file
                    else:
                        left_out.append(f"artifact {below}")
        tags = code_tags()
        manifest = ArchiveManifest(
            study=info.name,
            study_id=info.id,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=tags["version.workbench"],
            code_hash=tags["code_hash"],
            files={name: entry_of(files[name]) for name in sorted(files)},
            runs=runs,
        )
        # Written inside, so that a kill leaves nothing but a folder that the next export removes.
        write_archive(spare / ".archive", manifest, files)
        put_new(spare / ".archive", out)
    return ExportedStudy(out, manifest, tuple(left_out))


def _journal_of(folder: StudyFolder, spare: Path) -> dict[str, Path]:
    """Return a journal of the trials that a database keeps, by its name in an archive."""
    if address_of(folder) is None:
        return {}
    journal = StudyFolder(spare / folder.name).journal
    journal.parent.mkdir()
    if (study := find_trials(folder)) is not None:
        copy_study(study, open_journal(StudyFolder(journal.parent)), folder.name)
    else:
        journal.touch()
    return {f"{STUDY}/{journal.name}": journal}


def _require_no_links(folder: Path) -> None:
    """Refuse a folder with links: an archive has none, so that what they lead to would be lost."""
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if (link := Path(place, name)).is_symlink():
                raise StudyError(
                    f"{link} is a link, and what it leads to would not be exported. Put that "
                    "itself in its place."
                )


_MADE_ANEW = ("lock", "compare.html")


def _files_of(folder: StudyFolder) -> tuple[dict[str, Path], list[str]]:
    """Return the files of a study by their names in an archive, and those that are left out."""
    files: dict[str, Path] = {}
    left_out: list[str] = []
    for file in files_below(folder.path):
        below = file.relative_to(folder.path).as_posix()
        if below in _MADE_ANEW or file.name.startswith("."):
            continue
        name = f"{STUDY}/{below}"
        if is_plain(name):
            files[name] = file
        else:
            left_out.append(below)
    return files, left_out


def describe_exported(exported: ExportedStudy) -> str:
    """Return what was written, for a terminal."""
    files = exported.manifest.files
    trials = {name.split("/")[2] for name in files if name.startswith(f"{STUDY}/trials/")}
    waiting = sum(name.endswith("/checkpoint.pt") for name in files)
    lines = [
        f"{exported.path}: the study {exported.manifest.study}, "
        f"{size(exported.path.stat().st_size)}.",
        f"{counted(len(trials), 'trial')}, {counted(waiting, 'checkpoint')} to go on from, "
        f"{counted(len(exported.manifest.runs.runs), 'MLflow run')}.",
        "Decoded views are not in it: they are made anew from the media.",
    ]
    if exported.left_out:
        named = ", ".join(exported.left_out[:3]) + (", ..." if len(exported.left_out) > 3 else "")
        lines.append(f"Left out, since no study needs such files: {named}")
    return "\n".join(lines)
