"""The best legal model of a study, trial or pack, promoted at the end of a search."""

from typing import Literal

from workbench.addresses import TrackingPlace
from workbench.console import say
from workbench.errors import DamagedFileError, RuleError, StudyError
from workbench.parts.joint import MeanOfProbabilities
from workbench.searching.mending import pack_run
from workbench.selection.champion import Champion, read_champion
from workbench.selection.leaderboard import broken_told, complete_trials
from workbench.selection.pack_promotion import promote_pack
from workbench.selection.pack_proposal import make_pack, propose_pack
from workbench.selection.packing import Ingredient, counted, record_of, write_pack
from workbench.selection.promotion import promote_best
from workbench.selection.registration import Registry
from workbench.selection.told_in_mlflow import tell_in_mlflow
from workbench.study.alike import choosable_trials
from workbench.study.folder import StudyFolder
from workbench.study.packs import broken_by
from workbench.study.scored import read_scored_trials


def promote_as_asked(
    folder: StudyFolder,
    registry: Registry,
    place: TrackingPlace,
    packs: Literal["none", "best", "all"],
) -> Champion:
    """Promote at the end of a search: the best trial, that or the best pack, or the pack of all.

    MLflow's pages of the study and of its model say so, too.
    """
    with folder.promoting():
        if packs == "all":
            champion = promote_whole_pack(folder, registry, place)
        elif packs == "best":
            champion = promote_best_model(folder, registry, place)
        else:
            champion = promote_best(folder, registry)
        tell_in_mlflow(folder, place, champion)  # before another process promotes another
    return champion


def promote_best_model(folder: StudyFolder, registry: Registry, place: TrackingPlace) -> Champion:
    """Promote the best pack of a study's trials if it is worth more than the best single trial.

    What a person promoted by hand stays. Where finalists were trained again, the best of them is
    the single model: what the pack is expected to have is held against its mean.

    Args:
        folder: The study.
        registry: Where the model is registered.
        place: Of the tracking store.

    Raises:
        StudyError: there is none to promote.
        DamagedFileError: files of a trial are not what it wrote.
    """
    if folder.experiment().rulebook.single_model == "backbone" or _is_by_hand(folder):
        return promote_best(folder, registry)
    try:
        proposal = propose_pack(folder)
        if not proposal.is_promoted:
            return promote_best(folder, registry, held=proposal.sentence)
        files, record = make_pack(folder, proposal)
    except (StudyError, RuleError) as error:
        champion = promote_best(folder, registry)
        say(f"No pack was made. {error}")
        return champion
    choosable_trials(folder)  # says which complete ones could be no members
    run_id = pack_run(folder, place, record.uid)
    return promote_pack(
        folder,
        registry,
        files.path.name,
        run_id=run_id,
        why=proposal.sentence,
        is_by_hand=False,
    )


def promote_whole_pack(folder: StudyFolder, registry: Registry, place: TrackingPlace) -> Champion:
    """Promote the pack of all trials of a study, each weighed alike, as a known recipe says it.

    What a person promoted by hand stays.

    Raises:
        StudyError: a trial is not complete, its files are gone, or the pack breaks a constraint.
        RuleError: the rulebook refuses the pack.
    """
    if _is_by_hand(folder):
        return promote_best(folder, registry)
    rows = read_scored_trials(folder)
    experiment = folder.experiment()
    objective = folder.objective()
    complete = complete_trials(rows)
    if lost := [row for row in rows if row not in complete]:
        raise StudyError(
            f"The pack lacks a member: trial {lost[0].number} is {lost[0].state} "
            f"({lost[0].reason.rstrip('.')}). Mend what stopped it and begin again by --study NAME."
        )
    ingredients = [Ingredient(folder, row) for row in complete]
    even = MeanOfProbabilities(weights=(1 / len(complete),) * len(complete))
    with folder.held():
        record = record_of(ingredients, even, objective, num_trials=len(complete))
        record = counted(record, experiment.rulebook)
        result = write_pack(folder, record, ingredients).read_result()
    if result and (breaks := broken_by(experiment.constraints, record, result)):
        raise StudyError(
            f"{broken_told(breaks, by='The pack of all members')} It is promoted by hand only: "
            f"`workbench promote {folder.name} --pack`."
        )
    return promote_pack(
        folder,
        registry,
        record.uid,
        run_id=pack_run(folder, place, record.uid),
        why="It is the pack of the known recipe, every member weighed alike.",
        is_by_hand=False,
    )


def promote_newest_pack(folder: StudyFolder, registry: Registry, place: TrackingPlace) -> Champion:
    """Promote the pack that was made last, as a person asked.

    Raises:
        StudyError: none was made, its files are gone, or the rulebook refuses it.
        DamagedFileError: its files are not what was written.
    """
    uid = folder.newest_pack().path.name
    return promote_pack(
        folder,
        registry,
        uid,
        run_id=pack_run(folder, place, uid),
        why="It was named by hand.",
        is_by_hand=True,
    )


def _is_by_hand(folder: StudyFolder) -> bool:
    """Return whether a person decided what is promoted."""
    try:
        return folder.champion.exists() and read_champion(folder).chosen_by == "by hand"
    except DamagedFileError:
        return False
