"""The labelled files of another folder than the data: of a slice, or of a holdout."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workbench.console import say
from workbench.data.any_table import read_any_table
from workbench.data.class_folders import is_aside
from workbench.data.columns import (
    OTHER_TARGETS,
    TARGET_COLUMNS,
    cells_of,
    find_names,
    fold,
)
from workbench.data.data_files import of_one_kind, split_with_labels, tell_doubts
from workbench.data.delimited import Delimited, quoted, shown_cell
from workbench.data.file_rows import SplitFiles, described_by, prefix_of
from workbench.data.guessed_columns import header_of
from workbench.data.inspected_tables import split_of_file, tables_in
from workbench.data.layout import Layout
from workbench.data.media_files import files_among, sizes_in
from workbench.data.media_kinds import kind_by_ending
from workbench.data.named_files import named_apart, rivals_of_numbers
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
    layout = _as_tables_are(folder, layout)
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
    said.extend(_other_tables_told(folder, layout))
    # Of one table without splits, all is of `train` or `val` by that word alone. What is called
    # after the test is of no other split.
    if len(labelled) > 1 or (layout.kind == "label-files" and layout.train_labels):
        rows = pd.concat([split.rows for split in labelled], ignore_index=True)
        of_test = rows["path"].map(lambda path: splits_in(path) == {"test"})
        said.extend(other_splits_told(rows[~of_test], with_test=False))
    said.extend(_called_alike(folder, labelled))
    return labelled


def _called_alike(folder: Path, labelled: Sequence[SplitFiles]) -> list[str]:
    """Return a line on media of no row that are called as files of the rows are, but for endings.

    Folders often number their files alike, and those of the rows may be the others. None of them is
    of another kind, as the sound of a video, or in a folder of masks or the like, or in one of
    another split, where the row's file is in that of its own.
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
        if file in split_of or is_aside(file.rpartition("/")[0]):
            continue
        parts = folded_stem(file).split("/")
        inner = ("/".join(parts[cut:]) for cut in range(len(parts)))
        own = next((name for name in inner if name in taken), None)
        if own is None or own in others:
            continue
        name, path = split_of[taken[own]], taken[own]
        is_beside = file.rpartition("/")[0] == path.rpartition("/")[0]
        if is_beside or kind_by_ending(file) != kind_by_ending(path):
            continue
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


def _require_no_rival(table: Delimited, at: int, folder: Path, layout: Layout) -> None:
    """Refuse numbers for names where another column names other files of the media folders.

    They may be those of the rows, and the labels be of the other files.

    Raises:
        DataError: there is such a column, or a folder cannot be listed.
    """
    rivals = rivals_of_numbers(table, at)
    if not rivals:
        return
    keys = ("media",) if layout.kind == "table" else ("train_media", "val_media")
    places = {
        next((name for name in getattr(layout, key) if (folder / name).is_dir()), None)
        for key in keys
    }
    stems = {
        folded_stem(file).rpartition("/")[2]
        for place in places - {None}
        for file in files_among(sizes_in(folder / str(place), table.path.name))
    }
    for header, cells in rivals.items():
        if named_apart(cells_of(table.rows[1:], at), cells, stems):
            raise DataError(
                f"{table.path}: the names of files could be in the column "
                f"{quoted(header_of(table)[at])} or {quoted(header)}, which name other files. Take "
                "one of the two out."
            )


def _as_tables_are(folder: Path, layout: Layout) -> Layout:
    """Return the layout of another folder than the data: a table of it may have an index, too.

    Names are then in another column, see `find_names`, which is that of its first table.

    Raises:
        DataError: another column turns the labels of a table over, or names other files, or two
            tables have the names in unlike columns.
    """
    places = layout.table if layout.kind == "table" else layout.train_labels + layout.val_labels
    paths = (folder / name for name in places) if layout.kind != "class-folders" else ()
    columns, names = layout.columns, list[str]()
    for path in paths:
        if not path.is_file() or not is_inside(path, folder):
            continue
        table = read_any_table(path)
        header = header_of(table)
        if columns.target in header and not layout.classes.fake:
            require_agreement(table, header.index(columns.target))
        if columns.name in header and (at := find_names(table, columns)) is not None:
            _require_no_rival(table, at, folder, layout)
            names.append(header[at])
    if not names:
        return layout
    if len({*names}) > 1:
        raise DataError(
            f"{folder}: the names of files are in the column {quoted(names[0])} of one table and "
            f"in {quoted(names[1])} of another. Call them alike."
        )
    return layout.model_copy(update={"columns": columns.model_copy(update={"name": names[0]})})
