"""The manifest: one row a file of the data folder, with its split, target, outcome and content."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from workbench.data.columns import Columns
from workbench.data.contents import ReadContents, Stamp, read_file_contents
from workbench.data.delimited import shown_cell
from workbench.data.labels import Template, read_labels, read_template, without_repeats
from workbench.data.media_files import DENIED, files_among, sizes_in, unnamed_files
from workbench.data.metadata import Metadata, MetadataTable, column_of, metadata_of, read_metadata
from workbench.data.names import match
from workbench.data.out_of_fold import FOLD
from workbench.data.targets import Classes
from workbench.errors import DataError
from workbench.gate import within
from workbench.values import Frozen

MAX_MEDIA_BYTES = 64 << 30
"""A larger media file is not read: one with a hole in it claims any size, and to hash it all would
never end."""


class Layout(Frozen):
    """Where a data folder keeps its files and what its tables say.

    Of several names of one thing the first that exists counts.
    """

    train_labels: tuple[str, ...] = ("train_label.txt", "trainset_label.txt")
    """The label file of the files to learn from."""

    train_media: tuple[str, ...] = ("trainset", "train")
    """The folder of these files."""

    val_labels: tuple[str, ...] = ("val_label.txt", "valset_label.txt")
    """The label file of the files that trials are held against."""

    val_media: tuple[str, ...] = ("valset", "val")
    """The folder of these files."""

    template: tuple[str, ...] = ("prediction.txt.csv", "prediction.csv")
    """The table that names the files to predict, in the order and the form of the predictions."""

    test_media: tuple[str, ...] = ("testset", "testset1", "test", "valset", "val")
    """In the competition's first phase the template names the validation clips."""

    metadata: tuple[str, ...] = ("metadata.csv",)
    """A table that says more of the files, by their names; there need be none of the usual name."""

    columns: Columns = Columns()
    """What columns are called, where that cannot be guessed."""

    classes: Classes = Classes()
    """What the labels of each class are, if not the usual words."""

    generator: str = "generator"
    """The column, of label files or metadata, that says what made a fake."""

    groups: tuple[str, ...] = ()
    """The columns that say whom or what several files are of, such as `speaker`."""

    @property
    def described(self) -> Metadata:
        """What else is kept of the tables."""
        return Metadata(generator=self.generator, groups=self.groups)


