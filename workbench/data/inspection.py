"""A data folder that nobody described, looked at: its layout, its classes, splits and media."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.data.class_folders import (
    class_by_words,
    class_of,
    folders_in,
    is_of_classes,
    require_one_split,
    split_folders,
    without_media,
)
from workbench.data.columns import Columns
from workbench.data.data_files import DataFiles, list_data
from workbench.data.delimited import quoted, shown_cell
from workbench.data.folds import Validation, with_fold
from workbench.data.guessed_columns import Answers
from workbench.data.inspected_tables import (
    FolderTables,
    described_in,
    elsewhere_told,
    label_tables,
    labelled_files,
    layout_of_label_files,
    layout_of_table,
    tables_in,
    template_keys,
    test_folder,
)
from workbench.data.inspection_told import (
    columns_told,
    makers_of_reals_told,
    metadata_tables,
    metadata_told,
    placeholders_told,
    places_told,
    template_told,
    unused_told,
)
from workbench.data.layout import Layout
from workbench.data.manifest import Manifest, check_splits, describe_manifest
from workbench.data.media_files import sizes_in
from workbench.data.media_kinds import MediaKind, count_kinds
from workbench.data.metadata import column_of, metadata_of
from workbench.data.split_names import split_called
from workbench.data.targets import Classes, require_names_agree, third_class
from workbench.data.unlabelled import media_among
from workbench.errors import DataError

FOLDS = 5
"""Of data without files of val: a fifth of the labelled ones validates."""

_LOOKED_FOR = (
    "a label file such as train_label.txt, a table with a column of file names and one of labels, "
    "and folders called real and fake"
)


@dataclass(frozen=True)
class Inspection:
    """What a data folder was understood to hold."""

    folder: Path
    layout: Layout
    validation: Validation
    files: DataFiles
    kinds: Mapping[MediaKind, int]
    """How many of the files are of each kind, the most frequent one first."""

    remarks: tuple[str, ...]
    """What is said of it besides the files of each split, a line each."""

    @property
    def num_labelled(self) -> int:
        """Files with a label."""
        return int((self.files.table["target"] >= 0).sum())

    def lines(self) -> list[str]:
        """Return what was understood, for a person: the files of each split, and the rest."""
        return [*describe_manifest(_as_manifest(self.files, self.layout)), *self.about()]

    def about(self) -> list[str]:
        """Return what was understood of classes, media, columns and validation."""
        layout, kinds = self.layout, []
        for kind, count in self.kinds.items():
            kinds.append(f"{count} {kind}{'s' if count > 1 else ''}")
        lines = [f"media: {', '.join(kinds)}"]
        if layout.kind == "class-folders":
            of = {"fake": layout.classes.fake, "real": layout.classes.real}
            said = (f"{name} in {', '.join(map(quoted, words))}" for name, words in of.items())
            lines.append(f"a folder for each class: {'; '.join(said)}")
        return [*lines, *self.remarks]


def inspect_data(folder: Path, answers: Answers | None = None) -> Inspection:
    """Return what a data folder holds, as far as that can be told without opening its media.

    Raises:
        DataError: it is laid out in no way that is known, or holds no two classes.
        PermissionError: this user may not read it.
    """
    answers = answers or Answers()
    if not folder.is_dir():
        raise DataError(f"The data folder {folder} does not exist. Name one that does.")
    _refuse_archives(folder)
    media, _ = media_among(sizes_in(folder, "the data"))
    names = set(media)
    found = tables_in(folder)
    layout, remarks = _layout(folder, found, names, answers)
    layout = _with_metadata(layout, found)
    files = list_data(folder, layout)
    table = files.table
    if not len(table):
        raise DataError(f"{folder} has no labelled file. Looked for {_LOOKED_FOR}.")
    check_splits(table)
    if not answers.fake:
        labelled = table[table["target"] >= 0]
        require_names_agree(labelled["path"].tolist(), labelled["target"].tolist(), folder)
    kinds = count_kinds(table["path"])
    if not kinds:
        raise DataError(
            f"{folder}: no file that is named has an ending of a sound, a picture or a "
            f"video, e.g. {quoted(table['path'].iloc[0])}. Give the files their endings."
        )
    remarks = [*remarks, *unused_told(found, layout, remarks), *places_told(found, layout)]
    remarks += template_told(found, layout, table)
    layout = _with_known_groups(layout, files)
    remarks = [*remarks, *metadata_told(found, layout), *placeholders_told(layout, table)]
    remarks += [] if answers.fake else makers_of_reals_told(layout, table)
    validation, said = _validation(files, layout)
    remarks = [*remarks, *filter(None, [said])]
    return Inspection(folder, layout, validation, files, kinds, tuple(remarks))


def _layout(
    folder: Path, found: FolderTables, media: Collection[str], answers: Answers
) -> tuple[Layout, list[str]]:
    """Return the layout of a folder, and what is said of it."""
    usual = next((n for n in Layout().train_labels if (folder / n).exists()), None)
    if usual and not answers.table:
        return _competition(folder, found, usual, answers), []
    if answers.table and answers.table not in found.tables:
        why = found.unread.get(answers.table, f"{folder / answers.table} is no table in {folder}.")
        raise DataError(why)
    labelled = label_tables(found, media, answers)
    split_files = None if answers.table else layout_of_label_files(labelled, found, answers)
    if split_files is not None:
        used = (*split_files.train_labels, *split_files.val_labels)
        left = [f"{shown_cell(n)}: its labels are not used" for n in labelled if n not in used]
        taken: set[str] = set()
        for n in used:
            taken |= labelled_files(found.tables[n], labelled[n][0], None, media)
        keys, score, others = template_keys(found, media, used, taken)
        layout = _updated(split_files, {"template": (), **keys}, score)
        left += [
            line for n in used for line in elsewhere_told(n, found.tables[n], labelled[n][0], media)
        ]
        told = columns_told(found, split_files.train_labels[0], layout)
        return layout, [*told, *left, *others]
    if len(labelled) > 1:
        those = ", ".join(map(shown_cell, labelled))
        raise DataError(f"{folder} has several tables of labels: {those}. Say which by --table.")
    if labelled:
        name, (names, target) = next(iter(labelled.items()))
        table = found.tables[name]
        layout = layout_of_table(name, table, names, target, answers, media)
        names = names.model_copy(update={"media": layout.media[0]})
        split = layout.columns.split
        taken = labelled_files(table, names, split, media)
        keys, score, others = template_keys(found, media, [name], taken)
        if "test_media" not in keys:
            named = labelled_files(table, names, split, media, with_test=True)
            keys |= test_folder(media, named)
        layout = _updated(layout, keys, score)
        told = elsewhere_told(name, table, names, media, split)
        return layout, [*columns_told(found, name, layout), *told, *others]
    layout = _class_folders(folder, found, media, answers)
    of_classes = {
        name
        for name in media
        if any(class_of(part, layout.classes) is not None for part in name.split("/")[:-1])
        and split_called(name.partition("/")[0]) != "test"
    }
    keys, score, others = template_keys(found, media, layout.metadata, of_classes)
    return _updated(layout, keys, score), others


def _updated(layout: Layout, keys: Mapping[str, object], score: str | None) -> Layout:
    """Return a layout with these keys, and the template's column of scores."""
    if score is not None:
        columns = layout.columns.model_copy(update={"score": score})
        keys = {**keys, "columns": columns}
    given = {key: getattr(layout, key) for key in layout.model_fields_set}
    return Layout(**{**given, **keys})


