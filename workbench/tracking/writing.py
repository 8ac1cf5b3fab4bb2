"""Writing to a run: what MLflow would refuse, cut or misread is made to fit first."""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from time import monotonic
from typing import Any, Literal, TypeVar

from workbench.tables import cut
from workbench.tracking.store import RunStore

# isort: split
# After the store, which sets what MLflow reads when it is imported.
from mlflow.entities import Metric, Param, RunTag

T = TypeVar("T")
RunState = Literal["complete", "pruned", "failed", "interrupted"]

# MLflow has no status for a pruned run, and marks a killed one as a failure: the tag
# `workbench.state` and the run's name tell it from a complete one.
_STATUS: dict[str, str] = {
    "complete": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
# MLflow's own limits; above them it cuts (and warns) or refuses.
KEY_LENGTH, TAG_LENGTH = 250, 8000
_PARAM_LENGTH = 6000
_PARAMS_PER_CALL, _TAGS_PER_CALL, _METRICS_PER_CALL = 100, 100, 800

TOGETHER_S = 10.0
"""Epochs of a run that end within so long of what was written last are written together: most of
the time that MLflow takes goes with the number of calls."""


class RunWriter:
    """Writes to the runs of `store`. Every call is synchronous and names its run."""

    def __init__(self, store: RunStore) -> None:
        self._client = store.client
        self._epochs: dict[str, dict[str, int]] = {}  # of each open run: its metrics' last epochs
        self._waiting: dict[str, list[Metric]] = {}  # of each open run: epochs not yet written
        self._written: dict[str, float] = {}  # when some last were, by `monotonic`
        self._last_ms: dict[str, int] = {}  # of each open run: when it was last written to

    def log(
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

        Epochs may wait for the next call (`TOGETHER_S`): a process that is killed then leaves a
        run without them. Who takes that run over asks `Tracking.logged_epochs` what is missing.
        """
        now_ms = max(time.time_ns() // 1_000_000, self._last_ms.get(run_id, 0) + 1)
        self._last_ms[run_id] = now_ms
        epochs = self._epochs.setdefault(run_id, {})
        values = []
        for name, value in (metrics or {}).items():
            step = epochs.get(name, 0) if epoch is None else epoch
            epochs[name] = step
            number = math.nan if math.isinf(value) else float(value)
            values.append(Metric(allowed(name), number, now_ms, step))
        values = [*self._waiting.pop(run_id, ()), *values]
        if epoch is not None and not params and not tags:
            if monotonic() - self._written.get(run_id, -math.inf) < TOGETHER_S:
                self._waiting[run_id] = values
                return
            self._written[run_id] = monotonic()
        settings = [Param(allowed(k), cut(v, _PARAM_LENGTH)) for k, v in (params or {}).items()]
        labels = [RunTag(allowed(k), cut(v, TAG_LENGTH)) for k, v in (tags or {}).items()]
        calls = zip_longest(
            chunks(values, _METRICS_PER_CALL),
            chunks(settings, _PARAMS_PER_CALL),
            chunks(labels, _TAGS_PER_CALL),
        )
        for some_values, some_settings, some_labels in calls:
            self._client.log_batch(
                run_id,
                metrics=some_values or (),
                params=some_settings or (),
                tags=some_labels or (),
                synchronous=True,
            )

    def write_after(self, run_id: str, ms: int) -> None:
        """Write nothing to a run as of before `ms`: who wrote until now may have another clock."""
        self._last_ms[run_id] = max(self._last_ms.get(run_id, 0), ms)

    def end(
        self,
        run_id: str,
        state: RunState,
        reason: str = "",
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Record how and why a run ended, with its final values, and close it."""
        told = {"workbench.reason": reason, "mlflow.note.content": reason} if reason else {}
        own = {**(tags or {}), **told, "workbench.state": state}
        self.log(run_id, metrics=metrics, tags=own)
        self._client.set_terminated(run_id, _STATUS[state])
        self._epochs.pop(run_id, None)
        self._written.pop(run_id, None)
        self._last_ms.pop(run_id, None)


def allowed(name: str) -> str:
    """Return `name` with only the characters that MLflow allows in one."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:KEY_LENGTH]


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


def chunks(items: list[T], size: int) -> Iterator[list[T]]:
    """Return the items in lists of `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))
