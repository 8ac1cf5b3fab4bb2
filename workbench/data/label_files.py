"""Data with a label file and a media folder for each split, as competitions have them."""

from pathlib import Path

from workbench.data.file_rows import SplitFiles, rows_of
from workbench.data.labels import read_labels, without_repeats
from workbench.data.layout import Layout, first_named
from workbench.data.media_files import files_among, sizes_in
from workbench.data.metadata import MetadataTable
from workbench.data.names import match


def split_with_labels(
    split: str, folder: Path, layout: Layout, described: MetadataTable | None
) -> SplitFiles:
    """Return the files that the label file of `train` or `val` names.

    Raises:
        DataError: the label file or the media folder is absent or unusable.
        PermissionError: this user may not read one of them.
    """
    file = first_named(folder, layout, f"{split}_labels")
    labels = read_labels(file, layout.columns, layout.classes, layout.described)
    media = first_named(folder, layout, f"{split}_media", is_media=True)
    sizes = sizes_in(media, split)
    found = match(labels.table["cell"], files_among(sizes), where=split)
    cells = zip(labels.table["cell"], labels.table["name"], strict=True)
    named = labels.table.assign(name=[found.files.get(cell, name) for cell, name in cells])
    # Two spellings of one name are seen to be one only here.
    named, num_again = without_repeats(named, "name", file)
    understood = [*filter(None, [labels.understood]), *found.said]
    prefix = media.relative_to(folder).as_posix() + "/"
    rows = rows_of(split, named.assign(file=named["name"]), prefix, sizes, described, understood)
    return SplitFiles(split, rows, media, sizes, labels.num_repeated + num_again, understood)
