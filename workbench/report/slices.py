"""The slices of a study's page: a table of them, and the curves of degraded copies."""

from collections.abc import Sequence
from html import escape

from workbench import pages
from workbench.data.degraded import DEGRADED
from workbench.pages import LEGEND
from workbench.report.cells import number_cell
from workbench.report.figure_parts import new_figure
from workbench.report.figures import TRIAL_COLOURS
from workbench.selection.contenders import Contender
from workbench.selection.leaderboard import shorten
from workbench.selection.slice_values import CLEAN, SliceValues
from workbench.selection.summary import Summary
from workbench.study.records import TrialRow
from workbench.trial.recipe import Objective

MOST_SLICES = 40
"""Columns of the table."""

_BAD, _MIDDLE, _GOOD = (213, 94, 0), (247, 247, 247), (0, 114, 178)
"""The ends of the scale and its middle: orange and blue of Okabe and Ito."""

_STRENGTH = 0.75
"""Of the colours: dark letters stay readable on them."""


def slices_section(summary: Summary, ranked: Sequence[TrialRow], objective: Objective) -> str:
    """Return the table of slices: a row a trial, a column a slice; none with one slice."""
    values = summary.slices
    if len(values.slices) < 2:
        return ""
    shown = _columns(values)
    names = [values.slices[at] for at in shown]
    head = "".join(
        f"<th class='number slice{' of-objective' if values.of_objective[at] else ''}' "
        f"title='{escape(values.slices[at])}'><span>{_head(values.slices[at])}</span></th>"
        for at in shown
    )
    places = {row.number: place for place, row in enumerate(ranked)}
    order = sorted(values.values, key=lambda number: places.get(number, len(places)))
    roles = {row.number: row.role for row in summary.contenders}
    backbones = {row.number: row.backbone for row in ranked}
    ends = _ends(values, shown, objective)
    lines = []
    for number in order:
        role = roles.get(number, "")
        about = escape(f"{backbones.get(number, '')} {role}".strip())
        first = f"<th class='row' title='{about}' data-value='{number}'>{_who(number, role)}</th>"
        of_trial = values.values[number]
        cells = [_cell(of_trial[at], ends) for at in shown]
        worst = _worst([v for v in of_trial if v is not None], objective)
        lines.append(f"<tr>{first}{number_cell(worst, '.3f')}{''.join(cells)}</tr>")
    drawn = (
        "<div class='wide'><table class='sortable slices'><thead><tr><th class='row number'>trial"
        f"</th><th class='number'>worst</th>{head}</tr></thead><tbody>\n{chr(10).join(lines)}\n"
        "</tbody></table></div>"
    )
    note = (
        f"{objective.metric} of each trial on each slice, coloured from the worst of the table "
        "(orange) to its best (blue). Slices of the objective are marked ●."
    )
    if again := [one.title for one in summary.contenders if one.is_repeat]:
        note += (
            f" It has {' and '.join(again)}, with other seeds that nobody picked, in place of the "
            "trial itself."
        )
    if len(names) < len(values.slices):
        note += (
            f" {len(names)} of {len(values.slices)} slices are shown: those of the objective, "
            "then those in which the trials differ most."
        )
    if len(ranked) > len(order):
        note += f" The best {len(order)} of {len(ranked)} complete trials are shown."
    return pages.section("Slices", drawn, note=note)