@dataclass(frozen=True)
class Manifest:
    """What a data folder holds."""

    table: pd.DataFrame
    """One row a file: `split` (train, val, test), `name` (of train and val as the file is called,
    of test as the template has it), `path` (relative to the data folder),
    `target` (1 fake, 0 real, -1 unknown), `size_bytes`, `status` (ok, missing, empty, too_large:
    over MAX_MEDIA_BYTES, denied: this user may not read it, or broken: nobody can), `content`
    (SHA-256 of the bytes, empty if they were not read), and `metadata.column_of` each column of
    the metadata that some table has."""

    template: Template
    num_repeated: int

    unnamed: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["split", "path"]))
    """Media files that no label row and no template row names: `path` (relative to the data
    folder) and `split`, where one media folder serves several `val, test`. A file counts as media
    if it ends as a named file of that folder does (`.mp4`) and is not hidden."""

    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    """Of each file, by its path in the table, as it was before its content was read."""

    altered: tuple[str, ...] = ()
    """Paths whose content is another than the last time, with the same size and time."""

    understood: tuple[str, ...] = ()
    """Lines about tables and names that were not read as they stand."""

    metadata: Metadata = field(default_factory=Metadata)
    used: tuple[str, ...] = ()
    """Columns of the metadata that a study's numbers depend on: part of its fingerprint."""

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits naming labels and media; equal on every machine that has the same.

        And the metadata that is used, and the folds where several validate.
        """
        used = [*map(column_of, self.used), FOLD]
        used = [column for column in used if column in self.table]
        rows = self.table[["split", "name", "target", "content", *used]]
        rows = rows.sort_values(["split", "name"])
        return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()[:12]


def read_manifest(folder: Path, layout: Layout, *, cache: Path, verify: bool = False) -> Manifest:
    """Return the manifest of the data `folder`; a file's content is read once, then remembered.

    Args:
        folder: The data folder, laid out as `layout` says.
        layout: Names of label files and media folders.
        cache: Folder where the hashes of the contents are remembered.
        verify: Read every file again.

    Raises:
        DataError: the folder, a label file or a media folder is absent or unusable, a split holds
            one class only, or no file of a split is there.
        PermissionError: this user may not read one of them.
    """
    if not folder.is_dir():
        raise DataError(f"The data folder {folder} does not exist. Give an existing one by --data.")
    _first(folder, layout, "train_labels")  # which is named where the folder may not be read
    described = _described(folder, layout)
    labelled = [_labelled(split, folder, layout, described) for split in ("train", "val")]
    media_of = {part.split: part.media for part in labelled}
    files_in = {part.media: part.sizes for part in labelled}
    understood = [line for part in labelled for line in part.understood]
    template = read_template(_first(folder, layout, "template"), layout.columns)
    unlabelled = pd.DataFrame({"name": template.names.drop_duplicates(), "target": -1})
    media = _first(folder, layout, "test_media", is_media=True)
    media_of["test"] = media
    if media not in files_in:
        files_in[media] = sizes_in(media, "test")
    found = match(unlabelled["name"], files_among(files_in[media]), where="test")
    # A submission keeps the cells of its template, so its rows keep the names.
    unlabelled["file"] = [found.files.get(name, name) for name in unlabelled["name"]]
    understood += [*filter(None, [template.understood]), *found.said]
    tests = _rows("test", unlabelled, media, files_in[media], folder, described, understood)
    parts = [*(part.rows for part in labelled), tests]
    table = pd.concat(parts, ignore_index=True).astype({"target": "int8"})
    read = _with_contents(table, folder, cache=cache, verify=verify)
    repeated = sum(part.num_repeated for part in labelled)
    unnamed = unnamed_files(table, media_of, files_in, folder)
    about = read.stamps, read.altered, tuple(understood)
    return Manifest(table, template, repeated, unnamed, *about, metadata=layout.described)


def read_labelled(folder: Path, layout: Layout, *, cache: Path) -> Manifest:
    """Return the manifest of a folder of which every labelled file is of one split, called `val`.

    It is laid out as a data folder is, but has labels of `train` or of `val` alone, or of both, and
    needs no template. A name that is in both is told apart by its media folder.

    Raises:
        DataError, PermissionError: see `read_manifest`.
    """
    names = {split: getattr(layout, f"{split}_labels") for split in ("train", "val")}
    there = [split for split in names if any((folder / name).exists() for name in names[split])]
    if not there:
        looked = ", ".join(name for of_split in names.values() for name in of_split)
        raise DataError(f"{folder} has no labels: looked for {looked}. Name a labelled folder.")
    described = _described(folder, layout)
    labelled = [_labelled(split, folder, layout, described) for split in there]
    table = pd.concat([part.rows for part in labelled], ignore_index=True).assign(split="val")
    table["name"] = table["name"].mask(table["name"].duplicated(keep=False), table["path"])
    table, _ = without_repeats(table, "path", folder)
    table = table.astype({"target": "int8"})
    read = _with_contents(table, folder, cache=cache)
    nothing = Template(pd.DataFrame(columns=["name", "score"]), "name", "score", folder)
    said = tuple(line for part in labelled for line in part.understood)
    return Manifest(table, nothing, 0, stamps=read.stamps, understood=said)


def describe_manifest(manifest: Manifest) -> list[str]:
    """Return lines for a person, one for each split: files, fakes, what is not there.

    Before them, how tables and names were read where they are not as usual.
    """
    lines = [*manifest.understood]
    for split, rows in manifest.table.groupby("split", sort=False):
        known = rows[rows["target"] >= 0]
        fake = f", {(known['target'] == 1).sum()} fake" if len(known) else ", no labels"
        absent = rows[rows["status"] != "ok"]
        line = f"{split}: {len(rows)} files{fake}"
        if len(absent):
            counts = absent["status"].value_counts().sort_index()
            sample = ", ".join(map(shown_cell, absent["name"].head(3)))
            line += "; " + ", ".join(f"{count} {status}" for status, count in counts.items())
            line += f" ({sample}{', ...' if len(absent) > 3 else ''})"
        lines.append(line)
    if manifest.altered:
        lines.append(
            f"{len(manifest.altered)} files had changed, though size and time were the same, e.g. "
            f"{manifest.altered[0]}"
        )
    if manifest.num_repeated:
        lines.append(f"{manifest.num_repeated} label rows repeat an earlier one and were dropped")
    return lines


def _first(folder: Path, layout: Layout, key: str, *, is_media: bool = False) -> Path:
    """Return the first of the names that `layout` has for `key` which exists in the data folder.

    No name leaves the folder, and no table is a link out of it: its cells are quoted where they are
    wrong. Media may be links out of it, a folder or each file: people keep them on another disk,
    and nothing of a file that is no media is ever shown.
    """
    names: tuple[str, ...] = getattr(layout, key)
    what = "prediction template" if key == "template" else key.replace("_", " ")
    for name in names:
        path = within(folder, name, what=what, may_link_out=is_media, kind=DataError)
        if path.exists():
            return path
    raise DataError(
        f"{folder} has no {what}: looked for {', '.join(names)}. "
        f"If the name is another, write it into the experiment file: `data: {{{key}: NAME}}`."
    )


class _Labelled(NamedTuple):
    """The labelled files of a split."""

    split: str
    rows: pd.DataFrame
    media: Path
    sizes: dict[str, int]
    """Of the files in the media folder; see `sizes_in`."""

    num_repeated: int
    understood: list[str]


def _labelled(
    split: str, folder: Path, layout: Layout, described: MetadataTable | None
) -> _Labelled:
    file = _first(folder, layout, f"{split}_labels")
    labels = read_labels(file, layout.columns, layout.classes, layout.described)
    media = _first(folder, layout, f"{split}_media", is_media=True)
    sizes = sizes_in(media, split)
    found = match(labels.table["cell"], files_among(sizes), where=split)
    cells = zip(labels.table["cell"], labels.table["name"], strict=True)
    named = labels.table.assign(name=[found.files.get(cell, name) for cell, name in cells])
    # Two spellings of one name are seen to be one only here.
    named, num_again = without_repeats(named, "name", file)
    understood = [*filter(None, [labels.understood]), *found.said]
    rows = _rows(
        split, named.assign(file=named["name"]), media, sizes, folder, described, understood
    )
    return _Labelled(split, rows, media, sizes, labels.num_repeated + num_again, understood)


def _with_contents(
    table: pd.DataFrame, folder: Path, *, cache: Path, verify: bool = False
) -> ReadContents:
    """Enter what each file holds into `table`, and why one cannot be read; see `read_manifest`."""
    told = metadata_of(table)
    table[told] = table[told].fillna("")
    check_splits(table)
    paths = table.loc[table["status"] == "ok", "path"].drop_duplicates().tolist()
    read = read_file_contents(paths, folder, cache=cache, verify=verify)
    table["content"] = [read.hashes.get(path, "") for path in table["path"]]
    # There, and not to be read: by its rights, or by a damaged disk.
    both = zip(table["path"], table["status"], strict=True)
    table["status"] = [read.refused.get(path, status) for path, status in both]
    return read


def _described(folder: Path, layout: Layout) -> MetadataTable | None:
    """Return what the metadata table says; nothing if there is none of the usual name.

    Raises:
        DataError: it cannot be read, or there is none of the name that was given.
    """
    usual: tuple[str, ...] = Layout.model_fields["metadata"].default
    if layout.metadata == usual and not any((folder / name).exists() for name in usual):
        return None
    return read_metadata(_first(folder, layout, "metadata"), layout.described, layout.columns)


def _rows(
    split: str,
    labels: pd.DataFrame,
    media: Path,
    sizes: dict[str, int],
    folder: Path,
    described: MetadataTable | None,
    understood: list[str],
) -> pd.DataFrame:
    """Return the rows of a split.

    Args:
        split: Its name.
        labels: `name`, `target`, and the `file` of each.
        media: Its media folder.
        sizes: See `sizes_in`.
        folder: The data folder.
        described: What else is said of files.
        understood: Gets the lines about how that was read.
    """
    prefix = media.relative_to(folder).as_posix()
    if described is not None:
        labels, lines = described.join(labels, files_among(sizes), media=prefix, split=split)
        understood += lines
    size = labels["file"].map(sizes).fillna(-1).astype("int64")
    for shut in [name for name, number in sizes.items() if name.endswith("/")]:
        size = size.mask(labels["file"].str.startswith(shut), DENIED)
    status = pd.Series("ok", index=size.index).mask(size == 0, "empty").mask(size < 0, "missing")
    status = status.mask(size == DENIED, "denied").mask(size > MAX_MEDIA_BYTES, "too_large")
    return pd.DataFrame(
        {
            "split": split,
            "name": labels["name"],
            "path": prefix + "/" + labels["file"],
            "target": labels["target"],
            "size_bytes": size.clip(lower=0),
            "status": status,
            **{column: labels[column] for column in metadata_of(labels)},
        }
    )


def check_splits(table: pd.DataFrame) -> None:
    """Raise DataError unless `train` and `val` have files of both classes that are there."""
    for split, rows in table.groupby("split", sort=False):
        there = rows[rows["status"] == "ok"]
        if split != "test" and there["target"].nunique() < 2:
            found = f"{len(there)} of {len(rows)} labelled files are there"
            if denied := int((rows["status"] == "denied").sum()):
                found += f", {denied} of them: permission denied"
            raise DataError(
                f"The {split} split needs real and fake files, and {found}"
                + (f", all with target {there['target'].iloc[0]}" if len(there) else "")
                + f" (first path looked for: {shown_cell(rows['path'].iloc[0], most=200)}). Check "
                "the media folder."
            )
