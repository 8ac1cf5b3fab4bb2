"""The champion of a study: which trial it is, how sure its lead is, and its registration."""

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from workbench.console import say
from workbench.errors import DamagedFileError, StudyError
from workbench.files import write_text
from workbench.selection.estimate import Expected, expect
from workbench.selection.finalists import Finalists, read_finalists
from workbench.selection.finalists_told import reason, say_lead
from workbench.selection.leaderboard import complete_trials, objective_of, rank
from workbench.selection.registration import Registry, register
from workbench.selection.statistics import read_scored_trials, trial_auc, trial_auc_difference
from workbench.study.alike import measured_alike
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.trial.delong import Z95, Estimate
from workbench.trial.recipe import Objective
from workbench.validation import read_record
from workbench.values import Frozen


class RunnerUp(Frozen):
    """The best of the other complete trials."""

    number: int
    objective: float


class Lead(Frozen):
    """How far a trial is ahead of the best other one."""

    runner_up: RunnerUp | None = None
    margin: float | None = None
    """How much better its objective is, whichever way is better; below 0 if it is worse."""

    margin_standard_error: float | None = None
    """Paired DeLong, on the samples of the objective's slice; known for an AUC on one slice."""

    confidence: float | None = None
    """One-sided, normal: how sure it is that the lead is no luck of these samples."""

    sentence: str
    """The same for a person."""


class Champion(Lead):
    """The promoted trial of a study, as `champion.json` keeps it."""

    study: str
    number: int
    recipe: str
    objective: Objective
    value: float
    """Of the objective."""

    standard_error: float | None
    """DeLong; known for an AUC alone. It knows nothing of the choice; `expected` does."""

    expected: Expected | None = None
    """What it is worth on new data; unknown of older versions."""

    chosen_by: Literal["best", "by hand"]
    who: str
    when: str
    """UTC, ISO 8601."""

    repeats: tuple[float, ...] = ()
    """The objective of each repeat of this trial, where it was trained again with new seeds and
    won by their mean: `recipe` and `value` are then those of the repeat that is promoted."""

    why: str
    model_name: str
    model_version: str
    params_thop: int | None
    params_true: int | None
    num_folds: int = 1
    """How often it was trained, each time without another fold; see `folds_told`."""


