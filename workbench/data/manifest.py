"""The manifest: one row a file of the data folder, with its split, target, outcome and content."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from workbench.data.columns import and_more
from workbench.data.contents import ReadContents, Stamp, read_file_contents
from workbench.data.data_files import list_data
from workbench.data.delimited import quoted, shown_cell
from workbench.data.labelled_folder import list_labelled
from workbench.data.labels import Template, without_repeats
from workbench.data.layout import Layout as Layout
from workbench.data.media_files import unnamed_files
from workbench.data.metadata import Metadata, column_of, metadata_of
from workbench.data.out_of_fold import FOLD
from workbench.data.targets import require_names_agree
from workbench.errors import DataError
from workbench.tables import counted


@dataclass(frozen=True)
class Manifest:
    """What a data folder holds."""

    table: pd.DataFrame
    """One row a file: `split` (train, val, test), `name` (of train and val as the file is called,
    of test as the template has it), `path` (relative to the data folder),
    `target` (1 fake, 0 real, -1 unknown), `size_bytes`, `status` (ok, missing, empty, too_large:
    over MAX_MEDIA_BYTES, denied: this user may not read it, broken: nobody can, or unreadable: a
    disk or a network does not give it for now), `content`
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

    in_class_folders: bool = False
    """Whether the folder of a labelled file is its label, so that its path says its class."""

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

    Hashes are remembered in `cache`. With `verify`, every file is read again.

    Raises:
        DataError: the folder, a label file or a media folder is absent or unusable, a split holds
            one class only, or no file of a split is there.
        PermissionError: this user may not read one of them.
    """
    files = list_data(folder, layout)
    read = _with_contents(table := files.table, folder, cache=cache, verify=verify)
    repeated = sum(split.num_repeated for split in files.splits)
    media_of = {split.split: split.media for split in files.splits}
    files_in = {split.media: split.sizes for split in files.splits}
    unnamed = unnamed_files(table, media_of, files_in, folder)
    about = read.stamps, read.altered, files.understood
    manifest = Manifest(table, files.template, repeated, unnamed, *about, layout.described)
    return replace(manifest, in_class_folders=layout.kind == "class-folders")


def read_manifest_to_use(folder: Path, layout: Layout, *, cache: Path) -> Manifest:
    """Return the manifest of data that something is trained, chosen or measured on.

    Raises:
        DataError, PermissionError: see `read_manifest`; or a labelled file cannot be read for now.
    """
    manifest = read_manifest(folder, layout, cache=cache)
    _require_contents(manifest.table)
    return manifest


def read_labelled(folder: Path, layout: Layout, *, cache: Path) -> Manifest:
    """Return the manifest of a folder of which every labelled file is of one split, called `val`.

    It is laid out as a data folder is, but has labels of `train` or of `val` alone, or of both, and
    needs no template. A name that is in both is told apart by its media folder.

    Raises:
        DataError, PermissionError: see `read_manifest_to_use`.
    """
    labelled = list_labelled(folder, layout)
    table = pd.concat([part.rows for part in labelled], ignore_index=True).assign(split="val")
    table["name"] = table["name"].mask(table["name"].duplicated(keep=False), table["path"])
    table, _ = without_repeats(table, "path", folder)
    table = table.astype({"target": "int8"})
    if not layout.classes.fake:
        require_names_agree(table["path"].tolist(), table["target"].tolist(), folder)
    read = _with_contents(table, folder, cache=cache)
    _require_contents(table)
    nothing = Template(pd.DataFrame(columns=["name", "score"]), "name", "score", folder)
    said = tuple(line for part in labelled for line in part.understood)
    return Manifest(
        table, nothing, 0, stamps=read.stamps, understood=said, metadata=layout.described
    )


def _require_contents(table: pd.DataFrame) -> None:
    """Raise DataError if a labelled file could not be read for now, so that nobody knows its hash.

    It may be read the next time, and then the data were others than those that a study began with.
    """
    rows = table[(table["split"] != "test") & (table["status"] == "unreadable")]
    if paths := rows["path"].drop_duplicates().tolist():
        raise DataError(unread_told(len(paths), shown_cell(paths[0])))


def unread_told(number: int, first: str) -> str:
    """Return the sentence for labelled files that cannot be read now; `first` is one of them."""
    return (
        f"{counted(number, 'file')} cannot be read for now, e.g. {first}. See whether the disk or "
        "network is well and every package installed, or take what is named out of the tables."
    )


def describe_manifest(manifest: Manifest) -> list[str]:
    """Return lines for a person, one for each split: files, fakes, what is not there.

    Before them, how tables and names were read where they are not as usual; after them, files of
    each class.
    """
    lines = [*manifest.understood]
    # A template may name a file in two ways.
    files = manifest.table.drop_duplicates(["split", "path"])
    for split, rows in files.groupby("split", sort=False):
        known = rows[rows["target"] >= 0]
        fake = f", {(known['target'] == 1).sum()} fake" if len(known) else ", no labels"
        lines.append(f"{split}: {counted(len(rows), 'file')}{fake}{absent_told(rows)}")
    lines += _examples(files)
    if manifest.altered:
        lines.append(
            f"{counted(len(manifest.altered), 'file')} had changed, though size and time were the "
            f"same, e.g. "
            f"{manifest.altered[0]}"
        )
    if manifest.num_repeated:
        repeated = counted(manifest.num_repeated, "label row")
        lines.append(f"dropped: {repeated} with name and label of an earlier one")
    return lines


def absent_told(rows: pd.DataFrame) -> str:
    """Return what follows a number of files of a manifest's table: which are not there, if any."""
    absent = rows[rows["status"] != "ok"]
    if absent.empty:
        return ""
    counts = absent["status"].value_counts().sort_index()
    sample = ", ".join(map(shown_cell, absent["name"].head(3)))
    numbers = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"; {numbers} ({sample}{', ...' if len(absent) > 3 else ''})"


