"""Which files a data folder names, whatever its layout, before the content of any is read."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workbench.data.class_folders import read_class_folders, tests_of_class_folders, unused_told
from workbench.data.delimited import quoted, shown_cell
from workbench.data.file_rows import SplitFiles, described_by, rows_of
from workbench.data.label_table import read_label_table
from workbench.data.labels import (
    Template,
    named_once,
    read_labels,
    torn_repeats,
    without_repeats,
)
from workbench.data.layout import Layout, first_named
from workbench.data.media_files import files_among, sizes_in
from workbench.data.metadata import MetadataTable, spelled_apart
from workbench.data.names import match
from workbench.data.split_names import split_hinted
from workbench.data.split_places import other_splits_told
from workbench.data.unlabelled import (
    lost_test_media,
    made_template,
    media_among,
    predicted_folder,
    split_of_folder,
    split_of_template,
)
from workbench.errors import DataError
from workbench.tables import counted

_TABLES = (".csv", ".tsv", ".xlsx")
"""Endings of tables that people write; texts may be anything, and programs write Parquet."""

_MOST_FOLDERS = 300


@dataclass(frozen=True)
class DataFiles:
    """The files of every split."""

    splits: tuple[SplitFiles, ...]
    """Of `train`, `val` and `test`, as far as there are any."""

    template: Template
    layout: Layout

    @property
    def table(self) -> pd.DataFrame:
        """The rows of all splits; see `rows_of`."""
        rows = [split.rows for split in self.splits]
        return pd.concat(rows, ignore_index=True).astype({"target": "int8"})

    @property
    def understood(self) -> tuple[str, ...]:
        """Lines about tables and names that were not read as they stand."""
        said = [line for split in self.splits for line in split.understood]
        # A competition's first phase predicts the files of `val`.
        told = other_splits_told(self.table, with_test=self.layout.names_test_media)
        return (*said, *told)


def list_data(folder: Path, layout: Layout) -> DataFiles:
    """Return the files that a data folder names.

    Raises:
        DataError: the folder, a label file or a media folder is absent or unusable.
        PermissionError: this user may not read one of them.
    """
    if not folder.is_dir():
        raise DataError(f"The data folder {folder} does not exist. Give an existing one by --data.")
    if layout.kind == "label-files":
        return _of_label_files(folder, layout)
    described = described_by(folder, layout)
    labelled, tests = of_one_kind(folder, layout, described)
    if not labelled:
        words = ", ".join(map(quoted, (*layout.classes.fake, *layout.classes.real)))
        raise DataError(f"{folder} has no label that `classes` name: they name {words}.")
    if any((folder / name).exists() for name in layout.template):
        # Of folders of classes not all is listed that lies beside them.
        is_whole = layout.kind != "class-folders"
        listed = {split.media: split.sizes for split in labelled if is_whole}
        other, tests = tests, split_of_template(folder, layout, described, listed)
        if other is not None:
            tests[0].understood.extend(_not_named(other[0].rows, tests[0].rows))
    elif tests is None:
        media = predicted_folder(folder, layout) if layout.names_test_media else None
        tests = split_of_folder(media, folder, described) if media else None
    return _together(labelled, tests, folder, layout, described)


def _inner(folder: Path) -> tuple[list[str], list[str]]:
    """Return the folders of a data folder and those within them, and the tables in these."""
    folders, tables, places = list[Path](), list[Path](), [folder]
    for depth in range(3):
        inner: list[Path] = []
        for place in sorted(places)[:_MOST_FOLDERS]:
            # What cannot be looked into is told where its media are.
            with suppress(OSError), os.scandir(place) as entries:
                for entry in entries:
                    if not entry.name.startswith(".") and entry.is_dir():
                        inner.append(place / entry.name)
                    elif depth and entry.name.lower().endswith(_TABLES):
                        tables.append(place / entry.name)
        places = inner
        folders += inner if depth < 2 else []
    of_both = [
        [path.relative_to(folder).as_posix() for path in sorted(some)] for some in (folders, tables)
    ]
    return of_both[0], of_both[1]


def tell_doubts(
    folder: Path,
    layout: Layout,
    labelled: Sequence[SplitFiles],
    tests: tuple[SplitFiles, Template] | None,
    described: MetadataTable | None,
) -> None:
    """Say what tables say of no file or of two, and of which media beside them nothing is taken."""
    every = [*labelled, *([] if tests is None else [tests[0]])]
    said = labelled[-1].understood
    if described is not None:
        said.extend(described.doubts(split.rows for split in every))
    said.extend(spelled_apart(split.rows for split in labelled))
    if layout.kind != "class-folders":
        labelled[0].understood.extend(unused_told(folder, layout, every))
    keys = ("table", "train_labels", "val_labels", "template", "metadata")
    used = {name for key in keys for name in getattr(layout, key)}
    if inner := [name for name in _inner(folder)[1] if name not in used]:
        more = f" and {len(inner) - 3} more" if len(inner) > 3 else ""
        said.append(
            f"nothing is taken of tables in its folders: {', '.join(map(shown_cell, inner[:3]))}"
            f"{more}; what says more of files is metadata.csv in the data folder itself"
        )


def of_one_kind(
    folder: Path, layout: Layout, described: MetadataTable | None
) -> tuple[list[SplitFiles], tuple[SplitFiles, Template] | None]:
    """Return the labelled files of a table or of class folders, and those that are predicted."""
    if layout.kind == "table":
        return read_label_table(folder, layout, described)
    labelled = read_class_folders(folder, layout, described)
    return labelled, tests_of_class_folders(folder, described)


def _of_label_files(folder: Path, layout: Layout) -> DataFiles:
    first_named(folder, layout, "train_labels")  # which is named where the folder may not be read
    described = described_by(folder, layout)
    splits = ("train", "val") if layout.val_labels else ("train",)
    labelled = [split_with_labels(split, folder, layout, described) for split in splits]
    tests: tuple[SplitFiles, Template] | None
    if layout.template:
        listed = {split.media: split.sizes for split in labelled}
        tests = split_of_template(folder, layout, described, listed)
    else:
        media = predicted_folder(folder, layout)
        tests = split_of_folder(media, folder, described) if media else None
    return _together(labelled, tests, folder, layout, described)


def _not_predicted(folder: Path, labelled: Sequence[SplitFiles]) -> list[str]:
    """Return a line on the files in folders that are called after the test, where none is read."""
    named = {path.removeprefix("./") for split in labelled for path in split.rows["path"]}
    found = dict[str, list[str]]()
    for place in _inner(folder)[0]:
        above = place.rpartition("/")[0]
        if split_hinted(place.rpartition("/")[2]) != "test" or above in found:
            continue
        with suppress(OSError, DataError):  # nothing of it is used, so that it need not be readable
            names = media_among(sizes_in(folder / place, "test"))[0]
            paths = [f"{place}/{name}" for name in names]
            if paths and named.isdisjoint(paths):
                found[place] = paths
    if not found:
        return []
    places, num = list(found), sum(map(len, found.values()))
    some = ", ".join(map(shown_cell, places[:3])) + (", ..." if len(places) > 3 else "")
    return [
        f"left out: {counted(num, 'file')} in {some}, e.g. {shown_cell(found[places[0]][0])}. "
        "Where they are to be predicted, write "
        f"`data: {{test_media: [{places[0]}]}}` into the experiment"
    ]


def _not_named(said: pd.DataFrame, named: pd.DataFrame) -> list[str]:
    """Return a line on files that the data call `test` and the template does not name."""
    there = said[said["status"] == "ok"]
    names = there.loc[~there["path"].isin(named["path"].str.removeprefix("./")), "path"]
    if names.empty:
        return []
    count = f"{counted(len(names), 'file')} of test {'is' if len(names) == 1 else 'are'}"
    return [f"left out: {count} not in the template, e.g. {shown_cell(names.iloc[0])}"]


def _together(
    labelled: list[SplitFiles],
    tests: tuple[SplitFiles, Template] | None,
    folder: Path,
    layout: Layout,
    described: MetadataTable | None,
) -> DataFiles:
    tell_doubts(folder, layout, labelled, tests, described)
    if tests is None:
        if layout.kind != "class-folders":  # whose folder is listed whole
            labelled[-1].understood.extend(lost_test_media(folder, layout))
            labelled[-1].understood.extend(_not_predicted(folder, labelled))
        return DataFiles(tuple(labelled), made_template([], folder), layout)
    split, template = tests
    return DataFiles((*labelled, split), template, layout)


def split_with_labels(
    split: str, folder: Path, layout: Layout, described: MetadataTable | None
) -> SplitFiles:
    """Return the files that the label file of `train` or `val` names.

    Raises:
        DataError: the label file or the media folder is absent or unusable.
        PermissionError: this user may not read one of them.
    """
    file = first_named(folder, layout, f"{split}_labels")
    labels = read_labels(file, layout.columns, layout.classes, layout.described)
    media = first_named(folder, layout, f"{split}_media", is_media=True)
    sizes = sizes_in(media, split)
    found = match(labels.table["cell"], files_among(sizes), where=split)
    named = labels.table.assign(name=named_once(labels.table["cell"], found))
    # Two spellings of one name are seen to be one only here.
    torn = torn_repeats(named, "name")
    named, num_again = without_repeats(named, "name", file)
    torn = torn and f"{file.name}: {torn}"
    understood = [*filter(None, [labels.understood, torn]), *found.said]
    prefix = media.relative_to(folder).as_posix() + "/"
    rows = rows_of(split, named.assign(file=named["name"]), prefix, sizes, described, understood)
    return SplitFiles(split, rows, media, sizes, labels.num_repeated + num_again, understood)
