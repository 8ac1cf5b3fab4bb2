"""A study in a database that may be away for a while: every entry is made once, when it is back.

The study process is the only one that writes its study, so what the database holds is known here.
"""

import copy
from collections.abc import Callable, Container, Sequence
from typing import Any, TypeVar

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from workbench.patience import Patience
from workbench.study.records import HIDDEN
from workbench.study.storage import DatabaseLock, database, why_away

T = TypeVar("T")


def _as_it_is(name: str) -> Any:
    """Return the method of a `PatientStorage` that waits for this one of its database."""

    def method(self: "PatientStorage", *args: Any, **named: Any) -> Any:
        return self._ask(lambda: getattr(self._inner, name)(*args, **named))

    return method


class PatientStorage(BaseStorage):
    """Optuna's storage in a database, of one study that this process alone writes.

    Reading is from memory. An entry that the database does not take is repeated until it does, and
    one whose answer was lost is not made again.

    Args:
        inner: The database.
        lock: Of the study in it, taken.
        address: Of the database, for sentences.
    """

    def __init__(self, inner: RDBStorage, lock: DatabaseLock, address: str) -> None:
        self._inner, self.lock = inner, lock
        self._patience = Patience(database(address), why_away, back=lock.ensure)
        self._trials: dict[int, FrozenTrial] = {}
        """The trials of the study by Optuna's id of each, once `_study_id` is known."""

        self._study_id: int | None = None

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Make the study."""
        assert study_name is not None, "a study has a name"
        named = study_name

        def made() -> int | None:
            try:
                return self._inner.get_study_id_from_name(named)
            except KeyError:
                return None

        return self._patience.keep_trying(
            lambda: self._inner.create_new_study(directions, named), made
        )

    def delete_study(self, study_id: int) -> None:
        """Raise RuntimeError: a search deletes no study."""
        raise RuntimeError("a search deletes no study")

    set_study_user_attr = _as_it_is("set_study_user_attr")
    set_study_system_attr = _as_it_is("set_study_system_attr")
    get_study_id_from_name = _as_it_is("get_study_id_from_name")
    get_study_name_from_id = _as_it_is("get_study_name_from_id")
    get_study_directions = _as_it_is("get_study_directions")
    get_study_user_attrs = _as_it_is("get_study_user_attrs")
    get_study_system_attrs = _as_it_is("get_study_system_attrs")
    get_all_studies = _as_it_is("get_all_studies")

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Enter a trial."""
        known = self._known(study_id)
        number = len(known)

        def create() -> int:
            self.lock.ensure()
            return self._inner.create_new_trial(study_id, template_trial)

        def created() -> int | None:
            return self._first_of(self._unknown(study_id))

        made = self._patience.keep_trying(create, created)
        trial = self._ask(lambda: self._inner.get_trial(made))
        if trial.number != number:
            # Optuna itself repeats what it got no answer to, which then was entered twice.
            made = self._ask(lambda: self._first_of(self._unknown(study_id))) or made
        known[made] = self._ask(lambda: self._inner.get_trial(made))
        return made

    def _unknown(self, study_id: int) -> list[FrozenTrial]:
        """Return the trials that were entered without this process knowing, by number."""
        trials = self._inner.get_all_trials(study_id, deepcopy=False)
        return [trial for trial in trials if trial._trial_id not in self._trials]

    def _first_of(self, unknown: list[FrozenTrial]) -> int | None:
        """Return the first of trials that are the same one, entered again; end the others."""
        if not unknown:
            return None
        for trial in unknown[1:]:
            if not trial.state.is_finished():
                self._inner.set_trial_user_attr(trial._trial_id, HIDDEN, "entered twice")
                self._inner.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            self._trials[trial._trial_id] = self._inner.get_trial(trial._trial_id)
        return unknown[0]._trial_id

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Enter what was drawn for a trial."""
        self._enter(
            trial_id,
            lambda: self._inner.set_trial_param(
                trial_id, param_name, param_value_internal, distribution
            ),
            lambda trial: param_name in trial.params,
        )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Enter that a trial is begun, or how it ended; return whether it changed."""
        before = self._trials[trial_id].state
        entered = self._enter(
            trial_id,
            lambda: self._inner.set_trial_state_values(trial_id, state, values),
            lambda trial: trial.state == state != before,
        )
        return entered is not False

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Enter the objective of an epoch."""
        self._enter(
            trial_id,
            lambda: self._inner.set_trial_intermediate_value(trial_id, step, intermediate_value),
        )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note something with a trial."""
        self._enter(trial_id, lambda: self._inner.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note something of Optuna's with a trial."""
        self._enter(trial_id, lambda: self._inner.set_trial_system_attr(trial_id, key, value))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial."""
        return copy.deepcopy(self._trials[trial_id])  # Optuna writes into the one that it gets

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of the study, by number."""
        found = [
            trial
            for trial in self._known(study_id).values()
            if states is None or trial.state in states
        ]
        found.sort(key=lambda trial: trial.number)
        return copy.deepcopy(found) if deepcopy else found

    def _known(self, study_id: int) -> dict[int, FrozenTrial]:
        if self._study_id is None:
            trials = self._ask(lambda: self._inner.get_all_trials(study_id, deepcopy=False))
            self._trials = {trial._trial_id: trial for trial in trials}
            self._study_id = study_id
        assert self._study_id == study_id, "a storage of one study is asked for another"
        return self._trials

    def _ask(self, attempt: Callable[[], T]) -> T:
        return self._patience.keep_trying(attempt)

    def _enter(
        self,
        trial_id: int,
        attempt: Callable[[], T],
        is_entered: Callable[[FrozenTrial], bool] = lambda trial: False,
    ) -> T | None:
        """Make an entry of a trial, and keep what the trial then is; return the answer, if any."""

        def entered() -> tuple[T | None] | None:
            return (None,) if is_entered(self._inner.get_trial(trial_id)) else None

        (answer,) = self._patience.keep_trying(lambda: (attempt(),), entered)
        self._trials[trial_id] = self._ask(lambda: self._inner.get_trial(trial_id))
        return answer
