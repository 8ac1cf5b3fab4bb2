"""Rows without media, media without rows, and media that nothing could be made of."""

from collections.abc import Iterator

import pandas as pd

from workbench.checks.findings import Finding, finding, listed
from workbench.data.delimited import shown_cell
from workbench.data.manifest import Manifest
from workbench.data.prepare import Prepared
from workbench.tables import counted


def row_findings(manifest: Manifest) -> Iterator[Finding]:
    """Yield what is to be said of label rows, template rows and media that do not match."""
    table = manifest.table
    is_test = table["split"] == "test"
    missing, empty = table["status"] == "missing", table["status"] == "empty"
    yield from _absent(
        table[missing & ~is_test],
        "label_rows_without_media",
        "label row",
        "Get the files, or take their rows out of the label file: they teach nothing and are left "
        "out of every score.",
    )
    yield from _absent(
        table[missing & is_test],
        "template_rows_without_media",
        "template row",
        "Get the files before you submit: their rows would be scored on a guess.",
    )
    broken = table[empty]
    if len(broken):
        yield finding(
            "empty_files",
            "warning",
            f"{counted(len(broken), 'file')} of 0 bytes ({_by_split(broken)}).",
            "Download or unpack them again.",
            [[path] for path in broken["path"]],
        )
    if len(manifest.unnamed):
        yield finding(
            "media_without_rows",
            "note",
            f"{counted(len(manifest.unnamed), 'media file')} that no label row and no template row "
            f"names ({_by_split(manifest.unnamed)}).",
            "See whether a label file is incomplete; otherwise they are simply not used.",
            [[path] for path in manifest.unnamed["path"]],
        )
    if manifest.num_repeated:
        yield finding(
            "repeated_label_rows",
            "note",
            f"{counted(manifest.num_repeated, 'label row')} with name and label of an earlier one.",
            "Nothing has to be done: each file counts once.",
        )


def undecodable(prepared: Prepared) -> Iterator[Finding]:
    """Yield what is to be said of files of which a view could not be made."""
    there = prepared.table[prepared.table["status"] == "ok"]
    lost = prepared.left_out()
    lost = lost[lost["status"] == "ok"]
    if len(lost):
        yield finding(
            "files_without_any_view",
            "warning",
            f"{counted(len(lost), 'labelled file')} of {len(there):,} of which nothing could be "
            f"made ({_by_split(lost)}); the first: {_reason(lost, next(iter(prepared.views)))}.",
            "Try them again by `workbench prepare --retry`; if that fails too, get them again, or "
            "convert them. They teach nothing and are left out of every score.",
            [[path] for path in lost["path"]],
        )
    for view in prepared.views:
        status = there[f"status.{view}"]
        # A view of another part of the picture is one nevertheless.
        bad = there[(status != "ok") & (there[f"row.{view}"] == 0) & ~there.index.isin(lost.index)]
        if len(bad):
            counts = bad[f"status.{view}"].value_counts().sort_index()
            said = listed([f"{number:,} {name}" for name, number in counts.items()])
            verb = "has" if len(bad) == 1 else "have"
            yield finding(
                "files_without_view",
                "note",
                f"{counted(len(bad), 'file')} of {len(there):,} {verb} no {view} ({said}; "
                f"{_by_split(bad)}); the first: {_reason(bad, view)}.",
                "Play some of them: if they are fine elsewhere, try them again by `workbench "
                "prepare --retry`, or convert them; otherwise they are used as they are, so that "
                "all trials are ranked on the same files: a trial goes by what else they have, and "
                "one that reads none of that scores neutral arrays in their place, which tells "
                "nothing of them.",
                [[path] for path in bad["path"]],
            )


def _absent(rows: pd.DataFrame, code: str, what: str, remedy: str) -> Iterator[Finding]:
    if len(rows):
        yield finding(
            code,
            "warning",
            f"{counted(len(rows), what)} without a media file ({_by_split(rows)}).",
            remedy,
            [[path] for path in rows["path"]],
        )


def _reason(rows: pd.DataFrame, view: str) -> str:
    return shown_cell(str(rows[f"reason.{view}"].iloc[0]), most=200).rstrip(".")


def _by_split(rows: pd.DataFrame) -> str:
    counts = rows["split"].value_counts(sort=False)
    return listed([f"{number:,} in {split}" for split, number in counts.items()])
