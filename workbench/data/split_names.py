"""What people call the splits of their data, in columns and as folders."""

from workbench.data.columns import cells_of, fold
from workbench.data.delimited import Delimited

SPLIT_COLUMNS = ("split", "subset", "partition")
"""Columns that say the split of a file, unless `columns` names another."""

_OTHER_SPLIT_COLUMNS = ("set", "usage", "phase", "data_split", "split_name")
"""Columns that say it where half of their cells are words for splits: the others are then refused,
as those of `SPLIT_COLUMNS` are."""

_SPLITS = {
    "train": ("train", "training", "trainset", "training_set", "train_set"),
    "val": (
        "val",
        "valid",
        "validation",
        "valset",
        "dev",
        "devel",
        "development",
        "val_set",
        "publictest",
    ),
    "test": (
        "test",
        "testing",
        "testset",
        "test_set",
        "eval",
        "evaluation",
        "predict",
        "privatetest",
    ),
}
_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words}


def split_called(word: str) -> str | None:
    """Return which of `train`, `val` and `test` a word means; None if none of them."""
    return _SPLIT_OF.get(fold(word))


def _is_split(word: str) -> bool:
    return split_called(word) is not None


def other_split_columns(table: Delimited) -> list[str]:
    """Return the folded names of the columns that say splits though `SPLIT_COLUMNS` lacks them."""
    return [
        name
        for at, name in enumerate(map(fold, table.rows[0]))
        if name in _OTHER_SPLIT_COLUMNS
        and len(table.rows) > 1
        and 2 * sum(map(_is_split, cells_of(table.rows[1:], at))) >= len(table.rows) - 1
    ]
