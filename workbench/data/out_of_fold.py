"""Tables of files of which several folds validate in turn: each model scores what it did not see.

In such a table a labelled file that validates stands twice, as one of `train` and as one of `val`.
"""

import pandas as pd

FOLD = "fold"
"""Column of a manifest's table: the fold that a file is in, by its place among those that validate,
from 1 on; 0 of a file that is always trained on. Absent where one fold validates."""


def num_folds(table: pd.DataFrame) -> int:
    """Return how many folds validate in turn."""
    return int(table[FOLD].max()) if FOLD in table else 1


def with_all_folds(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that has every labelled file in `train`, and in `val` those of some fold."""
    if FOLD not in table:
        return table
    labelled = table[table["target"] >= 0]
    train = labelled.assign(split="train")
    val = labelled[labelled[FOLD] > 0].assign(split="val")
    return pd.concat([train, val, table[table["target"] < 0]], ignore_index=True)


def of_one_fold(table: pd.DataFrame, fold: int) -> pd.DataFrame:
    """Return the table of one fold as `val`, and of all that is not in it as `train`.

    Args:
        table: As `with_all_folds` returns it.
        fold: The place of the fold, from 1 on.
    """
    if FOLD not in table:
        return table
    own = table[FOLD] == fold
    is_other = ((table["split"] == "train") & own) | ((table["split"] == "val") & ~own)
    return table[~is_other].drop(columns=FOLD).reset_index(drop=True)


def learned_told(table: pd.DataFrame, *, is_refit: bool) -> str:
    """Return in sentences what an exported model learned from; empty where one fold validates.

    Args:
        table: As `with_all_folds` returns it.
        is_refit: Whether it is a refit, which learns from every file.
    """
    if FOLD not in table:
        return ""
    num = int((table["split"] == "train").sum())
    learned = int((of_one_fold(table, 1)["split"] == "train").sum())
    those = f"all {num} of train, being a refit's" if is_refit else f"{learned} of train's {num}"
    return (
        "Every file of val is one of train, too, and scored by a model that did not learn from "
        f"it. The exported weights learned from {those}."
    )


def with_val_in_train(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with every labelled file in `train`, once; those of `val` are there, too.

    No fold is told apart any more.

    Args:
        table: With one fold, or as `with_all_folds` returns it.
    """
    is_labelled = table["target"] >= 0
    train = table[is_labelled].drop_duplicates(["path", "target"]).assign(split="train")
    if train["name"].duplicated().any():  # files of two folders, now in one split
        train = train.assign(name=train["path"])
    rest = table[(table["split"] == "val") | ~is_labelled]
    whole = pd.concat([train, rest], ignore_index=True)
    return whole.drop(columns=FOLD, errors="ignore")