def degradation_section(summary: Summary, top: Sequence[TrialRow], objective: Objective) -> str:
    """Return what degraded copies cost the best trials; nothing where there are none."""
    values = summary.slices
    copies = [name for name in values.slices if name.startswith(f"{DEGRADED}.")]
    if not copies or not summary.contenders:
        return ""
    places = [*([CLEAN] if CLEAN in values.slices else []), *copies]
    labels = [
        "clean" if name == CLEAN else escape(shorten(name.removeprefix(f"{DEGRADED}."), 18))
        for name in places
    ]
    figure = new_figure(height=360, x="", y=f"{objective.metric}")
    drawn = _first_few(summary.contenders, top)
    for number, colour in zip(drawn, TRIAL_COLOURS, strict=False):
        known = values.of(number)
        figure.add_scatter(
            x=labels,
            y=[known.get(name) for name in places],
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 7},
            name=f"trial {number}",
            hovertemplate=f"trial {number}, %{{x}}: %{{y:.4f}}<extra></extra>",
        )
    figure.update_xaxes(type="category")
    figure.update_layout(legend=LEGEND, showlegend=True)
    plot = pages.plot("degraded", figure, least_width_px=60 * len(places) + 120, has_buttons=True)
    first = summary.contenders[0].number
    return pages.section("Degraded copies", plot, note=_fall(values, first, copies, objective))


def _fall(values: SliceValues, number: int, copies: Sequence[str], objective: Objective) -> str:
    known = values.of(number)
    there = {name: known[name] for name in copies if name in known}
    if CLEAN not in known or not there:
        return f"The same files after copying, {objective.metric} of the best trials."
    worst = (max if objective.direction == "minimize" else min)(there, key=there.__getitem__)
    return (
        f"{objective.metric} on {CLEAN} as it is and on degraded copies of it. Trial {number} goes "
        f"from {known[CLEAN]:.3f} to {there[worst]:.3f} on {worst.removeprefix(f'{DEGRADED}.')}."
    )


def _first_few(contenders: Sequence[Contender], top: Sequence[TrialRow]) -> list[int]:
    numbers = [*(row.number for row in contenders), *(row.number for row in top)]
    return list(dict.fromkeys(numbers))[: len(TRIAL_COLOURS)]


def _columns(values: SliceValues) -> list[int]:
    """Return the columns that are shown, in order."""
    if len(values.slices) <= MOST_SLICES:
        return list(range(len(values.slices)))

    def spread(at: int) -> tuple[bool, float]:
        known = [value for row in values.values.values() if (value := row[at]) is not None]
        return not values.of_objective[at], -(max(known, default=0) - min(known, default=0))

    return sorted(sorted(range(len(values.slices)), key=spread)[:MOST_SLICES])


def _ends(values: SliceValues, shown: Sequence[int], objective: Objective) -> tuple[float, float]:
    """Return the worst and the best value of the columns `shown`."""
    rows = values.values.values()
    known = [value for row in rows for at in shown if (value := row[at]) is not None]
    low, high = min(known), max(known)
    return (high, low) if objective.direction == "minimize" else (low, high)


def _worst(known: Sequence[float], objective: Objective) -> float | None:
    if not known:
        return None
    return max(known) if objective.direction == "minimize" else min(known)


def _cell(value: float | None, ends: tuple[float, float]) -> str:
    if value is None:
        return "<td class='number'>–</td>"
    worst, best = ends
    share = (value - worst) / (best - worst) if best != worst else 0.5
    return (
        f"<td class='number' data-value='{value:.17g}' style='background:{_colour(share)}'>"
        f"{value:.3f}</td>"
    )


def _colour(share: float) -> str:
    """Return the colour of a place between the worst, 0, and the best, 1."""
    end, part = (_BAD, 1 - 2 * share) if share < 0.5 else (_GOOD, 2 * share - 1)
    part *= _STRENGTH
    mixed = [round(m + part * (e - m)) for m, e in zip(_MIDDLE, end, strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _head(name: str) -> str:
    """Return a slice's name as HTML that may be broken after its family."""
    family, dot, rest = name.partition(".")
    short = f"{shorten(family, 14)}{dot}", shorten(rest, 18)
    return "<br>".join(escape(part) for part in short if part)


def _who(number: int, role: str) -> str:
    mark = {"champion": " ★", "best": " ★", "runner-up": " 2nd"}.get(role, "")
    return escape(f"{number}{mark}")
