"""What a study is about, written when it begins and the same for ever after."""

import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import yaml

from workbench.console import say
from workbench.data import prepare
from workbench.data.manifest import Manifest, changes, metadata_changes
from workbench.data.metadata import column_of
from workbench.data.out_of_fold import FOLD, of_one_fold
from workbench.data.prepared_table import read_prepared_table
from workbench.errors import CacheError, StudyError
from workbench.files import finished, write_text
from workbench.space.experiment import PLACES, Experiment
from workbench.space.precisions import settled_for
from workbench.space.space import Space
from workbench.study.folder import StudyFolder, StudyInfo
from workbench.study.own_files import FOLDS, LOCKS
from workbench.study.since_begun import differences


def begin_or_check(
    folder: StudyFolder,
    experiment: Experiment,
    space: Space,
    manifest: Manifest,
    *,
    file: Path,
    data: Path,
    seed: int,
    devices: Sequence[str],
) -> StudyInfo:
    """Return what a study is: a new one is begun, one that was begun must be about the same.

    One of which nothing was tried, as where a mistake in the experiment was told, is begun anew.
    Its folder is held by this process. The devices settle the precision of a new one.

    Raises:
        StudyError: experiment, space, data or seed changed since; says which.
    """
    about = {"experiment": experiment.model_dump(mode="json"), "space": space.tree}
    if folder.info_file.exists() and not is_untried(folder, experiment):
        _check(folder, about, manifest, seed=seed)
        with suppress(CacheError):
            if said := metadata_changes(read_prepared_table(folder.manifest), manifest.table):
                say(said)
        return _as_now(folder, experiment, file=file, data=data)
    # Of a start that failed: what is kept of data tells that a study's trials have begun.
    folder.manifest.unlink(missing_ok=True)
    info = StudyInfo(
        name=folder.name,
        id=uuid.uuid4().hex,
        experiment=str(file),
        data=str(data.resolve()),
        fingerprint=manifest.fingerprint,
        seed=seed,
        bfloat16=settled_for(devices),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_text(folder.experiment_file, yaml.safe_dump(about, sort_keys=False))
    folder.write_info(info)
    return info


def is_untried(folder: StudyFolder, experiment: Experiment) -> bool:
    """Return whether a study's folder has what it is written at its beginning, and no more."""
    written = {
        folder.info_file,
        folder.experiment_file,
        folder.manifest,
        folder.manifest.with_name("prepared.json"),
        folder.template,
        *(folder.path / name for name in (*LOCKS, FOLDS)),
    }
    return experiment.storage is None and written.issuperset(folder.path.iterdir())


def _as_now(folder: StudyFolder, experiment: Experiment, *, file: Path, data: Path) -> StudyInfo:
    """Return what a study is that goes on; where it is kept, and its data lie, is noted."""
    begun, info = folder.begun(), folder.info()
    now = experiment.model_dump(mode="json", include=set(PLACES))
    if any(begun["experiment"].get(key) != value for key, value in now.items()):
        begun["experiment"] |= now
        write_text(folder.experiment_file, yaml.safe_dump(begun, sort_keys=False))
    info_now = info.model_copy(update={"data": str(data.resolve()), "experiment": str(file)})
    if info_now != info:
        folder.write_info(info_now)
    return info_now


def _check(
    folder: StudyFolder, about: dict[str, dict[str, object]], manifest: Manifest, *, seed: int
) -> None:
    info = folder.info()
    # What an older version did not know of has its default. What the search space says is looked
    # at, not where it lies: its file may be moved. Where a study is kept changes no number.
    experiment = folder.experiment()
    was = experiment.model_dump(mode="json")
    changed = []
    if was["plugins"] != about["experiment"]["plugins"]:
        had = ", ".join(plugin.label for plugin in experiment.plugins) or "none"
        changed.append(f"its plugins (were {had})")
    for free in ("search_space", "plugins", *PLACES):
        was[free] = about["experiment"][free]
    begun = {"experiment": was, "space": folder.begun()["space"]}
    for part, now in about.items():
        if found := [*differences(begun.get(part), now)]:
            more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
            changed.append(f"its {part} ({found[0]}{more})")
    if info.fingerprint != manifest.fingerprint:
        what = f"was {info.fingerprint}, is {manifest.fingerprint}"
        with suppress(CacheError):
            what = _data_changes(read_prepared_table(folder.manifest), manifest) or what
        changed.append(f"its data ({what})")
    if info.seed != seed:
        changed.append(f"its seed (was {info.seed}, is {seed})")
    if changed:
        raise StudyError(
            f"The study {folder.name} was begun with other settings: "
            f"{' and '.join(changed)} changed. Scores of different things cannot be ranked "
            "together: undo the change, or start another study by --study NAME."
        )


def _data_changes(before: pd.DataFrame, manifest: Manifest) -> str:
    """Return in what the data differ from those of a study's table, as far as it counts."""
    was = of_one_fold(before, 1)
    if FOLD in before:
        was[FOLD] = was["path"].map(before.drop_duplicates("path").set_index("path")[FOLD])
    return changes(was, manifest.table, [*map(column_of, manifest.used), FOLD])


def keep_data(folder: StudyFolder, manifest: Manifest, prepared: prepare.Prepared) -> None:
    """Keep in the study's folder what its trials read, and the template of its predictions."""
    prepared.save(folder.path)
    if manifest.template.text is not None:
        write_text(folder.template, manifest.template.text)
        return
    # Byte for byte: a submission must keep what this program does not understand.
    with finished(folder.template) as part:
        shutil.copyfile(manifest.template.path, part)
