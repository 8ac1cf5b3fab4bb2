"""Which files of a study belong together: copies of one file, clips of one speaker."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from workbench.data.metadata import Metadata, column_of
from workbench.data.prepared_table import read_prepared_table
from workbench.errors import CacheError
from workbench.files import read_json
from workbench.study.folder import StudyFolder
from workbench.study.slice_folders import slice_folders


def groups_of_files(folder: StudyFolder) -> dict[str, str]:
    """Return the group of each file of `val`, by the file's name, as the name of its first file.

    Files are of one group if they are the same byte for byte, or if a column of the experiment's
    `groups` has the same value for both; and if each is of one group with a third. Nothing is known
    where the study keeps no table of its data any more.
    """
    try:
        table = read_prepared_table(folder.manifest)
    except CacheError:
        return {}
    rows = table[table["split"] == "val"].drop_duplicates("name")
    columns = [column_of(name) for name in _group_columns(folder)] + ["content"]
    return joined(rows, [column for column in columns if column in rows])


def groups_of_scores(folder: StudyFolder, scores: pd.DataFrame) -> list[str]:
    """Return the group of each row of stored scores (`slice`, `name`); see `groups_of_files`.

    In slices that are folders of their own each file is a group: it may be called as one of `val`.
    """
    together, apart = groups_of_files(folder), slice_folders(folder)
    rows = zip(scores["slice"], scores["name"], strict=True)
    return [name if part in apart else together.get(name, name) for part, name in rows]


def numbered_groups(rows: pd.DataFrame, metadata: Metadata) -> npt.NDArray[np.int64]:
    """Return the group of each file of a prepared table as a number from 0 on, (rows,)."""
    columns = [*map(column_of, metadata.groups), "content"]
    first_of = joined(rows.assign(name=rows["path"]), [one for one in columns if one in rows])
    return np.asarray(pd.factorize(rows["path"].map(first_of))[0], np.int64)


def joined(rows: pd.DataFrame, columns: list[str]) -> dict[str, str]:
    """Return the first name of those that any of the columns joins, by `name`; "" joins nothing."""
    names = rows["name"].astype(str).to_numpy()
    firsts, seconds = [np.arange(len(rows))], [np.arange(len(rows))]
    for column in columns:
        cells = rows[column].fillna("").astype(str).to_numpy()
        _, first, number = np.unique(cells, return_index=True, return_inverse=True)
        known = np.flatnonzero(cells != "")
        firsts.append(known)
        seconds.append(first[number[known]])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(rows), len(rows)))
    group = connected_components(graph, directed=False)[1]
    _, begins = np.unique(group, return_index=True)
    return {name: str(names[begins[number]]) for name, number in zip(names, group, strict=True)}


def _group_columns(folder: StudyFolder) -> list[str]:
    try:
        kept = read_json(folder.path / "prepared.json")
    except (OSError, ValueError, RecursionError):
        return []
    metadata = kept.get("metadata", {}) if isinstance(kept, dict) else {}
    names = metadata.get("groups", []) if isinstance(metadata, dict) else []
    return [str(name) for name in names]
