"""The books of a study: Optuna's journal, the trials' runs in MLflow, and that the two agree.

Every entry is made so that a kill between any two of them loses nothing: MLflow first, Optuna last.
"""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import optuna
from optuna.trial import TrialState

from workbench.console import say
from workbench.files import sweep
from workbench.rules.rulebook import Verdict
from workbench.search.halving import SuccessiveHalving
from workbench.search.journal import mend_journal, restore_trials
from workbench.search.recording import StudyRuns
from workbench.search.samplers import make_pruner, make_sampler
from workbench.space.experiment import Experiment
from workbench.space.space import SampledConfig, Space
from workbench.study.folder import StudyFolder
from workbench.study.records import (
    GIVEN,
    HIDDEN,
    MADE_BY,
    REASON,
    RUN,
    SECONDS,
    START,
    STATES,
    THOP,
    TRUE,
    UID,
    importances_of,
    is_row,
    open_storage,
)
from workbench.tracking.writing import State as Ending
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, State
from workbench.trial.train import Verdict as Decision


class Ended(NamedTuple):
    """A complete trial."""

    number: int
    recipe: str
    objective: float
    seconds: float


class Drawn(NamedTuple):
    """A recipe that is no trial of the study yet."""

    trial: optuna.Trial
    draft: SampledConfig
    recipe: Recipe


@dataclass
class Running:
    """A trial in flight."""

    trial: optuna.Trial
    recipe: Recipe
    run: str
    """Its MLflow run."""

    started: float = field(default_factory=time.monotonic)
    epochs: list[Epoch] = field(default_factory=list)
    num_before: int = 0
    """Epochs that had ended when it last went on."""

    tryout: bool = False
    """Whether it is being tried out."""

    expected_s: float | None = None
    """What it is expected to take from where it started, if anything is known."""

    restarts: int = 0
    """How often its worker died and another went on."""


