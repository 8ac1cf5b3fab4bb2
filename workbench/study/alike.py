"""Which trials of a study were scored on the same files, and so can be ranked together."""

from collections import Counter
from collections.abc import Sequence

from pyarrow import parquet

from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.trial.recipe import Objective


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
    objective = folder.experiment().objective
    counts = {row.number: _num_measured(folder, row, objective) for row in complete}
    known = {number: count for number, count in counts.items() if count is not None}
    if not known:
        return list(rows), ""
    wanted = known[max(known)] if num_files is None else num_files
    others = {number: count for number, count in known.items() if count != wanted}
    if not others:
        return list(rows), ""
    numbers = sorted(others)
    which = f"trial {numbers[0]} was" if len(numbers) == 1 else f"{len(numbers)} trials were"
    such = "" if len(numbers) == 1 else f" (e.g. trial {numbers[0]})"
    said = (
        f"In the study {folder.name}, {which} scored on {others[numbers[0]]} files of "
        f"{objective.place}{such}, and now {wanted} are scored: files that cannot be "
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


def _num_measured(folder: StudyFolder, row: TrialRow, objective: Objective) -> int | None:
    """Return how many files a trial scored, those of each of the objective's slices counted.

    None if its scores are gone or damaged.
    """
    try:
        stored = parquet.read_table(folder.trial(row.recipe).scores, columns=["slice"])
    except (OSError, ValueError):  # pyarrow's errors of damaged files are kinds of ValueError
        return None
    counts = Counter(stored["slice"].to_pylist())
    return sum(counts[name] for name in objective.slices_among(counts))
