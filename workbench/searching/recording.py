"""A study's record in MLflow: the runs of its trials, and that none of them is missing there.

The trials' folders hold all that a run shows, so a run that was lost is written anew from them.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import optuna

from workbench.access import require_writable
from workbench.addresses import ServerAddress, TrackingPlace, folders_of
from workbench.errors import StudyError
from workbench.parts.augment import Augment
from workbench.parts.transfer import Transfer
from workbench.searching.stray_runs import end_strays, end_strays_of_models
from workbench.study.folder import StudyFolder
from workbench.study.packs import PackFolder, title_within
from workbench.study.records import (
    MADE_BY,
    REASON,
    SECONDS,
    START,
    THOP,
    TRUE,
    UID,
    is_row,
    note_run,
    runs_of,
    state_of,
)
from workbench.study.refits import RefittedModel
from workbench.study.repeats import Repeat, read_repeats, write_repeat
from workbench.tracking.runs import Tracking
from workbench.tracking.store import WriteError, why_refused
from workbench.tracking.writing import RunState, flatten
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import Epoch, Result, State, TrialFolder
from workbench.trial.sampling import Sampling

SHOWN_METRICS = ("auc", "f1", "log_loss", "tpr", "fpr", "params_true", "seconds")
SHOWN_PARAMS = ("views", "backbone", "image_px", "optimizer.kind", "optimizer.lr", "loss.kind")
"""What the study's page in the MLflow user interface shows of each trial."""

_OFF = {"augment": Augment(), "sampling": Sampling(), "transfer": Transfer()}
_USUAL = dict(flatten({key: value.model_dump(mode="json") for key, value in _OFF.items()}))
"""Some sixty settings that change nothing as they are; `recipe.json` has them all the same."""


def show_trials(tracking: Tracking, parent: str, objective: Objective) -> None:
    """Choose what the page of a study in the MLflow user interface shows."""
    metrics = [*dict.fromkeys((objective.metric, *SHOWN_METRICS))]
    greatest = objective.direction == "maximize"
    tracking.set_leaderboard(parent, metrics=metrics, params=SHOWN_PARAMS, greatest=greatest)


