"""In what the files and labels of a data folder differ from what they were."""

import pandas as pd


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
