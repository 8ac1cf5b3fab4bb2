"""What a study comes to: the decision, what to expect, what it costs, what would change it."""

from collections.abc import Mapping, Sequence

from workbench.errors import DamagedFileError
from workbench.rules.rulebook import Rulebook, Verdict
from workbench.selection.calibration import Calibration, calibrate
from workbench.selection.champion import Champion, folds_told, read_champion, row_of_champion
from workbench.selection.contenders import (
    Chosen,
    Contender,
    choose_contenders,
    contender,
    macs_in_words,
    verdict_of,
)
from workbench.selection.estimate import Expected, expect
from workbench.selection.evidence import what_would_change_it
from workbench.selection.finalists import read_finalists
from workbench.selection.finalists_told import sentences, trained_again_told
from workbench.selection.fold_values import folds_apart
from workbench.selection.leaderboard import among_in_words, chosen_among, complete_trials, rank
from workbench.selection.operating_points import rates_in_words
from workbench.selection.pack_summary import PackSummary, decision_for_pack, kept_pack
from workbench.selection.slice_values import (
    CLEAN,
    ScoresByTrial,
    SliceValues,
    main_slice,
    read_labelled_scores,
    slice_values,
)
from workbench.selection.soup_decision import decision_for_soup
from workbench.selection.unseen import unseen_of
from workbench.study.file_groups import groups_of_scores
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.tables import counted
from workbench.trial.delong import Z95
from workbench.trial.recipe import Objective
from workbench.values import Frozen

MOST_TRIALS = 15
"""Trials whose slices are compared."""


class Summary(Frozen):
    """What a study comes to."""

    decision: tuple[str, ...]
    """What is promoted, what to expect of it, what it costs: a sentence each; empty as long as no
    trial is complete."""

    contenders: tuple[Contender, ...]
    """The promoted or the best trial first."""

    seeds: tuple[str, ...]
    """What the finalists' repeats tell, a sentence each; empty where none was trained again."""

    clean_slice: str
    """The slice of the operating points and of the calibration."""

    slices: SliceValues
    """Of the best trials and the contenders."""

    calibration: Calibration | None
    """Of the first contender."""

    evidence: tuple[str, ...]
    """What would change the decision, a sentence each."""

    pack: PackSummary | None = None
    """The pack of trials that was made last, if one was."""

    is_pack_promoted: bool = False
    """Whether that is the champion; then the first contender is the best single trial."""

    is_soup_promoted: bool = False
    """Whether a soup is the champion; the first contender is then the best single trial, too."""


def summarise(
    folder: StudyFolder, rows: Sequence[TrialRow], objective: Objective
) -> tuple[Summary, ScoresByTrial]:
    """Return what a study comes to, and the labelled scores of the trials that it speaks of.

    Args:
        folder: The study.
        rows: Its ended trials.
        objective: What it improves.

    Raises:
        DamagedFileError: the stored scores of one of the best trials are gone or damaged.
    """
    champion = kept_champion(folder)
    finalists = read_finalists(folder, rows)
    promoted = row_of_champion(folder, champion, rows) if champion else None
    chosen = choose_contenders(rows, objective, promoted, finalists)
    if not chosen:
        empty = SliceValues(slices=(), of_objective=(), values={})
        return (
            Summary(
                decision=(),
                contenders=(),
                seeds=(),
                clean_slice="",
                slices=empty,
                calibration=None,
                evidence=(),
            ),
            {},
        )
    ranked = rank(complete_trials(rows), objective)
    # A contender may be a repeat of its trial: it stands for that here.
    shown = {row.number: row for row in [*ranked[:MOST_TRIALS], *(one.row for one in chosen)]}
    scores = read_labelled_scores(folder, list(shown.values()))
    # Of the first alone: the value of having picked the second best would stand beside it as if it
    # said which of the two is better.
    expected = expect(folder, rows, objective, number=chosen[0].row.number)
    found = _summary(folder, objective, chosen, ranked, scores, champion, expected)
    seeds = tuple(sentences(finalists)) if finalists else ()
    pack = kept_pack(folder, champion, rows)
    changed: dict[str, object] = {"seeds": seeds, "pack": pack}
    if champion and champion.number is not None and chosen[0].role != "champion":
        first, *others = found.decision
        lost = (
            f"The model of {champion.title} that is the champion is left out here: files of it are "
            "gone or damaged."
        )
        changed["decision"] = (f"{lost} {first}", *others)
    if champion and champion.is_soup:
        limit = folder.experiment().rulebook.max_params
        changed["decision"] = decision_for_soup(champion, limit)
        changed["is_soup_promoted"] = True
    if champion and champion.is_pack:
        by_hand = champion.chosen_by == "by hand"
        limit = folder.experiment().rulebook.max_params
        decision = [
            f"{champion.title[0].upper()}{champion.title[1:]} is promoted; what it is made of "
            "cannot be read any more, so nothing is said of it here."
        ]
        if pack:
            what, worth, *rest = decision_for_pack(pack, limit, is_by_hand=by_hand)
            folds = folds_told(folder.experiment().validation.use)
            decision = [what, " ".join(filter(None, [worth, champion.unseen, folds])), *rest]
        changed |= {"decision": tuple(decision), "is_pack_promoted": True}
    return found.model_copy(update=changed), scores


