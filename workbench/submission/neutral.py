"""Test files that the model saw nothing of: they have a score all the same, and it says nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.data.delimited import quoted, shown_cell
from workbench.data.prepared_table import read_prepared_table
from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import DataError
from workbench.scoring.slices import TEST
from workbench.study.folder import StudyFolder
from workbench.trial.result import ModelFolder

MOST_NEUTRAL = 0.01
"""Share of the test files that may have such a score before an export asks."""


@dataclass(frozen=True)
class Neutral:
    """Which of the template's files have a neutral score."""

    names: tuple[str, ...]
    """In the template's order, each once."""

    num_files: int
    """That the template names."""

    reason: str = ""
    """Why the first of them has one, if it is known."""

    @property
    def sentence(self) -> str:
        """The same for a person; empty if there are none."""
        if not self.names:
            return ""
        count = len(self.names)
        which = "The first is" if count > 1 else "It is"
        why = f" ({shown_cell(self.reason)})" if self.reason else ""
        return (
            f"{count} of the {self.num_files} test files got a neutral score, that of a grey "
            f"picture or silence, since nothing of them could be decoded. {which} "
            f"{quoted(self.names[0])}{why}."
        )


def find_neutral(
    folder: StudyFolder, model: ModelFolder, views: Iterable[str], names: Iterable[str]
) -> Neutral:
    """Return which of the template's files a model scored without having seen them.

    Args:
        folder: The study.
        model: The trained model's files.
        views: The names of the views that it reads, as the study prepared them.
        names: The template's files.
    """
    asked = list(dict.fromkeys(names))
    files = _test_files(folder, views)
    scores = model.read_scores()
    if "neutral" in scores.columns:
        of_test = scores[scores["slice"] == TEST]
        neutral = set(of_test.loc[of_test["neutral"], "name"])
    else:  # of version 0.1, which wrote no such column
        neutral = set(files.index[files["neutral"]])
    found = tuple(name for name in asked if name in neutral)
    reason = str(files["reason"].get(found[0], "")) if found else ""
    return Neutral(found, len(asked), reason)


def require_few(neutral: Neutral) -> None:
    """Raise DataError if more than MOST of the test files have a neutral score."""
    if len(neutral.names) > MOST_NEUTRAL * neutral.num_files:
        raise DataError(
            f"{neutral.sentence} Over {MOST_NEUTRAL:.0%} are too many: see what `workbench check` "
            "says of the files, or export all the same by --allow-missing."
        )


def _test_files(folder: StudyFolder, read: Iterable[str]) -> pd.DataFrame:
    """Return `neutral` and `reason` of each test file by its name, as the study prepared them."""
    if not folder.manifest.exists():
        return pd.DataFrame({"neutral": np.array([], bool), "reason": []})
    table = read_prepared_table(folder.manifest)
    table = table[table["split"] == "test"].set_index("name")
    views = [name for name in read if f"row.{name}" in table.columns]
    rows = table[[f"row.{name}" for name in views]].to_numpy()
    neutral = (rows == NEUTRAL_ROW).all(axis=1) & bool(views)
    reason = table[f"reason.{views[0]}"] if views else ""
    return pd.DataFrame({"neutral": neutral, "reason": reason}, index=table.index)
