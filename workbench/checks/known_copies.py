"""Files that show and sound the same as those of another data set, or as others of their own."""

import numpy as np
import pandas as pd

from workbench.checks.copies import durations, near_copy_pairs
from workbench.checks.thumbnails import Thumbnails, thumbnails, unique_contents
from workbench.data.prepare import Prepared

_MOST_FRAMES = 2


def near_copies_of(
    asked: Prepared,
    rows: pd.DataFrame,
    known: Prepared,
    known_rows: pd.DataFrame,
    facts: pd.DataFrame,
) -> dict[str, str]:
    """Return the path of each file that is a near copy of a known one, and that one's path.

    Of files that are the same byte for byte it says nothing.

    Args:
        asked: The data of the files.
        rows: Which of them are asked about.
        known: The data that may have what they are copies of.
        known_rows: Which of its files.
        facts: The fields of `media.facts.Facts`, by content.
    """
    rows = unique_contents(rows[~rows["content"].isin(known_rows["content"])])
    known_rows = unique_contents(known_rows)
    here, there = (
        thumbnails(data, files, most=_MOST_FRAMES)
        for data, files in ((asked, rows), (known, known_rows))
    )
    both = {
        name: _joined(view, there[name])
        for name, view in here.items()
        if name in there and asked.views[name] == known.views[name]
    }
    contents = pd.concat([rows, known_rows], ignore_index=True)
    pairs = near_copy_pairs(both, durations(contents, facts))
    paths = contents["path"].to_numpy()
    across = pairs[(pairs[:, 0] < len(rows)) & (pairs[:, 1] >= len(rows))]
    found: dict[str, str] = {}
    for one, other in across.tolist():
        found.setdefault(str(paths[one]), str(paths[other]))
    return found


def near_copies_within(data: Prepared, rows: pd.DataFrame, facts: pd.DataFrame) -> dict[str, str]:
    """Return the path of each file that is a near copy of an earlier one, and that one's path.

    As for `near_copies_of`.
    """
    rows = unique_contents(rows)
    pairs = near_copy_pairs(thumbnails(data, rows, most=_MOST_FRAMES), durations(rows, facts))
    paths = rows["path"].to_numpy()
    found: dict[str, str] = {}
    for one, other in pairs.tolist():
        found.setdefault(str(paths[other]), str(paths[one]))
    return found


def _joined(one: Thumbnails, other: Thumbnails) -> Thumbnails:
    return Thumbnails(
        one.medium,
        np.concatenate([one.pictures, other.pictures]),
        np.concatenate([one.is_there, other.is_there]),
    )
