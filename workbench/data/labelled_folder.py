"""The labelled files of another folder than the data: of a slice, or of a holdout."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workbench.console import say
from workbench.data.any_table import read_any_table
from workbench.data.columns import OTHER_TARGETS, TARGET_COLUMNS, find_names, fold
from workbench.data.data_files import of_one_kind, split_with_labels, tell_doubts
from workbench.data.delimited import quoted, shown_cell
from workbench.data.file_rows import SplitFiles, described_by, prefix_of
from workbench.data.guessed_columns import header_of
from workbench.data.inspected_tables import split_of_file, tables_in
from workbench.data.layout import Layout
from workbench.data.media_files import sizes_in
from workbench.data.named_files import names_before_numbers
from workbench.data.names import folded_stem
from workbench.data.split_names import splits_in
from workbench.data.split_places import other_splits_told
from workbench.data.targets import require_agreement
from workbench.data.unlabelled import media_among
from workbench.errors import DataError
from workbench.gate import is_inside
from workbench.tables import counted


def list_labelled(folder: Path, layout: Layout) -> list[SplitFiles]:
    """Return the labelled files of a folder of which no file is predicted; it may lack a split.

    Labels of files of `test` are not looked at, and it is said how many these are.

    Raises:
        DataError, PermissionError: see `list_data`; or nothing is labelled.
    """
    if not folder.is_dir():
        raise DataError(f"The labelled folder {folder} does not exist. Name one that does.")
    layout, doubts = _as_tables_are(folder, layout)
    described = described_by(folder, layout)
    if layout.kind != "label-files":
        labelled, predicted = of_one_kind(folder, layout, described)
        if predicted:
            num = counted(len(predicted[0].rows), "file")
            say(f"{folder}: {num} of test left out. Labels are read of train and val alone.")
        if not labelled:
            raise DataError(
                f"{folder} has no file with a label that counts. Its labels must be those that the "
                "data have, with the same `classes`."
            )
    else:
        names = {split: getattr(layout, f"{split}_labels") for split in ("train", "val")}
        there = [split for split in names if any((folder / name).exists() for name in names[split])]
        if not there:
            looked = ", ".join(name for of_split in names.values() for name in of_split)
            raise DataError(f"{folder} has no labels: looked for {looked}. Name a labelled folder.")
        labelled = [split_with_labels(split, folder, layout, described) for split in there]
        predicted = None
    tell_doubts(folder, layout, labelled, predicted, described)
    said = labelled[-1].understood
    said.extend((*doubts, *_other_tables_told(folder, layout)))
    rows = pd.concat([split.rows for split in labelled], ignore_index=True)
    # Of a table of its own, that of a holdout, the files are of `val` by that word alone.
    if layout.kind != "label-files" or layout.train_labels:
        said.extend(other_splits_told(rows, with_test=False))
    said.extend(_called_alike(folder, labelled))
    return labelled


def _called_alike(folder: Path, labelled: Sequence[SplitFiles]) -> list[str]:
    """Return a line on media of no row that are called as files of the rows are, but for endings.

    Folders often number their files alike, and those of the rows may be the others. Those in a
    folder of another split are none of them, where the rows have files in that of their own.
    """
    taken, split_of = dict[str, str](), dict[str, str]()
    for split in labelled:
        prefix = prefix_of(split.media, folder)
        there = split.rows.loc[split.rows["status"] == "ok", "path"]
        for path in there.str.removeprefix("./"):
            taken.setdefault(folded_stem(path.removeprefix(prefix)), path)
            split_of[path] = split.split
    others: dict[str, str] = {}
    for file in media_among(sizes_in(folder, "labelled files"))[0]:
        if file in split_of:
            continue
        parts = folded_stem(file).split("/")
        inner = ("/".join(parts[cut:]) for cut in range(len(parts)))
        own = next((name for name in inner if name in taken), None)
        if own is None or own in others:
            continue
        name, path = split_of[taken[own]], taken[own]
        if splits_in(path) != {name} or splits_in(file) <= {name}:
            others[own] = file
    if not others:
        return []
    own, file = next(iter(others.items()))
    return [
        f"{counted(len(others), 'name')} of files in two folders, e.g. {quoted(taken[own])}, which "
        f"is taken, and {quoted(file)}"
    ]


def _other_tables_told(folder: Path, layout: Layout) -> list[str]:
    """Return a line on the tables of a slice or a holdout of which nothing is taken, if it has any.

    Raises:
        DataError: one is called after `train` or `val` and has labels: files of both splits count.
    """
    keys = {"table": ("table",), "label-files": ("train_labels", "val_labels")}.get(layout.kind, ())
    places: list[tuple[str, ...]] = [getattr(layout, key) for key in keys]
    there = [[name for name in names if (folder / name).exists()] for names in places]
    read = {names[0] for names in there if names}
    other = tables_in(folder).tables
    left = [name for name in other if name not in {*read, *layout.template, *layout.metadata}]
    for name in left if layout.kind == "label-files" else ():
        header = [fold(cell) for cell in header_of(other[name])]
        targets = {fold(layout.columns.target or "target"), *TARGET_COLUMNS, *OTHER_TARGETS}
        if split_of_file(name) in ("train", "val") and not targets.isdisjoint(header):
            raise DataError(
                f"{folder} has {shown_cell(name)}, which is called otherwise than labels of the "
                f"data and would be left out. Put its rows into {' or '.join(sorted(read))}, call "
                "it as these are called there, or take it out."
            )
    return [f"tables of which nothing is taken: {', '.join(map(shown_cell, left))}"] if left else []


def _as_tables_are(folder: Path, layout: Layout) -> tuple[Layout, list[str]]:
    """Return the layout of another folder than the data, and what is in doubt of its tables.

    A table may have an index, or number its rows: names are then in another column, see
    `find_names` and `names_before_numbers`.

    Raises:
        DataError: another column turns the labels of a table over, or two tables have the names in
            unlike columns.
    """
    places = layout.table if layout.kind == "table" else layout.train_labels + layout.val_labels
    paths = (folder / name for name in places) if layout.kind != "class-folders" else ()
    columns, names, doubts = layout.columns, list[str](), list[str]()
    for path in paths:
        if not path.is_file() or not is_inside(path, folder):
            continue
        table = read_any_table(path)
        header = header_of(table)
        if columns.target in header and not layout.classes.fake:
            require_agreement(table, header.index(columns.target))
        if columns.name in header and (at := find_names(table, columns)) is not None:
            at, doubt = names_before_numbers(table, at, folder)
            names.append(header[at])
            doubts += [doubt] if doubt else []
    if not names:
        return layout, []
    if len({*names}) > 1:
        raise DataError(
            f"{folder}: the names of files are in the column {quoted(names[0])} of one table and "
            f"in {quoted(names[1])} of another. Call them alike."
        )
    columns = columns.model_copy(update={"name": names[0]})
    return layout.model_copy(update={"columns": columns}), doubts
