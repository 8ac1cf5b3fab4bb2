"""A study that goes on in a database: opened, and filled from its journal where it had one."""

from typing import Literal

import optuna
from optuna.storages import BaseStorage

from workbench.console import say
from workbench.searching.journal import mend_journal
from workbench.searching.short_memory import Database
from workbench.study.folder import StudyFolder
from workbench.study.storage import (
    address_of,
    copy_study,
    name_in_storage,
    open_database,
    open_journal,
    take_study,
)

Direction = Literal["minimize", "maximize"]

_MOVED = "moved_from_journal"
"""Noted with a study in a database once all of its journal is there."""


def open_in_database(folder: StudyFolder, direction: Direction) -> tuple[optuna.Study, Database]:
    """Return the study in the database that its folder names, made if need be, and its storage.

    One that was begun with a journal file has its trials there as the journal has them; a kill
    between costs nothing, since the journal stays. The folder is held by this process.

    Raises:
        StoreError: the database does not answer, or refuses to.
        StudyError: another process holds the study there.
    """
    address, name = str(address_of(folder)), name_in_storage(folder)
    inner = open_database(address)
    storage = Database(inner, take_study(folder, inner), address)
    if not folder.journal.exists():
        study = optuna.create_study(
            study_name=name, storage=storage, load_if_exists=True, direction=direction
        )
        return study, storage
    try:
        study = optuna.load_study(study_name=name, storage=storage)
        if _MOVED in study.user_attrs:
            return study, storage
        optuna.delete_study(study_name=name, storage=inner)  # a kill cut the copying short
        storage = Database(inner, storage.lock, address)  # the other one knows its trials
    except KeyError:
        pass
    if wrong := mend_journal(folder):
        say(wrong)
    study = copy_trials(folder, storage, name, direction)
    study.set_user_attr(_MOVED, True)
    say(f"The journal of the study {folder.name} is copied into {address}, where it goes on.")
    return study, storage


def copy_trials(
    folder: StudyFolder, storage: BaseStorage, name: str, direction: Direction
) -> optuna.Study:
    """Return a new study in `storage` that has the trials of a study's journal, by number."""
    journal = optuna.create_study(
        study_name=folder.name,
        storage=open_journal(folder),
        load_if_exists=True,
        direction=direction,
    )
    return copy_study(journal, storage, name)
