"""Which files of a study belong together: copies of one file, clips of one speaker."""

from collections.abc import Collection, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from workbench.console import say
from workbench.data.metadata import Metadata, column_of
from workbench.data.prepare import BESIDE
from workbench.data.prepared_table import PREPARED_TABLE, read_own_table
from workbench.errors import CacheError, ConfigError, DamagedFileError
from workbench.files import read_json
from workbench.study.folder import StudyFolder
from workbench.study.slice_folders import slice_folders


def groups_of_files(folder: StudyFolder) -> dict[str, str]:
    """Return the group of each file that a study's trials are measured on, by `key_of`.

    A group is told by the key of its first file. Files are of one group if they are the same byte
    for byte, or if a column of the experiment's `groups` has the same value for both; and if each
    is of one group with a third. Nothing is known of files of which the study keeps no table any
    more, or none that can be read, which is said.
    """
    apart = slice_folders(folder)
    places = {"": folder.path}
    places |= {name: folder.path / BESIDE / name for name in sorted(apart)}
    groups, tables = _group_columns(folder), []
    for part, place in places.items():
        try:
            table = read_own_table(place)
        except CacheError as error:
            # Studies that are made by hand have neither.
            if groups or (place / "prepared.json").exists() or (place / PREPARED_TABLE).exists():
                _warn(str(error))
            continue
        rows = table[table["split"] == "val"].drop_duplicates("name")
        keys = [key_of(part, str(name), apart) for name in rows["name"]]
        tables.append(rows.assign(name=keys))
    if not tables:
        return {}
    rows = pd.concat(tables, ignore_index=True)
    columns = [column_of(name) for name in groups] + ["content"]
    return joined(rows, [column for column in columns if column in rows])


def key_of(part: str, name: str, apart: Collection[str]) -> str:
    """Return what tells a file from all others of a study.

    Args:
        part: The slice that it was scored in.
        name: The file.
        apart: Slices with files of their own, which may be called as those of `val` are.
    """
    return f"{part}\0{name}" if part in apart else name


def groups_of_scores(
    folder: StudyFolder, scores: pd.DataFrame, groups: Mapping[str, str] | None = None
) -> npt.NDArray[np.int64]:
    """Return the group of each row of stored scores (`slice`, `name`) as a number from 0 on.

    Args:
        folder: The study.
        scores: (rows,)
        groups: Of `groups_of_files`, where they were read before.
    """
    together = groups_of_files(folder) if groups is None else groups
    apart = slice_folders(folder)
    keys = [key_of(*key, apart) for key in zip(scores["slice"], scores["name"], strict=True)]
    found = pd.Series([together.get(key, key) for key in keys], dtype=object)
    return np.asarray(pd.factorize(found)[0], np.int64)


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
    """Return the columns that the study's record of its data names, or else its experiment."""
    try:
        kept = read_json(folder.path / "prepared.json")
    except (OSError, ValueError, RecursionError):
        try:
            return [*folder.experiment().data.groups]
        except (DamagedFileError, ConfigError):
            return []
    metadata = kept.get("metadata", {}) if isinstance(kept, dict) else {}
    names = metadata.get("groups", []) if isinstance(metadata, dict) else []
    return [str(name) for name in names]


@cache
def _warn(why: str) -> None:
    """Say, once in a process, that files are not known to belong together."""
    say(
        f"warning: {why} Until then nothing tells which files are copies or of one speaker, so "
        "that intervals and differences take each file for itself, and may be too narrow."
    )
