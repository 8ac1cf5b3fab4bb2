"""What people call the splits of their data, in columns and as folders."""

from workbench.data.columns import fold

SPLIT_COLUMNS = ("split", "subset", "partition")
"""Columns that say the split of a file, unless `columns` names another."""

_SPLITS = {
    "train": ("train", "training", "trainset", "training_set", "train_set"),
    "val": ("val", "valid", "validation", "valset", "dev", "devel", "development", "val_set"),
    "test": ("test", "testing", "testset", "test_set", "eval", "evaluation", "predict"),
}
_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words}


def split_called(word: str) -> str | None:
    """Return which of `train`, `val` and `test` a word means; None if none of them."""
    return _SPLIT_OF.get(fold(word))
