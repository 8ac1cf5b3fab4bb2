"""The promotion of a trial: which one it is, how sure its lead is, and its registration."""

from collections.abc import Sequence
from datetime import UTC, datetime

from workbench.console import say
from workbench.errors import DamagedFileError, StudyError
from workbench.selection.champion import (
    Champion,
    Lead,
    RunnerUp,
    current_user,
    read_champion,
    write_champion,
)
from workbench.selection.estimate import Expected, expect
from workbench.selection.finalists import Finalists, better_by_now, read_finalists
from workbench.selection.finalists_told import failed_repeats, reason, say_lead, trained_again_told
from workbench.selection.leaderboard import (
    among_in_words,
    breaks_told,
    chosen_among,
    complete_trials,
    objective_of,
    rank,
)
from workbench.selection.pack_promotion import against_in_words
from workbench.selection.registration import Registry, known_version, register
from workbench.selection.soup_decision import worth_of_soup
from workbench.selection.statistics import trial_auc, trial_auc_difference
from workbench.selection.unseen import unseen_of
from workbench.study.alike import choosable_trials, measured_alike
from workbench.study.folder import StudyFolder
from workbench.study.records import EXACT_DIGITS, TrialRow, read_trials
from workbench.study.scored import read_scored_trials
from workbench.study.soups import read_soup, row_of_soup
from workbench.tables import counted
from workbench.trial.delong import Z95, Estimate
from workbench.trial.recipe import Objective

_REASONS = ("It has the best ", "It was named by hand; by ")
"""How the reasons begin that are not a person's own."""


def choose_trial(
    rows: Sequence[TrialRow], objective: Objective, number: int | None = None
) -> TrialRow:
    """Return the trial to promote: the best complete one, or the one that is named.

    One that the rulebook refused is never complete; one that breaks a constraint has to be named.

    Raises:
        StudyError: there is none to choose, or the named one does not exist or is not complete.
    """
    complete = complete_trials(rows)
    if not complete:
        raise StudyError(
            f"No trial is complete ({len(rows)} ended), so there is none to promote. See why with "
            "`workbench compare`, then search on with `workbench search`."
        )
    if number is None:
        if (best := rank(complete, objective)[0]).breaks:
            raise StudyError(
                f"All {len(complete)} complete trials break a constraint: of the best, trial "
                f"{best.number}, {best.breaks[0]}. Name one by --trial, or search on."
            )
        return best
    row = next((row for row in rows if row.number == number), None)
    if row is None:
        numbers = [row.number for row in rows]
        why = f"they are {min(numbers)} to {max(numbers)}"
        if min(numbers) < number < max(numbers):
            why = "it was cut off, and goes on or went on under another number"
        raise StudyError(
            f"There is no ended trial {number}: {why}. `workbench compare` lists the best."
        )
    if row not in complete and row.state == "complete":
        raise StudyError(f"Trial {number} cannot be promoted: it was {row.reason}.")
    if row not in complete:
        because = f" ({row.reason.rstrip('.')})" if row.reason else ""
        raise StudyError(
            f"Trial {number} is {row.state}{because}, not complete, so it cannot be promoted. "
            "`workbench compare` lists those that can."
        )
    return row


