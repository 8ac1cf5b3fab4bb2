"""The trials of a study in tables: the best of them, and why the others ended early."""

from collections.abc import Sequence

from workbench import pages
from workbench.report.cells import number_cell, prose_cell, table, text_section, word_cell
from workbench.selection.leaderboard import beside_objective, common_reasons, millions, shorten
from workbench.selection.promotion import lead_of
from workbench.selection.statistics import trial_auc_difference
from workbench.study.file_groups import groups_of_files
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.trial.delong import Z95, Estimate
from workbench.trial.recipe import Objective

TABLE_ROWS = 25


def leaders(folder: StudyFolder, complete: Sequence[TrialRow], objective: Objective) -> str:
    """Return the table of the complete trials, given best first."""
    if not complete:
        text = "No trial is complete yet, so there is nothing to rank."
        return text_section("Best trials", text)
    best, shown = complete[0], complete[:TABLE_ROWS]
    behind = {}
    if objective.has_standard_error(best.by_slice):
        groups = groups_of_files(folder)
        behind = {
            row.number: trial_auc_difference(folder, best, row, objective, groups)
            for row in shown[1:]
        }
    said = lead_of(folder, complete, objective, best).sentence
    note = f"Trial {best.number} is the best. {said}"
    alike = [number for number, gap in behind.items() if _is_alike(gap)]
    if alike:
        note += (
            f" The samples of {objective.place} cannot tell {len(alike)} of the next "
            f"{len(behind)} from it (marked ≈)."
        )
    if len(complete) > TABLE_ROWS:
        note += f" The best {TABLE_ROWS} of {len(complete)} complete trials are listed."
    beside, of_which = beside_objective(shown, objective)
    note += f" {of_which}" if of_which else ""
    header = ["rank", "trial", objective.label, *(["behind the best"] if behind else [])]
    header += [*beside, "backbone", "views", "params M", "seconds"]
    lines = []
    for place, (row, *metrics) in enumerate(zip(shown, *beside.values(), strict=True), 1):
        cells = [number_cell(place, "d"), number_cell(row.number, "d")]
        cells.append(number_cell(row.objective, ".5f"))
        if behind:
            cells.append(_gap(behind.get(row.number)))
        cells += [number_cell(value, ".4f") for value in metrics]
        cells += [word_cell(row.backbone), word_cell("+".join(row.views))]
        size = millions(row)
        cells.append(number_cell(None if size == "-" else float(size), ".2f"))
        cells.append(number_cell(row.seconds, ".0f"))
        lines.append(cells)
    drawn = table(header, lines, words=("backbone", "views"))
    return pages.section("Best trials", drawn, note=note)


def reasons(rows: Sequence[TrialRow]) -> str:
    """Return the table of why trials ended early; nothing where none did."""
    lines = [
        [number_cell(count, "d"), f"<td>{state}</td>", prose_cell(shorten(reason, 300))]
        for state in ("failed", "pruned")
        for reason, count in common_reasons(rows, state)[:15]
    ]
    if not lines:
        return ""
    drawn = table(
        ("trials", "state", "reason"), lines, words=("state", "reason"), is_sortable=False
    )
    return pages.section("Why trials ended early", drawn)


def _is_alike(gap: Estimate) -> bool:
    return gap.standard_error is not None and gap.value <= Z95 * gap.standard_error


def _gap(gap: Estimate | None) -> str:
    if gap is None:
        return "<td class='number' data-value='0'></td>"
    spread = f" ± {Z95 * gap.standard_error:.5f}" if gap.standard_error is not None else ""
    text = f"{'≈ ' if _is_alike(gap) else ''}{gap.value:.5f}{spread}"
    return f"<td class='number' data-value='{gap.value:.17g}'>{text}</td>"
