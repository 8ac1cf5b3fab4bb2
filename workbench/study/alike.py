"""Which trials of a study were scored on the same files, and so can be ranked together."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from pyarrow import parquet

from workbench.console import say
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.study.scored import read_scored_trials, set_aside, unrecorded
from workbench.trial.recipe import Objective


class _Files(NamedTuple):
    """The files that a trial was scored on, those of each of the objective's slices counted."""

    number: int
    which: int
    """Tells them from as many others, in whichever order."""


def choosable_trials(folder: StudyFolder) -> list[TrialRow]:
    """Return the ended trials of a study, alike measured; say which complete ones are left out.

    For what chooses among them: the best may be one whose files are damaged.

    Raises:
        StudyError: as `read_scored_trials`.
    """
    rows, note = measured_alike(folder, read_scored_trials(folder))
    for line in (note, unrecorded(folder), *set_aside(folder, rows)):
        if line:
            say(line)
    return rows


def measured_alike(
    folder: StudyFolder, rows: Sequence[TrialRow], *, num_files: int | None = None
) -> tuple[list[TrialRow], str]:
    """Return the trials, and a sentence if some were scored on other files than the rest.

    Version 0.1 scored the files that cannot be decoded, too, as grey pictures. Such a
    trial of a study that went on later keeps its scores, and loses its objective here: it has no
    place among the others.

    Args:
        folder: The study.
        rows: Its trials.
        num_files: Files of each of the objective's slices that are scored now; by default as many
            as the last complete trial scored.
    """
    complete = [row for row in rows if row.state == "complete"]
    if not complete:
        return list(rows), ""
    objective = folder.objective()
    measured = {row.number: _measured(folder, row, objective) for row in complete}
    known = {number: files for number, files in measured.items() if files is not None}
    if not known:
        return list(rows), ""
    last = known[max(known)]
    wanted = last.number if num_files is None else num_files
    others = {
        number: files.number
        for number, files in known.items()
        if files.number != wanted or (num_files is None and files.which != last.which)
    }
    if not others:
        return list(rows), ""
    numbers = sorted(others)
    which = f"trial {numbers[0]} was" if len(numbers) == 1 else f"{len(numbers)} trials were"
    such = "" if len(numbers) == 1 else f" (e.g. trial {numbers[0]})"
    now = f"{'other ' if others[numbers[0]] == wanted else ''}{wanted}"
    said = (
        f"In the study {folder.name}, {which} scored on {others[numbers[0]]} files of "
        f"{objective.place}{such}, and now {now} are scored: files that cannot be "
        "decoded are left out now. They cannot be ranked together, so the earlier ones are "
        "not ranked; to have them all, search into a new study by --study NAME."
    )
    reason = f"scored on other files of {objective.place} than the {wanted} that are scored now"
    left = [
        row.model_copy(update={"objective": None, "reason": reason})
        if row.number in others
        else row
        for row in rows
    ]
    return left, said


def _measured(folder: StudyFolder, row: TrialRow, objective: Objective) -> _Files | None:
    """Return the files that a trial was scored on; None if its scores are gone or damaged."""
    try:
        table = parquet.read_table(folder.trial(row.recipe).scores, columns=["slice", "name"])
        stored = table.to_pandas()
        asked = [*objective.slices_among(set(stored["slice"]))]
        rows = stored[stored["slice"].isin(asked)].astype(str)
    except (OSError, ValueError, KeyError):  # pyarrow's errors of damaged files are ValueErrors
        return None
    which = int(pd.util.hash_pandas_object(rows, index=False).sum())
    return _Files(len(rows), which)