def _examples(files: pd.DataFrame) -> list[str]:
    """Return a line with files of each class, in which labels that are read wrongly show."""
    there = files[(files["target"] >= 0) & (files["status"] == "ok")]
    said = []
    for name, target in (("fake", 1), ("real", 0)):
        some = there.loc[there["target"] == target, "path"].head(2)
        if len(some):
            said.append(f"{name}: {', '.join(shown_cell(path, most=100) for path in some)}")
    return [f"for example {'; '.join(said)}"] if said else []


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


def check_splits(table: pd.DataFrame) -> None:
    """Raise DataError unless `train` and `val` have files of both classes that are there.

    Nor may a file that is in both be real in one and fake in the other.
    """
    labelled = table.loc[table["target"] >= 0, ["path", "target"]].drop_duplicates()
    torn = labelled.loc[labelled["path"].duplicated(), "path"]
    if len(torn):
        raise DataError(
            f"The file {shown_cell(torn.iloc[0], most=200)} is real in one split and fake in "
            f"another{and_more(len(torn))}. Correct the labels, or keep it in one split."
        )
    for split, rows in table.groupby("split", sort=False):
        there = rows[rows["status"] == "ok"]
        if split != "test" and there["target"].nunique() < 2:
            found = f"{len(there)} of {len(rows)} labelled files are there"
            for status, why in (("denied", "permission denied"), ("unreadable", "unreadable")):
                if num := int((rows["status"] == status).sum()):
                    found += f", {num} of them: {why}"
            raise DataError(
                f"The {split} split needs real and fake files, and {found}"
                + (f", all with target {there['target'].iloc[0]}" if len(there) else "")
                + f" (first path looked for: {shown_cell(rows['path'].iloc[0], most=200)}). Check "
                "the media folder."
            )


def changes(before: pd.DataFrame, now: pd.DataFrame, used: Iterable[str] = ()) -> str:
    """Return in what the manifest's table `now` differs from an earlier one, with examples.

    `used` are columns of the metadata, and of folds, that count.
    """
    was, there = (
        table.drop_duplicates(["split", "name"]).set_index(["split", "name"])
        for table in (before, now)
    )
    both = there.index.intersection(was.index)
    found = {
        "other content": there.loc[both][there.loc[both, "content"] != was.loc[both, "content"]],
        "other label": there.loc[both][there.loc[both, "target"] != was.loc[both, "target"]],
        "new": there.loc[there.index.difference(was.index)],
        "no longer named": was.loc[was.index.difference(there.index)],
    }
    lines = [
        f"{what}: {counted(len(rows), 'file')}, e.g. {rows['path'].iloc[0]}"
        for what, rows in found.items()
        if len(rows)
    ]
    for column in used:
        name = column.partition(".")[2] or column
        old, new = (_cells(table.loc[both], column) for table in (was, there))
        other = there.loc[both][old != new]
        if len(other):
            first = other.index[0]
            lines.append(
                f"other {name}: {counted(len(other), 'file')}, e.g. {other['path'].iloc[0]} "
                f"(was {quoted(old[first])}, is {quoted(new[first])})"
            )
        elif (column in was) != (column in there):
            lines.append(f"{'a new' if column in there else 'no longer a'} column {name}")
    return "; ".join(lines)


def _cells(table: pd.DataFrame, column: str) -> "pd.Series[str]":
    """Return a column as text; empty where a table does not say it."""
    return (
        table[column].fillna("").astype(str) if column in table else table["path"].map(lambda _: "")
    )


def metadata_changes(before: pd.DataFrame, now: pd.DataFrame) -> str:
    """Return in a sentence or two which metadata of files changed; nothing where none did.

    Args:
        before: The table of a study's data, of the same files.
        now: That of the manifest; its columns of metadata may be others.
    """
    columns = sorted({*metadata_of(before), *metadata_of(now)})
    was, there = (
        table.drop_duplicates("path").set_index("path").reindex(columns=columns).fillna("")
        for table in (before, now)
    )
    both = there.index.intersection(was.index)
    differs = there.loc[both] != was.loc[both]
    changed = [column for column in columns if differs[column].any()]
    if not changed:
        return ""
    rows = differs.any(axis=1)
    return (
        f"warning: {', '.join(column.partition('.')[2] for column in changed)} of "
        f"{counted(int(rows.sum()), 'file')}, e.g. {both[rows][0]}, is not what the tables said "
        "before. Slices by that hold other files now, so that values of earlier trials on "
        "them cannot be compared with those of new ones. To compare all, search into a new "
        "study by --study NAME."
    )