def folds_told(num_folds: int) -> str:
    """Return in a sentence what scores on `val` of so many folds are; empty for one."""
    if num_folds == 1:
        return ""
    return (
        f"Scores on val are out of fold: each of {num_folds} models scores the files that it was "
        "trained without, so they say what the recipe is worth. The weights are those of the first "
        "model, which scores all other files too."
    )


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
        raise StudyError(
            f"There is no ended trial {number}: they are {min(numbers)} to {max(numbers)}. "
            "`workbench compare` lists the best."
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
    folder: StudyFolder, registry: Registry, number: int | None = None, *, why: str = ""
) -> Champion:
    """Register a trial's model as the study's champion and keep why; return that record.

    A trial that was promoted before gets the alias back and registers nothing.

    Args:
        folder: The study.
        registry: Where the model is registered, under the study's name.
        number: The trial; if none is named, the best finalist, else the best one.
        why: A sentence; if empty, one that names the objective.

    Raises:
        StudyError: there is no such trial, or its files are gone or are not what it wrote.
    """
    rows, _ = measured_alike(folder, read_scored_trials(folder))
    objective = folder.experiment().objective
    finalists = read_finalists(folder, rows) if number is None else None
    best = finalists.best if finalists else None
    if finalists and best:
        row, lead = best.nearest_mean(objective), _lead_of_finalist(finalists)
        why = why or _reason_of_finalist(finalists, rows)
    else:
        row = choose_trial(rows, objective, number)
        lead = lead_of(folder, rows, objective, row)
    has_error = objective.has_standard_error(row.by_slice)
    error = trial_auc(folder, row, objective).standard_error if has_error else None
    version = registry.set_champion(folder.name, row.recipe)
    if version is None:
        version = register(folder, registry, row, objective)
    champion = Champion(
        **lead.model_dump(),
        study=folder.name,
        number=row.number,
        recipe=row.recipe,
        objective=objective,
        value=objective_of(row),
        standard_error=error,
        # What trials are expected to be says nothing of a repeat with another seed.
        expected=None if best else expect(folder, rows, objective, number=row.number),
        chosen_by="best" if number is None else "by hand",
        who=current_user(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        repeats=tuple(best.values) if best else (),
        why=why or _reason(rows, objective, row),
        model_name=folder.name,
        model_version=version,
        params_thop=row.params_thop,
        params_true=row.params_true,
        num_folds=folder.experiment().validation.use,
    )
    write_text(folder.champion, champion.model_dump_json(indent=2) + "\n")
    return champion


def promote_best(folder: StudyFolder, registry: Registry) -> Champion:
    """Promote the best trial after a search, unless a person named the champion by hand.

    That one is registered again if the registry does not have it any more. A damaged record is
    written anew.
    """
    try:
        champion = read_champion(folder) if folder.champion.exists() else None
    except DamagedFileError as error:
        say(f"{error} The best trial is promoted, whatever was before.")
        champion = None
    if champion is None or champion.chosen_by == "best":
        return promote(folder, registry)
    version = registry.set_champion(champion.model_name, champion.recipe)
    if version == champion.model_version:
        return champion
    again = promote(folder, registry, champion.number, why=champion.why)
    champion = champion.model_copy(update={"model_version": again.model_version})
    write_text(folder.champion, champion.model_dump_json(indent=2) + "\n")
    return champion


def describe_champion(champion: Champion) -> str:
    """Return the champion in a few lines for a terminal."""
    which = f"{champion.objective.metric} {champion.value:.5f}"
    if champion.standard_error and not champion.expected:
        which += f" ± {Z95 * champion.standard_error:.5f} (95%, DeLong)"
    lines = [
        f"Champion: trial {champion.number}, {which} on {champion.objective.place}.",
        *(champion.expected.lines if champion.expected else ()),
        *filter(None, [folds_told(champion.num_folds)]),
        *_near_chance(champion),
        champion.why,
        champion.sentence,
        f"Registered as {champion.model_name}, version {champion.model_version}, alias champion.",
    ]
    return "\n".join(lines)


def _near_chance(champion: Champion) -> list[str]:
    """Return a sentence if the AUC may be that of a guess, as far as its interval tells."""
    plain = champion.value - Z95 * (champion.standard_error or 0)
    least = (champion.expected.low if champion.expected else None) or plain
    if champion.objective.metric != "auc" or least > 0.5:
        return []
    if champion.value < 0.5:
        return ["That is below 0.5: guessing would rank the files as well, or better."]
    return ["The interval reaches 0.5, which guessing has: nothing tells that it learnt anything."]


def read_champion(folder: StudyFolder) -> Champion:
    """Return the champion of a study.

    Raises:
        StudyError: it has none yet.
        DamagedFileError: the record is not what was written.
    """
    if not folder.champion.exists():
        raise StudyError(
            f"The study {folder.name} has no champion yet. Run `workbench promote` first."
        )
    remedy = "Run `workbench promote`: it writes it anew."
    return read_record(Champion, folder.champion, remedy=remedy)


def lead_of(
    folder: StudyFolder, rows: Sequence[TrialRow], objective: Objective, row: TrialRow
) -> Lead:
    """Return how far complete trial `row` is ahead of the best other complete trial.

    Raises:
        StudyError: scores are gone, or of different samples.
    """
    complete = complete_trials(rows)
    others = rank([other for other in complete if other.number != row.number], objective)
    if not others:
        return Lead(sentence="It is the only complete trial, so nothing tells how good a lead is.")
    other = others[0]
    sign = -1 if objective.direction == "minimize" else 1
    margin = sign * (objective_of(row) - objective_of(other))
    has_error = objective.has_standard_error(row.by_slice)
    paired = trial_auc_difference(folder, row, other, objective) if has_error else None
    return Lead(
        runner_up=RunnerUp(number=other.number, objective=objective_of(other)),
        margin=margin,
        margin_standard_error=paired.standard_error if paired else None,
        confidence=paired.confidence if paired else None,
        sentence=_say(margin, paired, other.number, objective, len(complete)),
    )


def _say(
    margin: float, paired: Estimate | None, other: int, objective: Objective, num_complete: int
) -> str:
    verb = "is ahead of" if margin >= 0 else "is behind"
    said = f"It {verb} trial {other} by {abs(margin):.5f} in {objective.metric}"
    if margin == 0:
        said = f"It is level with trial {other} in {objective.metric}"
    if paired is None:
        return f"{said}; no standard error of that is known, as it is of an AUC."
    if paired.standard_error is None:
        return f"{said}; one sample of a class is too few for a standard error."
    if paired.confidence is None:
        return f"{said}: the samples of {objective.place} rank alike and cannot tell the two apart."
    said += f" ± {Z95 * paired.standard_error:.5f} (95%, paired DeLong)"
    if abs(margin) <= Z95 * paired.standard_error:
        said += ", which chance alone could make: the two cannot be told apart"
    if margin > 0 and num_complete > 2:
        said += f"; being picked as the best of {num_complete} trials flatters it"
    return said + "."


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
    if ranked[0].number == row.number:
        return f"It has the best {which} of {len(ranked)} complete trials."
    place = 1 + [other.number for other in ranked].index(row.number)
    return f"It was named by hand; by {which} it is number {place} of {len(ranked)}."


def current_user() -> str:
    """Return the name of the user that runs this program."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "unknown"
