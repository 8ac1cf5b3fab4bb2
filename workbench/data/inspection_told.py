"""What a person is told of the columns and tables of a data folder that was looked at."""

from collections.abc import Sequence

import pandas as pd

from workbench.data.columns import NAME_COLUMNS, OTHER_NAMES, fold
from workbench.data.delimited import Delimited, quoted, shown_cell
from workbench.data.guessed_columns import header_of, values_in
from workbench.data.inspected_tables import FolderTables
from workbench.data.layout import Layout
from workbench.data.metadata import PICTURE_FAKE, SOUND_FAKE, column_of
from workbench.tables import counted

_PLACEHOLDERS = ("unknown", "unk", "nan", "na", "n/a", "none", "null", "-1", "-", "?")
"""Cells, in lower case, that may say that something is not known."""


def places_told(found: FolderTables, layout: Layout) -> list[str]:
    """Return a line for each table that is there and whose files are in a folder of the data's."""
    tables = {"train_labels": "train_media", "val_labels": "val_media", "table": "media"}
    lines = []
    for table, media in (tables | {"template": "test_media"}).items():
        there = [name for name in getattr(layout, table) if name in found.tables]
        if media in layout.model_fields_set and there:
            place = getattr(layout, media)[0]
            if place != ".":
                lines.append(f"{shown_cell(there[0])}: its files are looked for in {quoted(place)}")
    return lines


def template_told(found: FolderTables, layout: Layout, table: pd.DataFrame) -> list[str]:
    """Return a line on which table is the template, and on labels of its files; none without one.

    `table` is of all files; see `rows_of`.
    """
    there = [name for name in layout.template if name in found.tables]
    if not there:
        return []
    tests, paths = table["split"] == "test", table["path"].str.removeprefix("./")
    torn = paths[tests].isin(paths[~tests]).sum()
    more = f"; {counted(int(torn), 'row')} of it {'is' if torn == 1 else 'are'} of labelled files"
    return [f"template: {shown_cell(there[0])}, whose rows are predicted{more if torn else ''}"]


def metadata_told(found: FolderTables, layout: Layout) -> list[str]:
    """Return a line on what is taken of `metadata.csv`, and what is not; none without one."""
    usual, lines = (*NAME_COLUMNS, *OTHER_NAMES, SOUND_FAKE, PICTURE_FAKE), list[str]()
    for table in metadata_tables(found, layout):
        header = header_of(table)
        said = [f"generators in {shown_cell(layout.generator)}"] * (layout.generator in header)
        said += [f"groups in {shown_cell(name)}" for name in layout.groups if name in header]
        if left := [n for n in unused_columns(table, layout) if fold(n) not in usual]:
            said.append(f"not used: {shown_cell(', '.join(left), most=120)}")
        lines += [f"{table.path.name}: {'; '.join(said)}"] if said else []
    return lines


def metadata_tables(found: FolderTables, layout: Layout) -> list[Delimited]:
    """Return the table that says more of files, unless the labels are read of it."""
    own = {*layout.table, *layout.train_labels, *layout.val_labels}
    return [
        found.tables[name] for name in layout.metadata if name in found.tables and name not in own
    ]


def placeholders_told(layout: Layout, table: pd.DataFrame) -> list[str]:
    """Return a line on groups called `unknown`, `-1` and the like, which pass for one group."""
    found = []
    for name in layout.groups:
        cells = table[column_of(name)].fillna("")
        counts = cells[cells.str.strip().str.casefold().isin(_PLACEHOLDERS)].value_counts()
        found += [
            f"{shown_cell(name)}: {count} files have {quoted(str(word))} and count as one group; "
            "leave the cells empty where it is not known"
            for word, count in counts.items()
            if count > 1
        ]
    return found


def makers_of_reals_told(layout: Layout, table: pd.DataFrame) -> list[str]:
    """Return a line if what made a fake is told of reals alone, as where labels are turned over."""
    if (column := column_of(layout.generator)) not in table:
        return []
    cells = table[column].fillna("").str.strip().str.casefold()
    is_told = ~cells.isin({"", "-", "none", "real", "original", *_PLACEHOLDERS})
    reals, fakes = (int((is_told & (table["target"] == target)).sum()) for target in (0, 1))
    if not reals or fakes:
        return []
    return [
        f"warning: `{shown_cell(layout.generator)}` says what made {counted(reals, 'file')}, all "
        "of them read as real, and none of the fakes. If the labels are the other way round, say "
        "by --fake and --real which is which"
    ]


def columns_told(found: FolderTables, name: str, layout: Layout) -> list[str]:
    """Return a line on the columns besides names, labels and splits; none if there are none."""
    said = []
    if "generator" in layout.model_fields_set:
        said.append(f"generators in {shown_cell(layout.generator)}")
    if layout.groups:
        said.append(f"groups in {shown_cell(layout.groups[0])}")
    if left := unused_columns(found.tables[name], layout):
        said.append(f"not used: {shown_cell(', '.join(left), most=120)}")
    return [f"{shown_cell(name)}: {'; '.join(said)}"] if said else []


def unused_columns(table: Delimited, layout: Layout) -> list[str]:
    """Return the columns of a table of which nothing is taken; one without any text is none."""
    columns = layout.columns
    used = {columns.name, columns.target, columns.split, layout.generator, *layout.groups}
    used |= {cell for cell in header_of(table) if fold(cell) in (SOUND_FAKE, PICTURE_FAKE)}
    return [
        cell or quoted(cell)
        for at, cell in enumerate(header_of(table))
        if cell not in used and (cell or values_in(table, at))
    ]


def unused_told(found: FolderTables, layout: Layout, told: Sequence[str]) -> list[str]:
    """Return lines on the tables beside the media of which nothing is taken; none without any."""
    of_kind = {"label-files": (*layout.train_labels, *layout.val_labels), "table": layout.table}
    used = {*of_kind.get(layout.kind, ()), *layout.template, *layout.metadata}
    used |= {line.partition(":")[0] for line in told}
    left = [shown_cell(name) for name in found.tables if name not in used]
    lines = [f"tables of which nothing is taken: {', '.join(left)}"] if left else []
    # A text that is no table may be anything, such as what the data are given away under.
    unread = [
        shown_cell(why, most=300)
        for name, why in found.unread.items()
        if not name.lower().endswith(".txt") or "label" in name.lower()
    ]
    if unread:
        more = f" (and {len(unread) - 1} more such files)" if len(unread) > 1 else ""
        lines.append(f"nothing is taken of one that is not read{more}: {unread[0]}")
    return lines
