"""What the screening said, what it cost, and whether training bore it out."""

from collections.abc import Mapping, Sequence

from workbench import pages
from workbench.errors import DamagedFileError
from workbench.parts.per_view import label_of
from workbench.report.cells import number_cell, prose_cell, table, text_section, word_cell
from workbench.screening.screening import Screening, rank_correlation, read_screening, summary
from workbench.selection.leaderboard import complete_trials, objective_of, shorten
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.trial.recipe import Objective


def screening_section(folder: StudyFolder, rows: Sequence[TrialRow], objective: Objective) -> str:
    """Return what the screening said, what it cost, and whether training bore it out."""
    try:
        screening = read_screening(folder.path)
    except DamagedFileError as error:
        return text_section("Screening", str(error))
    if screening is None:
        return ""
    sign = 1 if objective.direction == "maximize" else -1
    finals: dict[str, float] = {}
    for row in complete_trials(rows):
        value = sign * objective_of(row)
        # A backbone of one view is judged by what was trained with it there, whatever beside it.
        names = [row.backbone, *(label_of({view: one}) for view, one in row.backbone_of.items())]
        for name in names:
            finals[name] = max(value, finals.get(name, value))
    lines = []
    unjudged = any(one.reason for one in screening.candidates)
    for one in screening.candidates:
        cells = [word_cell(one.backbone), word_cell("+".join(one.views))]
        cells += [number_cell(one.auc, ".4f"), number_cell(one.standard_error, ".4f")]
        final = finals.get(screening.name_of(one))
        cells += [number_cell(one.val_auc, ".4f")]
        cells += [number_cell(None if final is None else sign * final, ".4f")]
        cells += [number_cell(one.seconds if one.auc is not None else None, ".1f")]
        cells.append(f"<td>{'yes' if screening.goes_on(one) else 'no'}</td>")
        if unjudged:
            cells.append(prose_cell(shorten(one.reason, 200)))
        lines.append(cells)
    numbers = ("probe AUC", "error", "of val", f"best {objective.metric} trained", "seconds")
    words = ("backbone", "views", "goes on", "not judged because")
    drawn = table((*words[:2], *numbers, *words[2 : 3 + unjudged]), lines, words=words)
    note = f"{summary(screening)} {_screening_cost(screening, rows)}"
    for view, part in screening.by_view().items():
        note += f" {view}: " if view else " "
        note += _borne_out(part, finals)
    return pages.section("Screening", drawn, note=note)


def _screening_cost(screening: Screening, rows: Sequence[TrialRow]) -> str:
    of_trials = sum(row.seconds for row in rows)
    if not of_trials:
        return "No trial has ended yet to compare its cost with."
    return f"That is {screening.seconds / of_trials:.1%} of the time in trials so far."


def _borne_out(screening: Screening, finals: Mapping[str, float]) -> str:
    """Return how the probe's order agrees with that of the trained backbones, in a sentence."""
    both = [name for name in screening.best if name in finals]
    found = rank_correlation(screening, finals)
    if len(both) < 3:
        return (
            f"{len(both)} of the {len(screening.best)} judged backbones have a complete trial, and "
            "a rank correlation with the final objective needs three: whether the probe was right "
            "cannot be said."
        )
    if found is None:
        return "All of the backbones came out equal, so there is no rank correlation."
    left_out = len(screening.best) - len(both)
    missing = f" Not counted: {left_out} judged, but never trained." if left_out else ""
    return (
        f"Spearman's rank correlation of the probe with the best trained objective is {found:.2f} "
        f"over {len(both)} backbones.{missing}"
    )
