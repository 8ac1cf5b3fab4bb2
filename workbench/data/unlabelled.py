"""What is to be predicted: the rows of a template, or every media file of a folder."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from workbench.data.delimited import csv_table, shown_cell
from workbench.data.file_rows import SplitFiles, prefix_of, rows_of
from workbench.data.labels import Template, named_once, read_template
from workbench.data.layout import Layout, first_named
from workbench.data.media_files import files_among, sizes_in
from workbench.data.media_kinds import kind_by_ending
from workbench.data.metadata import MetadataTable
from workbench.data.names import file_cell, leaves_folder, match
from workbench.errors import DataError
from workbench.gate import within
from workbench.tables import counted


class Skipped(NamedTuple):
    """Names of what lies in a folder of media and is not among its media files, in order."""

    other: list[str]
    """Of no medium's ending."""

    unfit: list[str]
    """Files whose name no table can hold."""

    hidden: list[str]
    """Files of a medium's ending that are hidden, or in a hidden folder."""

    no_file: list[str]
    """Links that lead nowhere, be it to a file or a folder, pipes and devices."""

    shut: list[str]
    """Folders, with a slash, that this user may not look into."""


NAME_COLUMN, SCORE_COLUMN = "file_name", "score"
"""Of predictions for which there is no template."""

_MOST_NAMED = 3


def made_template(names: Sequence[str], folder: Path) -> Template:
    """Return a template with a row for each of the names, made because the data has none."""
    rows = [(name, "0.5") for name in names]
    text = csv_table([(NAME_COLUMN, SCORE_COLUMN), *rows])
    table = pd.DataFrame(rows, columns=[NAME_COLUMN, SCORE_COLUMN], dtype="str")
    return Template(table, NAME_COLUMN, SCORE_COLUMN, folder, text=text)


def split_of_template(
    folder: Path,
    layout: Layout,
    described: MetadataTable | None,
    listed: dict[Path, dict[str, int]],
) -> tuple[SplitFiles, Template]:
    """Return the files that the template names, and it.

    `listed` has the files of the media folders that were looked at already; see `sizes_in`.

    Raises:
        DataError: the template or its media folder is absent or unusable.
    """
    template = read_template(first_named(folder, layout, "template"), layout.columns)
    media = first_named(folder, layout, "test_media", is_media=True)
    sizes = listed[media] if media in listed else sizes_in(media, "test")
    prefix = media.relative_to(folder).as_posix() + "/"
    return _split(template, media, prefix, sizes, described), template


def split_of_files(
    names: Sequence[str],
    media: Path,
    sizes: dict[str, int],
    folder: Path,
    described: MetadataTable | None,
) -> tuple[SplitFiles, Template]:
    """Return the files of these names in `media` as those to be predicted, and their template."""
    template = made_template([file_cell(name) for name in names], folder)
    return _split(template, media, prefix_of(media, folder), sizes, described), template


def split_of_folder(
    media: Path, folder: Path, described: MetadataTable | None
) -> tuple[SplitFiles, Template]:
    """Return every media file in `media` as one to be predicted, and their template.

    Raises:
        DataError: it is no folder.
    """
    sizes = sizes_in(media, "test")
    names, skipped = media_among(sizes)
    split, template = split_of_files(names, media, sizes, folder, described)
    where = prefix_of(media, folder) or "."
    split.understood.append(
        f"test: there is no template, so the media files in {where} are predicted"
    )
    return split._replace(understood=[*split.understood, *skipped_told(skipped, where)]), template


def predicted_folder(folder: Path, layout: Layout) -> Path | None:
    """Return the folder whose files are predicted where there is no template; None: none is.

    A folder of labelled files is none, unless the layout names it.
    """
    labelled = () if layout.names_test_media else (*layout.train_media, *layout.val_media)
    for name in layout.test_media:
        path = within(folder, name, what="test media", may_link_out=True, kind=DataError)
        if name not in labelled and path.is_dir():
            return path
    return None


def lost_test_media(folder: Path, layout: Layout) -> list[str]:
    """Return a line on folders of files to predict that are links to nowhere; none without any."""
    names = [name for name in layout.test_media if (folder / name).is_symlink()]
    lost = [name for name in names if not (folder / name).exists()]
    return skipped_told(Skipped([], [], [], lost, []), ".")


def media_among(sizes: dict[str, int]) -> tuple[list[str], Skipped]:
    """Return the names of the media files among those of `sizes_in`, in order, and of others."""
    files = files_among(sizes)
    found: list[str] = []
    skipped = Skipped([], [], [], [], [])
    for name in sorted(sizes):
        is_hidden = any(part.startswith(".") for part in name.split("/"))
        if name.endswith("/"):
            place = None if is_hidden else skipped.shut
        elif is_hidden:
            is_medium = kind_by_ending(PurePosixPath(name).name.lstrip("."))
            place = skipped.hidden if is_medium else None
        elif name not in files:
            place = skipped.no_file
        elif not kind_by_ending(name):
            place = skipped.other
        else:
            place = found if _can_be_named(name) else skipped.unfit
        if place is not None:
            place.append(name)
    return found, skipped


def skipped_told(skipped: Skipped, where: str) -> list[str]:
    """Return a line on each kind of what was skipped; none if nothing was."""
    kinds = [
        (skipped.other, "file", "of no medium's ending"),
        (skipped.unfit, "file", "whose name no table can hold"),
        (skipped.hidden, "hidden file", ""),
        (skipped.no_file, "name", "of a link that leads nowhere, a pipe or a device"),
        (skipped.shut, "folder", "that may not be looked into"),
    ]
    return [
        f"skipped in {where}: {' '.join(filter(None, [counted(len(names), noun), why]))}, "
        f"e.g. {', '.join(map(shown_cell, names[:_MOST_NAMED]))}"
        for names, noun, why in kinds
        if names
    ]


def _split(
    template: Template,
    media: Path,
    prefix: str,
    sizes: dict[str, int],
    described: MetadataTable | None,
) -> SplitFiles:
    unlabelled = pd.DataFrame({"name": template.names.drop_duplicates(), "target": -1})
    found = match(unlabelled["name"], files_among(sizes), where="test")
    # A submission keeps the cells of its template, so its rows keep the names.
    unlabelled["file"] = named_once(unlabelled["name"], found)
    understood = [*filter(None, [template.understood]), *found.said]
    rows = rows_of("test", unlabelled, prefix, sizes, described, understood)
    return SplitFiles("test", rows, media, sizes, 0, understood)


def _can_be_named(name: str) -> bool:
    # What is no UTF-8 was replaced when the folder was listed.
    return "\ufffd" not in name and name == name.strip() and not leaves_folder(name)
