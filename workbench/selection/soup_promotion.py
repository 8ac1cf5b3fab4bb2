"""The promotion of a soup: it becomes the champion of its study as a trial does."""

from collections.abc import Sequence
from datetime import UTC, datetime

from workbench.errors import StudyError
from workbench.selection.champion import Champion, current_user, write_champion
from workbench.selection.leaderboard import breaks_told, complete_trials, objective_of
from workbench.selection.promotion import lead_of
from workbench.selection.registration import Registry, known_version, register_model
from workbench.selection.soup_decision import worth_of_soup
from workbench.selection.statistics import trial_auc
from workbench.selection.unseen import unseen_of
from workbench.study.alike import measured_alike
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.study.scored import read_scored_trials
from workbench.study.soups import Soup, newest_soup, read_soup, row_of_soup


def promote_newest_soup(folder: StudyFolder, registry: Registry) -> Champion:
    """Promote the soup that was made last, as a person asked; return the record of it.

    Args:
        folder: The study.
        registry: Where the model is registered, under the study's name.

    Raises:
        StudyError: none was made, its files are gone, or its best trial has no run.
        DamagedFileError: its files are not what was written.
    """
    soup = newest_soup(folder)
    rows, _ = measured_alike(folder, read_scored_trials(folder))
    row = row_of_soup(folder, _first_of(folder, soup, rows), soup)
    objective = folder.objective()
    lead = lead_of(folder, rows, objective, row, is_soup=True)
    has_error = objective.has_standard_error(row.by_slice)
    found = trial_auc(folder, row, objective) if has_error else None
    version = known_version(folder, registry, soup.recipe)
    if version is None:
        version = register_soup(folder, registry, soup.recipe, rows)
    champion = Champion(
        **lead.model_dump(),
        study=folder.name,
        number=None,
        recipe=soup.recipe,
        members=tuple(map(str, soup.numbers)),
        soup=soup.chosen,
        objective=objective,
        value=objective_of(row),
        standard_error=found.standard_error if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        chosen_by="by hand",
        who=current_user(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        why=f"{worth_of_soup(folder, soup, rows)} {breaks_told(row)}".strip(),
        model_name=folder.name,
        model_version=version,
        params_thop=row.params_thop,
        params_true=row.params_true,
        num_folds=folder.experiment().validation.use,
        unseen=unseen_of(folder, soup.recipe, objective),
    )
    write_champion(folder, champion)
    return champion


def register_soup(
    folder: StudyFolder, registry: Registry, uid: str, rows: Sequence[TrialRow]
) -> str:
    """Register a soup's model; return the version. It comes from the run of its best trial.

    Args:
        folder: The study that keeps the soup.
        registry: Where the model is registered, under the study's name.
        uid: The soup's.
        rows: The ended trials of the study.

    Raises:
        StudyError: its files or its best trial are gone, or that has no run.
        DamagedFileError: its files are not what was written.
    """
    soup = read_soup(folder, uid)
    if soup is None:
        raise StudyError(f"The study {folder.name} has no soup {uid} any more.")
    first = _first_of(folder, soup, rows)
    if first.run_id is None:
        raise StudyError(
            f"Trial {first.number}, the best in the soup, has no run in the tracking store, so the "
            "soup cannot be registered. Promote another model."
        )
    row, objective = row_of_soup(folder, first, soup), folder.objective()
    names = ", ".join(map(str, soup.numbers))
    return register_model(
        folder,
        registry,
        uid,
        run_id=first.run_id,
        title=f"soup {uid}",
        tags={"workbench.soup": names.replace(" ", "")},
        description=(
            f"the mean of the weights of trials {names} ({row.backbone}), {objective.metric} "
            f"{row.objective:.5f} on {objective.place}."
        ),
    )


def _first_of(folder: StudyFolder, soup: Soup, rows: Sequence[TrialRow]) -> TrialRow:
    """Return the row of the best of a soup's trials."""
    # By its recipe: a study whose journal was lost may have its trials by other numbers.
    number, uid = soup.ingredients[0].number, soup.ingredients[0].recipe
    first = next((row for row in complete_trials(rows) if row.recipe == uid), None)
    if first is None:
        raise StudyError(
            f"The study {folder.name} has no complete trial {number}, the best in the soup. "
            "Make another by `workbench soup`."
        )
    return first
