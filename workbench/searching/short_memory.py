"""What a sampler is shown of a study of thousands of trials: the best and the latest.

Optuna's samplers look at every trial again for each draw, in Python, so that a draw among 10,000
trials takes a third of a second, and a Gaussian process no longer ends. TPE takes at most 25 trials
for good ones; of all others it only models where they lie, which the latest show as well.
"""

import copy
import heapq
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from math import inf, isnan, nan

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from workbench.searching.patient_storage import PatientStorage

BEST, LATEST = 100, 1900
"""So many ended trials are shown at most."""


class ShortMemory(BaseStorage):
    """A storage of one study that can leave trials out of what is read."""

    _forgotten: frozenset[int] = frozenset()

    @contextmanager
    def shown_to_sampler(self, study: optuna.Study) -> Iterator[None]:
        """Leave out, until the end of the block, what a sampler is not shown of this study."""
        self._forgotten = forgotten(study.get_trials(deepcopy=False), study.direction)
        try:
            yield
        finally:
            self._forgotten = frozenset()

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials that are not left out, by number."""
        found = super().get_all_trials(study_id, False, states)  # type: ignore[safe-super]
        if self._forgotten:
            found = [trial for trial in found if trial.number not in self._forgotten]
        return copy.deepcopy(found) if deepcopy else found


class Journal(ShortMemory, JournalStorage):
    """A journal of a study that this process searches."""


class Database(ShortMemory, PatientStorage):
    """A database with a study that this process searches."""


def forgotten(trials: Sequence[FrozenTrial], direction: StudyDirection) -> frozenset[int]:
    """Return the numbers of the ended trials that are neither among the best nor the latest."""
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if len(ended) <= BEST + LATEST:
        return frozenset()
    earlier = ended[:-LATEST]
    sign = 1 if direction == StudyDirection.MAXIMIZE else -1

    def rank(trial: FrozenTrial) -> tuple[int, float, float]:
        """As TPE ranks them: complete ones by value, pruned ones by epochs, those that broke."""
        if any(excess > 0 for excess in trial.constraints.values()):
            return 0, 0.0, 0.0
        if trial.value is not None and trial.state == TrialState.COMPLETE:
            return 2, sign * trial.value, 0.0
        step, value = max(trial.intermediate_values.items(), default=(0, nan))
        return 1, step, -inf if isnan(value) else sign * value

    best = {trial.number for trial in heapq.nlargest(BEST, earlier, key=rank)}
    return frozenset(trial.number for trial in earlier) - best