class StudyRuns:
    """The runs of one study, the study's own opened and RUNNING until `close`.

    Args:
        folder: The study's folder, held by this process.
        place: Of the tracking store.
        made_by: What runs now, as tags: versions, code, platform. Each trial that begins keeps
            it with its Optuna trial.

    Raises:
        StudyError: the store cannot be used.
        StoreError: the server does not answer, or refuses to.
    """

    def __init__(
        self, folder: StudyFolder, place: TrackingPlace, made_by: Mapping[str, str]
    ) -> None:
        self._folder, self.place, self.made_by = folder, place, dict(made_by)
        info = folder.info()
        self._about = {
            "data": info.data,
            "data_fingerprint": info.fingerprint,
            "seed": str(info.seed),
        }
        self._objective: Objective = folder.experiment().objective
        self._open()

    def _open(self) -> None:
        info = self._folder.info()
        self.tracking = Tracking(self.place)
        tags = {**self._about, **self.made_by}
        self.parent = self.tracking.open_study(info.name, study_id=info.id, tags=tags)
        show_trials(self.tracking, self.parent, self._objective)

    def is_there(self) -> bool:
        """Say whether the store is still the one that was opened."""
        return self.tracking.store.is_there()

    def reopen(self) -> None:
        """Open the store again, which makes it anew where it was removed."""
        self.tracking.store.close()
        self._open()

    def close(self, state: RunState) -> None:
        """Record how this run of the search ended."""
        self.tracking.end_study(self.parent, state=state)

    def start(
        self, number: int, recipe: Recipe, attrs: Mapping[str, Any], epochs: Iterable[Epoch] = ()
    ) -> str:
        """Open the run of a trial with the epochs that it trained already, and return its id.

        `attrs` are those of its Optuna trial.
        """
        start = {START: attrs[START]} if START in attrs else {}
        run = self.tracking.start_trial(
            self.parent,
            number=number,
            uid=recipe.uid,
            **_of_recipe(recipe),
            # Not what runs now: one that is written anew was trained by the code of its time.
            tags={**self._about, **attrs.get(MADE_BY, {}), **start},
        )
        for epoch in epochs:
            self.log(run, epoch)
        return run

    def start_repeat(self, repeat: Repeat, recipe: Recipe, epochs: Iterable[Epoch] = ()) -> str:
        """Open the run of a repeat, a child of the study's as those of trials; return its id."""
        run = self.tracking.start_trial(
            self.parent,
            number=repeat.number,
            uid=repeat.recipe,
            **_of_recipe(recipe, f", repeat {repeat.place}"),
            tags={**self._about, **repeat.made_by, "workbench.repeat_of": str(repeat.number)},
            kind="repeat",
        )
        for epoch in epochs:
            self.log(run, epoch)
        return run

    def write_pack(self, files: PackFolder) -> str:
        """Write the run of a pack, unless the store has it; return its id."""
        pack, result = files.read_pack(), files.read_result()
        if result is None:
            raise StudyError(
                f"The pack in {files.path} is incomplete. Remove this folder, and make the "
                "pack again."
            )
        if (known := self.tracking.find_pack(self.parent, pack.uid)) is not None:
            return known
        names = ", ".join(pack.member_names(self._folder.name))
        run = self.tracking.start_trial(
            self.parent,
            number=None,
            uid=pack.uid,
            name=f"pack of {names}",
            recipe=pack.model_dump(mode="json", include={"data", "objective", "num_trials"}),
            params={"backbone": pack.spec.backbone_label, "members": names},
            tags={**self._about, **self.made_by},
            kind="pack",
        )
        self.end(run, result, {THOP: pack.params_thop, TRUE: pack.params_true})
        return run

    def write_refit(self, model: RefittedModel, made_by: Mapping[str, str]) -> str:
        """Write the run of the refit of a model, unless the store has it; return its id.

        It has no metrics but of training: the files of `val` were learned from.
        """
        known = self.tracking.trial_runs(self.parent, kind="refit")
        if there := [run for run in known if run.uid == model.recipe and run.state == "complete"]:
            return there[-1].run_id
        files = self._folder.refit(model.recipe)
        recipe, result = files.read_recipe(), files.read_result()
        if result is None:
            raise StudyError(f"{files.path} is no whole refit. Remove it, and make it again.")
        run = self.tracking.start_trial(
            self.parent,
            number=model.number,
            uid=recipe.uid,
            **_of_recipe(recipe, title_within(", refit", model.study, of=self._folder.name)),
            tags={**self._about, **made_by, "workbench.refit_of": model.of},
            kind="refit",
        )
        for epoch in result.epochs:
            self.tracking.log_epoch(run, _of_training(epoch), epoch.epoch)
        made = [file for file in (files.result, files.log) if file.exists()]
        metrics = {SECONDS: result.seconds, "files": float(model.num_files)}
        self.tracking.end_trial(run, state="complete", reason="", metrics=metrics, artifacts=made)
        return run

    def log(self, run: str, epoch: Epoch) -> None:
        """Record an epoch."""
        self.tracking.log_epoch(run, {**epoch.metrics, **_of_training(epoch)}, epoch.epoch)

    def end(self, run: str, result: Result, attrs: Mapping[str, Any], *, restarts: int = 0) -> None:
        """Record how a trial ended, with its files."""
        files = self._folder.model(result.recipe)
        params = {key: float(attrs[key]) for key in (THOP, TRUE) if attrs.get(key) is not None}
        final = {**result.metrics, **params, SECONDS: result.seconds}
        for name, metrics in result.by_slice.items():
            for metric in {"auc", self._objective.metric}:
                final[f"slice.{name}.{metric}"] = metrics[metric]
        for key in (
            "best_epoch",
            "ms_per_file",
            "peak_memory_bytes",
            "estimated_memory_bytes",
            "micro_batch",
        ):
            if (value := getattr(result, key)) is not None:
                final[key] = float(value)
        if compiled := sum(epoch.compiled for epoch in result.epochs):
            final["compiled_epochs"] = float(compiled)
        if restarts:
            final["restarts"] = float(restarts)
        made = [files.record, files.result, files.scores]
        if isinstance(files, TrialFolder):
            # A run has its recipe since it was opened.
            made = [files.result, files.scores, files.roc, files.pr, files.log]
        self.tracking.end_trial(
            run,
            state=_ended(result.state),
            reason=result.reason,
            metrics=final,
            artifacts=[file for file in made if file.exists()],
        )

    def agree(self, study: optuna.Study) -> int:
        """Write what the store lacks of the ended trials; return how many it lacked.

        A run that a person deleted is restored, or, where it is gone for good or its end was
        forgotten, written anew; the study then notes its new id. A run of no trial, pack or refit
        is ended.
        """
        there = {run.run_id: run for run in self.tracking.trial_runs(self.parent, deleted=True)}
        noted, mended = runs_of(study), 0
        for trial in study.get_trials(deepcopy=False):
            if not is_row(trial):
                continue
            uid, state = trial.user_attrs[UID], state_of(trial)
            run = there.get(noted.get(trial.number, ""))
            if run is None or run.state != state:
                # Written anew by a search that did not note its new id.
                same = [run for run in there.values() if (run.uid, run.state) == (uid, state)]
                run = same[-1] if same else None
            if run is not None:
                if run.deleted:
                    self.tracking.restore_trial(run.run_id)
                    mended += 1
                if run.run_id != noted.get(trial.number):
                    note_run(study, trial.number, run.run_id)
                continue
            anew = self._write_anew(trial)
            if anew is not None:
                note_run(study, trial.number, anew)
                mended += 1
        end_strays(self.tracking, there.values(), {*runs_of(study).values()})
        end_strays_of_models(self.tracking, self.parent, self._folder)
        return mended

    def agree_on_repeats(self) -> int:
        """Write what the store lacks of the repeats that ended; return how many it lacked.

        A run of no repeat is ended.
        """
        runs = self.tracking.trial_runs(self.parent, deleted=True, kind="repeat")
        there = {(run.uid, run.state): run for run in runs}
        mended, noted = 0, set()
        for repeat in read_repeats(self._folder):
            files = self._folder.repeat(repeat.recipe)
            recipe, result = files.kept_recipe(), files.kept_result()
            if recipe is None or result is None:
                noted.add(repeat.run or "")
                continue
            run = there.get((repeat.recipe, result.state))
            if run is None:
                run_id = self.start_repeat(repeat, recipe, result.epochs)
                self.end(run_id, result, repeat.counts())
                mended += 1
            else:
                run_id = run.run_id
                if run.deleted:
                    self.tracking.restore_trial(run_id)
                    mended += 1
            if run_id != repeat.run:
                write_repeat(self._folder, repeat.model_copy(update={"run": run_id}))
            noted.add(run_id)
        end_strays(self.tracking, runs, noted, kind="repeat")
        return mended

    def _write_anew(self, trial: optuna.trial.FrozenTrial) -> str | None:
        """Write the run of an ended trial; nothing where its recipe is lost."""
        files = self._folder.trial(trial.user_attrs[UID])
        recipe = files.kept_recipe()
        state, result = state_of(trial), files.kept_result()
        if recipe is None or (result is None and state == "complete"):
            return None  # reading the study says so
        if result is None or result.state != state:  # one that was refused left none
            reason = trial.user_attrs.get(REASON, "")
            result = Result(recipe=trial.user_attrs[UID], state=state, reason=reason)
        run = self.start(trial.number, recipe, trial.user_attrs, result.epochs)
        self.end(run, result, trial.user_attrs)
        return run


