"""The table of prepared data as a file, whose pages have checksums: a changed label is told."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workbench.errors import CacheError
from workbench.files import finished

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
