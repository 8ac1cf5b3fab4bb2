"""Folders named after splits: a name in a table is looked for in that of its row's split.

Where each split has a folder of its own, files of several are often called alike.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from workbench.data.delimited import shown_cell
from workbench.data.named_files import NamesFound
from workbench.data.names import spelled
from workbench.data.split_names import is_of_other_split, may_be_of_other_split, split_called
from workbench.tables import counted


def placed(names: Sequence[str], splits: Sequence[str], files: Collection[str]) -> list[str]:
    """Return names of a table, those of files in the folder of their split with its name before.

    One that is a file as it stands stays, and so does one of which no file is found.

    Args:
        names: As they are written.
        splits: `train`, `val` or `test` of each.
        files: Below the folder of the media, relative to it.
    """
    folders = _folders(files)
    there = _called(files)
    found = []
    for name, split in zip(names, splits, strict=True):
        plain = spelled(name)
        inside = f"{folders[split]}/{plain}" if split in folders else ""
        found.append(inside if inside in there and plain not in there else name)
    return found


def parent_of_splits(
    names: Sequence[str],
    splits: Sequence[str],
    files: Collection[str],
    found: NamesFound,
    *,
    least: float,
) -> str | None:
    """Return the folder in which each of several splits has one with its files; None if none is.

    Args:
        names: As a table of labels has them.
        splits: `train`, `val` or `test` of each.
        files: Of the data folder.
        found: Where the names are without regard to splits. Only where that is the folder of one
            split, or hardly any is found, are they looked for in those of their splits.
        least: The share of the names of each labelled split that are to be found so.
    """
    parent, _, last = found.media.rpartition("/")
    if split_called(last):
        above = [parent]
    elif found.found >= least:
        return None  # what is there as it is named is meant
    else:
        above = list(
            dict.fromkeys(
                "/".join(parts[:cut])
                for parts in (file.split("/")[:-1] for file in files)
                for cut, part in enumerate(parts)
                if split_called(part)
            )
        )
    of_split = defaultdict[str, list[str]](list)
    for name, split in zip(names, splits, strict=True):
        of_split[split].append(spelled(name))
    if len(of_split) < 2:
        return None
    fitting = []
    for parent in above:
        prefix = f"{parent}/" if parent else ""
        inner = {file.removeprefix(prefix) for file in files if file.startswith(prefix)}
        folders, there = _folders(inner), _called(inner)
        shares = [
            sum(f"{folders.get(split)}/{name}" in there for name in those) / len(those)
            for split, those in of_split.items()
            if split != "test"
        ]
        if min(shares, default=0.0) >= least:
            fitting.append(parent or ".")
    return fitting[0] if len(fitting) == 1 else None


def other_splits_told(table: pd.DataFrame, *, with_test: bool) -> list[str]:
    """Return a line for each split of which files are there in folders called after another one.

    Args:
        table: Of the files; see `rows_of`.
        with_test: Whether this is said of files of `test`, too.
    """
    lines = []
    there = table[table["status"] == "ok"]
    for split, rows in there.groupby("split", sort=False):
        paths = rows["path"].drop_duplicates()
        other = [path for path in paths if _is_elsewhere(path, str(split))]
        if other and (with_test or split != "test"):
            lines.append(
                f"warning: {len(other)} of {counted(len(paths), 'file')} of {split} "
                f"{'is' if len(other) == 1 else 'are'} in folders called after another split, e.g. "
                f"{shown_cell(other[0], most=100)}"
            )
    return lines


def _is_elsewhere(path: str, split: str) -> bool:
    # A folder that may be called after the split excuses none within it that is plainly another's.
    return is_of_other_split(path, split) or may_be_of_other_split(path, split)


def _folders(files: Iterable[str]) -> dict[str, str]:
    """Return the one folder of each split among the outermost ones that hold files."""
    found = defaultdict[str, set[str]](set)
    for file in files:
        folder, slash, _ = file.partition("/")
        if slash and (split := split_called(folder)):
            found[split].add(folder)
    return {split: min(names) for split, names in found.items() if len(names) == 1}


def _called(files: Collection[str]) -> set[str]:
    """Return what a table may call files: their names, or these without their endings."""
    return {*files, *(file.rpartition(".")[0] for file in files)}
