"""The best pack that a study's trials make, held against the best single trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from workbench.errors import RuleError, StudyError
from workbench.files import sweep
from workbench.parts.joint import Joint
from workbench.selection.estimate import measured_on
from workbench.selection.finalists import read_finalists
from workbench.selection.joining import JointName
from workbench.selection.leaderboard import (
    broken_told,
    complete_trials,
    num_pruned,
    rank,
    stopped_told,
)
from workbench.selection.pack_correction import PackCorrection, correct_pack
from workbench.selection.pack_costs import (
    broken_as_whole,
    broken_in,
    cost_of,
    limits_of,
    member_params,
    of_no_scores,
)
from workbench.selection.packing import Ingredient, counted, record_of, write_pack
from workbench.selection.soup import is_of_all
from workbench.study.alike import measured_alike
from workbench.study.file_groups import groups_of_files
from workbench.study.folder import StudyFolder
from workbench.study.packs import FinalistHeld, PackEstimate, PackFolder, PackRecord
from workbench.study.records import TrialRow, count_paused, read_trials
from workbench.study.scored import read_scored_trials, read_scores, with_scores
from workbench.study.slice_folders import slice_folders
from workbench.study.soups import read_soups, row_of_soup
from workbench.trial.constraints import Constraints
from workbench.trial.recipe import Objective

_SAMPLE = ["slice", "name", "target"]
_METHOD = (
    "Members, weights and the single trial chosen anew on two thirds of the files, scored on the "
    "other third, for many divisions into thirds"
)


@dataclass(frozen=True)
class Limits:
    """What a pack may cost."""

    params: int | None = None
    """Parameters of the whole pack; the rulebook's limit holds as well."""

    ms_per_file: float | None = None
    members: int = 8
    """Different trials at most."""

    joint: JointName = "calibrated"
    """By `tests/benchmarks/packs.py` the calibrated mean of the best eight gains 0.023 to 0.059 in
    test AUC on the best trial, on each of three sets of trainings; the plain mean 0.010 to 0.070.
    """


@dataclass(frozen=True)
class Proposal:
    """A pack that was chosen and not made yet."""

    objective: Objective
    ingredients: tuple[Ingredient, ...]
    """The members, the heaviest first."""

    joint: Joint
    correction: PackCorrection
    num_trials: int
    """Complete trials that it was chosen among."""

    best: Ingredient
    """The best single trial."""

    caveat: str = ""
    """What the correction does not allow for, in a sentence."""

    finalist: FinalistHeld | None = None
    """The best finalist, where all repeats have ended: the single model then, in place of the best
    trial, since its mean owes nothing to having been picked."""

    breaks: tuple[str, ...] = ()
    """The constraints that it breaks as a whole, each in words."""

    @property
    def is_promoted(self) -> bool:
        """Whether the pack is to be promoted, and not the single model.

        One that breaks a constraint is promoted by hand alone, as a trial is.
        """
        return self._is_better and not self.breaks

    @property
    def _is_better(self) -> bool:
        found, held = self.correction, self.finalist
        if held is None or len(self.ingredients) < 2:
            return found.is_pack_promoted
        if abs(held.lead) <= found.rounding:
            return found.pack_params < held.params
        return held.lead > 0

    @property
    def sentence(self) -> str:
        """The decision and its reason, for a person."""
        if not self.breaks or len(self.ingredients) < 2:
            return self._reason
        broken = broken_told(self.breaks, by="The pack")
        return f"{self._reason} {broken} So it is promoted by hand only."

    @property
    def _reason(self) -> str:
        held = self.finalist
        if held is None:
            return self.correction.sentence
        if (num := len(self.ingredients)) < 2:
            return f"No pack was better than one trial; the best finalist is taken ({held.told})."
        names = [f"pack of {num} models", "best finalist"]
        values = [f"{self.objective.metric} {self.correction.of_pack.value:.3f}", held.told]
        way = 1 if self._is_better else -1
        taken, other = names[::way]
        reason = f"better than the {other} by {abs(held.lead):.3f}"
        if abs(held.lead) <= self.correction.rounding:
            reason = f"as good as the {other} and is no larger"
        return f"The {taken} is expected to be {reason} ({' against '.join(values[::way])})."

    @property
    def estimate(self) -> PackEstimate:
        """What the pack is worth on new data of the same kind."""
        found = self.correction
        return PackEstimate(
            expected=found.of_pack.value,
            low=found.of_pack.low,
            high=found.of_pack.high,
            gain=found.gain,
            gain_low=found.gain_low,
            gain_high=found.gain_high,
            rounding=found.rounding,
            finalist=self.finalist,
            num_trials=self.num_trials,
            method=_METHOD,
            caveat=self.caveat,
        )


