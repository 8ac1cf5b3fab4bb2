"""Files that are there more than once: in two splits, with two labels, or just twice."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from workbench.checks.findings import Finding, finding, listed
from workbench.checks.hashes import Pairs
from workbench.data.out_of_fold import FOLD
from workbench.tables import counted


@dataclass(frozen=True)
class CopyGroup:
    """Files that hold the same."""

    paths: tuple[str, ...]
    splits: tuple[str, ...]
    """Of each path."""

    targets: frozenset[int]
    """0 and 1, as far as labels say."""

    @property
    def is_across(self) -> bool:
        """Whether two splits share it."""
        return len(set(self.splits)) > 1

    @property
    def is_torn(self) -> bool:
        """Whether it is labelled both real and fake."""
        return len(self.targets) > 1


def files_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose file is there, without those of `test` that are a file of `val` too.

    In a competition's first phase the template names the validation clips.
    """
    there = table[table["status"] == "ok"]
    in_val = there.loc[there["split"] == "val", "path"]
    return there[~((there["split"] == "test") & there["path"].isin(in_val))]


def dealt_files(files: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `files` with what validates together as a split: a fold, if there are any.

    What validates in one of several folds is trained on in the others.

    Args:
        files: See `files_of`.
        table: The manifest's, which has the folds.
    """
    if FOLD not in table:
        return files
    folds = files["path"].map(table[table["target"] >= 0].set_index("path")[FOLD])
    named = folds.map(lambda fold: f"fold {fold:.0f}" if fold > 0 else "train")
    dealt = files.assign(split=named.where(files["split"] != "test", "test"))
    return dealt.sort_values("split", kind="stable")  # two are then named in one order


def exact_copies(files: pd.DataFrame) -> list[Finding]:
    """Return what is to be said of files (rows of the manifest) with the same bytes."""
    repeated = files[files["content"].duplicated(keep=False)]
    groups = [_group(rows) for _, rows in repeated.groupby("content", sort=False)]
    return [
        *_across(groups, "copies_across_splits", "are the same, byte for byte,"),
        *_torn(
            groups,
            "label_conflicts",
            "{} labelled both real and fake, though their bytes are the same",
            "Find out which label is right and drop the other rows, or drop all of them.",
        ),
        *_within(groups, "copies_within_split", "the same, byte for byte"),
    ]


def find_near_copies(files: pd.DataFrame, contents: pd.DataFrame, pairs: Pairs) -> list[Finding]:
    """Return what is to be said of files that show and sound the same, with different bytes.

    Args:
        files: Rows of the manifest.
        contents: The rows that the indices in `pairs` count, one a content.
        pairs: (pairs, 2) indices of contents that are near copies.
    """
    groups = _as_groups(files, near_groups(contents, pairs))
    return [
        *_across(groups, "near_copies_across_splits", "look and sound the same"),
        *_torn(
            groups,
            "near_copies_with_other_labels",
            "{} that look and sound the same in all views, one labelled real and one fake",
            "Look at them: a fake made of that very file is fine within one split, and belongs in "
            "the split of its original; anything else is a wrong label.",
        ),
        *_within(groups, "near_copies_within_split", "near copies of each other"),
    ]


def near_groups(contents: pd.DataFrame, pairs: Pairs) -> "pd.Series[int]":
    """Return the number of the group of each content that has near copies, by content.

    As for `find_near_copies`.
    """
    size = len(contents)
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    labels = connected_components(links, directed=False)[1]
    sizes = np.bincount(labels, minlength=1)
    is_copy = sizes[labels] > 1
    return pd.Series(labels[is_copy], index=contents["content"].to_numpy()[is_copy])


def _as_groups(files: pd.DataFrame, group_of: "pd.Series[int]") -> list[CopyGroup]:
    # Of the files of one content, one of each split is enough here: the rest are exact copies.
    some = files[files["content"].isin(group_of.index)].drop_duplicates(["content", "split"])
    return [_group(rows) for _, rows in some.groupby(some["content"].map(group_of), sort=False)]


def _group(rows: pd.DataFrame) -> CopyGroup:
    targets = frozenset(int(target) for target in rows["target"] if target >= 0)
    return CopyGroup(tuple(rows["path"]), tuple(rows["split"]), targets)


def _across(groups: list[CopyGroup], code: str, how: str) -> Iterator[Finding]:
    shared = [group for group in groups if group.is_across]
    if not shared:
        return
    pairs = Counter(
        pair for group in shared for pair in combinations(dict.fromkeys(group.splits), 2)
    )
    said = listed(
        [f"{number:,} in both {one} and {other}" for (one, other), number in pairs.items()]
    )
    yield finding(
        code,
        "warning",
        f"{counted(len(shared), 'group')} of files {how} in different splits ({said}): what a "
        "model learnt by heart is counted as skill.",
        "Keep each in one split only: drop those of train that are in val or test, and those of "
        "val that are in test.",
        [group.paths for group in shared],
    )


def _torn(groups: list[CopyGroup], code: str, what: str, remedy: str) -> Iterator[Finding]:
    torn = [group for group in groups if group.is_torn]
    if torn:
        said = what.format(counted(len(torn), "group") + " of files")
        yield finding(code, "warning", f"{said}.", remedy, [group.paths for group in torn])


def _within(groups: list[CopyGroup], code: str, how: str) -> Iterator[Finding]:
    """Return the finding about groups that no other finding names."""
    plain = [group for group in groups if not group.is_across and not group.is_torn]
    if not plain:
        return
    extra = sum(len(group.paths) - 1 for group in plain)
    yield finding(
        code,
        "note",
        f"{counted(len(plain), 'group')} of files within one split are {how} "
        f"({counted(extra, 'file')} too many).",
        "Drop all but one of each, or know that they count more than others do.",
        [group.paths for group in plain],
    )