class StudyStore:
    """What a study knows of its trials, and the only place where it is written.

    Args:
        folder: The study's folder, held by this process.
        experiment: What the study is about.
        space: What its trials may choose.
        seed: Of the sampler.
        runs: The study's record in MLflow.
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
        self._believed, self._beliefs = 0, list[tuple[str, float]]()
        self._rungs = SuccessiveHalving(
            # Tried out for the epochs before the first halving, a trial has that behind it.
            first=max(1, experiment.pruning.warmup_epochs)
            * (experiment.pruning.factor if experiment.pruning.tryout else 1),
            factor=experiment.pruning.factor,
            maximize=experiment.objective.direction == "maximize",
        )
        self._halving = experiment.pruning.kind == "halving"
        self._paused: dict[int, Running] = {}
        self._in_flight: dict[int, Running] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if wrong := mend_journal(folder):
            say(wrong)
        storage = open_storage(folder)
        asked = len(storage.get_all_studies()) and len(
            optuna.load_study(study_name=folder.name, storage=storage).trials
        )
        asked = max(asked, len(list(folder.path.glob("trials/*"))))  # a journal may be lost
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        # A sitting with the first one's seed would draw the first one's recipes again.
        self._sampler = make_sampler(experiment.sampler, seed + asked)
        # A Gaussian process knows only what every trial draws.
        self._flat = experiment.sampler.kind in ("tpe-flat", "gp")
        self._study = optuna.create_study(
            study_name=folder.name,
            storage=storage,
            load_if_exists=True,
            direction=experiment.objective.direction,
            sampler=self._sampler,
            pruner=make_pruner(experiment.pruning),
        )

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
        for known in self._study.get_trials(deepcopy=False):
            if HIDDEN not in known.user_attrs and known.state != TrialState.FAIL:
                self._rungs.enter(known.number, known.intermediate_values)
        for left in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            trial = optuna.Trial(self._study, left._trial_id)
            uid = left.user_attrs.get(UID)
            result = self._folder.trial(uid).kept_result() if uid else None
            recipe = self._folder.trial(uid).kept_recipe() if uid else None
            if result and recipe and RUN in left.user_attrs:
                for epoch in result.epochs:
                    if epoch.epoch not in left.intermediate_values:
                        trial.report(epoch.objective, epoch.epoch)
                run = self._take_over_run(trial, recipe, result)
                running = Running(trial, recipe, run, epochs=[*result.epochs])
                if result.state == "paused":
                    self._rungs.enter(trial.number, _objectives(running))
                    self.pause(running)
                else:
                    self.end(running, result)
                    told += 1
            else:
                # Asked again first: killed between the two lines, it is asked twice, and the
                # second is seen to be known; the other way round it would be lost.
                # One that was itself asked again may not have been drawn yet.
                drawn = left.system_attrs.get("fixed_params", {}) | left.params
                if worth := bool(drawn) or GIVEN in left.user_attrs:
                    self._study.enqueue_trial(drawn, user_attrs=_origin(left.user_attrs))
                self.hide(trial, "cut off and asked again")
                again += worth
        waiting = [running.run for running in self._paused.values()]
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
            if epoch.epoch not in logged:
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
        """Record how the sitting ended."""
        self._keep_runs()
        self._runs.close(state)

    def _keep_runs(self) -> None:
        """Write the runs anew where the tracking store was removed while the search ran."""
        if self._runs.is_there():
            return
        self._runs.reopen()
        mended = self.agree()
        for running in (*self._paused.values(), *self._in_flight.values()):
            trial = running.trial
            running.run = self._runs.start(
                trial.number, running.recipe, trial.user_attrs, running.epochs
            )
            trial.set_user_attr(RUN, running.run)
        for paused in self._paused.values():
            self._runs.tracking.set_state(paused.run, "paused")
        say(
            f"The tracking store was removed or replaced: the runs of {mended} ended trials and of "
            f"{len(self._in_flight) + len(self._paused)} others are written anew."
        )

    def start_from(self, draft: SampledConfig, source: str) -> None:
        """Have `draft` tried before anything is drawn, unless this study was told of it before.

        One that the search space holds teaches the sampler as a drawn one does; any other is a
        trial all the same.
        """
        given = [
            SampledConfig.model_validate_json(trial.user_attrs[GIVEN])
            for trial in self._study.get_trials(deepcopy=False)
            if GIVEN in trial.user_attrs
        ]
        if draft not in given:
            params = self._space.params_of(draft) or {}
            attrs = {GIVEN: draft.model_dump_json(), START: source}
            self._study.enqueue_trial(params, user_attrs=attrs)

    def ask(self) -> tuple[optuna.Trial, SampledConfig]:
        """Return a new trial and what it is to be: what the space draws, or what was asked for."""
        trial = self._study.ask()
        given = trial.user_attrs.get(GIVEN)
        if given is None:
            return trial, self._space.draw(trial, flat=self._flat)
        draft = SampledConfig.model_validate_json(given)
        # Enqueued with what has to be drawn for it, so that the sampler knows it as its own.
        inside = self._space.params_of(draft) is not None
        return trial, self._space.draw(trial, flat=self._flat) if inside else draft

    def look_anywhere(self, *, seed: int) -> None:
        """Draw without what is known, where the sampler knows everything; until `begin`."""
        self._study.sampler = optuna.samplers.RandomSampler(seed=seed)

    def known(self) -> set[str]:
        """Return the uids of the recipes that are no news: tried, or in flight."""
        return {
            trial.user_attrs[UID]
            for trial in self._study.get_trials(deepcopy=False)
            if UID in trial.user_attrs and HIDDEN not in trial.user_attrs
        }

    def begin(
        self, trial: optuna.Trial, recipe: Recipe, verdict: Verdict | None, *, refused: bool
    ) -> Running:
        """Open the books of a trial that trains `recipe`, or that the rulebook refused."""
        self._keep_runs()
        self._study.sampler = self._sampler
        # No result of a cut-off run may be taken for this one's.
        files = self._folder.trial(recipe.uid)
        files.result.unlink(missing_ok=True)
        files.write_recipe(recipe)
        trial.set_user_attr(MADE_BY, self._runs.made_by)
        run = self._runs.start(trial.number, recipe, trial.user_attrs)
        for key, value in {
            UID: recipe.uid,
            RUN: run,
            THOP: verdict.params_thop if verdict else None,
            TRUE: verdict.params_true if verdict else None,
        }.items():
            trial.set_user_attr(key, value)
        trial.set_constraint("params_over_limit", float(verdict.over_limit) if verdict else 0.0)
        trial.set_constraint("refused", 1.0 if refused else 0.0)
        self._in_flight[trial.number] = running = Running(trial, recipe, run)
        return running

    def report(self, running: Running, epoch: Epoch) -> Decision:
        """Enter an epoch; say how its trial goes on."""
        self._keep_runs()
        running.epochs.append(epoch)
        running.trial.report(epoch.objective, epoch.epoch)
        self._runs.log(running.run, epoch)
        num_epochs = running.recipe.training.num_epochs
        if epoch.epoch == num_epochs:
            return "go on"
        if not self._halving:
            return "prune" if running.trial.should_prune() else "go on"
        number = running.trial.number
        self._rungs.enter(number, _objectives(running))
        return "go on" if self._rungs.goes_on(number, epoch.epoch, num_epochs) else "pause"

    def report_tryout(self, running: Running, objective: float) -> bool:
        """Enter what a tryout reached; say whether the trial goes on at once."""
        self._keep_runs()
        number = running.trial.number
        running.trial.report(objective, 0)
        self._runs.tracking.log_epoch(running.run, {"tryout": objective}, 0)
        self._rungs.enter(number, {0: objective})
        return self._rungs.goes_on(number, 0, running.recipe.training.num_epochs)

    def pause(self, running: Running) -> None:
        """Let a trial wait that was told to pause, and did: it may go on later."""
        self._keep_runs()
        self._rungs.wait(running.trial.number, len(running.epochs))
        self._in_flight.pop(running.trial.number, None)
        self._paused[running.trial.number] = running
        self._runs.tracking.set_state(running.run, "paused")

    def promote(
        self,
        *,
        at_least: int,
        cost: Callable[[Running], float],
        affordable: Callable[[float], bool] = lambda cost: True,
    ) -> Running | None:
        """Return a paused trial that goes on now, if any; see `SuccessiveHalving.promote`."""
        number = self._rungs.promote(
            at_least=at_least,
            cost=lambda number: cost(self._paused[number]),
            affordable=affordable,
        )
        if number is None:
            return None
        self._keep_runs()
        self._in_flight[number] = running = self._paused.pop(number)
        # From here on it is one that is cut off, if it is.
        self._folder.trial(running.recipe.uid).result.unlink(missing_ok=True)
        self._runs.tracking.set_state(running.run, "running")
        running.started, running.num_before = time.monotonic(), len(running.epochs)
        return running

    def prune_hopeless(self, *, to_come: int) -> None:
        """End the paused trials that can no longer go on; see `SuccessiveHalving.hopeless`."""
        for number in self._rungs.hopeless(to_come=to_come):
            self._prune_paused(number)

    def prune_worst(self) -> bool:
        """End the paused trial with the least hope; say whether there was one."""
        number = self._rungs.worst()
        if number is not None:
            self._prune_paused(number)
        return number is not None

    def _prune_paused(self, number: int) -> None:
        running = self._paused.pop(number)
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
        files.checkpoint.unlink(missing_ok=True)
        self.end(running, result)

    def end(self, running: Running, result: Result) -> None:
        """Close a trial's books."""
        self._keep_runs()
        trial = running.trial
        self._in_flight.pop(trial.number, None)
        self._runs.end(running.run, result, trial.user_attrs, restarts=running.restarts)
        trial.set_user_attr(REASON, result.reason)
        trial.set_user_attr(SECONDS, self._runs.seconds(result))
        match result.state:
            case "complete":
                self._study.tell(trial, result.objective)
            case "pruned":
                self._study.tell(trial, state=TrialState.PRUNED)
            case "failed":
                self._rungs.leave(trial.number)
                self._study.tell(trial, state=TrialState.FAIL)

    def put_back(self, running: Running) -> None:
        """Have a trial in flight asked again the next time."""
        self._keep_runs()
        self._in_flight.pop(running.trial.number, None)
        self._runs.tracking.end_trial(
            running.run, state="interrupted", reason="The search was stopped."
        )
        self.give_back(running.trial, "cut off and asked again")

    def give_back(self, trial: optuna.Trial, why: str) -> None:
        """Have what a trial drew asked again the next time; it ends as none of the study."""
        # Asked again first: see `adopt`.
        self._study.enqueue_trial(trial.params, user_attrs=_origin(trial.user_attrs))
        self.hide(trial, why)

    def hide(self, trial: optuna.Trial, why: str) -> None:
        """End an Optuna trial that is no trial of the study; it teaches the sampler nothing."""
        self._rungs.leave(trial.number)
        trial.set_user_attr(HIDDEN, why)
        self._study.tell(trial, state=TrialState.FAIL)

    def num_paused(self) -> int:
        """Return how many trials wait."""
        return len(self._paused)

    def num_ended(self) -> int:
        """Return how many trials of the study have ended, whenever that was."""
        return sum(is_row(trial) for trial in self._study.get_trials(deepcopy=False))

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
        """Return the complete trials."""
        return [
            Ended(trial.number, trial.user_attrs[UID], trial.value, trial.user_attrs[SECONDS])
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if trial.value is not None and is_row(trial)
        ]

    def counts(self) -> Counter[State]:
        """Return how many trials ended in which way."""
        trials = self._study.get_trials(deepcopy=False)
        return Counter(STATES[trial.state] for trial in trials if is_row(trial))

    def beliefs(self) -> list[tuple[str, float]]:
        """Return the three dimensions that matter most so far; see `records.importances`.

        Looked at anew after every fifth complete trial: before there is no news, and it costs.
        """
        complete = len(self.complete())
        if complete >= self._believed + 5:
            self._believed = complete
            self._beliefs = list(importances_of(self._study).items())[:3]
        return self._beliefs


def _origin(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a trial came from, for one that takes its place."""
    return {key: attrs[key] for key in (GIVEN, START) if key in attrs}


def _objectives(running: Running) -> dict[int, float]:
    return {epoch.epoch: epoch.objective for epoch in running.epochs}