def propose_pack(
    folder: StudyFolder,
    others: Sequence[StudyFolder] = (),
    limits: Limits | None = None,
    *,
    soups: bool = False,
) -> Proposal:
    """Choose the pack that is worth most on new data, of the complete trials of some studies.

    Args:
        folder: The study that will keep it; its objective and its rulebook count.
        others: Studies of the same data, whose trials may be members, too.
        limits: What it may cost.
        soups: Whether the soups that were made of these trials may be members, too.

    Raises:
        RuleError: the rulebook allows no pack.
        StudyError: there is no soup, fewer than two trials were scored on the same files, none is
            small enough, or the files are too few to tell what a choice is worth.
        DamagedFileError: scores are gone or damaged.
    """
    limits = limits or Limits()
    experiment = folder.experiment()
    if experiment.rulebook.single_model == "backbone":
        raise RuleError(
            f"The rulebook of {folder.name} allows one network for each view, and a pack has "
            "several. Where your rules allow several in one module, write `single_model: module` "
            "under `rulebook`, and search into a new study."
        )
    objective, constraints = folder.objective(), experiment.constraints
    # One that is named twice would count its trials twice.
    studies = {study.path.resolve(): study for study in (folder, *others)}.values()
    usable = [one for study in studies for one in _usable(study, objective, constraints, soups)]
    if soups and not any(one.soup for one in usable):
        raise StudyError(
            f"There is no soup of {folder.name} to be a member. Make one by `workbench soup "
            f"{folder.name}`, or leave out --soups."
        )
    alike, tables = _scored_alike(usable, objective)
    for study in {one.folder.name for one in usable} - {one.folder.name for one in alike}:
        raise StudyError(
            f"The trials of {study} were scored on other files than those of {folder.name}, so "
            "that none can be a member. Name studies of the same data."
        )
    costs = [cost_of(one, experiment) for one in alike]
    num_kept = sum(cost.has_weights and cost.keeps_constraints for cost in costs)
    if num_kept < 2:
        keep = ", keep the constraints" if constraints else ""
        raise StudyError(
            f"A pack needs two complete trials that have their weights{keep} and were scored on "
            f"the same files, and there {'is one' if num_kept else 'is none'}. Search on, or name "
            "studies of the same data."
        )
    measured = measured_on(tables, groups_of_files(folder), slice_folders(folder))
    found = correct_pack(
        measured,
        objective,
        costs,
        limits_of(limits.params, limits.ms_per_file, limits.members, experiment),
        joint=limits.joint,
        constraints=constraints,
    )
    if found is None:
        raise StudyError(
            "A pack cannot be chosen: no trial is within the limits, or a class has too few files "
            "to tell what a choice is worth. Raise the limits, or hold out more files."
        )
    ingredients = tuple(alike[place] for place in found.pack.members)
    best = alike[found.trial]
    caveats = (_caveat(ingredients, [*studies]), _lost(best))
    return Proposal(
        objective=objective,
        ingredients=ingredients,
        joint=found.pack.joint,
        correction=found,
        num_trials=sum(one.soup is None for one in alike),
        best=best,
        caveat=" ".join(filter(None, caveats)),
        finalist=_finalist(folder, usable, found),
        breaks=broken_as_whole(found.pack, alike, tables, experiment),
    )


def make_pack(folder: StudyFolder, proposal: Proposal) -> tuple[PackFolder, PackRecord]:
    """Write a proposed pack into its study, all of it or nothing.

    Raises:
        RuleError: the rulebook refuses it.
        StudyError: another process holds the study, or files of a member are gone, or of other
            data.
        DamagedFileError: files of a member are not what its trial wrote.
    """
    with folder.held():  # so that no cleaning deletes what it joins, or the pack itself
        sweep(folder.path)  # one that was killed may have left the weights of a whole pack
        # Before the members are read: that runs their plugins, which may be of other versions.
        rulebook = folder.experiment().rulebook
        record = record_of(
            proposal.ingredients, proposal.joint, proposal.objective, num_trials=proposal.num_trials
        )
        record = counted(record, rulebook)
        best = proposal.best
        number = best.row.number if best.folder.name == folder.name else None
        told = {"estimate": proposal.estimate, "best_single": number}
        record = record.model_copy(update=told)
        return write_pack(folder, record, proposal.ingredients), record


