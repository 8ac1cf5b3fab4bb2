"""What a study keeps of its trials: in Optuna's journal, in MLflow, and that the two agree.

A kill between any two entries loses nothing: the end of a trial is told to Optuna last, and what is
left half done is completed by `adopt` and `agree`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import optuna
from optuna.trial import TrialState

from workbench.console import say
from workbench.files import sweep
from workbench.rules.rulebook import Verdict
from workbench.searching.ended_trials import EndedTrials
from workbench.searching.journal import restore_trials
from workbench.searching.open_trials import Ended, OpenTrial, PastTrial, reached_in
from workbench.searching.proposals import Proposals, open_study
from workbench.searching.recording import StudyRuns, cannot_be_written
from workbench.searching.store import TrialStore
from workbench.space.experiment import Experiment
from workbench.space.space import Space
from workbench.study.folder import StudyFolder
from workbench.study.importances import importances_of
from workbench.study.records import (
    BUG,
    FAILED,
    GIVEN,
    MADE_BY,
    REASON,
    RUN,
    SECONDS,
    THOP,
    TRUE,
    UID,
    is_row,
    state_of,
)
from workbench.tracking.store import WriteError
from workbench.tracking.writing import RunState as Ending
from workbench.trial.constraints import constrained_values, excesses
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, State

T = TypeVar("T")

MOST_REMOVED = 3
"""How often in a row the tracking store may be removed under one entry."""


class StudyStore(TrialStore):
    """What a study knows of its trials, and the only place where it is written.

    The study's folder is held by this process; the seed is that of the sampler.
    """

    def __init__(
        self,
        folder: StudyFolder,
        experiment: Experiment,
        space: Space,
        *,
        seed: int,
        runs: StudyRuns,
    ) -> None:
        self._folder, self._space, self._runs = folder, space, runs
        self.objective, self._constraints = experiment.objective, experiment.constraints
        self._num_folds = experiment.validation.use
        self._study, storage = open_study(folder, experiment, seed=seed)
        self.proposals = Proposals(self._study, storage, space)
        self.in_flight: dict[int, OpenTrial] = {}
        """The trials that were begun and have not ended, by number."""

        self.paused: dict[int, OpenTrial] = {}
        """The trials that wait."""

        self._asked: dict[int, optuna.Trial] = {}
        """Of those that were begun and have not ended, by number."""

        self._ended = EndedTrials(self._study.get_trials(deepcopy=False))
        self._importances, self._importances_of = list[tuple[str, float]](), 0

    def restore(self) -> int:
        """Enter the trials that the journal has lost, before `adopt`; return how many."""
        return restore_trials(self._study, self._folder, self._space, self._runs)

    def adopt(self) -> tuple[int, int]:
        """Take over what a killed search left running.

        Returns:
            How many trials had ended unnoticed and are now told, and how many are asked again.
        """
        sweep(self._folder.path)
        told = again = 0
        for left in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            trial = optuna.Trial(self._study, left._trial_id)
            files = self._folder.trial(uid) if (uid := left.user_attrs.get(UID)) else None
            result, recipe = (files.kept_result(), files.kept_recipe()) if files else (None, None)
            if result and recipe and RUN in left.user_attrs:
                for epoch, objective in reached_in(recipe, result.epochs).items():
                    if epoch not in left.intermediate_values:
                        trial.report(objective, epoch)
                run = self._take_over_run(trial, recipe, result)
                running = self._open(trial, recipe, run, result.epochs)
                if result.state == "paused":
                    self.pause(running)
                else:
                    self.end(running, result)
                    told += 1
            else:
                # Asked again first: killed between the two lines, it is asked twice, and the
                # second is seen to be no news; the other way round it would be lost.
                # One that was itself asked again may not have been drawn yet.
                drawn = left.system_attrs.get("fixed_params", {}) | left.params
                if worth := bool(drawn) or GIVEN in left.user_attrs:
                    self.proposals.enqueue(drawn, left.user_attrs)
                self.proposals.hide(trial, "cut off and asked again")
                again += worth
        waiting = [running.run for running in self.paused.values()]
        self._runs.tracking.close_open_runs(self._runs.parent, but=waiting)
        return told, again

    def _take_over_run(self, trial: optuna.Trial, recipe: Recipe, result: Result) -> str:
        """Return the run of a trial that a killed search left, with all of its epochs."""
        run = str(trial.user_attrs[RUN])
        if not self._runs.tracking.has_run(run):
            run = self._runs.start(trial.number, recipe, trial.user_attrs, result.epochs)
            trial.set_user_attr(RUN, run)
            return run
        logged = self._runs.tracking.logged_epochs(run)
        for epoch in result.epochs:
            # The last one again: else MLflow would show its values and not the final ones.
            if epoch.epoch not in logged or epoch is result.epochs[-1]:
                self._runs.log(run, epoch)
        return run

    def agree(self) -> int:
        """Write into MLflow what it lacks of the ended trials; return how many it lacked."""
        return self._runs.agree(self._study)

    def other_code(self) -> tuple[dict[str, str], dict[str, str]] | None:
        """Return what made the last trial and what runs now, as tags, if the code is another."""
        for trial in reversed(self._study.get_trials(deepcopy=False)):
            if before := trial.user_attrs.get(MADE_BY):
                same = before.get("code_hash") == self._runs.made_by.get("code_hash")
                return None if same else (dict(before), self._runs.made_by)
        return None

    def close(self, state: Ending) -> None:
        """Record how this run of the search ended."""
        self._record(lambda: self._runs.close(state))

    def _record(self, write: Callable[[], T]) -> T:
        """Return what `write` returns, which writes to the runs of this study.

        Where the tracking store was removed before or while it wrote, the runs are written anew and
        `write` is called again.

        Raises:
            StudyError: the store cannot be written.
        """
        for _ in range(MOST_REMOVED):
            try:
                self._keep_runs()
                return write()
            except WriteError as error:
                refused = error
                if self._runs.is_there():
                    break
        raise cannot_be_written(self._runs.place, refused) from refused

    def _keep_runs(self) -> None:
        """Write the runs anew where the tracking store was removed while the search ran."""
        if self._runs.is_there():
            return
        self._runs.reopen()
        mended = self.agree()
        for running in (*self.paused.values(), *self.in_flight.values()):
            trial = self._asked[running.number]
            running.run = self._runs.start(
                trial.number, running.recipe, trial.user_attrs, running.epochs
            )
            trial.set_user_attr(RUN, running.run)
        for paused in self.paused.values():
            self._runs.tracking.set_state(paused.run, "paused")
        say(
            f"The tracking store was removed or replaced: the runs of {mended} ended trials and of "
            f"{len(self.in_flight) + len(self.paused)} others are written anew."
        )

    def begin(
        self, trial: optuna.Trial, recipe: Recipe, verdict: Verdict | None, *, refused: bool
    ) -> OpenTrial:
        """Enter a trial that trains `recipe`, or that the rulebook refused."""
        self.proposals.draw_as_ever()
        # No result of a cut-off run may be taken for this one's.
        files = self._folder.trial(recipe.uid)
        files.result.unlink(missing_ok=True)
        files.write_recipe(recipe)
        trial.set_user_attr(MADE_BY, self._runs.made_by)
        run = self._record(lambda: self._runs.start(trial.number, recipe, trial.user_attrs))
        for key, value in {
            UID: recipe.uid,
            RUN: run,
            THOP: verdict.params_thop if verdict else None,
            TRUE: verdict.params_true if verdict else None,
        }.items():
            trial.set_user_attr(key, value)
        trial.set_constraint("params_over_limit", float(verdict.over_limit) if verdict else 0.0)
        trial.set_constraint("refused", 1.0 if refused else 0.0)
        self.in_flight[trial.number] = running = self._open(trial, recipe, run)
        return running

    def _open(
        self, trial: optuna.Trial, recipe: Recipe, run: str, epochs: Iterable[Epoch] = ()
    ) -> OpenTrial:
        self._asked[trial.number] = trial
        name, folds = str(trial.number), self._num_folds
        return OpenTrial(trial.number, recipe, run, name, epochs=[*epochs], num_folds=folds)

    def report(self, running: OpenTrial, epoch: Epoch) -> None:
        """Enter an epoch; Optuna learns those of the first fold, as the scheduler does."""
        if reached_in(running.recipe, [epoch]):
            self._asked[running.number].report(epoch.objective, epoch.epoch)
        self._record(lambda: self._runs.log(running.run, epoch))
        running.epochs.append(epoch)

    def pause(self, running: OpenTrial) -> None:
        """Let a trial wait that was told to pause, and did: it may go on later."""
        self.in_flight.pop(running.number, None)
        self.paused[running.number] = running
        self._record(lambda: self._runs.tracking.set_state(running.run, "paused"))

    def resume(self, number: int) -> OpenTrial:
        """Let a trial that waits go on; return it."""
        self.in_flight[number] = running = self.paused.pop(number)
        # From here on it is one that is cut off, if it is.
        self._folder.trial(running.recipe.uid).result.unlink(missing_ok=True)
        self._record(lambda: self._runs.tracking.set_state(running.run, "running"))
        running.started, running.num_before = time.monotonic(), len(running.epochs)
        return running

    def prune(self, number: int) -> None:
        """End a trial that waits."""
        self.in_flight[number] = running = self.paused.pop(number)
        files = self._folder.trial(running.recipe.uid)
        # Damaged or removed since: what the search saw of it says as much.
        paused = files.kept_result() or Result(
            recipe=running.recipe.uid,
            state="paused",
            reason=f"paused after epoch {len(running.epochs)}",
            epochs=tuple(running.epochs),
        )
        reason = paused.reason.replace("paused", "pruned")
        result = paused.model_copy(update={"state": "pruned", "reason": reason})
        files.write_result(result)
        self.end(running, result)

    def has_ended_a_search(self, running: OpenTrial, done: int) -> bool:
        """Return whether a bug that a trial hit after `done` epochs has ended an earlier search."""
        return bool(self._asked[running.number].user_attrs.get(BUG) == done)

    def note_end_of_search(self, running: OpenTrial, done: int) -> None:
        """Note that a bug which a trial hit after `done` epochs ends this search."""
        self._asked[running.number].set_user_attr(BUG, done)

    def fail(self, running: OpenTrial, reason: str) -> Result:
        """Write how a trial ended whose worker could not; it is to be ended so."""
        result, files = running.failed(reason), self._folder.trial(running.recipe.uid)
        files.write_result(result)
        files.drop_fold_scores(self._num_folds, with_weights=True)
        return result

    def end(self, running: OpenTrial, result: Result) -> None:
        """Enter how a trial ended."""
        self._folder.trial(running.recipe.uid).checkpoint.unlink(missing_ok=True)
        trial = self._asked[running.number]
        self._record(
            lambda: self._runs.end(running.run, result, trial.user_attrs, restarts=running.restarts)
        )
        self._forget(running)
        trial.set_user_attr(REASON, result.reason)
        trial.set_user_attr(SECONDS, result.seconds)
        match result.state:
            case "complete":
                counts = [trial.user_attrs.get(key) for key in (THOP, TRUE)]
                values = constrained_values(result, params=counts)
                known = excesses(self._constraints, values)
                for name in self._constraints:  # one that is not known is not kept
                    trial.set_constraint(f"constraints.{name}", known.get(name, 1.0))
                told = self._study.tell(trial, result.objective)
            case "pruned":
                told = self._study.tell(trial, state=TrialState.PRUNED)
            case "failed":
                # Samplers pass by what failed in Optuna. This one is a pruned one to them, and
                # worse than all that broke no constraint.
                trial.set_constraint(FAILED, 1.0)
                told = self._study.tell(trial, state=TrialState.PRUNED)
        self._ended.note(told)

    def requeue(self, running: OpenTrial) -> None:
        """Have a trial in flight asked again the next time."""
        self._record(
            lambda: self._runs.tracking.end_trial(
                running.run, state="interrupted", reason="The search was stopped."
            )
        )
        self.proposals.requeue(self._forget(running), "cut off and asked again")

    def _forget(self, running: OpenTrial) -> optuna.Trial:
        self.in_flight.pop(running.number, None)
        return self._asked.pop(running.number)

    def past(self) -> Iterator[PastTrial]:
        """Yield the trials of the study that have ended."""
        for trial in self._study.get_trials(deepcopy=False):
            if is_row(trial):
                reached, keeps = trial.intermediate_values, self.keeps(trial.number)
                yield PastTrial(trial.number, state_of(trial), reached, keeps)

    def trained(self, *, most: int) -> Iterator[tuple[Recipe, Result]]:
        """Yield the last trials that were trained, with what came of them."""
        left = most
        for trial in reversed(self._study.get_trials(deepcopy=False)):
            files = self._folder.trial(trial.user_attrs.get(UID, ""))
            if not left or not is_row(trial):
                continue
            recipe, result = files.kept_recipe(), files.kept_result()
            if recipe and result:
                yield recipe, result
                left -= 1

    def complete(self) -> list[Ended]:
        """Return the complete trials, by number."""
        return self._ended.complete

    def keeps(self, number: int) -> bool:
        """Return whether a trial that has ended keeps the constraints; one not complete does."""
        return number not in self._ended.broken

    def counts(self) -> Counter[State]:
        """Return how many trials ended in which way."""
        return self._ended.counts

    def importances(self) -> list[tuple[str, float]]:
        """Return the three dimensions that matter most so far and more than chance would say.

        Looked at anew once there are five complete trials more, or a tenth: it costs some time.
        """
        complete = len(self.complete())
        if complete >= self._importances_of + max(5, self._importances_of // 10):
            self._importances_of = complete
            found = importances_of(self._study).items()
            self._importances = [(name, one.share) for name, one in found if one.is_told][:3]
        return self._importances
