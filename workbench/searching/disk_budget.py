"""The disk budget of a study: the worst trials' weights are deleted while it takes too much."""

from collections.abc import Iterator, Sequence

from workbench.console import say
from workbench.errors import DamagedFileError
from workbench.study.alike import measured_alike
from workbench.study.disk import delete_weights, needed, size_of
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, place_of, read_trials
from workbench.study.scored import is_refuted, without_scores
from workbench.tables import size
from workbench.trial.constraints import Constraints
from workbench.trial.recipe import Objective

BY = "the experiment's `disk_budget`"


class DiskBudget:
    """Keeps the folder of a study to the bytes that its experiment allows.

    Weights alone are deleted: never those of the best trial, nor what `study.disk.needed` names. A
    trial without weights keeps its place and its scores. While a trial ends its weights come on
    top. The folder is held by this process; without `budget_bytes` there is no limit.
    """

    def __init__(self, folder: StudyFolder, objective: Objective, budget_bytes: int | None) -> None:
        self._folder, self._objective, self._budget_bytes = folder, objective, budget_bytes
        self._constraints: Constraints = {}
        self._is_told = False
        """Whether it was said that nothing is left to delete."""
        self._whole: dict[str, bool] = {}
        """By recipe, whether the weights are what was written, of those that were read."""

    def keep(self) -> None:
        """Delete weights, the worst trial's first, while the study is over its budget."""
        if self._budget_bytes is None:
            return
        taken = size_of(self._folder).total
        if taken <= self._budget_bytes:
            return
        # A promotion registers for seconds a model that no record names yet as the champion.
        with self._folder.promoting():
            for row in self._deletable():
                freed = delete_weights(self._folder.trial(row.recipe), by=BY)
                taken -= freed
                say(
                    f"trial {row.number:<3} weights deleted ({size(freed)}): the study takes "
                    f"{size(taken)} of its {size(self._budget_bytes)}"
                )
                if taken <= self._budget_bytes:
                    return
        if not self._is_told:
            self._is_told = True
            say(
                f"The study takes {size(taken)}, over its `disk_budget` of "
                f"{size(self._budget_bytes)}, and no weights are left that it can do without: "
                "raise the budget."
            )

    def _deletable(self) -> Iterator[TrialRow]:
        """Yield the trials whose weights may go, worst first; each is looked at when asked for."""
        rows = read_trials(self._folder)
        self._constraints = self._folder.experiment().constraints
        try:
            kept = needed(self._folder, rows)
        except DamagedFileError as error:
            if not self._is_told:
                self._is_told = True
                say(f"{error} Until then no weights are deleted.")
            return
        ranked = sorted(
            (row for row in rows if row.state == "complete" and row.objective is not None),
            key=lambda row: place_of(row, self._objective),
        )
        # By a record that was changed another trial could be the best: its weights stay. So do
        # those of one whose scores are gone; neither is the best that can be promoted.
        lost = without_scores(self._folder, rows)
        ranked = [row for row in ranked if row.recipe not in lost]
        sound = (row for row in ranked if self._has_weights(row) and not self._is_refuted(row))
        last = self._last([row for row in rows if row.recipe not in lost])
        alike = (row for row in sound if self._is_alike(row, last))
        best = next((row for row in alike if self._is_whole(row)), None)
        for row in reversed(ranked):
            if row is best or row.recipe in kept:
                continue
            is_damaged = self._whole.get(row.recipe) is False
            if self._has_weights(row) and not is_damaged and not self._is_refuted(row):
                yield row

    def _has_weights(self, row: TrialRow) -> bool:
        return self._folder.trial(row.recipe).weights.exists()

    def _is_refuted(self, row: TrialRow) -> bool:
        return is_refuted(self._folder, row, self._objective, self._constraints)

    def _last(self, rows: Sequence[TrialRow]) -> TrialRow | None:
        """Return the last complete trial that its scores do not refute: what is ranked now."""
        newest = sorted(rows, key=lambda one: -one.number)
        ended = (one for one in newest if one.state == "complete" and not self._is_refuted(one))
        return next(ended, None)

    def _is_alike(self, row: TrialRow, last: TrialRow | None) -> bool:
        """Return whether a trial was scored on the files of the last, so that it can be the best.

        Those of the others are not looked at: a study may have thousands.
        """
        both = [row] if last is None else [row, last]
        return measured_alike(self._folder, both)[0][0].objective is not None

    def _is_whole(self, row: TrialRow) -> bool:
        """Return whether the weights are what the trial wrote; a file cut short is not."""
        if not self._whole.get(row.recipe):  # a damaged one may have been put back
            self._whole[row.recipe] = self._folder.trial(row.recipe).is_whole()
        return self._whole[row.recipe]
