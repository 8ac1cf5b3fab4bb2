"""What a technical report says of the files of a study: how many, and how many no model saw."""

from collections.abc import Sequence

import pandas as pd

from workbench.data.out_of_fold import learned_told
from workbench.data.prepared_table import has_views
from workbench.tables import counted


def splits_told(table: pd.DataFrame, *, is_refit: bool) -> Sequence[str]:
    """Return a line for each split, and what the exported weights learned from of several folds.

    Args:
        table: Of the prepared data.
        is_refit: Whether what is exported is a refit, which learned from `val`, too.
    """
    lines, seen = [], pd.Series(has_views(table), table.index)
    for split, rows in table.groupby("split", sort=False):
        lost = rows[~seen[rows.index]]
        fakes = f" ({_num_fake(lost)} fake)"
        fake = f", {_num_fake(rows)} fake"
        if not (rows["target"] >= 0).any():
            fake, fakes = ", without labels", ""
        line = f"{split}: {counted(len(rows), 'file')}{fake}"
        if len(lost):
            line += f"; of {len(lost)}{fakes} no view could be made"
            line += _rest_told(str(split), len(rows) - len(lost), is_refit=is_refit)
        lines.append(line)
    # What nothing could be made of is learned by no model, whatever fold it is in.
    if learned := learned_told(table[seen], is_refit=is_refit):
        lines.append(learned)
    return lines


def _num_fake(rows: pd.DataFrame) -> int:
    return int((rows["target"] == 1).sum())


def _rest_told(split: str, num: int, *, is_refit: bool) -> str:
    """Return what became of the other files, to go on with; a test file has a score anyway."""
    verb = "is" if num == 1 else "are"
    if split == "train":
        return f", so {num} {verb} trained on"
    if split == "val":
        return f", so {num} {verb} measured" + " and, by the refit, trained on" * is_refit
    return ""
