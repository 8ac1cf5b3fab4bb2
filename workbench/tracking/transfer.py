"""A study's runs as plain values, to be written into the store of another machine.

Run ids are the store's to give, so the runs get others there; everything that names them follows.
"""

import math
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from workbench.errors import StudyError
from workbench.tracking.removal import StudyRecord
from workbench.tracking.store import WriteError, why_refused
from workbench.tracking.writing import allowed, chunks
from workbench.validation import shown
from workbench.values import Frozen

# isort: split
# After the store, which sets what MLflow reads when it is imported.
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.validation import MAX_EXPERIMENT_TAG_VAL_LENGTH

Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]

_PARENT = "mlflow.parentRunId"
_OF_EXPERIMENTS = ("mlflow.sharedViewState.", "mlflow.note.", "workbench.")
"""Beginnings of the tags of an experiment that move along: its page, and what a person noted."""

_PER_CALL = 100
_METRICS_PER_CALL = 800
_OF_MODELS = ("mlflow.log-model.history", "mlflow.loggedModels")
"""Tags that name models of the store that they were logged in."""


_MOST = 2**53
"""Of steps and times: a store keeps whole numbers of 64 bits."""

Whole = Annotated[int, Field(ge=-_MOST, le=_MOST)]


class StoredRun(Frozen):
    """One run of a study, its own or that of a trial or of a repeat."""

    run_id: str = Field(pattern="^[0-9a-f]{32}$")
    name: str
    status: Status
    start_ms: int = Field(ge=0, le=_MOST)
    end_ms: int | None = Field(None, ge=0, le=_MOST)
    deleted: bool = False
    """Whether a person deleted it in the user interface, so that it can be restored."""

    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, tuple[tuple[Whole, Whole, float | None], ...]]
    """Of each metric: step, milliseconds since 1970, and the value, which is None for NaN."""


class StoredRuns(Frozen):
    """The runs of one study, its own first."""

    runs: tuple[StoredRun, ...] = ()
    experiment_tags: dict[str, str] = Field(default_factory=dict)


def read_runs(record: StudyRecord) -> StoredRuns:
    """Return all runs of a study with all that was logged, but their artifacts."""
    client = record.store.client
    runs = tuple(_read(client, run) for run in record.runs())
    if not runs or record.experiment_id is None:
        return StoredRuns()
    tags = client.get_experiment(record.experiment_id).tags
    own = {key: value for key, value in tags.items() if key.startswith(_OF_EXPERIMENTS)}
    return StoredRuns(runs=runs, experiment_tags=own)


def _read(client: Any, run: Any) -> StoredRun:
    info = run.info
    metrics = {}
    for name in run.data.metrics:
        history = client.get_metric_history(info.run_id, name)
        metrics[name] = tuple(
            (one.step, one.timestamp, one.value if math.isfinite(one.value) else None)
            for one in history
        )
    return StoredRun(
        run_id=info.run_id,
        name=info.run_name or "",
        status=info.status,
        start_ms=info.start_time,
        end_ms=info.end_time,
        deleted=info.lifecycle_stage == "deleted",
        params=run.data.params,
        tags={name: value for name, value in run.data.tags.items() if name not in _OF_MODELS},
        metrics=metrics,
    )


def artifacts_of(record: StudyRecord, spare: Path) -> Iterator[tuple[str, Path]]:
    """Yield the id of each run that has artifacts, with a folder of them.

    `spare` is an empty folder, for those that are not on this machine.
    """
    client = record.store.client
    for run in record.runs():
        run_id, address = run.info.run_id, urlsplit(run.info.artifact_uri)
        if address.scheme == "file":
            # What another address names, a person's own files for one, is none of the study.
            own = record.own_folder(run.info.artifact_uri, [run_id])
            if own is not None and own.is_dir():
                yield run_id, own
        elif client.list_artifacts(run_id):
            fetched = spare / run_id
            fetched.mkdir()
            client.download_artifacts(run_id, "", str(fetched))
            yield run_id, fetched


