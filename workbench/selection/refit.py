"""The refit of a champion: every model of it trained again on the files of `val`, too."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from safetensors.torch import save_file

from workbench.access import full_disk_told, require_writable
from workbench.console import say
from workbench.data.prepare import Prepared
from workbench.errors import DamagedFileError, StudyError, WorkbenchError
from workbench.files import finished, hash_file, sweep
from workbench.folders import finished_folder
from workbench.parts.averages import SWAD
from workbench.searching.devices import choose_seats
from workbench.searching.mending import refit_runs
from workbench.selection.champion import Champion, current_user, read_champion
from workbench.selection.packing import join_tables, pack_tensors, was_trained_again
from workbench.study.folder import StudyFolder
from workbench.study.packs import PackFolder, PackRecord, title_within
from workbench.study.provenance import code_tags, environment_tags
from workbench.study.refits import RefitRecord, RefittedModel, write_refit
from workbench.study.since_begun import told_since_begun
from workbench.trial.in_process import train_here
from workbench.trial.recipe import Recipe, Refit
from workbench.trial.result import Epoch, Result, TrialFolder
from workbench.validation import shown
from workbench.workspace import Workspace


@dataclass(frozen=True)
class _Model:
    """A trained model that is trained again."""

    folder: StudyFolder
    number: int
    recipe: Recipe
    result: Result

    def title_in(self, study: str) -> str:
        """Return what a person calls the trial where `study` is spoken of."""
        return title_within(f"trial {self.number}", self.folder.name, of=study)


def refit_champion(
    folder: StudyFolder, workspace: Workspace, *, device: str = "auto"
) -> RefitRecord:
    """Train the champion of a study again on `train` and `val` together, every member of a pack.

    Epochs and schedule stay as they were chosen; the last epoch is kept, or the average that the
    recipe has by then. What was trained before is not trained again, and what was cut off goes on.
    Each model gets a run in MLflow beside those of the trials.

    Args:
        folder: The study.
        workspace: Where caches and weights are.
        device: A torch device, or `auto`.

    Raises:
        StudyError: there is no champion, it cannot be trained without `val`, or a training failed.
        WorkbenchError: files of the champion, or its decoded data, are gone or damaged.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    seats = choose_seats(device, 1)
    require_writable(folder.path)
    if changed := told_since_begun(folder):
        say(f"warning: {changed}")
    with folder.held(), ExitStack() as stack:
        stack.enter_context(full_disk_told(folder.path))
        sweep(folder.path)
        champion = read_champion(folder)
        models = _models(folder, champion)
        recipes = [refitted(one.recipe, one.result) for one in models]
        done = []
        for one, recipe in zip(models, recipes, strict=True):
            prepared = Prepared.load(one.folder.path)
            _require_whole(folder.refit(recipe.uid))
            train_here(
                recipe,
                prepared,
                folder.refit(recipe.uid),
                device=seats.devices[0],
                num_threads=seats.num_threads,
                title=f"refit of {one.title_in(folder.name)}",
                store=workspace.weights,
                cache=workspace.cache,
            )
            done.append(_told(one, recipe, prepared))
        trained = [folder.refit(recipe.uid) for recipe in recipes]
        uid = recipes[0].uid
        if champion.number is None:
            uid = _write_pack(folder, folder.pack(champion.recipe).read_pack(), recipes, trained)
        refit = RefitRecord(
            recipe=uid,
            models=tuple(done),
            **carried_over(champion),
            is_repeat=bool(champion.repeats),
            has_holdout=folder.experiment().holdout is not None,
            who=current_user(),
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            made_by={**environment_tags(), **code_tags(), "device": seats.devices[0]},
        )
        write_refit(folder, refit)
    refit_runs(folder, workspace.tracking_of(folder.experiment().tracking), refit)
    return refit