def _competition(folder: Path, found: FolderTables, labels: str, answers: Answers) -> Layout:
    """Return the layout of a folder that has label files of the usual names."""
    keys: dict[str, object] = {}
    if answers.fake:
        keys["classes"] = answers.classes()
    if answers.name is not None or answers.label:
        keys["columns"] = Columns(name=answers.name, target=answers.label)
    usual = Layout()
    if not any((folder / name).exists() for name in usual.val_labels):
        keys["val_labels"] = ()
    if not any((folder / name).exists() for name in usual.template):
        keys["template"] = ()
    if labels in found.tables:
        keys = {**described_in(found.tables[labels], []), **keys}
    return Layout(**keys)


def _class_folders(
    folder: Path, found: FolderTables, media: Collection[str], answers: Answers
) -> Layout:
    """Return the layout of a folder with a subfolder for each class.

    Raises:
        DataError: there are none, or more than two.
    """
    given = answers.classes()
    splits = [path for split, path in split_folders(folder).items() if split != "test"]
    places = [path for path in splits if given.fake and is_of_classes(path, given)]
    places = places or [path for path in splits if folders_in(path)] or [folder]
    names: dict[str, int | None] = {}
    empty: list[Path] = []
    for place in places:
        if not given.fake:
            inside = (inner.name for inner in folders_in(place))
            require_one_split(place, [n for n in inside if class_by_words(n, given) is not None])
        for inner in folders_in(place):
            prefix = inner.relative_to(folder).as_posix() + "/"
            is_split = place == folder and split_called(inner.name) is not None
            target = class_by_words(inner.name, given)
            if not is_split and any(name.startswith(prefix) for name in media):
                names[inner.name] = target
            elif target is not None:
                empty.append(inner)
    if set(names.values()) >= {0, 1}:
        others = [name for name, target in names.items() if target is None]
        if others and not given.fake:
            raise DataError(third_class(folder, list(names), "folders of media"))
    elif empty:
        raise DataError(without_media(empty))
    elif len(names) > 2:
        raise DataError(third_class(folder, list(names), "folders of media"))
    elif len(names) == 2:
        one, other = names
        raise DataError(
            f"{folder} has the folders {quoted(one)} and {quoted(other)}, and nothing says which "
            "holds the fakes. Say it by --fake NAME --real NAME."
        )
    else:
        raise DataError(_not_known(folder, found))
    of_class = {t: tuple(sorted(n for n, of in names.items() if of == t)) for t in (0, 1)}
    classes = Classes(fake=of_class[1], real=of_class[0])
    return Layout(kind="class-folders", classes=classes)


