"""What the metadata say of the splits: speakers in two of them, generators in one alone."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd

from workbench.checks.findings import Finding, finding, listed
from workbench.data.delimited import shown_cell
from workbench.data.fake_parts import fake_parts_of
from workbench.data.manifest import Manifest
from workbench.data.metadata import PICTURE_FAKE, SOUND_FAKE, Metadata, column_of
from workbench.data.out_of_fold import num_folds, of_one_fold, with_all_folds
from workbench.errors import DataError
from workbench.tables import counted

_EXAMPLES = 3


def metadata_findings(manifest: Manifest) -> Iterator[Finding]:
    """Yield what is to be said of groups that are in two splits, and of generators in one."""
    table, metadata = manifest.table, manifest.metadata
    for column in _asked(metadata):
        if column_of(column) not in table:
            yield finding(
                "metadata_column_absent",
                "note",
                f"The experiment names the column `{column}`, and no table of the data has it.",
                "Correct `groups` or `generator` under `data` in the experiment, or add the column "
                "to the label files or to metadata.csv.",
            )
    whole = with_all_folds(table)
    folds = [of_one_fold(whole, fold) for fold in range(1, num_folds(table) + 1)]
    for column in metadata.groups:
        if column_of(column) in table:
            yield from _unknown_groups(table, column)
            for other in ("val", "test"):
                yield from _shared_groups(folds, column, other)
    if column_of(metadata.generator) in table:
        yield from _generators_of_one_split(folds, metadata.generator)
    with suppress(DataError):  # a cell that is no label: a training on both labels refuses it
        fakes = table[(table["target"] == 1) & (table["content"] != "")]
        yield from _torn_parts(fakes, fakes["content"], "part_conflicts", "the same, byte for byte")


def near_part_findings(files: pd.DataFrame, group_of: "pd.Series[int]") -> Iterator[Finding]:
    """Yield what is to be said of near copies of which the parts are labelled in two ways.

    Args:
        files: Rows of the manifest.
        group_of: The group of near copies of each content that is in one.
    """
    fakes = files[(files["target"] == 1) & files["content"].isin(group_of.index)]
    with suppress(DataError):
        yield from _torn_parts(
            fakes,
            fakes["content"].map(group_of),
            "near_part_conflicts",
            "near copies of each other in all views",
        )


def harder_slices(table: pd.DataFrame, metadata: Metadata) -> str:
    """Return the words that name the exact keys by which val is made harder."""
    if column_of(metadata.generator) in table:
        return "`objective: {metric: auc, over: [val, generators], aggregate: worst}`"
    return (
        "`objective: {metric: auc, over: [val, clusters], aggregate: worst}`; or `generators` for "
        f"`clusters`, once a column `{metadata.generator}` of the label files or of metadata.csv "
        "says what made each fake"
    )


def _asked(metadata: Metadata) -> tuple[str, ...]:
    """Return the columns that the experiment names; the usual one needs no word."""
    is_usual = metadata.generator == Metadata().generator
    return metadata.groups if is_usual else metadata.columns


def _unknown_groups(table: pd.DataFrame, column: str) -> Iterator[Finding]:
    labelled = table[table["target"] >= 0]
    unknown = labelled[labelled[column_of(column)] == ""]
    if 0 < len(unknown) < len(labelled):
        yield finding(
            "groups_unknown",
            "note",
            f"Of {len(unknown):,} of {counted(len(labelled), 'labelled file')} the tables say no "
            f"`{column}`: each counts as one of its own.",
            f"Fill in the `{column}` of every file where it is known, in each row.",
            [[path] for path in unknown["path"]],
        )


def _shared_groups(folds: Sequence[pd.DataFrame], column: str, other: str) -> Iterator[Finding]:
    """Yield what is to be said of groups that a model of some fold learns and is measured on."""
    parts = []
    for table in folds:
        values = table[column_of(column)]
        of_train = set(values[table["split"] == "train"]) - {""}
        parts.append(table[(table["split"] == other) & values.isin(of_train)])
    files = pd.concat(parts).drop_duplicates(["name", "path"])
    shared = sorted(set(files[column_of(column)]))
    if not shared:
        return
    asked = pd.concat([table[table["split"] == other] for table in folds])
    whole = len(asked.drop_duplicates(["name", "path"]))
    yield finding(
        "groups_across_splits",
        "warning" if other == "val" else "note",
        f"{counted(len(shared), 'value')} of `{column}` ({_some(shared)}) in train and in "
        f"{other}: {len(files):,} of its {whole:,} files are of a {column} that was trained on.",
        "A model can know them by heart, and its score on val then says nothing of others: put all "
        f"files of one {column} into one split."
        if other == "val"
        else f"Nothing has to be done; a test with {column}s of its own would be harder.",
        [[path] for path in files["path"]],
    )


def _generators_of_one_split(folds: Sequence[pd.DataFrame], column: str) -> Iterator[Finding]:
    def known(table: pd.DataFrame, split: str) -> set[str]:
        rows = table[(table["target"] == 1) & (table["split"] == split)]
        return set(rows[column_of(column)]) - {""}

    each = [(known(table, "train"), known(table, "val")) for table in folds]
    if not all(train and val for train, val in each):
        return
    if new := sorted(set[str]().union(*(val - train for train, val in each))):
        yield finding(
            "generators_of_val_alone",
            "note",
            f"{counted(len(new), 'generator')} ({_some(new)}) only in val: what is measured on "
            "their fakes is how a model does on generators that it never saw.",
            "Keep it so if the test has new generators too, and choose by the worst of them: "
            "`objective: {metric: auc, over: [val, generators], aggregate: worst}`.",
        )
    if lost := sorted(set[str].intersection(*(train - val for train, val in each))):
        yield finding(
            "generators_of_train_alone",
            "note",
            f"{counted(len(lost), 'generator')} ({_some(lost)}) only in train: nothing measures "
            "whether a model has learnt them.",
            "Move some of their fakes to val if the test may have them.",
        )


def _torn_parts(
    fakes: pd.DataFrame, group_of: "pd.Series[Any]", code: str, how: str
) -> Iterator[Finding]:
    parts = pd.DataFrame(fake_parts_of(fakes), fakes.index).groupby(group_of).nunique()
    torn = fakes[group_of.isin(parts.index[(parts > 1).any(axis=1)])]
    if len(torn):
        groups = [list(dict.fromkeys(rows["path"])) for _, rows in torn.groupby(group_of)]
        yield finding(
            code,
            "warning",
            f"{counted(len(groups), 'group')} of fakes are {how}, and "
            f"`{SOUND_FAKE}` or `{PICTURE_FAKE}` says two things of them.",
            "Correct these columns: a training on both labels would learn both.",
            groups,
        )


def _some(values: list[str]) -> str:
    more = [f"{len(values) - _EXAMPLES} more"] if len(values) > _EXAMPLES else []
    return listed([*map(shown_cell, values[:_EXAMPLES]), *more])