def _usable(
    study: StudyFolder, objective: Objective, constraints: Constraints, soups: bool
) -> list[Ingredient]:
    """Return the trials of a study that a pack is chosen among, best first, and then its soups.

    Those whose weights were deleted are there too: the others were kept for being better. So are
    those that break a constraint on a metric, which other files might have let pass; not those of
    too many parameters or that take too long.
    """
    own = study.objective()
    if own != objective:
        raise StudyError(
            f"The study {study.name} improves {own.metric} on {own.place}, and a pack is chosen by "
            f"{objective.metric} on {objective.place}. Name studies with one objective."
        )
    rows, _ = measured_alike(study, read_scored_trials(study))
    ranked = rank(complete_trials(rows), objective)
    fixed = of_no_scores(constraints)
    found = [Ingredient(study, row) for row in ranked]
    if soups:
        found += _soups(study, {row.recipe: row for row in ranked}, objective)
    return [one for one in found if not broken_in(fixed, one.row)]


def _soups(
    study: StudyFolder, trials: Mapping[str, TrialRow], objective: Objective
) -> list[Ingredient]:
    """Return the soups of a study whose best trial is complete and whose scores are whole."""
    found, limits = [], study.experiment().constraints
    for soup in read_soups(study):
        first = trials.get(soup.ingredients[0].recipe)
        row = first and with_scores(study, row_of_soup(study, first, soup), objective, limits)
        if row and row.state == "complete":
            found.append(Ingredient(study, row, soup))
    return found


def _caveat(ingredients: Sequence[Ingredient], studies: Sequence[StudyFolder]) -> str:
    """Return which members are soups of trials that were picked by the same files, if any is.

    And how many trials of the studies were stopped by them.
    """
    stopped = stopped_told(
        sum(num_pruned(read_trials(study)) for study in studies), sum(map(count_paused, studies))
    )
    picked = []
    for one in ingredients:
        if one.soup:
            rows = read_scored_trials(one.folder)
            if not is_of_all(one.folder, one.soup, rows):
                picked.append(one.title)
    if not picked:
        return stopped
    said = (
        f"That does not allow for how the trials in {' and '.join(picked)} were picked, as far as "
        "that was by these same files: expect less."
    )
    return f"{said} {stopped}".strip()


def _lost(best: Ingredient) -> str:
    """Return that the single trial which a pack is held against can be in no bundle, if so."""
    if best.folder.trial(best.row.recipe).weights.exists():
        return ""
    return (
        f"The weights of {best.title}, which it is held against, are gone: that trial itself can "
        "be in no bundle."
    )


def _finalist(
    folder: StudyFolder, usable: Sequence[Ingredient], found: PackCorrection
) -> FinalistHeld | None:
    """Return the best finalist that may be promoted, as the chosen pack is held against it."""
    # The row of a soup has the number of its best trial, which may be a finalist.
    own = [one.row for one in usable if one.folder.name == folder.name and one.soup is None]
    standing = read_finalists(folder, own)
    best = standing.best if standing else None
    if standing is None or best is None or best.mean is None or best.breaks:
        return None
    sign = 1 if standing.objective.direction == "maximize" else -1
    return FinalistHeld(
        number=best.row.number,
        mean=best.mean,
        num_seeds=len(best.values),
        params=member_params(best.row, folder.experiment()),  # as those of the pack are counted
        lead=sign * (found.of_pack.value - best.mean),
    )


def _scored_alike(
    usable: Sequence[Ingredient], objective: Objective
) -> tuple[list[Ingredient], list[pd.DataFrame]]:
    """Return those that were scored on the files of the first, with their scores in one order."""
    alike: list[Ingredient] = []
    tables: list[pd.DataFrame] = []
    for one in usable:
        scores = read_scores(one.folder, one.row, objective)
        table = scores.sort_values(["slice", "name"], kind="stable", ignore_index=True)
        if not tables or table[_SAMPLE].equals(tables[0][_SAMPLE]):
            alike.append(one)
            tables.append(table)
    return alike, tables
