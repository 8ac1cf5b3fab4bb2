"""The files of a split as rows of the manifest, before the content of any is read."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from workbench.data.layout import Layout, first_named
from workbench.data.media_files import DENIED, UNREADABLE, files_among
from workbench.data.metadata import MetadataTable, metadata_of, read_metadata

MAX_MEDIA_BYTES = 64 << 30
"""A larger media file is not read: one with a hole in it claims any size, and to hash it all would
never end."""


class SplitFiles(NamedTuple):
    """The files of a split, as its labels or its template name them."""

    split: str
    rows: pd.DataFrame
    """See `rows_of`."""

    media: Path
    sizes: dict[str, int]
    """Of the files in the media folder; see `sizes_in`."""

    num_repeated: int
    """Label rows that repeat an earlier one."""

    understood: list[str]
    """Lines about tables and names that were not read as they stand."""


def rows_of(
    split: str,
    labels: pd.DataFrame,
    prefix: str,
    sizes: dict[str, int],
    described: MetadataTable | None,
    understood: list[str],
) -> pd.DataFrame:
    """Return the rows of a split: `Manifest.table` but for what is in the files.

    Args:
        split: Its name.
        labels: `name`, `target`, and the `file` of each.
        prefix: Of each file in the data folder: the media folder, with a slash; or nothing.
        sizes: See `sizes_in`.
        described: What else is said of files.
        understood: Gets the lines about how that was read.
    """
    if described is not None:
        media = prefix.removesuffix("/")
        labels, lines = described.join(labels, files_among(sizes), media=media, split=split)
        understood += lines
    size = labels["file"].map(sizes).fillna(-1).astype("int64")
    for shut in [name for name, number in sizes.items() if name.endswith("/")]:
        size = size.mask(labels["file"].str.startswith(shut), DENIED)
    status = pd.Series("ok", index=size.index).mask(size == 0, "empty").mask(size < 0, "missing")
    status = status.mask(size == DENIED, "denied").mask(size == UNREADABLE, "unreadable")
    status = status.mask(size > MAX_MEDIA_BYTES, "too_large")
    return pd.DataFrame(
        {
            "split": split,
            "name": labels["name"],
            "path": prefix + labels["file"],
            "target": labels["target"],
            "size_bytes": size.clip(lower=0),
            "status": status,
            **{column: labels[column] for column in metadata_of(labels)},
        }
    )


def prefix_of(media: Path, folder: Path) -> str:
    """Return how the paths of the files in a media folder begin; nothing for the data folder."""
    inner = media.relative_to(folder).as_posix()
    return "" if inner == "." else f"{inner}/"


def described_by(folder: Path, layout: Layout) -> MetadataTable | None:
    """Return what the metadata table says; nothing if there is none of the usual name.

    Raises:
        DataError: it cannot be read, or there is none of the name that was given.
    """
    usual: tuple[str, ...] = Layout.model_fields["metadata"].default
    if layout.metadata == usual and not any((folder / name).exists() for name in usual):
        return None
    return read_metadata(first_named(folder, layout, "metadata"), layout.described, layout.columns)
