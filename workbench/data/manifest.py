"""The manifest: one row a file of the data folder, with its split, target, outcome and content."""

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from workbench.console import track
from workbench.data.labels import Template, read_labels, read_template
from workbench.errors import DataError
from workbench.files import finished, hash_file
from workbench.values import Frozen


class Layout(Frozen):
    """Where a data folder keeps its files; of several names the first that exists counts."""

    train_labels: tuple[str, ...] = ("train_label.txt", "trainset_label.txt")
    train_media: tuple[str, ...] = ("trainset", "train")
    val_labels: tuple[str, ...] = ("val_label.txt", "valset_label.txt")
    val_media: tuple[str, ...] = ("valset", "val")
    template: tuple[str, ...] = ("prediction.txt.csv", "prediction.csv")
    test_media: tuple[str, ...] = ("testset", "testset1", "test", "valset", "val")
    """In the competition's first phase the template names the validation clips."""


@dataclass(frozen=True)
class Manifest:
    """What a data folder holds."""

    table: pd.DataFrame
    """One row a file: `split` (train, val, test), `name`, `path` (relative to the data folder),
    `target` (1 fake, 0 real, -1 unknown), `size_bytes`, `status` (ok, missing, empty, or broken:
    it cannot be read) and `content` (SHA-256 of the bytes, empty if there are none)."""

    template: Template
    num_repeated: int

    unnamed: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["split", "path"]))
    """Media files that no label row and no template row names: `path` (relative to the data
    folder) and `split`, where one media folder serves several `val, test`. A file counts as media
    if it ends as a named file of that folder does (`.mp4`) and is not hidden."""

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits naming labels and media; equal on every machine that has the same."""
        rows = self.table[["split", "name", "target", "content"]].sort_values(["split", "name"])
        return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()[:12]


def read_manifest(folder: Path, layout: Layout, *, cache: Path) -> Manifest:
    """Return the manifest of the data `folder`; a file's content is read once, then remembered.

    Args:
        folder: The data folder, laid out as `layout` says.
        layout: Names of label files and media folders.
        cache: Folder where the hashes of the contents are remembered.

    Raises:
        DataError: the folder, a label file or a media folder is absent or unusable, a split holds
            one class only, or no file of a split is there.
    """
    if not folder.is_dir():
        raise DataError(f"The data folder {folder} does not exist. Give an existing one by --data.")
    parts, num_repeated = [], 0
    media_of, files_in = {}, {}
    for split in ("train", "val"):
        labels = read_labels(_first(folder, getattr(layout, f"{split}_labels"), f"{split} labels"))
        media = _first(folder, getattr(layout, f"{split}_media"), f"{split} media")
        num_repeated += labels.num_repeated
        media_of[split], files_in[media] = media, _sizes(media, split)
        parts.append(_rows(split, labels.table, media, files_in[media], folder))
    template = read_template(_first(folder, layout.template, "prediction template"))
    unlabelled = pd.DataFrame({"name": template.names.drop_duplicates(), "target": -1})
    media = _first(folder, layout.test_media, "test media")
    media_of["test"] = media
    if media not in files_in:
        files_in[media] = _sizes(media, "test")
    parts.append(_rows("test", unlabelled, media, files_in[media], folder))
    table = pd.concat(parts, ignore_index=True).astype({"target": "int8"})
    _check_splits(table)
    table["content"] = _contents(table, folder, cache)
    # There, and not to be read: by its rights, or by a damaged disk.
    table.loc[(table["status"] == "ok") & (table["content"] == ""), "status"] = "broken"
    return Manifest(table, template, num_repeated, _unnamed(table, media_of, files_in, folder))


def describe(manifest: Manifest) -> list[str]:
    """Return one line a split for a person: how many files, how many fake, what is not there."""
    lines = []
    for split, rows in manifest.table.groupby("split", sort=False):
        known = rows[rows["target"] >= 0]
        fake = f", {(known['target'] == 1).sum()} fake" if len(known) else ", no labels"
        absent = rows[rows["status"] != "ok"]
        line = f"{split}: {len(rows)} files{fake}"
        if len(absent):
            counts = absent["status"].value_counts().sort_index()
            sample = ", ".join(absent["name"].head(3))
            line += "; " + ", ".join(f"{count} {status}" for status, count in counts.items())
            line += f" ({sample}{', ...' if len(absent) > 3 else ''})"
        lines.append(line)
    if manifest.num_repeated:
        lines.append(f"{manifest.num_repeated} label rows repeat an earlier one and were dropped")
    return lines


def _first(folder: Path, names: tuple[str, ...], what: str) -> Path:
    for name in names:
        if Path(name).is_absolute():
            raise DataError(f"{name} is not in {folder}. Name the {what} relative to that folder.")
        if (folder / name).exists():
            return folder / name
    raise DataError(
        f"{folder} has no {what}: looked for {', '.join(names)}. "
        "Name them under `data` in the experiment file if they are called otherwise."
    )


def _rows(
    split: str, labels: pd.DataFrame, media: Path, sizes: dict[str, int], folder: Path
) -> pd.DataFrame:
    size = labels["name"].map(sizes).fillna(-1).astype("int64")
    status = pd.Series("ok", index=size.index).mask(size == 0, "empty").mask(size < 0, "missing")
    prefix = media.relative_to(folder).as_posix()
    return pd.DataFrame(
        {
            "split": split,
            "name": labels["name"],
            "path": prefix + "/" + labels["name"],
            "target": labels["target"],
            "size_bytes": size.clip(lower=0),
            "status": status,
        }
    )


def _sizes(media: Path, split: str) -> dict[str, int]:
    """Return the size of every file under `media`, by its name within `media`."""
    if not media.is_dir():
        raise DataError(f"{media} is not a folder. It should hold the media files of {split}.")
    sizes = {}
    for parent, folders, files in os.walk(media, followlinks=True):
        inside = Path(parent).relative_to(media)
        # A link to a folder above would be walked again and again.
        above = {os.path.realpath(str(folder)) for folder in (parent, *Path(parent).parents)}
        folders[:] = [f for f in folders if os.path.realpath(f"{parent}/{f}") not in above]
        for name in files:
            try:
                found = (Path(parent) / name).stat()
            except OSError:  # a dangling link: to its reader it is missing
                continue
            if not stat.S_ISREG(found.st_mode):  # a pipe or a device has no size
                continue
            size = found.st_size
            # No label file, being UTF-8, names a file whose name is not; it is only listed.
            inner = (inside / name).as_posix().encode("utf-8", "surrogateescape")
            sizes[inner.decode("utf-8", "replace")] = size
    return sizes


def _unnamed(
    table: pd.DataFrame,
    media_of: dict[str, Path],
    files_in: dict[Path, dict[str, int]],
    folder: Path,
) -> pd.DataFrame:
    """Return `Manifest.unnamed`: what lies in a media folder and is in no row of any split."""
    named = set(table["path"])
    rows: dict[str, str] = {}
    for media, sizes in files_in.items():
        splits = [split for split, place in media_of.items() if place == media]
        endings = {_ending(name) for name in table.loc[table["split"].isin(splits), "name"]}
        prefix = media.relative_to(folder).as_posix()
        for name in sizes:
            path = f"{prefix}/{name}"
            is_hidden = PurePosixPath(name).name.startswith(".")
            if path not in named and not is_hidden and _ending(name) in endings:
                # One media folder may lie in another: the file is said once.
                rows.setdefault(path, ", ".join(splits))
    found = pd.DataFrame({"split": list(rows.values()), "path": list(rows)}, dtype="str")
    return found.sort_values("path", ignore_index=True)


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _check_splits(table: pd.DataFrame) -> None:
    for split, rows in table.groupby("split", sort=False):
        there = rows[rows["status"] == "ok"]
        if split != "test" and there["target"].nunique() < 2:
            found = f"{len(there)} of {len(rows)} labelled files are there"
            raise DataError(
                f"The {split} split needs real and fake files, and {found}"
                + (f", all with target {there['target'].iloc[0]}" if len(there) else "")
                + f" (first path looked for: {rows['path'].iloc[0]}). Check the media folder."
            )


def _hash_or_none(path: Path) -> str | None:
    try:
        return hash_file(path)
    except OSError:
        return None


def _contents(table: pd.DataFrame, folder: Path, cache: Path) -> "pd.Series[str]":
    """Return the SHA-256 of each row's file, reading only what changed since the last time."""
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    memory_file = cache / "contents" / f"{place}.parquet"
    there = table.loc[table["status"] == "ok", ["path", "size_bytes"]].drop_duplicates("path")
    times = [(folder / path).stat().st_mtime_ns for path in there["path"]]
    there = there.assign(mtime_ns=times)
    if (known := _remembered(memory_file)) is not None:
        there = there.merge(known, on=["path", "size_bytes", "mtime_ns"], how="left")
    else:
        there["content"] = None
    unread = there.index[there["content"].isna()]
    if len(unread):
        paths = [folder / path for path in there.loc[unread, "path"]]
        with ThreadPoolExecutor() as pool:  # hashing and reading both let other threads run
            hashes = track(pool.map(_hash_or_none, paths), "hash", unit="file", total=len(paths))
            there.loc[unread, "content"] = list(hashes)
        there = there.dropna(subset="content")
        with finished(memory_file) as part:
            there.to_parquet(part, index=False, write_page_checksum=True)
    return table["path"].map(there.set_index("path")["content"]).fillna("")


def _remembered(memory_file: Path) -> pd.DataFrame | None:
    """Return the hashes of the last time; nothing where there are none, or they are damaged."""
    try:
        known = pd.read_parquet(memory_file, page_checksum_verification=True)
        return known[["path", "size_bytes", "mtime_ns", "content"]]
    except (OSError, ValueError, KeyError, RuntimeError, TypeError):  # Arrow's, and no such file
        return None