def _of_recipe(recipe: Recipe, ending: str = "") -> dict[str, Any]:
    """Return what a run says of its recipe, for `Tracking.start_trial`."""
    views, backbone = "+".join(recipe.model.views), recipe.model.backbone_label
    own = {"name": f"{recipe.model.label}{ending}", "recipe": recipe.flat()}
    return {**own, "params": {"views": views, "backbone": backbone}, "usual": _USUAL}


def _of_training(epoch: Epoch) -> dict[str, float]:
    return {"train_loss": epoch.train_loss, "lr": epoch.lr, "epoch_seconds": epoch.seconds}


def _ended(state: State) -> Literal["complete", "pruned", "failed"]:
    if state == "paused":
        raise ValueError("a paused trial has not ended")
    return state


@contextmanager
def changes_told(runs: StudyRuns, folder: Path) -> Iterator[None]:
    """Let an error of the body be what was done to its folders meanwhile, where something was.

    Rights to write there may be gone, or the tracking store.
    """
    try:
        yield
    except Exception as error:
        for place in (folder, *folders_of(runs.place)):
            require_writable(place)
        if runs.is_there():
            raise
        raise StudyError(
            f"The tracking store in {runs.place} was removed while the search wrote to it. The "
            "same command goes on, and writes it anew."
        ) from error


def cannot_be_written(place: TrackingPlace, error: WriteError) -> StudyError:
    """Return the error of a search whose tracking store at `place` refuses an entry."""
    why = why_refused(error)
    if isinstance(place, ServerAddress):
        return StudyError(
            f"The MLflow server at {place} refuses an entry: {why}. See its log; the same command "
            "then goes on, and writes there what is missing."
        )
    return StudyError(
        f"The tracking store in {place} cannot be written: {why}. Check that the "
        "folder is there, can be written and has space; the same command then goes on, and "
        "writes there what is missing."
    )
