"""A study that goes on reads each file as its earlier trials did, with which new ones are ranked.

A file that took too long or killed its decoder may be read the next time, as after `prepare
--retry`. Trials that learn from it, or are measured on it, cannot be held against those that were
given a neutral array in its place.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd

from workbench.console import say
from workbench.data.delimited import shown_cell
from workbench.data.prepare import BESIDE, Prepared
from workbench.data.prepared_table import PREPARED_TABLE, read_prepared_table
from workbench.data.rows import UNKNOWN
from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import CacheError, StudyError
from workbench.scoring.slices import TEST
from workbench.study.folder import StudyFolder
from workbench.study.records import has_trials
from workbench.tables import counted

_COLUMNS = ("row", "status", "reason", "sum")
"""Of each view, what the table of prepared data has."""

Masks = dict[str, "pd.Series[bool]"]
"""Rows of a table, by view."""


def as_begun(prepared: Prepared, folder: StudyFolder, *, beside: str = "") -> Prepared:
    """Return data of a study with neutral arrays where its earlier trials had nothing else.

    What is read otherwise than before is said. Where the study has no trials yet, or the table of
    its data is gone, which is said too, the data are returned as they are.

    Args:
        prepared: The data, or those of a slice beside them.
        folder: The study. The table of its data is still that of the earlier trials.
        beside: The name of the slice.

    Raises:
        StudyError: earlier trials read files that cannot be read now. It is so of a file of `test`,
            too: its array would be neutral for all later trials, and nobody knew which had it.
    """
    known = _known(folder, beside)
    if known is None:
        if not beside and has_trials(folder):
            say(
                f"{folder.manifest} is gone or damaged, so that nothing tells which files the "
                f"earlier trials of {folder.name} could read: new ones have all that can be read "
                "now. If other files could not be read then, their scores are of unlike files; "
                "put the table back from a copy, or search into a new study by --study NAME."
            )
        return prepared
    return _agreed(prepared, known, folder.name, f" of {beside}" if beside else "")


def lacks_what_trials_had(prepared: Prepared, folder: StudyFolder, *, beside: str = "") -> bool:
    """Say whether earlier trials read files that cannot be read now."""
    known = _known(folder, beside)
    return known is not None and any(
        rows.any() for rows in with_neutral(prepared, known)[2].values()
    )


def _known(folder: StudyFolder, beside: str) -> pd.DataFrame | None:
    """Return what earlier trials had of each content; nothing if there are none, or it is gone."""
    place = folder.path / BESIDE / beside if beside else folder.path
    if has_trials(folder):
        with suppress(CacheError):
            was = read_prepared_table(place / PREPARED_TABLE)
            return was[was["content"] != ""].drop_duplicates("content").set_index("content")
    return None


def with_neutral(prepared: Prepared, known: pd.DataFrame) -> tuple[Prepared, Masks, Masks]:
    """Return data with neutral arrays where trainings before had nothing else.

    Args:
        prepared: The data now.
        known: What the trainings had of each content, by which it is indexed, in the columns of
            each view that the table of prepared data has.

    Returns:
        The data; what is neutral now because it was before; what is neutral now and was not before.
    """
    table = prepared.table.copy()
    back: Masks = {}
    gone: Masks = {}
    for view in prepared.views:
        if (column := f"row.{view}") in known:
            before, is_neutral = table["content"].map(known[column]), table[column] == NEUTRAL_ROW
            back[view] = (before == NEUTRAL_ROW) & ~is_neutral
            gone[view] = before.notna() & (before != NEUTRAL_ROW) & is_neutral
    for view, rows in back.items():
        for column in (f"{kind}.{view}" for kind in _COLUMNS):
            if column in known:
                had = table.loc[rows, "content"].map(known[column])
                table.loc[rows, column] = had.astype(table[column].dtype)
    return replace(prepared, table=table), back, gone


def _agreed(prepared: Prepared, known: pd.DataFrame, study: str, of: str) -> Prepared:
    """Return the data as earlier trials had them; `known` has what these had of each content."""
    prepared, back, gone = with_neutral(prepared, known)
    table = prepared.table
    if lost := files_told(table, gone, of):
        raise StudyError(
            f"Read when the study {study} began, and not to be read now: {lost}. Its new trials "
            "could not be held against the earlier ones. Try these files again by `workbench "
            "prepare --retry`, or search into a new study by --study NAME."
        )
    if found := files_told(table, back, of):
        say(
            f"Not to be read when the study {study} began, and read now: {found}. The study goes "
            "on without, as it began, so that all its trials can be ranked together; to have them, "
            "search into a new study by --study NAME."
        )
    if found := files_told(table, _with_other_arrays(table, known, prepared.views), of):
        say(
            f"Decoded to other pixels or sound than when the study {study} began, as by another "
            f"version of a library: {found}. Its new trials are ranked with trials of those; to "
            "have all alike, search into a new study by --study NAME."
        )
    return prepared


def _with_other_arrays(table: pd.DataFrame, known: pd.DataFrame, views: Iterable[str]) -> Masks:
    """Return the rows of which the array is another than earlier trials had, by its checksum."""
    other: Masks = {}
    for view in views:
        row, column = f"row.{view}", f"sum.{view}"
        if row in known and column in known and column in table:
            before, made = (table["content"].map(known[each]) for each in (column, row))
            is_told = before.notna() & (before != UNKNOWN) & (table[column] != UNKNOWN)
            is_made = (made != NEUTRAL_ROW) & (table[row] != NEUTRAL_ROW)
            other[view] = is_told & is_made & (table[column] != before)
    return other


def of_labelled(table: pd.DataFrame, masks: Masks) -> Masks:
    """Return the masks without the rows of test."""
    return {view: rows & (table["split"] != TEST) for view, rows in masks.items()}


def files_told(table: pd.DataFrame, masks: Masks, of: str = "") -> str:
    """Return how many files the masks name, with an example; empty if they name none."""
    if not (num := table.loc[np.logical_or.reduce([*masks.values()]), "path"].nunique()):
        return ""
    view = next(view for view, rows in masks.items() if rows.any())
    first = table[masks[view]].iloc[0]
    why = shown_cell(": ".join(filter(None, (view, first[f"reason.{view}"]))), most=200)
    return f"{counted(num, 'file')}{of}, e.g. {shown_cell(first['path'])} ({why})"
