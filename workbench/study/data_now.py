"""What the tables of a data folder say by now, held against what a study was begun with."""

from pathlib import Path

import pandas as pd

from workbench.data.data_files import list_data
from workbench.data.manifest import changes
from workbench.data.prepared_table import read_prepared_table
from workbench.errors import CacheError, DamagedFileError, DataError, StudyError
from workbench.study.folder import StudyFolder

_LABELLED = "labelled"


def sentence_on_changed_tables(folder: StudyFolder) -> str:
    """Return a sentence if tables name other labels or files now than those of a study.

    No media are read. Empty if nothing changed, or where the data folder cannot be read.
    """
    try:
        data, about = Path(folder.info().data), folder.experiment()
        if not (folder.manifest.exists() and data.is_dir()):
            return ""
        now = list_data(data, about.data).table
        was = read_prepared_table(folder.manifest)
    except (CacheError, DamagedFileError, StudyError, DataError, OSError):
        return ""  # what needs the data itself says why it cannot have them
    was, now = (table[table["split"].isin(("train", "val", "test"))] for table in (was, now))
    # Where the split of a file is not its table's, it was dealt; some may be in none.
    if about.validation.kind != "given" or about.holdout is not None:
        was, now = _undealt(was), _undealt(now)
        known = now["name"].isin(was.loc[was["split"] == _LABELLED, "name"])
        now = now[known | (now["split"] != _LABELLED)]
    found = changes(was.assign(content=""), now.assign(content=""))
    if not found:
        return ""
    return (
        f"The tables in {data} are not those that the study {folder.name} was begun with "
        f"({found}). All that it trains, scores and exports is of those; for these, start another "
        "study by --study NAME."
    )


def _undealt(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(split=table["split"].where(table["split"] == "test", _LABELLED))