def kept_champion(folder: StudyFolder) -> Champion | None:
    """Return the champion of a study; nothing where it has none, or where its record is damaged."""
    if not folder.champion.exists():
        return None
    try:
        return read_champion(folder)
    except DamagedFileError:
        return None


def describe_summary(summary: Summary, *, is_after_promotion: bool = False) -> str:
    """Return the summary in about ten lines for a terminal.

    Args:
        summary: Of a study.
        is_after_promotion: Leave out what the promotion says itself.
    """
    if not summary.contenders:
        return ""
    first = summary.contenders[0]
    lines = [*summary.decision[2:]] if is_after_promotion else [*summary.decision]
    against = [] if is_after_promotion else [_against(row, first) for row in summary.contenders[1:]]
    rates = rates_in_words(summary.clean_slice, first.operating_points)
    if summary.is_pack_promoted:
        of_pack = summary.pack.rates_in_words if summary.pack else ""
        lines.append(of_pack)
    if summary.is_pack_promoted or summary.is_soup_promoted:
        # The others are held against the first contender, which is not what is promoted.
        which = f"trial {first.number}, {first.value:.5f}, the best single one of this study"
        if first.is_repeat:
            which = (
                f"the repeat of trial {first.number} nearest its mean, {first.value:.5f}, the best "
                "finalist"
            )
        lines += [f"Of {which}:", rates, *against]
    else:
        lines += [*against, rates]
    lines += [_slices_line(summary), _calibration_line(summary)]
    lines = [line for line in lines if line]
    return "\n".join([*lines, *summary.evidence])


def _summary(
    folder: StudyFolder,
    objective: Objective,
    chosen: Sequence[Chosen],
    ranked: Sequence[TrialRow],
    scores: ScoresByTrial,
    champion: Champion | None,
    expected: Expected,
) -> Summary:
    experiment = folder.experiment()
    rulebook = experiment.rulebook
    first = chosen[0].row
    verdicts = {one.row.number: verdict_of(folder, one.row, rulebook) for one in chosen}
    contenders = tuple(
        contender(
            folder,
            objective,
            scores,
            one,
            chosen[0],
            verdict=verdicts[one.row.number],
            expected=expected if one is chosen[0] else None,
        )
        for one in chosen
    )
    values = slice_values(scores, objective)
    own = scores[first.number]
    clean = main_slice(own, objective)
    part = own[own["slice"] == clean]
    worth = _expectation(contenders[0], values, objective, len(chosen_among(ranked, first)))
    unseen = unseen_of(folder, first.recipe, objective)
    return Summary(
        decision=(
            _promoted(contenders, ranked, objective, champion, first.breaks),
            " ".join(filter(None, [worth, unseen, folds_told(experiment.validation.use)])),
            _cost(contenders[0], verdicts[first.number], rulebook),
        ),
        contenders=contenders,
        seeds=(),
        clean_slice=clean,
        slices=values,
        calibration=calibrate(part["target"], part["score"], groups_of_scores(folder, part)),
        evidence=(
            *folds_apart(folder, contenders[0].title, own, objective),
            *what_would_change_it(contenders, values, scores, objective),
        ),
    )


