"""The runs of a study: a parent run for the study, a child run for each trial.

There is no current run: every call names its run, and the study process is the only writer.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from workbench.addresses import TrackingPlace
from workbench.errors import StudyError
from workbench.tracking.server import open_store
from workbench.tracking.ui import KIND, leaderboard_tag, page_of, require_store
from workbench.tracking.writing import TAG_LENGTH, RunState, RunWriter, flatten
from workbench.values import Frozen

# isort: split
# After the store, which sets what MLflow reads when it is imported.
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

_PRUNED = " pruned: "
Kind = Literal["trial", "repeat", "pack", "refit"]
"""Of a run below a study: a trial of it, the repeat of one with another seed, or several of its
trials joined."""


class TrialRun(Frozen):
    """One trial, or repeat of one, as the store remembers it."""

    run_id: str
    number: int
    """The trial's; -1 of a pack."""

    uid: str
    name: str
    status: str
    state: str
    metrics: dict[str, float] = Field(default_factory=dict)
    """Its final values, as far as they are numbers."""

    deleted: bool = False
    """Whether a person deleted it in the user interface, so that it can be restored."""


class Tracking:
    """The runs in the tracking store at `place`; one in a folder is created if there is none.

    Raises:
        StudyError: the folder cannot hold a store, or holds one that cannot be used.
        StoreError: the server does not answer, or refuses to.
    """

    def __init__(self, place: TrackingPlace) -> None:
        self.store = open_store(place)
        self._client = self.store.client
        self._writer = RunWriter(self.store)

    def open_study(self, name: str, *, study_id: str = "", tags: Mapping[str, str]) -> str:
        """Return the id of the parent run of study `name`, RUNNING; created if there is none.

        An experiment or parent run that was deleted in the user interface is restored: the study
        goes on, so its record does too.

        Args:
            name: The study's; also that of the MLflow experiment.
            study_id: Tells a study from an earlier one of the same name, whose runs stay apart.
            tags: What to note with the study.

        Raises:
            StudyError: the record of this study keeps its artifacts outside this store.
        """
        experiment_id = self.store.open_experiment(name)
        run = self._find_parent(experiment_id, name, study_id)
        if run is None:
            own = {
                "workbench.kind": "study",
                "workbench.study": name,
                "workbench.study_id": study_id,
            }
            run = self._client.create_run(experiment_id, run_name=f"study {name}", tags=own)
        elif run.info.lifecycle_stage == "deleted":
            self._client.restore_run(run.info.run_id)
        run_id = run.info.run_id
        self._client.update_run(run_id, status="RUNNING")
        self._writer.log(run_id, tags={**tags, "workbench.state": "running"})
        return run_id

    def start_trial(
        self,
        parent: str,
        *,
        number: int | None,
        uid: str,
        name: str,
        recipe: Mapping[str, Any],
        params: Mapping[str, str] | None = None,
        usual: Mapping[str, str] | None = None,
        tags: Mapping[str, str],
        kind: Kind = "trial",
    ) -> str:
        """Open the run of a trial and return its id.

        The whole recipe is kept as the artifact `recipe.json`, and as the tag `workbench.recipe`
        unless it is longer than a tag may be. Its leaves are the run's parameters, under dotted
        names.

        Args:
            parent: The run of the study.
            number: The trial's number in the study; none of a pack.
            uid: The id of the recipe.
            name: What the trial tries, in a word; the run is called "<number> <name>", or by the
                name alone.
            recipe: The full dump of the recipe.
            params: Parameters besides the leaves of the recipe.
            usual: Leaves that are no parameters where they have this value, which most trials have.
            tags: Anything else worth keeping, such as versions, commit and device.
            kind: What it is; the page of a study shows trials alone.
        """
        own = {
            "mlflow.parentRunId": parent,
            "workbench.kind": kind,
            **({} if number is None else {"workbench.number": str(number)}),
            "workbench.uid": uid,
            "workbench.state": "running",
        }
        whole_name = name if number is None else f"{number:03d} {name}"
        run = self._client.create_run(
            self.store.experiment_of(parent),
            run_name=whole_name,
            tags=own,
        )
        run_id = run.info.run_id
        text = json.dumps(recipe, ensure_ascii=False)
        whole = {"workbench.recipe": text} if len(text) <= TAG_LENGTH else {}
        leaves = {k: v for k, v in flatten(recipe) if (usual or {}).get(k) != v}
        self._writer.log(run_id, params={**leaves, **(params or {})}, tags={**tags, **whole})
        self._client.log_text(
            run_id, json.dumps(recipe, indent=2, ensure_ascii=False) + "\n", "recipe.json"
        )
        return run_id

    def log_epoch(self, run_id: str, metrics: Mapping[str, float], epoch: int) -> None:
        """Record one epoch in one call. An infinite value is recorded as NaN.

        MLflow keeps NaN, but it would turn infinity into 1.8e308, which flattens every chart and
        wins every sort.
        """
        self._writer.log(run_id, metrics=metrics, epoch=epoch)

    def logged_epochs(self, run_id: str) -> set[int]:
        """Return the epochs that the store has of a trial; what is written next is later."""
        history = self._client.get_metric_history(run_id, "train_loss")
        self._writer.write_after(run_id, max((one.timestamp for one in history), default=0))
        return {metric.step for metric in history}

    def set_state(self, run_id: str, state: Literal["running", "paused"]) -> None:
        """Record whether an open trial runs or waits."""
        self._writer.log(run_id, tags={"workbench.state": state})

    def end_trial(
        self,
        run_id: str,
        *,
        state: RunState,
        reason: str = "",
        metrics: Mapping[str, float] | None = None,
        artifacts: Sequence[Path] = (),
    ) -> None:
        """Record how a trial ended and close its run.

        Args:
            run_id: The run of the trial.
            state: How it ended.
            reason: Why, for a person; shown as the run's description.
            metrics: Final values. They become the run's values even where an epoch logged the
                same name.
            artifacts: Files and folders to copy into the run, under their own names.
        """
        for path in artifacts:
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path), path.name)
            else:
                self._client.log_artifact(run_id, str(path))
        tags = {}
        if state == "pruned":
            name = (self._client.get_run(run_id).info.run_name or "").replace(_PRUNED, " ", 1)
            tags["mlflow.runName"] = name.replace(" ", _PRUNED, 1)  # a page shows its beginning
        self._writer.end(run_id, state, reason, metrics=metrics, tags=tags)

    def describe(self, parent: str, text: str) -> None:
        """Let the page of a study, and its run, begin with `text`, which is Markdown."""
        note = "mlflow.note.content"
        self._client.set_experiment_tag(self.store.experiment_of(parent), note, text)
        self._client.set_tag(parent, note, text)

    def end_study(
        self,
        parent: str,
        *,
        state: RunState,
        reason: str = "",
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Record how a study ended and close its run; `open_study` opens it again."""
        self._writer.end(parent, state, reason, metrics=metrics, tags=tags)

    def log_files(self, run_id: str, under: str, files: Sequence[Path]) -> None:
        """Copy `files` into folder `under` of a run's artifacts."""
        for file in files:
            self._client.log_artifact(run_id, str(file), under)

    def has_files(self, run_id: str, under: str) -> bool:
        """Say whether folder `under` of a run's artifacts holds anything."""
        return bool(self._client.list_artifacts(run_id, under))

    def find_study(self, name: str, study_id: str = "") -> str:
        """Return the parent run of study `name`, without touching it.

        Raises:
            StudyError: the store has no record of that study, or it was deleted.
        """
        experiment = self._client.get_experiment_by_name(name)
        run = None
        if experiment is not None and experiment.lifecycle_stage == "active":
            run = self._find_parent(experiment.experiment_id, name, study_id)
        if run is None:
            raise StudyError(
                f"The tracking store in {self.store.place} has no study {name!r}. Run the study "
                "first, or name the store that it was run with."
            )
        return run.info.run_id

    def set_leaderboard(
        self, parent: str, *, metrics: Sequence[str], params: Sequence[str], greatest: bool = True
    ) -> None:
        """Choose what the page of a study shows: its trials, in order of the first metric.

        MLflow's own page of an experiment folds the trials into their parent and shows no metric.
        """
        for tag, value in (KIND, leaderboard_tag(metrics, params, greatest=greatest)):
            self._client.set_experiment_tag(self.store.experiment_of(parent), tag, value)

    def page(self, parent: str) -> str:
        """Return the page of a study, to be put behind the address of the user interface."""
        return page_of(self.store.experiment_of(parent))

    def trial_runs(
        self, parent: str, *, deleted: bool = False, kind: Kind = "trial"
    ) -> list[TrialRun]:
        """Return every run of the study's trials, oldest first; a retried trial has several.

        Those that a person deleted are there only if asked for, and one whose tags a person changed
        so that they name no trial is none.
        """
        found = []
        for run in self._children(parent, with_deleted=deleted):
            tags = run.data.tags
            number = tags.get("workbench.number", "0" if kind == "pack" else "")
            is_named = number.isdecimal() and len(number) < 10 and "workbench.uid" in tags
            if tags.get("workbench.kind") != kind or not is_named:
                continue
            found.append(
                TrialRun(
                    run_id=run.info.run_id,
                    number=-1 if kind == "pack" else int(number),
                    uid=tags["workbench.uid"],
                    name=run.info.run_name or "",
                    status=run.info.status,
                    state=tags.get("workbench.state", ""),
                    metrics={k: v for k, v in run.data.metrics.items() if math.isfinite(v)},
                    deleted=run.info.lifecycle_stage == "deleted",
                )
            )
        return found

    def find_pack(self, parent: str, uid: str) -> str | None:
        """Return the run of a pack of the study that was ended; nothing where there is none."""
        for run in self._children(parent):
            tags = run.data.tags
            is_it = (tags.get("workbench.kind"), tags.get("workbench.uid")) == ("pack", uid)
            if is_it and run.info.status == "FINISHED":
                return run.info.run_id
        return None

    def has_run(self, run_id: str) -> bool:
        """Say whether the store holds a run, and nobody deleted it."""
        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def restore_trial(self, run_id: str) -> None:
        """Restore the run of a trial that was deleted in the user interface."""
        self._client.restore_run(run_id)

    def close_open_runs(
        self, parent: str, *, and_parent: bool = False, but: Collection[str] = ()
    ) -> int:
        """Close the runs that a killed process left RUNNING, as interrupted; return how many.

        Those of `but` stay open; `and_parent` closes the run of the study, too.
        """
        left = [
            run.info.run_id
            for run in self._children(parent)
            if run.info.status == "RUNNING" and run.info.run_id not in but
        ]
        if and_parent and self._client.get_run(parent).info.status == "RUNNING":
            left.append(parent)
        for run_id in left:
            self._writer.end(run_id, "interrupted", "The process that ran it was ended.")
        return len(left)

    def _find_parent(self, experiment_id: str, name: str, study_id: str) -> Run | None:
        # Not found by name: it may hold quotes, which MLflow's filters cannot escape.
        runs = self.store.find_runs(
            experiment_id, "tags.`workbench.kind` = 'study'", with_deleted=True
        )
        for run in runs:
            tags = run.data.tags
            its_id = tags.get("workbench.study_id", "")
            if tags.get("workbench.study") == name and its_id == study_id:
                return run
        return None

    def _children(self, parent: str, *, with_deleted: bool = False) -> list[Run]:
        experiment_id = self.store.experiment_of(parent)
        return self.store.find_runs(
            experiment_id, f"tags.`mlflow.parentRunId` = '{parent}'", with_deleted=with_deleted
        )


def find_page(place: TrackingPlace, name: str, study_id: str) -> str:
    """Return the page of a study in a store that is there; see `Tracking.page`.

    Raises:
        StudyError: there is no store at `place`, or it has no record of that study.
        StoreError: the server does not answer, or refuses to.
    """
    require_store(place)
    tracking = Tracking(place)
    return tracking.page(tracking.find_study(name, study_id))
