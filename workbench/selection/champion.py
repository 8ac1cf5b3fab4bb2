"""The champion of a study: the promoted trial, pack or soup, as its record tells it."""

import getpass
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from workbench.console import visible_lines
from workbench.errors import DamagedFileError, StudyError
from workbench.files import write_text
from workbench.notebook import ShownAsText
from workbench.selection.estimate import Expected
from workbench.study.folder import StudyFolder
from workbench.study.packs import PackEstimate, members_told
from workbench.study.records import UID, TrialRow, is_row, read_study
from workbench.study.repeats import read_repeats, row_of_repeat
from workbench.study.scored import with_scores
from workbench.study.soups import Choice
from workbench.trial.delong import Z95
from workbench.trial.recipe import Objective
from workbench.validation import read_record, shown
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


class Champion(ShownAsText, Lead):
    """The promoted trial, pack or soup of a study, as `champion.json` keeps it."""

    study: str
    number: int | None
    """The trial's; none of a pack or a soup."""

    recipe: str
    """The uid of the recipe that was trained, of the pack, or of the soup."""

    members: tuple[str, ...] = ()
    """The trials of a pack or a soup: their numbers, and the study where it is another."""

    soup: Choice | None = None
    """Of a soup, how its trials were chosen."""

    pack: PackEstimate | None = None
    """What the pack is worth on new data, and against the best single trial."""

    objective: Objective
    value: float
    """Of the objective."""

    standard_error: float | None
    """DeLong; known for an AUC alone. It knows nothing of the choice; `expected` does."""

    low: float | None = None
    high: float | None = None
    """The ends of the 95% interval of `value`; unknown of older versions."""

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
    """Empty where the model is not registered: a pack whose study was imported."""

    params_thop: int | None
    params_true: int | None
    num_folds: int = 1
    """How often it was trained, each time without another fold; see `folds_told`."""

    unseen: str = ""
    """How many files it was measured on that it saw nothing of, in a sentence; see
    `selection.unseen`. Empty if none; older versions did not note it."""

    def __str__(self) -> str:
        return visible_lines(describe_champion(self))

    @property
    def is_pack(self) -> bool:
        """Whether it is a pack of several trials."""
        return self.number is None and self.soup is None

    @property
    def is_soup(self) -> bool:
        """Whether it is the mean of several trials' weights."""
        return self.soup is not None

    @property
    def title(self) -> str:
        """What a person calls it: `trial 5`, or `the pack of trials 3, 5 and 9`."""
        if self.number is not None:
            return f"trial {self.number}"
        return f"the {'soup' if self.is_soup else 'pack'} of {members_told(self.members)}"

    @property
    def reasons(self) -> list[str]:
        """Why it was promoted and what it was held against, in sentences."""
        gain = self.pack.gain_sentence if self.pack else ""
        if self.chosen_by == "best" and self.pack and self.pack.is_tie:
            gain = ""  # the size decided, as `why` says
        # Why a pack was promoted as the best is the same in other words.
        why = "" if gain and self.chosen_by == "best" else self.why
        return [said for said in (gain, why, self.sentence) if said]


def folds_told(num_folds: int, *, is_refit: bool = False) -> str:
    """Return in sentences what scores on `val` of so many folds are; empty for one.

    `is_refit` says that the weights are those of a refit.
    """
    if num_folds == 1:
        return ""
    weights = "The weights are those of the first model, which scores all other files too."
    if is_refit:
        weights = "The weights are none of theirs: they are those of the refit."
    return (
        f"Scores on val are out of fold: each of {num_folds} models scores the files that it was "
        "trained without, so they say what the recipe is worth; where one of them scores higher "
        f"than another throughout, that lowers an AUC. {weights}"
    )


def describe_champion(champion: Champion) -> str:
    """Return the champion in a few lines for a terminal."""
    which = f"{champion.objective.metric} {champion.value:.5f}"
    if champion.standard_error is not None and not champion.expected:
        low, high = ends_of(champion)
        which += f" ({low:.5f} to {high:.5f}, 95%, DeLong)"
    lines = [
        f"Champion: {champion.title}, {which} on {champion.objective.place}.",
        *(champion.expected.lines if champion.expected else ()),
        *([champion.pack.sentence] if champion.pack else ()),
        *filter(None, [folds_told(champion.num_folds), champion.unseen]),
        *_near_chance(champion),
        *champion.reasons,
        f"Registered as {champion.model_name}, version {champion.model_version}, alias champion."
        if champion.model_version
        else "It is not registered here.",
    ]
    return "\n".join(lines)


