"""What of a fake is fake, where the data's tables say so: its sound, its picture, or both."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.delimited import shown_cell
from workbench.data.metadata import PICTURE_FAKE, SOUND_FAKE, column_of
from workbench.data.targets import Classes, reader_of
from workbench.errors import DataError


def fake_parts_of(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return whether the sound and the picture of each file are fake, NaN where that is not said.

    Args:
        rows: Of the manifest's table, with a `target` each.

    Returns:
        (files, 2) of 0, 1 and NaN.

    Raises:
        DataError: a cell is no label, or both say something else than the target.
    """
    found = np.full((len(rows), 2), np.nan)
    for at, name in enumerate((SOUND_FAKE, PICTURE_FAKE)):
        if column_of(name) not in rows:
            continue
        for row, cell in enumerate(rows[column_of(name)]):
            if cell:
                found[row, at] = _read(cell, name, str(rows["name"].iloc[row]))
    is_fake = rows["target"].to_numpy() == 1
    wrong = np.where(is_fake, (found == 0).all(axis=1), (found == 1).any(axis=1))
    if wrong.any():
        at = int(wrong.argmax())
        file, label = shown_cell(str(rows["name"].iloc[at])), "fake" if is_fake[at] else "real"
        raise DataError(
            f"{file} is {label}, and its `{SOUND_FAKE}` and `{PICTURE_FAKE}` say otherwise: a file "
            "is fake if its sound or its picture is. "
            "Correct these columns or its label, in the label files or in metadata.csv."
        )
    return found


def completed(parts: npt.NDArray[np.float64], targets: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return `parts` with what a target tells of them: of a real file, neither is fake.

    Of a fake file, a part is fake whose other part is real.
    """
    is_fake = np.asarray(targets)[:, None] == 1
    told = np.where(is_fake, parts, 0.0)
    is_other = np.isnan(told) & (told[:, ::-1] == 0)
    return np.where(is_other & is_fake, 1.0, told)


def _read(cell: str, column: str, file: str) -> int:
    read = reader_of(cell, Classes())
    value = read(cell.strip().casefold()) if read else None
    if value is None:
        raise DataError(
            f"`{column}` of {shown_cell(file)} is {shown_cell(cell)}. Write 1 (fake) or 0 (real), "
            "or leave it empty where it is not known."
        )
    return value