def _with_metadata(layout: Layout, found: FolderTables) -> Layout:
    """Return the layout with the columns of `metadata.csv`, where no label file has such ones."""
    keys: dict[str, object] = {}
    for table in metadata_tables(found, layout):
        keys = described_in(table, [])
    keys = {key: value for key, value in keys.items() if key not in layout.model_fields_set}
    return _updated(layout, keys, None) if keys else layout


def _with_known_groups(layout: Layout, files: DataFiles) -> Layout:
    """Return the layout without columns of groups that say nothing of any file."""
    table = files.table
    told = [name for name in metadata_of(table) if (table[name].fillna("") != "").any()]
    groups = tuple(name for name in layout.groups if column_of(name) in told)
    return layout if groups == layout.groups else _updated(layout, {"groups": groups}, None)


def _validation(files: DataFiles, layout: Layout) -> tuple[Validation, str]:
    """Return how the labelled files are dealt where there are none of val, and what is said."""
    table = files.table
    lacking = [name for name in ("val", "train") if not (table["split"] == name).any()]
    if not lacking:
        return Validation(), ""
    manifest = _as_manifest(files, layout)
    tried = [Validation(kind="group", folds=FOLDS)] if layout.groups else []
    tried += [Validation(kind="stratified", folds=folds) for folds in (FOLDS, 3, 2)]
    for validation in tried:
        try:
            dealt = with_fold(manifest, validation)
        except DataError:
            continue
        number = int((dealt.table["split"] == "val").sum())
        by = f", all files of one {layout.groups[0]} together" if validation.kind == "group" else ""
        return validation, (
            f"validation: there is no {lacking[0]}, so of {validation.folds} parts of the labelled "
            f"files one validates, about {number} files{by}; the same files every time"
        )
    few = {c: int((table["target"] == t).sum()) for c, t in (("real", 0), ("fake", 1))}
    raise DataError(
        f"There is no val, and {few['real']} real and {few['fake']} fake files are too few to hold "
        "some out. Label two of each at least."
    )


def _as_manifest(files: DataFiles, layout: Layout) -> Manifest:
    """Return the manifest of files whose content was not read."""
    table = files.table.assign(content="")
    told = metadata_of(table)
    table[told] = table[told].fillna("")
    repeated = sum(split.num_repeated for split in files.splits)
    manifest = Manifest(table, files.template, repeated, metadata=layout.described)
    return replace(manifest, understood=files.understood)


def _refuse_archives(folder: Path) -> None:
    """Raise DataError if the folder holds data in a form that other libraries read."""
    names = sorted(path.name for path in folder.iterdir())
    if any(name in names for name in ("dataset_dict.json", "dataset_info.json", "state.json")):
        raise DataError(
            f"{folder} is a folder of Hugging Face's `datasets`, which is not read. Write its "
            "media as files, with a table of their names and labels (docs/your-data.md)."
        )
    tars = [name for name in names if name.endswith((".tar", ".tar.gz", ".tgz"))]
    if tars and not any((folder / name).is_dir() for name in names):
        raise DataError(
            f"{folder} holds tar archives ({shown_cell(tars[0])}), as WebDataset has them, "
            "which are not read. Unpack them, with a table of names and labels "
            "(docs/your-data.md)."
        )


def _not_known(folder: Path, found: FolderTables) -> str:
    """Return the sentence for a folder that is laid out in no known way."""
    seen = [f"the table {shown_cell(n)} with {t.header()}" for n, t in found.tables.items()]
    seen += [shown_cell(why, most=200) for why in found.unread.values()]
    there = f" There is {'; '.join(seen[:3])}." if seen else ""
    inner = [path for path in folders_in(folder) if _looks_like_data(path)]
    hint = f" Is it {inner[0]}?" if inner else ""
    return (
        f"{folder} is not laid out in a known way: looked for {_LOOKED_FOR}.{there}{hint} "
        "docs/your-data.md shows each layout; --file-column and --label-column name "
        "columns."
    )


def _looks_like_data(folder: Path) -> bool:
    is_labelled = any((folder / name).exists() for name in Layout().train_labels)
    return is_labelled or is_of_classes(folder, Classes()) or bool(split_folders(folder))
