"""In what the files and labels of a data folder differ from what they were."""

import pandas as pd

from workbench.data.metadata import metadata_of
from workbench.tables import counted


def changes(before: pd.DataFrame, now: pd.DataFrame) -> str:
    """Return in what the manifest's table `now` differs from an earlier one, with examples."""
    was, there = (
        table.drop_duplicates(["split", "name"]).set_index(["split", "name"])
        for table in (before, now)
    )
    both = there.index.intersection(was.index)
    found = {
        "other content": there.loc[both][there.loc[both, "content"] != was.loc[both, "content"]],
        "other label": there.loc[both][there.loc[both, "target"] != was.loc[both, "target"]],
        "new": there.loc[there.index.difference(was.index)],
        "no longer named": was.loc[was.index.difference(there.index)],
    }
    return "; ".join(
        f"{what}: {len(rows)} file{'s' * (len(rows) > 1)}, e.g. {rows['path'].iloc[0]}"
        for what, rows in found.items()
        if len(rows)
    )


def metadata_changes(before: pd.DataFrame, now: pd.DataFrame) -> str:
    """Return in a sentence or two which metadata of files changed; nothing where none did.

    Args:
        before: The table of a study's data, of the same files.
        now: That of the manifest; its columns of metadata may be others.
    """
    columns = sorted({*metadata_of(before), *metadata_of(now)})
    was, there = (
        table.drop_duplicates("path").set_index("path").reindex(columns=columns).fillna("")
        for table in (before, now)
    )
    both = there.index.intersection(was.index)
    differs = there.loc[both] != was.loc[both]
    changed = [column for column in columns if differs[column].any()]
    if not changed:
        return ""
    rows = differs.any(axis=1)
    return (
        f"warning: {', '.join(column.partition('.')[2] for column in changed)} of "
        f"{counted(int(rows.sum()), 'file')}, e.g. {both[rows][0]}, is not what the tables said "
        "before. Slices by that hold other files now, so that values of earlier trials on "
        "them cannot be compared with those of new ones. To compare all, search into a new "
        "study by --study NAME."
    )