def refitted(recipe: Recipe, result: Result) -> Recipe:
    """Return the recipe of the refit of a trial.

    Args:
        recipe: The trial's.
        result: How it ended.

    Raises:
        StudyError: its average needs files that are held out.
    """
    if isinstance(recipe.training.transfer.average, SWAD):
        raise StudyError(
            "The champion averages its weights by SWAD, which needs the loss on val; a "
            "refit trains on val too, so there is none. Refit a trial with another "
            "average, or submit the champion."
        )
    history = tuple(epoch.objective for epoch in result.epochs if epoch.fold == 1)
    # What its epochs are measured on tells nothing, so it is no more than it must be.
    objective = recipe.objective.model_copy(update={"over": ("val",), "aggregate": "mean"})
    again = recipe.replaced(objective=objective, refit=Refit(of=recipe.uid, history=history))
    return again.named(again.uid)


def _require_whole(files: TrialFolder) -> None:
    """Raise DamagedFileError if a refit that was trained before is not what was written."""
    try:
        files.require_unchanged()
    except (DamagedFileError, FileNotFoundError) as error:
        raise DamagedFileError(
            f"The refit in {files.path} is damaged or lacks a file. Remove this folder and run the "
            "same command again: it is trained anew."
        ) from error


def carried_over(champion: Champion) -> dict[str, Any]:
    """Return the fields of a refit's record that are the champion's own."""
    expected = champion.expected or champion.pack
    return {
        "of": champion.recipe,
        "title": champion.title,
        "objective": champion.objective,
        "value": champion.value,
        "expected": expected.expected if expected else None,
        "low": expected.low if expected else None,
        "high": expected.high if expected else None,
        "num_folds": champion.num_folds,
    }


def require_carried_over(folder: StudyFolder, champion: Champion, refit: RefitRecord) -> None:
    """Refuse a refit's record that says something else of its champion than the champion's own.

    Raises:
        StudyError: it does; or see `_models`.
        DamagedFileError: a model that it names is gone or damaged.
    """
    models = _models(folder, champion)
    wanted = carried_over(champion)
    told = [(key, getattr(refit, key), value) for key, value in wanted.items()]
    told.append(("has_holdout", refit.has_holdout, folder.experiment().holdout is not None))
    for one, model in zip(models, refit.models, strict=False):
        best, last = _best_and_last(one.result)
        of_trial = f"of {one.title_in(folder.name)}"
        told += [
            (f"objective {of_trial}", model.objective, best.objective),
            (f"last epoch {of_trial}", model.at_last_epoch, last.objective),
        ]
        with suppress(WorkbenchError):  # without its decoded data it is exported all the same
            counts = _num_files(Prepared.load(one.folder.path))
            told.append((f"files {of_trial}", (model.num_before, model.num_files), counts))
    for key, here, value in told:
        if here != value:
            raise StudyError(
                f"{folder.last_refit} has {shown(here)} as the {key}, and the champion has "
                f"{shown(value)}. Run `workbench refit {folder.name}` again: what is trained is "
                "not trained again."
            )
    _require_refits_of(folder, models, champion, refit)


def _require_refits_of(
    folder: StudyFolder, models: Sequence[_Model], champion: Champion, refit: RefitRecord
) -> None:
    """Refuse a refit's record that names another model than the refits of `models`, or a part."""
    named = [one.recipe for one in refit.models]
    again = [folder.refit(uid).read_recipe().refit for uid in named]
    is_whole = [one.of for one in again if one] == [one.recipe.uid for one in models]
    if champion.number is None:
        pack = folder.refit_pack(refit.recipe).read_pack()
        members, joint = [one.recipe for one in pack.members], pack.spec.joint
        is_whole &= joint == folder.pack(champion.recipe).read_pack().spec.joint
    else:
        members = [refit.recipe]
    if not is_whole or named != members:
        raise StudyError(
            f"{folder.last_refit} names other models than the refit of {champion.title}. Run "
            f"`workbench refit {folder.name}` again: what is trained is not trained again."
        )


