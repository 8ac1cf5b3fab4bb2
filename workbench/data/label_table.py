"""Data with one table of all labelled files: a name, a label, perhaps a split, anything else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.data.any_table import Spreadsheet, read_any_table
from workbench.data.columns import (
    NAME_COLUMNS,
    OR_NAMED,
    OTHER_NAMES,
    OTHER_TARGETS,
    TARGET_COLUMNS,
    both_told,
    cells_of,
    check_names,
    check_rows,
    find_column,
    fold,
    lacks_one_of,
    understood_as,
)
from workbench.data.delimited import Delimited, quoted, shown_cell
from workbench.data.file_rows import SplitFiles, prefix_of, rows_of
from workbench.data.labels import Template, named_once, torn_repeats, without_repeats
from workbench.data.layout import Layout, first_named
from workbench.data.media_files import files_among, sizes_in
from workbench.data.metadata import MetadataTable, metadata_cells
from workbench.data.names import match
from workbench.data.split_names import SPLIT_COLUMNS, other_split_columns, split_called
from workbench.data.split_places import placed
from workbench.data.targets import (
    Classes,
    read_targets,
    reader_of,
    require_agreement,
    require_fake_is_one,
    third_class,
)
from workbench.data.unlabelled import split_of_files
from workbench.errors import DataError
from workbench.tables import counted


@dataclass(frozen=True)
class TableColumns:
    """Where a table has its columns."""

    name: int
    target: int
    split: int | None


def columns_in(table: Delimited, layout: Layout) -> TableColumns:
    """Return where a table has names, labels and splits.

    Raises:
        DataError: it lacks names or labels, or several columns could hold one of the three.
    """
    columns = layout.columns
    name_at = find_column(table, columns.name, NAME_COLUMNS, OTHER_NAMES, "name")
    if name_at is None:
        raise DataError(lacks_one_of(table, NAME_COLUMNS, "name"))
    target_at = find_column(table, columns.target, TARGET_COLUMNS, OTHER_TARGETS, "target")
    if target_at is None:
        raise DataError(
            f"{table.path} has no column of labels that is known: its header is {table.header()}. "
            f"Rename it to `label`{OR_NAMED}"
        )
    if columns.target is None and not layout.classes.fake:
        require_agreement(table, target_at)
    others = other_split_columns(table)
    split_at = find_column(table, columns.split, SPLIT_COLUMNS, others, "split")
    return TableColumns(name_at, target_at, split_at)


def splits_in(table: Delimited, split_at: int | None) -> list[str]:
    """Return the split of each row; all are of `train` where no column says it.

    Raises:
        DataError: a cell names none.
    """
    if split_at is None:
        return ["train"] * (len(table.rows) - 1)
    cells = cells_of(table.rows[1:], split_at)
    meaning = {cell: split_called(cell) for cell in set(cells)}
    for cell, line in zip(cells, table.lines[1:], strict=True):
        if meaning[cell] is None:
            raise DataError(
                f"{table.path} line {line}: the split {quoted(cell.strip())} is none of train, val "
                "and test. Correct it, or name another column by `columns: {split: NAME}` under "
                "`data` in the experiment."
            )
    return [meaning[cell] or "" for cell in cells]


def read_label_table(
    folder: Path, layout: Layout, described: MetadataTable | None
) -> tuple[list[SplitFiles], tuple[SplitFiles, Template] | None]:
    """Return the labelled files of `train` and `val`, and the files of `test` if it has any.

    The labels of `test` are not looked at.

    Raises:
        DataError: the table or its media are absent or unusable, name a file outside of their
            folder, or hold more than two labels.
        PermissionError: this user may not read one of them.
    """
    table = read_any_table(first_named(folder, layout, "table"))
    at, path = columns_in(table, layout), table.path
    check_rows(table)
    if len(table.rows) < 2:
        raise DataError(f"{path} has a header and no rows. It needs a row for each file.")
    media = first_named(folder, layout, "media", is_media=True)
    sizes = sizes_in(media, "the table")
    cells, splits = cells_of(table.rows[1:], at.name), splits_in(table, at.split)
    check_names(cells, table.lines[1:], path)
    there = files_among(sizes)
    in_folders: list[str] = []
    if at.split is not None:
        named, cells = cells, placed(cells, splits, there)
        in_folders = _placed_told(named, cells, path)
    found = match(cells, there, where=path.name)
    frame = pd.DataFrame(
        {
            "name": named_once(cells, found),
            "label": cells_of(table.rows[1:], at.target),
            "line": table.lines[1:],
            "split": splits,
            **metadata_cells(table, layout.described),
        }
    )
    labelled, tests = frame[frame["split"] != "test"], frame[frame["split"] == "test"]
    header = [cell.strip() for cell in table.rows[0]]
    if not len(labelled):
        raise DataError(all_of_test(path, header[at.split or 0]))
    require_fake_is_one(header[at.target], labelled["label"].tolist(), layout.classes, path)
    labelled, left_out = _of_two_classes(labelled, layout.classes)
    targets, reading = _targets(labelled, layout.classes, path)
    if not reading and fold(header[at.target]) not in (*TARGET_COLUMNS, *OTHER_TARGETS):
        reading = "1 is fake"
    labelled = labelled.assign(target=targets)
    other = table.told if isinstance(table, Spreadsheet) else ""
    said = [*_columns_told(header, at), *filter(None, [reading, left_out, other])]
    understood = [*filter(None, [understood_as(table, said)]), *in_folders, *found.said]
    parts = []
    for split, rows in labelled.groupby("split"):
        if torn := torn_repeats(rows, "name"):
            understood.append(f"{path.name}: {torn}")
        kept, num_repeated = without_repeats(rows.assign(file=rows["name"]), "name", path)
        files = rows_of(str(split), kept, prefix_of(media, folder), sizes, described, understood)
        parts.append(SplitFiles(str(split), files, media, sizes, num_repeated, understood))
        understood = []  # they are said once
    if not len(tests):
        return parts, None
    names = tests["name"].drop_duplicates().tolist()
    predicted, template = split_of_files(names, media, sizes, folder, described)
    predicted.understood.append("test: what the table says of these files is not looked at")
    return parts, (predicted, template)


def all_of_test(path: Path, column: str) -> str:
    """Return the sentence for a table of labels of which none may be looked at."""
    return (
        f"{path}: all files are of test by the column {quoted(column)}, and labels of test are not "
        "looked at. Where they are to be, give the column another name."
    )


def _placed_told(named: Sequence[str], placed: Sequence[str], path: Path) -> list[str]:
    """Return a line on names of files in the folders of their splits, if there are any."""
    differ = [both for both in zip(named, placed, strict=True) if both[0] != both[1]]
    if not differ:
        return []
    (name, file), count = differ[0], counted(len(differ), "name")
    return [
        f"{path.name}: {count} looked for in the folder of the row's split, e.g. {quoted(name)} "
        f"as {quoted(file)}"
    ]


def _columns_told(header: Sequence[str], at: TableColumns) -> list[str]:
    used = [header[at.name], header[at.target]]
    said = [both_told(*used)]
    if at.split is not None:
        said[0] += f", the split in {shown_cell(header[at.split])}"
    is_usual = {fold(cell) for cell in used} <= {*NAME_COLUMNS, *TARGET_COLUMNS}
    return [] if is_usual and at.split is None else said


def _of_two_classes(rows: pd.DataFrame, classes: Classes) -> tuple[pd.DataFrame, str]:
    """Return the rows whose label `classes` names, where it names any, and what was left out."""
    if not classes.fake:
        return rows, ""
    is_one = rows["label"].map(lambda word: reader_of(word, classes) is not None)
    if is_one.all():
        return rows, ""
    others = sorted(set(rows.loc[~is_one, "label"].str.strip()))
    count = f"{counted(int((~is_one).sum()), 'row')} of other labels"
    return rows[is_one], f"{count} left out ({shown_cell(', '.join(others), most=120)})"


def _targets(
    rows: pd.DataFrame, classes: Classes, path: Path
) -> tuple["np.ndarray[Any, np.dtype[np.int8]]", str]:
    """Return what the labels say.

    Raises:
        DataError: there are more than two, or one is not known.
    """
    words = rows["label"].tolist()
    known = list(dict.fromkeys(word.strip() for word in words))
    folded = {word.casefold() for word in known}
    if len(folded) > 2 and not classes.fake and not all(reader_of(w, classes) for w in known):
        raise DataError(third_class(path, known, "labels"))
    return read_targets(words, classes, rows["name"].tolist(), rows["line"].tolist(), path)
