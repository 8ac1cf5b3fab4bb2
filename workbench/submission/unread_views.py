"""What a model was not given of files that could not be decoded when it was trained.

Their decoder may have died, or taken too long, or the file was touched: another machine reads them.
A training is repeated on what the first one had.
"""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from workbench.console import say
from workbench.data.prepare import BESIDE, Prepared
from workbench.data.prepared_table import PREPARED_TABLE, read_own_table, read_prepared_table
from workbench.data.rows import UNKNOWN
from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import DataError
from workbench.searching.as_begun import files_told, of_labelled, with_neutral
from workbench.study.folder import StudyFolder

UnreadViews = dict[str, dict[str, tuple[str, ...]]]
"""By the name of a slice, which is empty for the data themselves, and by view, the SHA-256 of the
content of each file of which there was none."""

_FOR_GOOD = ("no_audio", "no_video", "silent", "no_face")
"""How a file ends on any machine, whatever happens to it while it is read."""

_WHY = "it could not be decoded when the model was trained"


def unread_views(folder: StudyFolder) -> UnreadViews:
    """Return of which files a study has no views that another try may make.

    Raises:
        CacheError: the table of its data, or of a slice beside them, is damaged.
    """
    tables = {"": read_own_table(folder.path)}
    for file in sorted((folder.path / BESIDE).glob(f"*/{PREPARED_TABLE}")):
        tables[file.parent.name] = read_prepared_table(file)
    found: UnreadViews = {}
    for name, table in tables.items():
        views = [
            column.partition(".")[2] for column in map(str, table) if column.startswith("row.")
        ]
        unread = {view: _contents(table[_is_unread(table, view)]) for view in views}
        found[name] = {view: contents for view, contents in unread.items() if contents}
    return found


def without_unread(
    prepared: Prepared, noted: Mapping[str, Mapping[str, tuple[str, ...]]], study: str
) -> Prepared:
    """Return data, and those beside them, in which neutral is what `unread_views` noted of a study.

    Raises:
        DataError: of a labelled file, something cannot be decoded now that could be then.
    """
    if not noted:  # an older version wrote the bundle
        return prepared
    parts = {"": prepared, **prepared.beside}
    kept = {
        name: _as_noted(part, noted[name], f"{study}{name and f', slice {name}'}")
        for name, part in parts.items()
        if name in noted
    }
    beside = {name: kept.get(name, part) for name, part in prepared.beside.items()}
    return replace(kept.get("", prepared), beside=beside)


def _as_noted(prepared: Prepared, noted: Mapping[str, tuple[str, ...]], where: str) -> Prepared:
    table = prepared.table.drop_duplicates("content").set_index("content")
    known = pd.DataFrame(index=table.index[table.index != ""])
    for view in prepared.views:
        was = known.index.isin(noted.get(view, ()))
        # What cannot be made by any try, as the sound of a mute file, is the same everywhere.
        rows = table.loc[known.index, f"row.{view}"]
        never = (rows == NEUTRAL_ROW) & ~_is_unread(table.loc[known.index], view)
        known[f"row.{view}"] = pd.Series(NEUTRAL_ROW + 1, known.index).mask(was, NEUTRAL_ROW)
        known[f"row.{view}"] = known[f"row.{view}"].mask(never)
        known[f"status.{view}"] = "broken"
        known[f"reason.{view}"] = _WHY
        known[f"sum.{view}"] = UNKNOWN
    prepared, back, gone = with_neutral(prepared, known)
    if lost := files_told(prepared.table, of_labelled(prepared.table, gone)):
        raise DataError(
            f"{where}: decoded when the model was trained, and not to be decoded now: {lost}. Give "
            "the decoder more memory or time, and begin again with another --out."
        )
    if found := files_told(prepared.table, back):
        say(f"{where}: the model was trained without {found}, and so it is again.")
    return prepared


def _is_unread(table: pd.DataFrame, view: str) -> "pd.Series[bool]":
    return (table[f"row.{view}"] == NEUTRAL_ROW) & ~table[f"status.{view}"].isin(_FOR_GOOD)


def _contents(rows: pd.DataFrame) -> tuple[str, ...]:
    return tuple(sorted({content for content in rows["content"] if content}))