def _promoted(
    contenders: Sequence[Contender],
    ranked: Sequence[TrialRow],
    objective: Objective,
    champion: Champion | None,
    breaks: Sequence[str],
) -> str:
    first = contenders[0]
    which = f"Trial {first.number} ({first.backbone} on {'+'.join(first.views)})"
    place = 1 + [row.number for row in ranked].index(first.number)
    own = ranked[place - 1]
    best = f"has the best {objective.metric} on {objective.place} of {among_in_words(ranked, own)}"
    if len(chosen_among(ranked, own)) == 1:
        best = f"is the only {among_in_words(ranked, own).removeprefix('1 ')}"
    # Else it was named by hand, repeats are still to be trained, or one promoted before all of them
    # had ended was overtaken since.
    is_by_mean = first.mean is not None and first.recipe != ranked[place - 1].recipe
    is_by_mean &= all((row.behind or 0) >= 0 for row in contenders[1:] if row.mean is not None)
    if is_by_mean:
        num = sum(row.mean is not None for row in contenders)
        best = (
            f"has the best mean {objective.metric} of {counted(num, 'finalist')}, "
            f"{first.mean:.5f} over {first.num_seeds} new seeds"
        )
    if first.role != "champion" and breaks:
        return (
            f"{which} would not be promoted by `workbench promote`: it {best}, but breaks a "
            f"constraint ({breaks[0]}). Name a trial by --trial, or search on."
        )
    if first.role != "champion":
        return f"{which} would be promoted by `workbench promote`: it {best}."
    if is_by_mean:
        return f"{which} is promoted: it {best}."
    by_hand = ", named by hand" if champion and champion.chosen_by == "by hand" else ""
    if place == 1:
        but = f", but breaks a constraint ({breaks[0]})" if breaks else ""
        return f"{which} is promoted{by_hand}: it {best}{but}."
    ahead = ranked[0].number
    last = f", after all that keep the constraints ({breaks[0]})" if breaks else ""
    return (
        f"{which} is promoted{by_hand}; by {objective.metric} on {objective.place} it is number "
        f"{place} of {len(ranked)}{last}, and trial {ahead} is the best."
    )


def _expectation(
    first: Contender, values: SliceValues, objective: Objective, num_complete: int
) -> str:
    """Return what to expect on new data, of this kind and of another."""
    metric, worse = objective.metric, "less" if objective.direction == "maximize" else "more"
    found, within = first.expected, _within(first.low, first.high)
    if first.mean is not None and first.is_repeat:
        # The interval is that of the one model, around its own value.
        said = (
            f"expect {metric} {first.mean:.3f}, its mean over seeds, or rather {worse}: being "
            "picked as the best finalist flatters it a little, and the model itself has "
            f"{first.value:.3f}{within} on {objective.place}"
        )
    elif found and found.expected is not None and found.choice:
        said = (
            f"expect {metric} {found.expected:.3f}{_within(found.low, found.high)}: its "
            f"{first.value:.3f} on {objective.place} is corrected for {found.choice}"
        )
        if found.num_stopped:
            said += f", but not for {found.num_stopped} more that the same files stopped or paused"
    else:
        said = f"expect {metric} {first.value:.3f}{within}, its value on {objective.place}"
        if num_complete > 1 and not first.is_repeat:
            said += f", or rather {worse}: being picked as the best of {num_complete} flatters it"
        elif found and found.num_stopped:
            said += (
                f", or rather {worse}: the same files stopped or paused "
                f"{counted(found.num_stopped, 'more trial')}"
            )
        elif found and found.num_epochs > 1:
            said += f", or rather {worse}: the best of its {found.num_epochs} epochs was taken"
    told = f"On new data of this kind, {said}; {_elsewhere(values.of(first.number), objective)}."
    if first.mean is None or first.is_repeat:
        return told
    return f"{told} {trained_again_told(metric, first.mean, first.num_seeds)}"


