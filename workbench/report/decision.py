"""The head of a study's page: the decision, the trials that it is between, what each costs."""

from html import escape

from workbench import pages
from workbench.errors import DamagedFileError
from workbench.report.cells import (
    interval_cell,
    number_cell,
    said_cell,
    table,
    text_section,
    word_cell,
)
from workbench.selection.champion import Champion, read_champion
from workbench.selection.contenders import Contender, macs_in_words
from workbench.selection.operating_points import who_decides
from workbench.selection.summary import Summary
from workbench.study.folder import StudyFolder
from workbench.tables import duration
from workbench.trial.delong import Z95
from workbench.trial.recipe import Objective


def decision_callout(folder: StudyFolder, summary: Summary) -> str:
    """Return the decision in three sentences, and who took it and why, if one was taken."""
    champion, damage = None, ""
    if folder.champion.exists():
        try:
            champion = read_champion(folder)
        except DamagedFileError as error:
            damage = pages.callout("warning", "Champion", f"<p>{escape(str(error))}</p>")
    if not summary.decision:
        return damage
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in summary.decision)
    if champion:
        said += f"<p class='note'>{'<br>'.join(escape(line) for line in _record(champion))}</p>"
    return damage + pages.callout("good" if champion else "note", "Decision", said)


def contenders_section(summary: Summary, objective: Objective) -> str:
    """Return the promoted trial against those that might have been."""
    if not summary.contenders:
        return ""
    points = [point.fpr for point in summary.contenders[0].operating_points]
    has_means = any(row.mean is not None for row in summary.contenders)
    corrected = [row.expected for row in summary.contenders if row.expected]
    header = ["trial", "role", objective.metric, *["corrected"] * bool(corrected)]
    header += [*["mean of seeds"] * has_means, "behind"]
    header += [*(f"TPR at FPR {fpr:g}" for fpr in points), "backbone", "views"]
    lines = []
    for row in summary.contenders:
        cells = [number_cell(row.number, "d"), word_cell(row.role)]
        cells.append(interval_cell(row.value, row.low, row.high, 4))
        if corrected:
            cells.append(_corrected(row))
        if has_means:
            seeds = "–" if row.mean is None else f"{row.mean:.4f} of {row.num_seeds}"
            cells.append(said_cell(seeds, row.mean))
        cells.append(_behind(row))
        cells += [
            interval_cell(point.tpr, point.low, point.high, 3) for point in row.operating_points
        ]
        cells += [said_cell("–")] * (len(points) - len(row.operating_points))
        cells += [word_cell(row.backbone), word_cell("+".join(row.views))]
        lines.append(cells)
    note = "± and brackets hold 95%."
    if has_means:
        note += (
            " A trial that was trained again with new seeds is shown by the repeat nearest the "
            "mean, and by the mean it is judged. "
        )
        note += " ".join(summary.seeds)
    if corrected:
        note += " ".join((f" Corrected: {corrected[0].method}.", *corrected[0].caveats))
    if points:
        note += (
            f" TPR: on {summary.clean_slice}, by bootstrap, and at least as wide as Wilson's "
            f"interval. {who_decides(summary.contenders[0].operating_points)}"
        )
    drawn = table(header, lines, words=("role", "backbone", "views"), is_sortable=False)
    return pages.section("Champion and rivals", drawn, note=note)


def costs_section(summary: Summary) -> str:
    """Return what the contenders cost."""
    if not summary.contenders:
        return ""
    has_time = any(row.cost.ms_per_file is not None for row in summary.contenders)
    header = ["trial", "role", "by thop", "true", "MACs", *["ms"] * has_time, "training"]
    lines = []
    for row in summary.contenders:
        cost = row.cost
        cells = [number_cell(row.number, "d"), word_cell(row.role)]
        cells += [number_cell(n, ",d") for n in (cost.params_thop, cost.params_true)]
        cells.append(said_cell(macs_in_words(cost.macs), cost.macs))
        if has_time:
            cells.append(number_cell(cost.ms_per_file, ".1f"))
        cells.append(said_cell(duration(cost.seconds), cost.seconds))
        lines.append(cells)
    note = (
        "Parameters by thop and truly. MACs: multiplications with an addition, as thop counts "
        "them, of all that is scored of one file, without its decoding."
        + " Time: ms a file."
        * has_time
    )
    drawn = table(header, lines, words=("role",), is_sortable=False)
    return pages.section("Cost", drawn, note=note, is_half=True)


def evidence_section(summary: Summary) -> str:
    """Return what evidence would change the decision."""
    if not summary.contenders:
        return ""
    if not summary.evidence:
        return text_section(
            "What would change the decision",
            "Nothing here tells: there is no other trial, or no standard error of its lead.",
        )
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in summary.evidence)
    return pages.section("What would change the decision", f"<ul>{said}</ul>")


def _record(champion: Champion) -> tuple[str, ...]:
    if champion.model_version:
        what = f"registered as {champion.model_name} version {champion.model_version}"
    else:
        what = "promoted"
    where = f"{what} by {champion.who} on {champion.when[:10]}."
    if champion.number is None:  # what it is stands above, as it is seen today
        return (
            f"{where[0].upper()}{where[1:]}",
            f"When it was promoted: {' '.join(champion.reasons)}",
        )
    title = f"{champion.title[0].upper()}{champion.title[1:]}"
    return (
        f"{title}, {where}",
        champion.why,
        # What was promoted by hand is held against the others anew at the end of each search.
        f"When it was last recorded: {champion.sentence}",
    )


def _corrected(row: Contender) -> str:
    found = row.expected
    if found is None or found.expected is None:
        return said_cell("–")
    return interval_cell(found.expected, found.low, found.high, 3)


def _behind(row: Contender) -> str:
    if row.behind is None:
        return said_cell("")
    error = row.behind_standard_error
    spread = "" if error is None else f" ± {Z95 * error:.4f}"
    return said_cell(f"{row.behind:.4f}{spread}", row.behind)
