"""The promotion of a pack: it becomes the champion of its study as a trial does."""

from datetime import UTC, datetime

from workbench.errors import StudyError
from workbench.selection.champion import Champion, RunnerUp, current_user, write_champion
from workbench.selection.leaderboard import broken_told
from workbench.selection.registration import Registry, known_version, register_model
from workbench.selection.unseen import unseen_of
from workbench.study.folder import StudyFolder
from workbench.study.packs import PackRecord, broken_by, members_told
from workbench.tables import counted


def promote_pack(
    folder: StudyFolder,
    registry: Registry,
    uid: str,
    *,
    run_id: str,
    why: str,
    is_by_hand: bool,
) -> Champion:
    """Register a pack's module as the study's champion and keep why; return that record.

    Args:
        folder: The study that keeps the pack.
        registry: Where the model is registered, under the study's name.
        uid: The pack's.
        run_id: Its MLflow run.
        why: A sentence.
        is_by_hand: Whether a person asked for it; such a choice is kept by later searches.

    Raises:
        StudyError: its files are gone.
        DamagedFileError: its files are not what was written.
    """
    files = folder.pack(uid)
    pack, result = files.read_pack(), files.read_result()
    if result is None or result.objective is None:
        raise StudyError(
            f"The pack in {files.path} is incomplete. Remove this folder, and run `workbench pack`."
        )
    objective, names = folder.as_scored(pack.objective), pack.member_names(folder.name)
    breaks = broken_by(folder.experiment().constraints, pack, result)
    version = known_version(folder, registry, uid)
    if version is None:
        version = register_model(
            folder,
            registry,
            uid,
            run_id=run_id,
            title=f"pack {uid}",
            tags={"workbench.pack": ",".join(names)},
            description=(
                f"{members_told(names)} ({pack.spec.backbone_label}), {objective.metric} "
                f"{result.objective:.5f} on {objective.place}."
            ),
        )
    estimate = pack.estimate
    held = estimate.finalist if estimate else None
    champion = Champion(
        runner_up=RunnerUp(number=held.number, objective=held.mean) if held else None,
        margin=estimate.lead if estimate else None,
        sentence=against_in_words(pack, folder.name),
        study=folder.name,
        number=None,
        recipe=uid,
        members=names,
        pack=estimate,
        objective=objective,
        value=result.objective,
        standard_error=None,
        chosen_by="by hand" if is_by_hand else "best",
        who=current_user(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        why=f"{why} {broken_told(breaks)}".strip(),
        model_name=folder.name,
        model_version=version,
        params_thop=pack.params_thop,
        params_true=pack.params_true,
        num_folds=folder.experiment().validation.use,
        unseen=unseen_of(folder, uid, objective),
    )
    write_champion(folder, champion)
    return champion


def against_in_words(pack: PackRecord, study: str) -> str:
    """Return which member counts most in a pack of `study`, and which trial it was held against."""
    weights = pack.spec.joint.weights
    most = pack.members[weights.index(max(weights))]
    if len(set(weights)) == 1:
        soups = sum(bool(one.soup) for one in pack.members)
        and_soups = f" and {counted(soups, 'soup')}" if soups else ""
        said = f"It joins {len(pack.members) - soups} of {pack.num_trials} trials{and_soups}."
    else:
        title = most.title_in(study)
        said = f"{title[0].upper()}{title[1:]} counts most in it."
    if pack.best_single is None:
        return said
    return f"{said[:-1]}; the best single trial was trial {pack.best_single}."
