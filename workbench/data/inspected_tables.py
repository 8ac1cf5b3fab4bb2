"""The tables of a data folder that nobody described: which is of labels, which is the template."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from workbench.data.any_table import TABLE_ENDINGS, TEXT, read_any_table
from workbench.data.columns import OTHER_TARGETS, TARGET_COLUMNS, Columns, cells_of, fold
from workbench.data.delimited import Delimited, quoted, shown_cell
from workbench.data.guessed_columns import (
    GENERATORS,
    GROUPS,
    LEAST_GROUPS,
    Answers,
    guessed_classes,
    header_of,
    label_column,
    metadata_column,
    plain_name,
    score_column,
    split_column,
    values_in,
)
from workbench.data.label_table import all_of_test
from workbench.data.layout import Layout
from workbench.data.named_files import (
    LEAST_FOUND,
    NamesFound,
    names_in,
    require_header,
    require_one_column,
)
from workbench.data.split_names import is_of_other_split, split_called, split_in, splits_in
from workbench.data.split_places import parent_of_splits, placed
from workbench.errors import DataError
from workbench.gate import is_inside

_OTHER_FORMATS = (".ods", ".xls", ".xlsm", ".xlsb", ".json", ".jsonl", ".ndjson", ".feather")
"""Endings of tables that are not read."""

MOST_FOUND = 0.8
"""Share of a table's names that are files in a folder called after its split, from which on these
are meant, whatever others have such names."""

_TEMPLATES = ("submission", "prediction", "template")
"""In the names of files."""


@dataclass(frozen=True)
class FolderTables:
    """The tables beside the media."""

    tables: dict[str, Delimited]
    """By the file's name, in order."""

    unread: dict[str, str] = field(default_factory=dict)
    """Why the others are none, by the file's name."""


