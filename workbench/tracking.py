"""The one module that knows MLflow: the runs of a study, their artifacts, the model registry.

One parent run a study, one child run a trial. Every call is synchronous and names its run: there
is no current run, and the study process is the only writer.
"""

import base64
import copy
import json
import math
import os
import re
import sqlite3
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

# Read by MLflow when it is imported, here and in the processes started from here. A person's own
# setting is kept.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # creating a store logs its migrations
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # queues nobody here uses
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # MLflow warns where git is not installed

from mlflow import MlflowClient
from mlflow.entities import (
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from workbench.errors import StudyError
from workbench.files import finished
from workbench.values import Frozen

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
State = Literal["complete", "pruned", "failed", "interrupted"]

# MLflow has no status for a pruned run; the tag `workbench.state` tells it from an interrupted one.
_STATUS: dict[str, str] = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
_CHAMPION = "champion"
_DATABASE = "mlflow.db"
_LEADERBOARD = "trials"
# MLflow's own limits; above them it cuts (and warns) or refuses.
_PARAM_LENGTH, _TAG_LENGTH, _KEY_LENGTH = 6000, 8000, 250
_PARAMS_PER_CALL, _TAGS_PER_CALL, _METRICS_PER_CALL = 100, 100, 800
_RUNS_PER_PAGE = 1000


class TrialRun(Frozen):
    """One trial as the store remembers it."""

    run_id: str
    number: int
    uid: str
    name: str
    status: str
    state: str


class Tracking:
    """The tracking store in folder `root`; opening creates it, which takes some seconds once.

    Raises:
        StudyError: the folder cannot hold a store, or holds one that cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.uri = store_uri(self.root)
        self._client = _open_store(self.root / _DATABASE)
        self._epochs: dict[str, dict[str, int]] = {}  # of each open run: its metrics' last epochs
        self._last_ms = 0

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
        experiment_id = self._open_experiment(name)
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
        self._log(run_id, tags={**tags, "workbench.state": "running"})
        return run_id

    def start_trial(
        self,
        parent: str,
        *,
        number: int,
        uid: str,
        name: str,
        recipe: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> str:
        """Open the run of a trial and return its id.

        The whole recipe is kept as the artifact `recipe.json`, and as the tag `workbench.recipe`
        unless it is longer than a tag may be. Its leaves are the run's parameters, under dotted
        names.

        Args:
            parent: The run of the study.
            number: The trial's number in the study.
            uid: The id of the recipe.
            name: What the trial tries, in a word; the run is called "<number> <name>".
            recipe: The full dump of the recipe.
            tags: Anything else worth keeping, such as versions, commit and device.
        """
        experiment_id = self._client.get_run(parent).info.experiment_id
        own = {
            "mlflow.parentRunId": parent,
            "workbench.kind": "trial",
            "workbench.number": str(number),
            "workbench.uid": uid,
            "workbench.state": "running",
        }
        run = self._client.create_run(experiment_id, run_name=f"{number:03d} {name}", tags=own)
        run_id = run.info.run_id
        text = json.dumps(recipe, ensure_ascii=False)
        whole = {"workbench.recipe": text} if len(text) <= _TAG_LENGTH else {}
        self._log(run_id, params=dict(flatten(recipe)), tags={**tags, **whole})
        self._client.log_text(
            run_id, json.dumps(recipe, indent=2, ensure_ascii=False) + "\n", "recipe.json"
        )
        return run_id

    def log_epoch(self, run_id: str, metrics: Mapping[str, float], epoch: int) -> None:
        """Record one epoch in one call. An infinite value is recorded as NaN.

        MLflow keeps NaN, but it would turn infinity into 1.8e308, which flattens every chart and
        wins every sort.
        """
        self._log(run_id, metrics=metrics, epoch=epoch)

    def end_trial(
        self,
        run_id: str,
        *,
        state: State,
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
        self._end(run_id, state, reason, metrics or {}, {})

    def end_study(
        self,
        parent: str,
        *,
        state: State,
        reason: str = "",
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Record how a study ended and close its run; `open_study` opens it again."""
        self._end(parent, state, reason, metrics or {}, tags or {})

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
            StudyError: the store has no record of that study.
        """
        experiment = self._client.get_experiment_by_name(name)
        run = None
        if experiment is not None:
            run = self._find_parent(experiment.experiment_id, name, study_id)
        if run is None:
            raise StudyError(
                f"The tracking store in {self.root} has no study {name!r}. Run the study first, "
                "or name the store that it was run with."
            )
        return run.info.run_id

    def set_leaderboard(
        self, parent: str, *, metrics: Sequence[str], params: Sequence[str], greatest: bool = True
    ) -> None:
        """Choose what the page of a study shows: its trials, in order of the first metric.

        MLflow's own page of an experiment folds the trials into their parent and shows no metric.
        """
        columns = [_column("metrics", _key(name)) for name in metrics]
        view = {
            "searchFilter": "tags.`workbench.kind` = 'trial'",
            "orderByKey": columns[0],
            "orderByAsc": not greatest,
            "selectedColumns": [
                _column("tags", "workbench.state"),
                *columns,
                *(_column("params", _key(name)) for name in params),
                _column("attributes", "Description"),
            ],
        }
        packed = base64.b64encode(zlib.compress(json.dumps(view).encode())).decode()
        experiment_id = self._client.get_run(parent).info.experiment_id
        tag = f"mlflow.sharedViewState.{_LEADERBOARD}"  # what the button "share view" writes
        self._client.set_experiment_tag(experiment_id, tag, f"deflate;{packed}")

    def page(self, parent: str) -> str:
        """Return the page of a study, to be put behind the address of the user interface."""
        experiment_id = self._client.get_run(parent).info.experiment_id
        view = f"workflowType=machine_learning&viewStateShareKey={_LEADERBOARD}"
        return f"/#/experiments/{experiment_id}/runs?{view}"

    def trial_runs(self, parent: str) -> list[TrialRun]:
        """Return every run of the study's trials, oldest first; a retried trial has several."""
        found = []
        for run in self._children(parent):
            tags = run.data.tags
            found.append(
                TrialRun(
                    run_id=run.info.run_id,
                    number=int(tags["workbench.number"]),
                    uid=tags["workbench.uid"],
                    name=run.info.run_name or "",
                    status=run.info.status,
                    state=tags.get("workbench.state", ""),
                )
            )
        return found

    def close_open_runs(self, parent: str, *, and_parent: bool = False) -> int:
        """Close the runs that a killed process left RUNNING, as interrupted; return how many."""
        left = [run.info.run_id for run in self._children(parent) if run.info.status == "RUNNING"]
        if and_parent and self._client.get_run(parent).info.status == "RUNNING":
            left.append(parent)
        for run_id in left:
            self._end(run_id, "interrupted", "The process that ran it was ended.", {}, {})
        return len(left)

    def crown(self, name: str, uid: str) -> str | None:
        """Give the alias `champion` to the version of model `name` tagged with recipe `uid`.

        Returns:
            The version; nothing if no version of that recipe is registered.
        """
        for version in self._client.search_model_versions(f"name = '{name}'"):
            if version.tags.get("workbench.uid") == uid:
                self._client.set_registered_model_alias(name, _CHAMPION, str(version.version))
                return str(version.version)
        return None

    def register_champion(
        self,
        name: str,
        *,
        model: "torch.nn.Module",
        example: np.ndarray,
        run_id: str,
        pip_requirements: Sequence[str],
        tags: Mapping[str, str],
        description: str,
    ) -> str:
        """Register `model` as a new version of `name`, alias `champion`, and return the version.

        It is saved as an exported graph, not as a pickle: it loads without this package, and
        loading runs no code of whoever wrote the file.
        `mlflow.pyfunc.load_model("models:/<name>@champion").predict(rows)` and
        `mlflow.pytorch.load_model(...)` read it. The graph lives on the CPU and is in evaluation
        mode; `model` itself is left as it is.

        Args:
            name: The registered model, created if there is none.
            model: Takes one tensor like `example`, gives one tensor.
            example: (2 or more, ...) input rows, stored with the version; zeros will do. Their
                dtype is the only one the version accepts.
            run_id: The trial that trained the model.
            pip_requirements: What loading needs, such as "torch==2.13.0".
            tags: Of the version.
            description: Of the version, for a person.

        Raises:
            StudyError: `example` has fewer than two rows.
        """
        if len(example) < 2:
            raise StudyError(
                f"A model is registered with an example of 2 or more rows, and this one has "
                f"{len(example)}: the exported graph would accept that batch size alone."
            )
        run = self._client.get_run(run_id)
        logged = self._client.create_logged_model(
            run.info.experiment_id,
            name=name,
            source_run_id=run_id,
            params={key: value[:_KEY_LENGTH] for key, value in run.data.params.items()},
            tags=dict(tags),
        )
        about = Model(
            artifact_path=logged.artifact_location, run_id=run_id, model_uuid=logged.model_id
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            _save_model(path, about, model=model, example=example, pip=list(pip_requirements))
            self._client.log_model_artifacts(logged.model_id, str(path))
        self._client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        self._ensure_registered(name)
        # The artifacts' address, not models:/<id>: MLflow looks that one up in the store of its
        # global address, which is not ours.
        version = self._client.create_model_version(
            name,
            logged.artifact_location,
            run_id,
            tags=dict(tags),
            description=description,
            model_id=logged.model_id,
        ).version
        self._client.set_registered_model_alias(name, _CHAMPION, str(version))
        return str(version)

    def _open_experiment(self, name: str) -> str:
        artifacts = (self.root / "artifacts" / _folder(name)).as_uri()
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            return self._client.create_experiment(name, artifact_location=artifacts)
        if experiment.artifact_location != artifacts:
            raise StudyError(
                f"The record of study {name!r} keeps its artifacts in "
                f"{experiment.artifact_location}, but the store is now in {self.root}. "
                "Move it back, or give the study another name."
            )
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id

    def _find_parent(self, experiment_id: str, name: str, study_id: str) -> Run | None:
        runs = self._search(
            experiment_id, "tags.`workbench.kind` = 'study'", view=ViewType.ALL
        )  # the name may hold quotes, which MLflow's filters cannot escape
        for run in runs:
            tags = run.data.tags
            its_id = tags.get("workbench.study_id", "")
            if tags.get("workbench.study") == name and its_id == study_id:
                return run
        return None

    def _children(self, parent: str) -> Iterator[Run]:
        experiment_id = self._client.get_run(parent).info.experiment_id
        yield from self._search(experiment_id, f"tags.`mlflow.parentRunId` = '{parent}'")

    def _search(
        self, experiment_id: str, where: str, *, view: int = ViewType.ACTIVE_ONLY
    ) -> list[Run]:
        """Return all matching runs, oldest first, read page by page."""
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [experiment_id],
                where,
                run_view_type=view,
                max_results=_RUNS_PER_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs.extend(page)
            token = page.token
            if not token:
                return runs

    def _end(
        self,
        run_id: str,
        state: State,
        reason: str,
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> None:
        told = {"workbench.reason": reason, "mlflow.note.content": reason} if reason else {}
        self._log(run_id, metrics=metrics, tags={**tags, **told, "workbench.state": state})
        self._client.set_terminated(run_id, _STATUS[state])
        self._epochs.pop(run_id, None)

    def _log(
        self,
        run_id: str,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        epoch: int | None = None,
    ) -> None:
        """Write everything in one call, or in as few as MLflow's limits on one call allow.

        Without an epoch, a metric takes the last epoch it was logged at: a run shows the value of
        the greatest (epoch, time), and among equals the greatest value, so that no two calls may
        share a millisecond either. A metric of no epoch takes 0, which the user interface draws
        as a bar instead of a curve.
        """
        self._last_ms = now_ms = max(time.time_ns() // 1_000_000, self._last_ms + 1)
        epochs = self._epochs.setdefault(run_id, {})
        values = []
        for name, value in (metrics or {}).items():
            step = epochs.get(name, 0) if epoch is None else epoch
            epochs[name] = step
            number = math.nan if math.isinf(value) else float(value)
            values.append(Metric(_key(name), number, now_ms, step))
        settings = [Param(_key(k), _cut(v, _PARAM_LENGTH)) for k, v in (params or {}).items()]
        labels = [RunTag(_key(k), _cut(v, _TAG_LENGTH)) for k, v in (tags or {}).items()]
        calls = zip_longest(
            _chunks(values, _METRICS_PER_CALL),
            _chunks(settings, _PARAMS_PER_CALL),
            _chunks(labels, _TAGS_PER_CALL),
        )
        for some_values, some_settings, some_labels in calls:
            self._client.log_batch(
                run_id,
                metrics=some_values or (),
                params=some_settings or (),
                tags=some_labels or (),
                synchronous=True,
            )

    def _ensure_registered(self, name: str) -> None:
        try:
            self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._client.create_registered_model(name)


def store_uri(root: Path) -> str:
    """Return the address of the store in folder `root`, as MLflow's own tools take it.

    Raises:
        StudyError: the folder's name has a character that means something else in an address.
    """
    return _address(root.resolve() / _DATABASE)


def ui_command(root: Path, *, host: str = "127.0.0.1", port: int = 5000) -> list[str]:
    """Return the command that serves the store in `root` as a web page until it is ended.

    Raises:
        StudyError: there is no store in `root`.
    """
    if not (root / _DATABASE).is_file():
        raise StudyError(f"{root} holds no tracking store yet. Run `workbench search` first.")
    server = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    where = ["--host", host, "--port", str(port)]
    artifacts = (root.resolve() / "artifacts").as_uri()
    store = ["--backend-store-uri", store_uri(root), "--artifacts-destination", artifacts]
    return [*server, *where, *store]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, text) for every leaf: text as it is, anything else as JSON.

    A list of mappings is opened by position; any other list is one leaf.
    """
    for name, value in tree.items():
        if isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            value = {str(place): item for place, item in enumerate(value)}
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{name}", text


def _open_store(database: Path) -> MlflowClient:
    address = _address(database)
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        if not database.exists():
            # Made beside its name, then renamed: MLflow cannot open a store whose making was
            # interrupted, and making one takes long enough for an impatient Ctrl-C.
            with finished(database) as part:
                MlflowClient(tracking_uri=_address(part))
        # MLflow would try again for 100 s, with a warning each time, before it said what is wrong.
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
        return MlflowClient(tracking_uri=address, registry_uri=address)
    except (OSError, sqlite3.DatabaseError) as error:
        raise StudyError(
            f"The tracking store {database} cannot be opened: {error}. Check that the folder can "
            "be written and that no other program holds the file, or name another folder."
        ) from error
    except MlflowException as error:
        # A store made by another version of MLflow; the message names the command that helps.
        raise StudyError(
            f"The tracking store {database} cannot be opened: {error.message}"
        ) from error


def _address(database: Path) -> str:
    if "?" in str(database) or "%" in str(database):
        raise StudyError(
            f"The tracking store cannot be in {database.parent}: SQLite addresses give '?' and '%' "
            "another meaning. Use a folder without them."
        )
    return f"sqlite:///{database.as_posix()}"


def _save_model(
    path: Path, about: Model, *, model: "torch.nn.Module", example: np.ndarray, pip: list[str]
) -> None:
    import mlflow.pytorch  # both are slow to import
    import torch

    # Without gradients, or a model that turns them off for a part of itself is saved as a graph
    # that cannot be loaded.
    with torch.no_grad(), warnings.catch_warnings():
        # Of weights that are not laid out in the usual order, which are saved right all the same.
        warnings.filterwarnings("ignore", "No complete tensor found in the group", UserWarning)
        mlflow.pytorch.save_model(
            copy.deepcopy(model).cpu().eval().requires_grad_(False),
            str(path),
            mlflow_model=about,
            input_example=example,
            pip_requirements=pip,
            serialization_format="pt2",
        )
    # Where there is a CUDA device MLflow would want the graph there, and refuse one saved on CPU.
    about.flavors["python_function"]["config"]["device"] = "cpu"
    about.save(str(path / "MLmodel"))


def _chunks(items: list[T], size: int) -> Iterator[list[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"


def _key(name: str) -> str:
    """Return `name` with only the characters that MLflow allows in one."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:_KEY_LENGTH]


def _folder(name: str) -> str:
    return re.sub(r"[^\w\-.]", "_", name)