def promote(
    folder: StudyFolder,
    registry: Registry,
    number: int | None = None,
    *,
    why: str = "",
    held: str = "",
) -> Champion:
    """Register a trial's model as the study's champion and keep why; return that record.

    A trial that was promoted before gets the alias back and registers nothing.

    Args:
        folder: The study.
        registry: Where the model is registered, under the study's name.
        number: The trial; if none is named, the best finalist, else the best one.
        why: A sentence; if empty, one that names the objective.
        held: How it stands to a pack that it was held against, in a sentence.

    Raises:
        StudyError: there is no such trial, or its files are gone or are not what it wrote.
    """
    rows = choosable_trials(folder)
    objective = folder.objective()
    finalists = read_finalists(folder, rows) if number is None else None
    best = finalists.best if finalists else None
    if finalists and best:
        for line in failed_repeats(finalists):
            say(line)
        row, lead = best.nearest_mean(objective), _lead_of_finalist(finalists)
        if row.breaks:
            raise StudyError(
                f"All repeats of the finalists break a constraint: of trial {row.number}, "
                f"{row.breaks[0]}. Name a trial by --trial, or search on."
            )
        why = why or _reason_of_finalist(finalists, rows)
    else:
        if finalists and finalists.num_missing:
            say(
                f"{counted(finalists.num_missing, 'repeat')} of the finalists did not end or "
                "cannot be read, so the best trial is taken without them. `workbench finalists` "
                "trains them."
            )
        row = choose_trial(rows, objective, number)
        lead = lead_of(folder, rows, objective, row)
    has_error = objective.has_standard_error(row.by_slice)
    found = trial_auc(folder, row, objective) if has_error else None
    version = known_version(folder, registry, row.recipe)
    if version is None:
        version = register(folder, registry, row, objective)
    elif not (weights := folder.model(row.recipe).weights).exists():
        # The registry has a graph of it: enough for MLflow, not for a bundle.
        say(
            f"warning: The weights of trial {row.number} are gone ({weights}): no bundle can be "
            "exported of it, nor can it be refitted. Put the file back, or promote another trial."
        )
    champion = Champion(
        **lead.model_dump(),
        study=folder.name,
        number=row.number,
        recipe=row.recipe,
        objective=objective,
        value=objective_of(row),
        standard_error=found.standard_error if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        # What trials are expected to be says nothing of a repeat with another seed.
        expected=None if best else _expected(folder, rows, objective, row),
        chosen_by="best" if number is None else "by hand",
        who=current_user(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        repeats=tuple(best.values) if best else (),
        why=f"{why or _reason(rows, objective, row)} {held}".strip(),
        model_name=folder.name,
        model_version=version,
        params_thop=row.params_thop,
        params_true=row.params_true,
        num_folds=folder.experiment().validation.use,
        unseen=unseen_of(folder, row.recipe, objective),
    )
    write_champion(folder, champion)
    return champion


def promote_best(folder: StudyFolder, registry: Registry, *, held: str = "") -> Champion:
    """Promote the best trial after a search, unless a person named the champion by hand.

    That one is registered again if the registry does not have it any more. A damaged record is
    written anew. `held` is as for `promote`.
    """
    try:
        champion = read_champion(folder) if folder.champion.exists() else None
    except DamagedFileError as error:
        say(
            f"{error} Which trial was promoted before is not known any more: the best one is "
            "promoted."
        )
        champion = None
    if champion is None or champion.chosen_by == "best":
        return promote(folder, registry, held=held)
    version = known_version(folder, registry, champion.recipe)
    number = champion.number
    if number is not None:
        numbers = {row.recipe: row.number for row in read_trials(folder)}
        number = numbers.get(champion.recipe, number if version else None)
        if number is None:
            raise StudyError(
                f"The study no longer has what was promoted by hand as {champion.title}, nor has "
                "the registry. Name a trial by `workbench promote --trial`."
            )
    if (number, version) == (champion.number, champion.model_version):
        champion = _as_of_now(folder, champion)
        unseen = unseen_of(folder, champion.recipe, champion.objective)  # new to an older record
        champion = champion.model_copy(update={"unseen": unseen or champion.unseen})
        write_champion(folder, champion)
        return champion
    if number is None:
        raise StudyError(
            f"The registry lost {champion.title}, which was promoted by hand. Run `workbench "
            f"promote --{'soup' if champion.is_soup else 'pack'}` again."
        )
    again = promote(folder, registry, number, why=champion.why)
    if (again.number, again.value) != (champion.number, champion.value):
        # A journal that was lost has its trials by other numbers, or the model was trained again.
        say(
            f"Promoted by hand was {champion.title}, {again.objective.metric} "
            f"{champion.value:.5f}: that recipe is {again.title} by now, {again.value:.5f}."
        )
        return again
    now = {"model_version": again.model_version, "unseen": again.unseen}
    champion = champion.model_copy(update=now)
    write_champion(folder, champion)
    return champion


def _as_of_now(folder: StudyFolder, champion: Champion) -> Champion:
    """Return what was promoted by hand as it stands among the trials that ended since.

    A pack is told as of its making: what it is worth is computed with it. Whether a trial is better
    by now than the one that it was held against is said.
    """
    try:
        rows, _ = measured_alike(folder, read_scored_trials(folder))
        if champion.is_pack:
            return _pack_as_of_now(folder, champion, rows)
        soup = read_soup(folder, champion.recipe) if champion.is_soup else None
        uid = soup.ingredients[0].recipe if soup else champion.recipe
        row = next((one for one in complete_trials(rows) if one.recipe == uid), None)
        if row and soup:
            row = row_of_soup(folder, row, soup)
        if row is None or objective_of(row) != champion.value:
            return champion  # its scores or trials are damaged
        lead = lead_of(folder, rows, champion.objective, row, is_soup=champion.is_soup)
        why, expected = champion.why, champion.expected
        if soup:
            why = f"{worth_of_soup(folder, soup, rows)} {breaks_told(row)}".strip()
        else:
            expected = _expected(folder, rows, champion.objective, row)
            if why.startswith(_REASONS):
                why = _reason(rows, champion.objective, row)
    except (StudyError, DamagedFileError):
        return champion
    now = {key: getattr(lead, key) for key in Lead.model_fields}
    return champion.model_copy(update={**now, "expected": expected, "why": why})


def _pack_as_of_now(folder: StudyFolder, champion: Champion, rows: Sequence[TrialRow]) -> Champion:
    pack, held = folder.pack(champion.recipe).read_pack(), champion.pack
    if held is None:
        return champion
    now = better_by_now(folder, held.finalist, pack.best_single, rows, champion.objective)
    said = [against_in_words(pack, folder.name), now]
    return champion.model_copy(update={"sentence": " ".join(filter(None, said))})


def _expected(
    folder: StudyFolder, rows: Sequence[TrialRow], objective: Objective, row: TrialRow
) -> Expected:
    """Return what a trial is worth; also what it had on average when it was trained again."""
    found, finalists = (
        expect(folder, rows, objective, number=row.number),
        read_finalists(folder, rows),
    )
    ranked = finalists.ranked if finalists else ()
    again = next((one for one in ranked if one.row.recipe == row.recipe), None)
    if again is None or again.mean is None:
        return found
    told = trained_again_told(objective.metric, again.mean, len(again.values))
    return found.model_copy(update={"caveats": (*found.caveats, told)})


def lead_of(
    folder: StudyFolder,
    rows: Sequence[TrialRow],
    objective: Objective,
    row: TrialRow,
    *,
    is_soup: bool = False,
) -> Lead:
    """Return how far a complete trial is ahead of the best other, or a soup of the best of all.

    Args:
        folder: The study.
        rows: Its ended trials.
        objective: What it improves.
        row: The trial's, or the soup's (`soups.row_of_soup`).
        is_soup: Whether it is a soup, which was not picked among the trials.

    Raises:
        StudyError: scores are gone, or of different samples.
    """
    complete = complete_trials(rows)
    rivals = [other for other in complete if is_soup or other.number != row.number]
    others = rank(rivals, objective)
    if not others:
        return Lead(sentence="It is the only complete trial, so nothing tells how good a lead is.")
    other = others[0]
    sign = -1 if objective.direction == "minimize" else 1
    margin = round(sign * (objective_of(row) - objective_of(other)), EXACT_DIGITS)
    has_error = objective.has_standard_error(row.by_slice)
    paired = trial_auc_difference(folder, row, other, objective) if has_error else None
    among = 1 if is_soup else len(chosen_among(complete, row))
    broken = ", which breaks a constraint," if other.breaks and not row.breaks else ""
    return Lead(
        runner_up=RunnerUp(number=other.number, objective=objective_of(other)),
        margin=margin,
        margin_standard_error=paired.standard_error if paired else None,
        confidence=paired.confidence if paired else None,
        sentence=_say(margin, paired, f"{other.number}{broken}", objective, among),
    )


def _say(
    margin: float, paired: Estimate | None, other: str, objective: Objective, num_complete: int
) -> str:
    verb = "is ahead of" if margin >= 0 else "is behind"
    said = f"It {verb} trial {other} by {abs(margin):.5f} in {objective.metric}"
    if margin == 0:
        said = f"It is level with trial {other} in {objective.metric}"
    picked = f"; being picked as the best of {num_complete} trials flatters it"
    picked = picked if margin >= 0 and num_complete > 2 else ""
    if paired is None:
        known = "as it is of an AUC on one slice"
        return f"{said}; no standard error of that is known, {known}{picked}."
    if paired.standard_error is None:
        return f"{said}; one sample or group of a class is too few for a standard error{picked}."
    if paired.confidence is None:
        alike = f"the samples of {objective.place} rank alike and cannot tell the two apart"
        return f"{said}: {alike}{picked}."
    said += f" ± {Z95 * paired.standard_error:.5f} (95%, paired DeLong)"
    if abs(margin) <= Z95 * paired.standard_error:
        said += ", which chance alone could make: the two cannot be told apart"
    return f"{said}{picked}."


def _lead_of_finalist(finalists: Finalists) -> Lead:
    lead = finalists.lead
    if lead is None:
        return Lead(sentence=say_lead(finalists))
    margin = Estimate(value=lead.margin, standard_error=lead.standard_error)
    return Lead(
        runner_up=RunnerUp(number=lead.number, objective=lead.mean),
        margin=lead.margin,
        margin_standard_error=lead.standard_error,
        confidence=margin.confidence,
        sentence=say_lead(finalists),
    )


def _reason_of_finalist(finalists: Finalists, rows: Sequence[TrialRow]) -> str:
    """Return why the best finalist is promoted; also which trial may be better by now."""
    first = rank(complete_trials(rows), finalists.objective)[0].number
    if first in {one.row.number for one in finalists.ranked}:
        return reason(finalists)
    return (
        f"{reason(finalists)} Trial {first} is the best of the study by now and no finalist: "
        "`workbench finalists` trains it again, too."
    )


def _reason(rows: Sequence[TrialRow], objective: Objective, row: TrialRow) -> str:
    ranked = rank(complete_trials(rows), objective)
    which = f"{objective.metric} on {objective.place}"
    best, named = _REASONS
    if ranked[0].number == row.number:
        return f"{best}{which} of {among_in_words(ranked, row)}. {breaks_told(row)}".strip()
    place = 1 + [other.number for other in ranked].index(row.number)
    last = ", for it comes after those that keep the constraints" if row.breaks else ""
    return f"{named}{which} it is number {place} of {len(ranked)}{last}. {breaks_told(row)}".strip()