def tables_in(folder: Path) -> FolderTables:
    """Return the tables in a data folder; what is no table is left out."""
    tables, unread = {}, {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in _OTHER_FORMATS:
            unread[path.name] = f"{path} is of a format that is not read. Save it as CSV."
        if path.suffix.lower() not in TABLE_ENDINGS:
            continue
        if not is_inside(path, folder):
            unread[path.name] = f"{path} is a link that leads out of the folder"
            continue
        try:
            if path.is_file():
                tables[path.name] = read_any_table(path)
        except DataError as error:
            unread[path.name] = str(error)
    return FolderTables(tables, unread)


def is_template(name: str, table: Delimited) -> bool:
    """Return whether a table is one that predictions are written into."""
    if any(word in name.lower() for word in _TEMPLATES):
        return True
    has_label = any(fold(cell) in (*TARGET_COLUMNS, *OTHER_TARGETS) for cell in header_of(table))
    return not has_label and score_column(table, may_be_label=False) is not None


def label_tables(
    found: FolderTables, files: Collection[str], answers: Answers
) -> dict[str, tuple[NamesFound, str]]:
    """Return where each table that has labels has its names, and its column of labels.

    Raises:
        DataError: see `label_column`; or one has no header, or is called after `train` or `val` and
            has the names of files in a folder of the test alone.
    """
    labelled = {}
    tables = {
        name: table
        for name, table in found.tables.items()
        if not is_template(name, table) and answers.table in (None, name)
    }
    others = {
        name
        for name, table in tables.items()
        if split_of_file(name) not in ("train", "val") and _is_without(table, answers)
    }
    for name, table in tables.items():
        if name in others and others != tables.keys():
            continue
        split, prefer = split_of_file(name), list[str]()
        names = None
        if split:
            prefer = [word for word in _folders(files) if split_called(word) == split]
            names = names_in(table, _of_split(files, split), answers.name)
        if names is None or names.found < MOST_FOUND or names.rival is not None:
            names = names_in(table, files, answers.name, prefer)
        if names is None:
            continue
        target = label_column(table, answers, [names.column])
        if target is not None:
            if split in ("train", "val") and _is_test_folder(names.media):
                raise DataError(
                    f"{table.path}: the files of its names are not there but in "
                    f"{shown_cell(names.media)}, which is called after the test. Put the files "
                    "there that are meant, or rename that folder if they are these."
                )
            require_header(table, names, target, files)
            labelled[name] = names, target
    return labelled


def _is_without(table: Delimited, answers: Answers) -> bool:
    """Return whether a table has neither a column that a person names, nor labels by another."""
    header = {fold(cell) for cell in header_of(table)}
    named = {fold(name) for name in (answers.name, answers.label) if name is not None}
    return not named <= header and label_column(table, Answers(fake=answers.fake), []) is None


def split_of_file(name: str) -> str | None:
    """Return the split that a table is named after, such as `train.csv` and `val_labels.tsv`."""
    stem = name.partition(".")[0].lower()
    for word in (stem, stem.partition("_")[0], stem.partition("-")[0], stem.rpartition("_")[2]):
        if split := split_called(word):
            return split
    return None


def layout_of_table(
    name: str,
    table: Delimited,
    names: NamesFound,
    target: str,
    answers: Answers,
    files: Collection[str],
) -> Layout:
    """Return the layout of a folder with one table of all labelled files, of these `files`.

    Raises:
        DataError: its labels are not of two classes, or two columns might name its files.
    """
    require_one_column(table, names)
    split = split_column(table, answers.split)
    header = header_of(table)
    labels = cells_of(table.rows[1:], header.index(target))
    media = names.media
    if split is not None:
        splits = _splits(table, split)
        labels = [label for label, of in zip(labels, splits, strict=True) if of != "test"]
        cells = cells_of(table.rows[1:], header.index(names.column))
        media = parent_of_splits(cells, splits, files, names, least=LEAST_FOUND) or media
        if not labels:
            raise DataError(all_of_test(table.path, split))
    return Layout(
        kind="table",
        table=(name,),
        media=(media,),
        columns=Columns(name=names.column, target=target, split=split),
        classes=guessed_classes(labels, answers, table.path),
        **described_in(table, [names.column, target, split or ""]),
    )


def layout_of_label_files(
    labelled: dict[str, tuple[NamesFound, str]], found: FolderTables, answers: Answers
) -> Layout | None:
    """Return the layout of a folder with a label file for each split; None if it has none.

    Raises:
        DataError: there are several of one split, they call their columns otherwise than each
            other, their labels are not of two classes, or two columns might name their files.
    """
    of_split: dict[str, str] = {}
    for name in labelled:
        split = split_of_file(name)
        if split not in ("train", "val"):
            continue
        if (earlier := of_split.setdefault(split, name)) != name:
            raise DataError(
                f"{shown_cell(earlier)} and {shown_cell(name)} both look like the labels "
                f"of {split}, and only one can be read. Put their rows into one file, or "
                "say by --table which one has the labels of all files."
            )
    if "train" not in of_split or any(
        found.tables[n].path.suffix.lower() not in TEXT for n in of_split.values()
    ):
        return None
    for name in of_split.values():
        require_one_column(found.tables[name], labelled[name][0])
    names, target = labelled[of_split["train"]]
    table = found.tables[of_split["train"]]
    if "val" in of_split:
        other = labelled[of_split["val"]]
        if (other[0].column, other[1]) != (names.column, target):
            raise DataError(
                f"{of_split['train']} and {of_split['val']} have different headers for the "
                "columns of names and labels. Give both the same header."
            )
    labels = cells_of(table.rows[1:], header_of(table).index(target))
    keys: dict[str, tuple[str, ...]] = {
        f"{split}_labels": (name,) for split, name in of_split.items()
    }
    keys |= {f"{split}_media": (labelled[name][0].media,) for split, name in of_split.items()}
    if "val" not in of_split:
        keys["val_labels"] = ()
    return Layout(
        **keys,
        columns=Columns(name=names.column, target=target),
        classes=guessed_classes(labels, answers, table.path),
        **described_in(table, [names.column, target]),
    )


def described_in(table: Delimited, taken: list[str]) -> dict[str, object]:
    """Return the keys of a layout that name what a table says of files besides their label."""
    keys: dict[str, object] = {}
    if generator := metadata_column(table, GENERATORS, taken):
        keys["generator"] = generator
    group = metadata_column(table, GROUPS, [*taken, generator or ""])
    if group is not None:
        values = values_in(table, header_of(table).index(group))
        if LEAST_GROUPS <= len(values) < len(table.rows) - 1:
            keys["groups"] = (group,)
    return keys


def template_keys(
    found: FolderTables, files: Collection[str], used: Collection[str], labelled: Collection[str]
) -> tuple[dict[str, object], str | None, list[str]]:
    """Return the keys of a layout that name the template, its column of scores, and what is told.

    Where files in a folder of `test` have its names, or else files that are not `labelled`, it
    means those: folders often number theirs alike. It is told if others that are not `labelled`
    have them, too. Where `test` has files that are not `labelled`, no table is it that names but
    files that are, such as one of their quality.

    Raises:
        DataError: several files could be it.
    """
    free = {*files} - {*labelled}
    of_test = _of_split(free, "test")
    outer = {name for name in of_test if split_in(name.partition("/")[0]) == "test"}
    places = [(outer, MOST_FOUND), (of_test, MOST_FOUND), (free, LEAST_FOUND), (files, 0.0)]
    there: dict[str, NamesFound | None] = {}
    told = []
    for name, table in found.tables.items():
        if name in used or not is_template(name, table) or table.path.suffix.lower() not in TEXT:
            continue
        for among, least in places:
            names = names_in(table, among, None)
            if names is not None and names.found >= least:
                break
        own = names_in(table, labelled, None) if of_test and among is files else None
        if names and own and own.found >= max(LEAST_FOUND, MOST_FOUND * names.found):
            told.append(
                f"{shown_cell(name)}: all or nearly all of its files have labels and files of test "
                "have none, so it is not the template"
            )
        else:
            there[name] = names
    usual = [name for name in Layout().template if name in there]
    if len(there) > 1 and not usual:
        those = ", ".join(map(shown_cell, there))
        raise DataError(f"Several files could be the prediction template: {those}. Keep one there.")
    if not there:
        return ({"template": ()} if told else {}), None, told
    file = usual[0] if usual else next(iter(there))
    score, names = score_column(found.tables[file], may_be_label=True), there[file]
    if score is None or names is None:
        return {}, None, told
    told += elsewhere_told(file, found.tables[file], names, free)
    return {"template": (file,), "test_media": (names.media,)}, score, told


def test_folder(files: Collection[str], named: Collection[str]) -> dict[str, object]:
    """Return the key of a layout that names the folder of the files to predict; nothing if none.

    It has a usual name, is not that of `val`, and no file in it is `named` by the table.
    """
    for place in Layout().test_media:
        inside = {file for file in files if file.startswith(f"{place}/")}
        if split_called(place) != "val" and inside:
            return {} if inside & {*named} else {"test_media": (place,)}
    return {}


def labelled_files(
    table: Delimited,
    names: NamesFound,
    split: str | None,
    files: Collection[str],
    *,
    with_test: bool = False,
) -> set[str]:
    """Return those of `files` that a table of labels names, but for its rows of test as a rule."""
    prefix, rows = "" if names.media == "." else f"{names.media}/", table.rows[1:]
    cells = cells_of(rows, header_of(table).index(names.column))
    splits = _splits(table, split) if split else [""] * len(rows)
    inner = {file.removeprefix(prefix) for file in files if file.startswith(prefix)}
    named = {
        prefix + plain_name(cell)
        for cell, of in zip(placed(cells, splits, inner), splits, strict=True)
        if of != "test" or with_test
    }
    return {file for file in files if {file, file.rpartition(".")[0]} & named}


def _splits(table: Delimited, column: str) -> list[str]:
    """Return the split of each row; nothing where a cell names none."""
    cells = cells_of(table.rows[1:], header_of(table).index(column))
    return [split_called(cell) or "" for cell in cells]


def elsewhere_told(
    name: str,
    table: Delimited,
    names: NamesFound,
    files: Collection[str],
    column: str | None = None,
) -> list[str]:
    """Return a line on names of a table that files of other folders have, too.

    Args:
        name: The table's.
        table: Of labels, or a template.
        names: Where its names are looked for.
        files: Among which others are looked for.
        column: Its column of splits, if its names are looked for in folders of splits.
    """
    cells = cells_of(table.rows[1:], header_of(table).index(names.column))
    prefix = "" if names.media == "." else f"{names.media}/"
    if column:
        below = {file.removeprefix(prefix) for file in files if file.startswith(prefix)}
        cells = placed(cells, _splits(table, column), below)
    asked, split = {*map(plain_name, cells)}, split_of_file(name)
    taken = {
        inner: file
        for file in files
        if file.startswith(prefix)
        for inner in _called(file.removeprefix(prefix))
        if inner in asked
    }
    others: dict[str, str] = {}
    is_own = split in splits_in(f"{names.media}/")
    for file in sorted({*files} - {*taken.values()}):
        parts = file.split("/")
        # Files of another split may be called alike, where the folder says which are of this one.
        if split and is_of_other_split(file, split) and (is_own or "test" in splits_in(file)):
            continue
        for cut in range(len(parts)):
            for inner in _called("/".join(parts[cut:])):
                if inner in taken:
                    others.setdefault(inner, file)
    if not others:
        return []
    inner, file = next(iter(others.items()))
    count = f"{len(others)} names are" if len(others) > 1 else "1 name is"
    return [
        f"{shown_cell(name)}: {count} of files in two folders, e.g. {quoted(taken[inner])}, "
        f"which is taken, and {quoted(file)}"
    ]


def _called(file: str) -> tuple[str, str]:
    """Return what a table may call a file: its name, or that without its ending."""
    return file, file.rpartition(".")[0]


def _of_split(files: Collection[str], split: str) -> set[str]:
    """Return those of files that are in a folder called after a split."""
    return {file for file in files if split in splits_in(file)}


def _is_test_folder(media: str) -> bool:
    return splits_in(f"{media}/") == {"test"}


def _folders(files: Collection[str]) -> list[str]:
    return sorted({name.partition("/")[0] for name in files if "/" in name})