def require_names(name: str, stored: StoredRuns) -> None:
    """Refuse runs of a study that MLflow would not take for a name: before anything is removed.

    Long values of params and tags it cuts; those of an experiment's tags it refuses.

    Raises:
        StudyError: a param, a metric or a tag is called as MLflow lets none be called.
    """
    for run in stored.runs:
        for kind, names in (("param", run.params), ("metric", run.metrics), ("tag", run.tags)):
            _require_allowed(name, kind, names)
    _require_allowed(name, "tag of an experiment", stored.experiment_tags)
    for key, value in stored.experiment_tags.items():
        if len(value) > MAX_EXPERIMENT_TAG_VAL_LENGTH:
            raise StudyError(
                f"The runs of the study {name} cannot be imported: the tag {shown(key)} of their "
                f"experiment has {len(value)} letters, and MLflow takes "
                f"{MAX_EXPERIMENT_TAG_VAL_LENGTH}."
            )


def _require_allowed(study: str, kind: str, names: Iterable[str]) -> None:
    for name in names:
        # MLflow takes names for paths, too, and none that would lead elsewhere.
        path = posixpath.normpath(name)
        if name != allowed(name) or path != name or path.startswith(("..", "/")) or path == ".":
            raise StudyError(
                f"The runs of the study {study} cannot be imported: {shown(name)} is no name that "
                f"MLflow takes for a {kind}. Rename it where the study comes from, and export it "
                "again."
            )


def write_runs(
    record: StudyRecord, name: str, stored: StoredRuns, artifacts: Mapping[str, Path]
) -> dict[str, str]:
    """Write the runs of a study that came from another store; return their new ids by the old.

    The record has no runs yet. `artifacts` has the folder of each run that has any, by its old id.

    Raises:
        StudyError: the store does not take one of them.
    """
    if not stored.runs:
        return {}
    try:
        client, experiment = record.store.client, record.store.open_experiment(name)
        for key, value in stored.experiment_tags.items():
            client.set_experiment_tag(experiment, key, value)
        ids: dict[str, str] = {}
        for run in stored.runs:
            ids[run.run_id] = _write(client, experiment, run, ids, artifacts.get(run.run_id))
    except WriteError as error:
        raise StudyError(
            f"The runs of the study {name} cannot be written into {record.store.place}: "
            f"{why_refused(error)}."
        ) from error
    return ids


def _write(
    client: Any, experiment: str, run: StoredRun, ids: Mapping[str, str], artifacts: Path | None
) -> str:
    tags = {key: ids.get(value, value) for key, value in run.tags.items()}
    own = {
        key: value for key, value in tags.items() if key == _PARENT or key.startswith("workbench.")
    }
    made = client.create_run(experiment, start_time=run.start_ms, run_name=run.name, tags=own)
    run_id: str = made.info.run_id
    others = [RunTag(key, value) for key, value in tags.items() if key not in own]
    params = [Param(key, value) for key, value in run.params.items()]
    metrics = [
        Metric(name, math.nan if value is None else value, timestamp, step)
        for name, history in run.metrics.items()
        for step, timestamp, value in history
    ]
    for some_metrics in chunks(metrics, _METRICS_PER_CALL):
        client.log_batch(run_id, metrics=some_metrics, synchronous=True)
    for some_params in chunks(params, _PER_CALL):
        client.log_batch(run_id, params=some_params, synchronous=True)
    for some_tags in chunks(others, _PER_CALL):
        client.log_batch(run_id, tags=some_tags, synchronous=True)
    if artifacts is not None:
        client.log_artifacts(run_id, str(artifacts))
    if run.status in ("FINISHED", "FAILED", "KILLED"):
        client.set_terminated(run_id, run.status, run.end_ms)
    if run.deleted:
        client.delete_run(run_id)
    return run_id
