"""Soups: the mean of the weights of several complete trials, in one model of the same size.

Weights can be averaged where the trials learned the same model from the same start: then they
mostly lie in one basin of the loss, and their mean too.

Source: Wortsman et al. 2022, arXiv:2203.05482, recipe 1 and section 2.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from safetensors.torch import save_file

from workbench.data.prepare import Prepared
from workbench.errors import StudyError
from workbench.files import finished, hash_file, sweep, write_text
from workbench.folders import finished_folder
from workbench.searching.devices import choose_seats
from workbench.selection.leaderboard import complete_trials, objective_of, rank
from workbench.selection.registration import weights_of
from workbench.selection.soup_scoring import Averaged, SoupScorer
from workbench.selection.statistics import trial_auc_difference
from workbench.study.alike import choosable_trials
from workbench.study.folder import StudyFolder
from workbench.study.provenance import code_tags, environment_tags
from workbench.study.records import TrialRow
from workbench.study.soups import (
    Ingredient,
    Soup,
    read_soup,
    row_of_soup,
    soup_uid,
    write_soup,
)
from workbench.trial.delong import Estimate
from workbench.trial.device import called
from workbench.trial.metrics import metrics_by_slice, objective_metrics
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import Result, TrialFolder
from workbench.validation import shown

_OF_TRAINING = {"dropout"}
"""Keys of a model spec that say nothing of what its weights compute."""


@dataclass(frozen=True)
class MadeSoup:
    """A soup as it stands, and what it is held against."""

    soup: Soup | None
    """None where the greedy choice took the best trial alone."""

    row: TrialRow | None
    """Of the soup; see `soups.row_of_soup`."""

    tried: tuple[Ingredient, ...]
    """All trials, best first."""

    objective: Objective
    gain: Estimate | None = None
    """How much higher its AUC is than that of its best trial, where that has a standard error."""

    is_new: bool = True
    """Whether it was made now; it may have been there."""

    num_without_weights: int = 0
    """Complete trials that would fit, and were passed by since their weights are gone."""


def make_soup(
    folder: StudyFolder,
    numbers: Sequence[int] = (),
    *,
    greedy: bool = False,
    device: str = "auto",
) -> MadeSoup:
    """Average the weights of several complete trials, score the mean and keep it in the study.

    Args:
        folder: The study.
        numbers: The trials; by default the best one that others fit, and all of those, as far as
            they have their weights.
        greedy: Whether to add one after the other, best first, and leave out each that would make
            the objective worse; else all are averaged.
        device: A torch device, or `auto`.

    Raises:
        StudyError: there are not two such trials, a trial does not fit the others, or several folds
            validate.
        DamagedFileError: what a trial wrote is gone or damaged.
    """
    began = time.monotonic()
    device = choose_seats(device, 1).devices[0]
    with folder.held():
        sweep(folder.path)
        rows = choosable_trials(folder)
        objective = folder.objective()
        prepared = Prepared.load(folder.path)
        _require_one_fold(folder, prepared)
        chosen = choose_ingredients(folder, rows, objective, numbers)
        num_lost = 0 if numbers else _num_without_weights(folder, rows, chosen[0])
        scorer = SoupScorer(folder, prepared, chosen, device=device)
        taken, tried = _choose(folder, scorer, chosen, objective, greedy=greedy)
        if len(taken) < 2:
            return MadeSoup(None, None, tried, objective, num_without_weights=num_lost)
        numbers_taken = {row.number for row in taken}
        soup = Soup(
            recipe=soup_uid(row.recipe for row in taken),
            chosen="greedily" if greedy else "all",
            ingredients=tuple(each for each in tried if each.number in numbers_taken),
            left_out=tuple(each for each in tried if each.number not in numbers_taken),
            made_by={**environment_tags(), **code_tags(), "device": device},
        )
        there = read_soup(folder, soup.recipe)
        if there is not None:
            _require_same_weights(folder, there, taken)
        else:
            _write(folder, soup, scorer, taken, objective, began, device)
        write_text(folder.last_soup, soup.recipe + "\n")
        row, gain = row_of_soup(folder, taken[0], there or soup), None
        if objective.has_standard_error(row.by_slice):
            gain = trial_auc_difference(folder, row, taken[0], objective)
        return MadeSoup(there or soup, row, tried, objective, gain, there is None, num_lost)


def _require_same_weights(folder: StudyFolder, soup: Soup, taken: Sequence[TrialRow]) -> None:
    """Refuse a soup that is there of trials that were trained again since, to other weights."""
    kept = {each.recipe: each for each in soup.ingredients}
    for row in taken:
        now, then = objective_of(row), kept[row.recipe].objective
        why = ""
        if folder.trial(row.recipe).has_other_weights(kept[row.recipe].weights_sha256):
            why = "was trained again since"
        if not math.isclose(now, then, rel_tol=1e-4, abs_tol=1e-6):
            why = (
                f"had {then:.5f} when it was made, and has {now:.5f}, as where it was trained again"
            )
        if why:
            raise StudyError(
                f"The soup of these trials is there, of other weights: trial {row.number} {why}. "
                f"Remove {folder.soup(soup.recipe).path}, and run `workbench soup` again."
            )


def _require_one_fold(folder: StudyFolder, prepared: Prepared) -> None:
    """Refuse data of which several folds validate: a soup would be scored on what it learned.

    A trial keeps the weights that it learned without the first fold, so from the files of all
    others; and what it is held against is scored out of fold.
    """
    if prepared.num_folds > 1:
        raise StudyError(
            f"In the study {folder.name} {prepared.num_folds} folds validate in turn, and the "
            "weights that a trial keeps have learned the files of all but the first: the mean of "
            "several would be scored on files that it knows. Search a study with `use: 1` under "
            "`validation`."
        )


def _choose(
    folder: StudyFolder,
    scorer: SoupScorer,
    ranked: Sequence[TrialRow],
    objective: Objective,
    *,
    greedy: bool,
) -> tuple[Sequence[TrialRow], tuple[Ingredient, ...]]:
    """Return the trials that are averaged, and all that were tried, both best first."""
    with_it: dict[int, float] = {}

    def value_of(rows: Sequence[TrialRow]) -> float:
        if len(rows) == 1:
            return objective_of(rows[0])
        with_it[rows[-1].number] = value = scorer.value(rows)
        return value

    taken = choose_greedily(ranked, value_of, objective) if greedy else ranked
    tried = (
        Ingredient(
            number=row.number,
            recipe=row.recipe,
            objective=objective_of(row),
            with_it=with_it.get(row.number),
            weights_sha256=weights_of(folder, row.recipe),
        )
        for row in ranked
    )
    return taken, tuple(tried)


def choose_greedily(
    ranked: Sequence[TrialRow],
    value_of: Callable[[Sequence[TrialRow]], float],
    objective: Objective,
) -> list[TrialRow]:
    """Return the trials whose mean is built up one by one, none of which makes it worse.

    Args:
        ranked: The trials, best first.
        value_of: Returns the objective of the mean of some.
        objective: Says which way is better.

    Source: Wortsman et al. 2022, arXiv:2203.05482, recipe 1.
    """
    taken = [ranked[0]]
    best = value_of(taken)
    for row in ranked[1:]:
        value = value_of([*taken, row])
        if not objective.is_better(best, value):
            taken.append(row)
            best = value
    return taken


def choose_ingredients(
    folder: StudyFolder, rows: Sequence[TrialRow], objective: Objective, numbers: Sequence[int]
) -> list[TrialRow]:
    """Return the trials of a soup, best first.

    Args:
        folder: The study.
        rows: Its ended trials, alike measured.
        objective: By what they are ranked.
        numbers: Of the trials; none stands for the best one that others fit, and all of those, of
            the trials that have their weights.

    Raises:
        StudyError: they are fewer than two, one is not complete, or one does not fit the others.
        DamagedFileError: a recipe is gone or damaged.
    """
    ranked = rank(complete_trials(rows), objective)
    recipes = {row.number: folder.trial(row.recipe).read_recipe() for row in ranked}
    if not numbers:
        kept = [row for row in ranked if _has_weights(folder, row)]
        for first in kept:
            fit = [row for row in kept if not misfit(recipes[first.number], recipes[row.number])]
            if len(fit) > 1:
                return fit
        have = "" if len(kept) == len(ranked) else f", {len(kept)} of which have their weights,"
        raise StudyError(
            f"Of {len(ranked)} complete trials{have} no two have the same model and the same "
            "start, so none can be averaged. Search a space with one backbone, size and set of "
            "views."
        )
    if len(set(numbers)) < 2:
        raise StudyError("A soup needs two trials or more. Name others by --trials.")
    if missing := [number for number in numbers if number not in recipes]:
        raise StudyError(
            f"Trial {missing[0]} is no complete trial of the study {folder.name}, so it has no "
            "weights to average. `workbench compare` lists those that are."
        )
    named = [row for row in ranked if row.number in numbers]
    for row in named[1:]:
        if why := misfit(recipes[named[0].number], recipes[row.number]):
            raise StudyError(
                f"Trial {row.number} cannot be averaged with trial {named[0].number}: {why}. "
                "Leave one of them out."
            )
    return named


def _has_weights(folder: StudyFolder, row: TrialRow) -> bool:
    return folder.trial(row.recipe).weights.exists()


def num_fitting(folder: StudyFolder, soup: Soup, rows: Sequence[TrialRow]) -> int:
    """Return how many complete trials can be averaged with those of a soup, and those."""
    inside = {one.recipe for one in soup.ingredients}
    first = folder.soup(soup.recipe).read_recipe()
    others = [row for row in complete_trials(rows) if row.recipe not in inside]
    recipes = [folder.trial(row.recipe).kept_recipe() for row in others]
    fitting = [recipe for recipe in recipes if recipe and not misfit(first, recipe)]
    return len(inside) + len(fitting)


def num_groups(folder: StudyFolder, rows: Sequence[TrialRow]) -> int:
    """Return how many groups of complete trials there are, each of which can be averaged."""
    recipes = [folder.trial(row.recipe).kept_recipe() for row in complete_trials(rows)]
    left, found = [recipe for recipe in recipes if recipe], 0
    while left:
        first, *others = left
        left = [recipe for recipe in others if misfit(first, recipe)]
        found += len(left) < len(others)
    return found


def is_of_all(folder: StudyFolder, soup: Soup, rows: Sequence[TrialRow]) -> bool:
    """Say whether no trial of a soup was picked by its value: no others could be averaged."""
    has_all = len(soup.ingredients) >= num_fitting(folder, soup, rows)
    return soup.chosen != "greedily" and has_all and num_groups(folder, rows) < 2


def _num_without_weights(folder: StudyFolder, rows: Sequence[TrialRow], first: TrialRow) -> int:
    """Return how many complete trials fit `first`, and lack the weights to be averaged."""
    recipe = folder.trial(first.recipe).read_recipe()
    lost = [row for row in complete_trials(rows) if not _has_weights(folder, row)]
    return sum(not misfit(recipe, folder.trial(row.recipe).read_recipe()) for row in lost)


def misfit(first: Recipe, other: Recipe) -> str:
    """Return why two recipes' weights cannot be averaged, as a clause about `other`; else nothing.

    The model must be the same, but for its dropout, and so must be its start: the pretrained
    weights, and the seed of what is drawn at random, which the head always is.
    """
    if other.model.head.is_fitted:
        return f"its {other.model.head.label} was fitted, and means are of weights trained by steps"
    ours, theirs = (recipe.model.model_dump(mode="json") for recipe in (first, other))
    if list(ours["views"]) != list(theirs["views"]):
        return f"its views are {', '.join(theirs['views'])}, not {', '.join(ours['views'])}"
    for name, view in ours["views"].items():
        if view != theirs["views"][name]:
            return f"its view {name} has other settings"
    for key in ours:
        if key not in ("views", *_OF_TRAINING) and ours[key] != theirs[key]:
            what = "it starts from the weights" if key == "weights" else f"its `{key}` is"
            return f"{what} {shown(_told(theirs[key]))}, not {shown(_told(ours[key]))}"
    if first.seed != other.seed:
        return f"it starts from the random numbers of seed {other.seed}, not {first.seed}"
    return ""


def _told(value: object) -> object:
    """Return what names some weights; anything else as it is."""
    if isinstance(value, dict) and "sha256" in value:
        named = f"{value['name'] or 'random'} ({value['source']})"
        return f"{named}, {value['sha256'][:12]}" if value["sha256"] else named
    return value


def average_again(folder: StudyFolder, prepared: Prepared, soup: Soup, *, device: str) -> None:
    """Write a soup of trials that were trained again, unless it is there.

    Args:
        folder: The study, which has these trials.
        prepared: Its data.
        soup: What it averages.
        device: A torch device.
    """
    if read_soup(folder, soup.recipe) is None:
        scorer = SoupScorer(folder, prepared, soup.ingredients, device=device)
        objective = folder.objective()
        _write(folder, soup, scorer, soup.ingredients, objective, time.monotonic(), device)


def _write(
    folder: StudyFolder,
    soup: Soup,
    scorer: SoupScorer,
    rows: Sequence[Averaged],
    objective: Objective,
    began: float,
    device: str,
) -> None:
    """Write the folder of a soup: whole, or not at all."""
    model = scorer.model(rows)
    scores = scorer.table(model)
    scored = {
        str(name): (each["target"], each["score"])
        for name, each in scores.groupby("slice", sort=False)
    }
    metrics = {str(k): value for k, value in objective_metrics(objective, scored).items()}
    with finished_folder(folder.soup(soup.recipe).path) as part:
        files = TrialFolder(part)
        files.write_recipe(scorer.recipe)
        files.write_scores(scores)
        with finished(files.weights) as weights:
            state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
            save_file(state, weights, metadata={"recipe": soup.recipe})
        files.write_result(
            Result(
                recipe=soup.recipe,
                state="complete",
                objective=metrics[objective.metric],
                metrics=metrics,
                by_slice=metrics_by_slice(scores),
                ms_per_file=scorer.ms_per_file,
                seconds=time.monotonic() - began,
                device=called(device),
                recipe_sha256=hash_file(files.recipe),
                weights_sha256=hash_file(files.weights),
                scores_sha256=hash_file(files.scores),
            )
        )
        write_soup(part, soup)