def _models(folder: StudyFolder, champion: Champion) -> list[_Model]:
    """Return the champion's model, or every member of its pack.

    Raises:
        StudyError: it is a soup or has one, the study of a member is not here, how a member ended
            is not known, or it was trained again since.
        DamagedFileError: a record is gone or damaged.
    """
    if champion.is_soup:
        raise StudyError(
            f"The champion is {champion.title}, a mean of weights, which cannot be trained as one "
            "model. Promote a trial or a pack to refit that, or submit the champion."
        )
    if champion.number is not None:
        return [_model(folder, champion.number, folder.trial(champion.recipe))]
    found = []
    for member in folder.pack(champion.recipe).read_pack().members:
        own, title = folder.beside(member.study), member.title_in(folder.name)
        if member.soup:
            raise StudyError(
                f"The champion has {title} as a member, a mean of weights, which cannot be "
                "trained as one model. Promote a pack without soups to refit that, or submit the "
                "champion."
            )
        if was_trained_again(folder, member):
            raise StudyError(
                f"The champion has {title} as a member, which has other weights by now, as where "
                "it was trained again: that training was not chosen. Run `workbench pack "
                f"{folder.name}` to choose anew."
            )
        found.append(_model(own, member.number, own.trial(member.recipe)))
    return found


def _model(folder: StudyFolder, number: int, files: TrialFolder) -> _Model:
    result = files.read_result()
    if result is None or not result.epochs:
        raise StudyError(
            f"Trial {number} of {folder.name} has no epochs in {files.result}, so it cannot be "
            "trained again. Put the file back, or promote another trial."
        )
    return _Model(folder, number, files.read_recipe(), result)


def _num_files(prepared: Prepared) -> tuple[int, int]:
    """Return how many files a trial is trained on, and how many its refit."""
    before, after = prepared.for_fold(1), prepared.with_val_in_train()
    return len(before.rows("train")), len(after.rows("train"))


def _best_and_last(result: Result) -> tuple[Epoch, Epoch]:
    of_fold = [epoch for epoch in result.epochs if epoch.fold == 1]
    return max(of_fold, key=lambda epoch: epoch.epoch == result.best_epoch), of_fold[-1]


def _told(one: _Model, recipe: Recipe, prepared: Prepared) -> RefittedModel:
    best, last = _best_and_last(one.result)
    num_before, num_files = _num_files(prepared)
    return RefittedModel(
        study=one.folder.name,
        number=one.number,
        of=one.recipe.uid,
        recipe=recipe.uid,
        num_before=num_before,
        num_files=num_files,
        objective=best.objective,
        at_last_epoch=last.objective,
    )


def _write_pack(
    folder: StudyFolder,
    pack: PackRecord,
    recipes: Sequence[Recipe],
    trained: Sequence[TrialFolder],
) -> str:
    """Write the pack of the members' refits, with the joint that was chosen; return its uid."""
    members = tuple(
        member.model_copy(
            update={
                "study": folder.name,
                "recipe": recipe.uid,
                "trained": recipe,
                "weights_sha256": hash_file(files.weights),
            }
        )
        for member, recipe, files in zip(pack.members, recipes, trained, strict=True)
    )
    record = pack.model_copy(update={"members": members})
    place = folder.refit_pack(record.uid)
    if not place.path.is_dir():
        tables = [files.read_scores() for files in trained]
        titles = [f"The refit of {member.title_in(folder.name)}" for member in pack.members]
        tensors = pack_tensors(record.spec, trained)
        with finished_folder(place.path) as path:
            part = PackFolder(path, record.uid)
            part.write_pack(record)
            part.write_scores(join_tables(record.spec.joint, tables, titles))
            with finished(part.weights) as file:
                save_file(tensors, file, metadata={"recipe": record.uid})
            part.write_result(_result(record, trained, part))
    return record.uid


def _result(record: PackRecord, trained: Sequence[TrialFolder], part: PackFolder) -> Result:
    results = [files.read_result() for files in trained]
    times = [one.ms_per_file if one else None for one in results]
    known = [time for time in times if time is not None]
    return Result(
        recipe=record.uid,
        state="complete",
        ms_per_file=sum(known) if len(known) == len(times) else None,
        seconds=sum(one.seconds for one in results if one),
        recipe_sha256=hash_file(part.record),
        weights_sha256=hash_file(part.weights),
        scores_sha256=hash_file(part.scores),
    )