def ends_of(champion: Champion) -> tuple[float, float]:
    """Return the ends of the 95% interval of the value, which lie within 0 and 1."""
    if champion.low is not None and champion.high is not None:
        return champion.low, champion.high
    spread = Z95 * (champion.standard_error or 0)
    return max(champion.value - spread, 0.0), min(champion.value + spread, 1.0)


def _near_chance(champion: Champion) -> list[str]:
    """Return a sentence if the AUC may be that of a guess, as far as its interval tells."""
    estimate = champion.expected or champion.pack
    least = (estimate.low if estimate else None) or ends_of(champion)[0]
    if champion.objective.metric != "auc" or least > 0.5:
        return []
    if champion.value < 0.5:
        return ["That is below 0.5: guessing would rank the files as well, or better."]
    return ["The interval reaches 0.5, which guessing has: nothing tells that it learnt anything."]


def read_champion(folder: StudyFolder) -> Champion:
    """Return the champion of a study.

    Raises:
        StudyError: it has none yet.
        DamagedFileError: the record is not what was written, or is another study's.
    """
    if not folder.champion.exists():
        raise StudyError(
            f"The study {folder.name} has no champion yet. Run `workbench promote` first."
        )
    remedy = "Run `workbench promote`: it writes it anew."
    champion = read_record(Champion, folder.champion, remedy=remedy)
    if champion.study != folder.name:
        raise DamagedFileError(
            f"{folder.champion} is of another study, {shown(champion.study)}. {remedy}"
        )
    objective, expected = folder.as_scored(champion.objective), champion.expected
    if expected and objective != champion.objective:
        expected = expected.model_copy(update={"place": objective.place})
    return champion.model_copy(update={"objective": objective, "expected": expected})


def write_champion(folder: StudyFolder, champion: Champion) -> None:
    """Write the record of a champion that the registry has: with that a promotion ends."""
    write_text(folder.champion, champion.model_dump_json(indent=2) + "\n")
    folder.registering.unlink(missing_ok=True)


def cut_off_promotion(folder: StudyFolder) -> str:
    """Return a sentence if a promotion ended between the registry and its record; else nothing."""
    if not folder.registering.exists() or folder.is_promoting():
        return ""
    return (
        f"A promotion in {folder.name} was cut off: the alias `champion` in MLflow may lead to "
        f"another model than the champion here. Run `workbench promote {folder.name}` again."
    )


def row_of_champion(
    folder: StudyFolder, champion: Champion, rows: Sequence[TrialRow]
) -> TrialRow | None:
    """Return the row of the trial, or of its repeat, that the champion is; none where it is lost.

    Nor is there one of a pack or of a soup. A repeat stays one of the study when others are asked
    for.
    """
    row = next((row for row in rows if row.number == champion.number), None)
    if row is None or row.recipe == champion.recipe:
        return row
    repeat = next((one for one in read_repeats(folder) if one.recipe == champion.recipe), None)
    again = None if repeat is None else row_of_repeat(folder, row, repeat)
    if again is None:
        return None
    return with_scores(folder, again, champion.objective, folder.experiment().constraints)


def require_number(folder: StudyFolder, champion: Champion) -> None:
    """Refuse a champion's record that tells another number or other folds than the study does.

    Raises:
        StudyError: it does.
    """
    known = {repeat.recipe: repeat.number for repeat in read_repeats(folder)}
    with suppress(StudyError, DamagedFileError):  # without its trials it is exported all the same
        trials = filter(is_row, read_study(folder).get_trials(deepcopy=False))
        known |= {trial.user_attrs[UID]: trial.number for trial in trials}
    number = known.get(champion.recipe, champion.number)
    if champion.number is not None and number != champion.number:
        raise StudyError(
            f"{folder.champion} has the recipe of trial {number} as that of {champion.title}. Run "
            "`workbench promote`: it writes it anew."
        )
    if champion.num_folds != (num_folds := folder.experiment().validation.use):
        raise StudyError(
            f"{folder.champion} tells that {champion.title} was trained {champion.num_folds} "
            f"times, each without another fold, and the study {folder.name} asks for {num_folds}. "
            "Run `workbench promote`: it writes it anew."
        )


def current_user() -> str:
    """Return the name of the user that runs this program."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "unknown"
