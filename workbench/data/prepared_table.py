"""The table of prepared data as a file, whose pages have checksums: a changed label is told."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import CacheError
from workbench.files import finished, hash_file, read_json

PREPARED_TABLE = "manifest.parquet"
"""The file's name, in the folder of a study."""

_AGAIN = "Run `workbench search` again with the same options; it is written anew."


def write_prepared_table(table: pd.DataFrame, file: Path) -> None:
    """Write `table` in one step."""
    with finished(file) as part:
        table.to_parquet(part, index=False, write_page_checksum=True)


def read_prepared_table(file: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return what `write_prepared_table` wrote, or some of its columns.

    Raises:
        CacheError: it is gone, or is not what was written.
    """
    some = None if columns is None else [*columns]
    try:
        data = file.read_bytes()
        return pd.read_parquet(io.BytesIO(data), columns=some, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise CacheError(f"{file} is gone. {_AGAIN}") from error
    # Arrow has an error of its own for every way in which a file can be damaged.
    except (OSError, ValueError, KeyError, MemoryError, RuntimeError, TypeError) as error:
        raise CacheError(f"{file} is damaged. {_AGAIN}") from error


def read_own_table(folder: Path) -> pd.DataFrame:
    """Return the table of the data prepared in `folder`, if it is the one that was saved there.

    Raises:
        CacheError: it is gone, damaged, or of other data, as one copied from another study is.
    """
    file, about = folder / PREPARED_TABLE, folder / "prepared.json"
    table = read_prepared_table(file)
    try:
        said = read_json(about)["table_sha256"] if about.exists() else None
    except (ValueError, RecursionError, LookupError, TypeError):
        said = None  # damaged, or of a version that did not note it
    if said not in (None, hash_file(file)):
        raise CacheError(f"{file} belongs to other data. {_AGAIN}")
    return table


def has_views(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return of each row whether some view could be made of its file, (rows,); see `Prepared.rows`.

    Of a table that names no view nothing is known, so all of them pass for files with one.
    """
    rows = table[[name for name in table if str(name).startswith("row.")]].to_numpy()
    return (rows != NEUTRAL_ROW).any(axis=1) if rows.shape[1] else np.ones(len(table), np.bool_)
