"""How the trials of a study ended, as a running search counts them."""

from bisect import insort
from collections import Counter
from collections.abc import Iterable

from optuna.trial import FrozenTrial, TrialState

from workbench.searching.open_trials import Ended
from workbench.study.records import SECONDS, UID, is_row, keeps_constraints, state_of
from workbench.trial.result import State


class EndedTrials:
    """How the trials of a study ended, kept as they end: to count thousands anew takes its time."""

    def __init__(self, trials: Iterable[FrozenTrial]) -> None:
        self.counts: Counter[State] = Counter()
        self.complete: list[Ended] = []
        """By number."""

        self.broken: set[int] = set()
        """The numbers of complete trials that break a constraint."""

        for trial in trials:
            self.note(trial)

    def note(self, trial: FrozenTrial) -> None:
        """Take note of a trial, if it is one of the study that has ended."""
        if not is_row(trial):
            return
        self.counts[state_of(trial)] += 1
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            uid, seconds = trial.user_attrs[UID], trial.user_attrs[SECONDS]
            if not (keeps := keeps_constraints(trial)):
                self.broken.add(trial.number)
            ended = Ended(str(trial.number), uid, trial.value, seconds, keeps)
            insort(self.complete, ended, key=lambda each: int(each.name))