def _within(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({low:.3f} to {high:.3f}, 95%)"


def _elsewhere(values: Mapping[str, float], objective: Objective) -> str:
    # Of the objective's own slices, the fakes of one generator are of another kind; `val` is not.
    own = {objective.place, *objective.slices_among([CLEAN])}
    others = {name: value for name, value in values.items() if name not in own}
    if not others:
        return "of another kind nothing is known, for it was scored on no other slice"
    low, high = min(others, key=others.__getitem__), max(others, key=others.__getitem__)
    if len(others) == 1:
        return f"on data of another kind {others[low]:.3f} ({low})"
    return (
        f"on data of another kind {others[low]:.3f} ({low}) to {others[high]:.3f} ({high}), the "
        f"spread over {len(others)} other slices"
    )


def _cost(first: Contender, verdict: Verdict | None, rulebook: Rulebook) -> str:
    cost = first.cost
    known = [n for n in (cost.params_thop, cost.params_true) if n is not None]
    size = f"{max(known) / 1e6:.2f}M parameters" if known else "an unknown number of parameters"
    parts = [f"{size} of {rulebook.max_params / 1e6:.0f}M allowed"]
    if cost.macs is not None:
        parts.append(f"{macs_in_words(cost.macs)} MACs a file")
    if cost.ms_per_file is not None:
        parts.append(f"{cost.ms_per_file:.0f} ms a file")
    parts.append(f"{cost.seconds:.0f} s of training")
    if verdict is None:
        obeys = "Whether it obeys the rulebook cannot be told, for its model cannot be built here"
    elif verdict.legal:
        obeys = "It obeys the rulebook"
    else:
        broken = ", ".join(result.name for result in verdict.results if not result.ok)
        obeys = f"It breaks the rulebook ({broken})"
    return f"{obeys}: {', '.join(parts)}."


def _against(row: Contender, first: Contender) -> str:
    spread = ""
    if row.behind_standard_error is not None:
        spread = f" ± {Z95 * row.behind_standard_error:.5f} (95%)"
    behind = row.behind or 0.0
    where = "level" if behind == 0 else "behind by" if behind > 0 else "ahead by"
    gap = "" if behind == 0 else f" {abs(behind):.5f}{spread}"
    value = f"{row.value:.5f}" if row.mean is None else f"mean {row.mean:.5f}"
    if row.mean is not None and first.mean is None:  # of one model each
        value += f"; the repeat nearest it, {row.value:.5f}"
    return f"{row.role.capitalize()}: trial {row.number}, {value}, {where}{gap}."


def _slices_line(summary: Summary) -> str:
    values = summary.slices.of(summary.contenders[0].number)
    if len(values) < 2:
        return ""
    order = sorted(values.items(), key=lambda item: item[1])
    (least, low), *_, (most, high) = order
    return f"Over {len(values)} slices: {low:.3f} on {least} to {high:.3f} on {most}."


def _calibration_line(summary: Summary) -> str:
    found = summary.calibration
    if found is None:
        return ""
    return (
        f"Calibration on {summary.clean_slice}: ECE {found.ece:.3f}, log-loss "
        f"{found.log_loss:.3f}; {found.ece_after:.3f} and {found.log_loss_after:.3f} with the "
        f"temperature {found.temperature:.2f} (out of fold)."
    )
