"""Data with a subfolder for each class: `real` and `fake`, or `train/real`, `train/fake`, ..."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from workbench.data.delimited import quoted, shown_cell
from workbench.data.file_rows import SplitFiles, prefix_of, rows_of
from workbench.data.labels import Template
from workbench.data.layout import Layout
from workbench.data.media_files import NO_FILE, sizes_in
from workbench.data.metadata import MetadataTable
from workbench.data.split_names import split_called, split_hinted
from workbench.data.targets import Classes, reader_of, third_class
from workbench.data.unlabelled import Skipped, media_among, skipped_told, split_of_files
from workbench.errors import DataError
from workbench.tables import counted

_NAMED = 6
"""Folders or labels that a message names."""


_ASIDE = frozenset({"mask", "masks", "thumb", "thumbs", "thumbnail", "thumbnails", "eadir"})
"""Words in the names of folders whose files are called as others are, and are none of them."""


def is_aside(folder: str) -> bool:
    """Return whether a folder, or one in this path, has masks, thumbnails or the like."""
    return not _ASIDE.isdisjoint(re.split(r"[\W\d_]+", folder.casefold()))


def folders_in(folder: Path) -> list[Path]:
    """Return the subfolders of `folder` by name, links followed; hidden ones are left out."""
    there = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in there if path.is_dir())


def split_folders(folder: Path) -> dict[str, Path]:
    """Return the subfolders that are called as splits are, by the split.

    Raises:
        DataError: two mean one split.
    """
    found: dict[str, Path] = {}
    for path in folders_in(folder):
        split = split_called(path.name)
        if split is None:
            continue
        if split in found:
            raise DataError(
                f"{folder} has two folders of the split {split}, {shown_cell(found[split].name)} "
                f"and {shown_cell(path.name)}. Rename or move one of them."
            )
        found[split] = path
    return found


def is_of_classes(folder: Path, classes: Classes) -> bool:
    """Return whether some subfolder of `folder` is called as a class is."""
    return any(class_of(path.name, classes) is not None for path in folders_in(folder))


def class_of(name: str, classes: Classes) -> int | None:
    """Return which class a folder is called as: 1 for fakes, 0 for real files; None if neither."""
    read = reader_of(name, classes)
    return read(name.strip().casefold()) if read else None


def class_by_words(name: str, given: Classes) -> int | None:
    """Return which class a folder is of: by its name, else by a word in it such as `fake_audio`."""
    found = class_of(name, given)
    if found is not None or given.fake:
        return found
    words = [word for word in re.split(r"[\W_]+", name) if not word.isdigit()]
    if {"not", "non", "no"} & {word.casefold() for word in words}:
        return None  # `not_fake` says the other one, if any
    meant = {class_of(word, given) for word in words} - {None}
    return meant.pop() if len(meant) == 1 else None


def read_class_folders(
    folder: Path, layout: Layout, described: MetadataTable | None
) -> list[SplitFiles]:
    """Return the labelled files of `train`, and of `val` where there is such a folder.

    Without folders of splits all are of `train`.

    Raises:
        DataError: there are no folders of both classes, or of a third one beside them.
        PermissionError: this user may not look into one of them.
    """
    inner = {
        split: path
        for split, path in split_folders(folder).items()
        if split != "test" and is_of_classes(path, layout.classes)
    }
    if not inner:
        return [_labelled("train", folder, folder, layout, described)]
    if "train" not in inner:
        raise DataError(
            f"{folder} has a folder of validation files with classes in it, and no such folder "
            "of training files. Add train/real and train/fake."
        )
    found = [_labelled(split, inner[split], folder, layout, described) for split in sorted(inner)]
    used = {*inner.values(), split_folders(folder).get("test")}
    names, skipped = media_among(_sizes_beside(folder, used))
    found[0].understood.extend(skipped_told(_lost(skipped), "."))
    found[0].understood.extend(_loose_told(names, folder))
    return found


def _sizes_beside(folder: Path, used: Collection[Path | None]) -> dict[str, int]:
    """Return the sizes of what is in `folder` and in none of the subfolders `used`."""
    sizes: dict[str, int] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            inside = {} if path in used else sizes_in(path, "the data")
            sizes |= {f"{path.name}/{name}": size for name, size in inside.items()}
        else:
            sizes[path.name] = 1 if path.is_file() else NO_FILE
    return sizes


def _lost(skipped: Skipped) -> Skipped:
    """Return those of what was skipped that may be folders with more files."""
    return Skipped([], [], [], skipped.no_file, skipped.shut)


def _loose_told(names: Sequence[str], place: Path) -> list[str]:
    """Return a line on the media files outside of the folders of classes; none without any."""
    if not names:
        return []
    count = f"{len(names)} media files" if len(names) > 1 else "1 media file"
    return [
        f"left out: {count} in {shown_cell(place.name)}, outside of the folders of classes, e.g. "
        f"{shown_cell(names[0])}"
    ]


def tests_of_class_folders(
    folder: Path, described: MetadataTable | None
) -> tuple[SplitFiles, Template] | None:
    """Return the files of the folder `test`, by class or not; None if there is no such folder."""
    media = split_folders(folder).get("test")
    if media is None:
        return None
    sizes = sizes_in(media, "test")
    names, skipped = media_among(sizes)
    split, template = split_of_files(names, media, sizes, folder, described)
    where = prefix_of(media, folder)
    said = "; which class their folders are of is not looked at" if folders_in(media) else ""
    split.understood.insert(0, f"test: the media files in {where} are predicted{said}")
    return split._replace(understood=[*split.understood, *skipped_told(skipped, where)]), template


def unused_told(folder: Path, layout: Layout, splits: Sequence[SplitFiles]) -> list[str]:
    """Return a line on media in folders of classes that no row names, where tables give labels.

    Folders called by numbers, as of people or scenes, are of classes only if all beside them are.

    Args:
        folder: The data folder.
        layout: Of another kind.
        splits: All that were read of it.
    """
    used = {path.removeprefix("./") for split in splits for path in split.rows["path"]}
    inner = [path for path in folders_in(folder) if split_called(path.name) not in (None, "test")]
    found: dict[str, list[str]] = {}
    for place in (folder, *inner):
        try:
            called = {path: _called(path.name, layout.classes) for path in folders_in(place)}
            are_all = {*called.values()} == {0, 1}
            of_class = [p for p, target in called.items() if target is not None]
            for path in (path for path in of_class if are_all or not path.name.isdigit()):
                prefix = prefix_of(path, folder)
                names = [prefix + name for name in media_among(_sizes_of(path, splits))[0]]
                found[prefix.removesuffix("/")] = [name for name in names if name not in used]
        except (OSError, DataError):
            continue  # nothing of it is used, so that it need not be readable
    files = [name for names in found.values() for name in names]
    if not files:
        return []
    places = [place for place, names in found.items() if names]
    some = ", ".join(map(quoted, places[:_NAMED])) + (", ..." if len(places) > _NAMED else "")
    return [
        f"left out: {counted(len(files), 'media file')} in folders of classes ({some}), e.g. "
        f"{shown_cell(files[0])}: tables give the labels. Add rows for them, or write an experiment"
        " of `data: {kind: class-folders}`, which reads such folders alone"
    ]


def _called(name: str, given: Classes) -> int | None:
    """Return which class a folder is called after, by the usual words or by those `given`."""
    usual = class_by_words(name, Classes())
    return class_of(name, given) if usual is None else usual


def _sizes_of(place: Path, splits: Sequence[SplitFiles]) -> dict[str, int]:
    """Return the sizes of the files in a folder, which are known of the media folders of splits."""
    for split in splits:
        if place.is_relative_to(split.media):
            prefix = prefix_of(place, split.media)
            inside = ((name, size) for name, size in split.sizes.items() if name.startswith(prefix))
            return {name.removeprefix(prefix): size for name, size in inside}
    return sizes_in(place, "the data")


def _labelled(
    split: str, media: Path, folder: Path, layout: Layout, described: MetadataTable | None
) -> SplitFiles:
    """Return the files of both classes in `media`."""
    sizes = sizes_in(media, split)
    class_folders = _two_classes(media, sizes, layout.classes)
    _refuse_splits_within(media, sizes, class_folders)
    inside = {name: size for name, size in sizes.items() if name.split("/")[0] in class_folders}
    apart = {*class_folders}
    if media == folder and (tests := split_folders(folder).get("test")):
        apart.add(tests.name)
    # What may be another folder of files, of any class, is told as well.
    beside = {
        name: size
        for name, size in sizes.items()
        if name.split("/")[0] not in apart and (size == NO_FILE or name.endswith("/"))
    }
    names, skipped = media_among(inside | beside)
    targets = [class_folders[name.split("/")[0]] for name in names]
    rows = pd.DataFrame({"name": names, "target": targets, "file": names})
    loose = [name for name in media_among(sizes)[0] if name.split("/")[0] not in apart]
    understood = skipped_told(skipped, prefix_of(media, folder) or ".") + _loose_told(loose, media)
    understood += _inner_told(names, class_folders, layout.classes)
    files = rows_of(split, rows, prefix_of(media, folder), sizes, described, understood)
    return SplitFiles(split, files, media, inside, 0, understood)


def _inner_told(names: Sequence[str], of_class: Mapping[str, int], classes: Classes) -> list[str]:
    """Return a line for each folder within one of a class that is called as the other class is.

    So are those of masks and thumbnails. Numbers are none: they may count people or scenes.
    """
    found: dict[tuple[str, str], int] = {}
    for name in names:
        outer, *inner, _ = name.split("/")
        for word in inner:
            other = class_of(word, classes)
            is_other = other is not None and other != of_class[outer] and not word.isdigit()
            if is_other or is_aside(word):
                found[outer, word] = found.get((outer, word), 0) + 1
    return [
        f"{shown_cell(outer)}: {count} {'files' if count > 1 else 'file'} in folders called "
        f"{shown_cell(word)} within it {'are' if count > 1 else 'is'} of the class of "
        f"{shown_cell(outer)}"
        for (outer, word), count in found.items()
    ]


def _two_classes(media: Path, sizes: dict[str, int], classes: Classes) -> dict[str, int]:
    """Return which class each subfolder is of, by its name.

    What is no split's and holds media is a class: where `classes` does not name the two, there may
    be no third.
    """
    with_media = {name.split("/")[0] for name in media_among(sizes)[0] if "/" in name}
    found = {name: class_of(name, classes) for name in sorted(with_media)}
    others = [name for name, target in found.items() if target is None and not split_called(name)]
    known = {name: target for name, target in found.items() if target is not None}
    if not classes.fake:
        require_one_split(media, known)
    if others and not classes.fake:
        raise DataError(third_class(media, [*known, *others], "folders of media"))
    if set(known.values()) != {0, 1}:
        called = [path for path in folders_in(media) if class_of(path.name, classes) is not None]
        if empty := [path for path in called if path.name not in with_media]:
            raise DataError(without_media(empty))
        wanted = f"{_words(classes.real)} and {_words(classes.fake)}" if classes.fake else ""
        raise DataError(
            f"{media} needs a folder with media of each class, {wanted or 'real and fake'}: it has "
            f"{', '.join(map(quoted, sorted(with_media))) or 'none'}. Name them so, or by `classes`"
            " under `data` in the experiment."
        )
    return known


def _refuse_splits_within(media: Path, sizes: Iterable[str], classes: Iterable[str]) -> None:
    """Raise DataError if the folders of classes hold those of splits: all would be of one split."""
    found: dict[str, str] = {}
    for name in sizes:
        inner, *rest = name.split("/")
        if inner in classes and len(rest) > 1 and (split := split_called(rest[0])):
            found.setdefault(split, f"{inner}/{rest[0]}")
    _refuse_several(media, found, "of splits inside those of classes")


def require_one_split(media: Path, classes: Iterable[str]) -> None:
    """Raise DataError if folders of classes are called after several splits: those would be lost.

    Somebody who names the folders of each class may mean to put the splits together.
    """
    found = {split: name for name in sorted(classes) if (split := split_hinted(name))}
    _refuse_several(media, found, "of classes that are called after splits, too")


def _refuse_several(media: Path, of_split: Mapping[str, str], what: str) -> None:
    if len(of_split) < 2:
        return
    first, second = sorted(of_split.values())[:2]
    raise DataError(
        f"{media} has folders {what} ({shown_cell(first)}, {shown_cell(second)}), so that the "
        "splits would be lost. Move them so that each split has its classes: train/real, "
        "train/fake, test/real, ..."
    )


def without_media(folders: Sequence[Path]) -> str:
    """Return the sentence for folders that are called as classes are and hold no media."""
    those = " and ".join(map(str, folders))
    have = "is there, but has" if len(folders) == 1 else "are there, but have"
    return (
        f"{those} {have} no file with the ending of a sound, picture or video. Put files of each "
        "class into its folder."
    )


def _words(words: Sequence[str]) -> str:
    return shown_cell(" or ".join(words), most=80)
