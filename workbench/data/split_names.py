"""What people call the splits of their data, in columns and as folders."""

import re
from functools import lru_cache

from workbench.data.columns import cells_of, fold
from workbench.data.delimited import Delimited
from workbench.data.targets import Classes, reader_of

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
_FILES = (
    *("image", "images", "img", "imgs", "picture", "pictures", "frame", "frames", "face", "faces"),
    *("video", "videos", "clip", "clips", "audio", "audios", "sound", "sounds", "wav", "wavs"),
    *("flac", "jpg", "png", "mp4", "file", "files", "data", "media", "folder", "dir", "set"),
)
"""Words beside that for a split in the name of a folder, besides those for a class."""

_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words}


def split_called(word: str) -> str | None:
    """Return which of `train`, `val` and `test` a word means; None if none of them."""
    return _SPLIT_OF.get(fold(word))


@lru_cache(maxsize=4096)  # many files are in one folder
def split_in(folder: str) -> str | None:
    """Return the split that a folder is called after; None if it is called after none or several.

    Beside the word for it there may be numbers, single letters and words for files or a class, as
    in `test1`, `test_a`, `test_images` and `train_fake`.
    """
    words = _words(folder)
    others = [word for word in words if split_called(word) is None]
    is_known = all(word in _FILES or reader_of(word, Classes()) is not None for word in others)
    return split_hinted(folder) if is_known else split_called(folder)


@lru_cache(maxsize=4096)
def split_hinted(folder: str) -> str | None:
    """Return the split that a folder may be called after, as `train_real_ffhq`; None if after none.

    Its first or its last word, but for those for files or a class, is one for it.
    """
    if split := split_called(folder):
        return split
    words = _words(folder)
    found = {*map(split_called, words)} - {None}
    kept = [w for w in words if w not in _FILES and reader_of(w, Classes()) is None]
    return found.pop() if len(found) == 1 and {kept[0], kept[-1]} & {*_SPLIT_OF} else None


def _words(folder: str) -> list[str]:
    """Return the words of a folder's name, but for numbers and single letters."""
    return [word for word in re.split(r"[\W\d_]+", fold(folder)) if len(word) > 1]


def splits_in(path: str) -> set[str]:
    """Return the splits that folders of a file's path are called after."""
    return {split for folder in path.split("/")[:-1] if (split := split_in(folder))}


def is_of_other_split(path: str, split: str) -> bool:
    """Return whether folders of a file's path are called after splits, and none after `split`."""
    found = splits_in(path)
    return bool(found) and split not in found


def may_be_of_other_split(path: str, split: str) -> bool:
    """Return the same of folders that may be called after splits; see `split_hinted`."""
    found = {*map(split_hinted, path.split("/")[:-1])} - {None}
    return bool(found) and split not in found


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
