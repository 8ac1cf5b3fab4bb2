"""The books of a study: Optuna's journal, the trials' runs in MLflow, and that the two agree.

Every entry is made so that a kill between any two of them loses nothing: MLflow first, Optuna last.
"""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import optuna
from optuna.trial import TrialState

from workbench.files import sweep
from workbench.rules.rulebook import Verdict
from workbench.study.experiment import Experiment
from workbench.study.folder import StudyFolder
from workbench.study.halving import Ladder
from workbench.study.records import (
    GIVEN,
    HIDDEN,
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
from workbench.study.samplers import make_pruner, make_sampler
from workbench.study.space import Draft, Space
from workbench.tracking.runs import Tracking
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, State
from workbench.trial.train import Verdict as Onward


class Ended(NamedTuple):
    """A complete trial."""

    number: int
    recipe: str
    objective: float
    seconds: float


class Drawn(NamedTuple):
    """A recipe that is no trial of the study yet."""

    trial: optuna.Trial
    draft: Draft
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


class Books:
    """What a study knows of its trials, and the only place where it is written.

    Args:
        folder: The study's folder, held by this process.
        experiment: What the study is about.
        space: What its trials may choose.
        seed: Of the sampler.
        tracking: The tracking store.
        parent_run: The study's run in it.
        trial_tags: What to note with each trial's run.
    """

    def __init__(
        self,
        folder: StudyFolder,
        experiment: Experiment,
        space: Space,
        *,
        seed: int,
        tracking: Tracking,
        parent_run: str,
        trial_tags: Mapping[str, str],
    ) -> None:
        self._folder, self._space = folder, space
        self._tracking, self._parent_run = tracking, parent_run
        self._trial_tags = dict(trial_tags)
        self._believed, self._beliefs = 0, list[tuple[str, float]]()
        self._ladder = Ladder(
            # Tried out for the epochs before the first halving, a trial has that behind it.
            first=max(1, experiment.pruning.warmup_epochs)
            * (experiment.pruning.factor if experiment.pruning.tryout else 1),
            factor=experiment.pruning.factor,
            maximize=experiment.objective.direction == "maximize",
        )
        self._halving = experiment.pruning.kind == "halving"
        self._paused: dict[int, Running] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        mend_journal(folder)
        storage = open_storage(folder)
        asked = len(storage.get_all_studies()) and len(
            optuna.load_study(study_name=folder.name, storage=storage).trials
        )
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

    def adopt(self) -> tuple[int, int]:
        """Take over what a killed search left running.

        Returns:
            How many trials had ended unnoticed and are now told, and how many are asked again.
        """
        sweep(self._folder.path)
        told = again = 0
        for known in self._study.get_trials(deepcopy=False):
            if HIDDEN not in known.user_attrs and known.state != TrialState.FAIL:
                self._ladder.enter(known.number, known.intermediate_values)
        for left in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            trial = optuna.Trial(self._study, left._trial_id)
            uid = left.user_attrs.get(UID)
            result = self._folder.trial(uid).read_result() if uid else None
            if result and RUN in left.user_attrs:
                run = left.user_attrs[RUN]
                logged = self._tracking.logged_epochs(run)
                for epoch in result.epochs:
                    if epoch.epoch not in left.intermediate_values:
                        trial.report(epoch.objective, epoch.epoch)
                    if epoch.epoch not in logged:
                        self._tracking.log_epoch(run, _epoch_metrics(epoch), epoch.epoch)
                recipe = self._folder.trial(result.recipe).read_recipe()
                running = Running(trial, recipe, run, epochs=[*result.epochs])
                if result.state == "paused":
                    self._ladder.enter(trial.number, _objectives(running))
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
        self._tracking.close_open_runs(self._parent_run, but=waiting)
        return told, again

    def agree(self) -> int:
        """Write into MLflow what it lacks of the ended trials; return how many it lacked.

        A run that a person deleted there, or whose end a lost store forgot, is written anew from
        the trial's folder.
        """
        runs = {(run.uid, run.state) for run in self._tracking.trial_runs(self._parent_run)}
        mended = 0
        for left in self._study.get_trials(deepcopy=False):
            if not is_row(left) or (left.user_attrs[UID], STATES[left.state]) in runs:
                continue
            files = self._folder.trial(left.user_attrs[UID])
            result = files.read_result()
            if result is None or not files.recipe.exists():
                continue  # nothing is left to write it from; reading the study says so
            run = self._start_run(left.number, files.read_recipe(), left.user_attrs)
            for epoch in result.epochs:
                self._tracking.log_epoch(run, _epoch_metrics(epoch), epoch.epoch)
            self._end_run(run, result, left.user_attrs)
            mended += 1
        return mended

    def start_from(self, draft: Draft, source: str) -> None:
        """Have `draft` tried before anything is drawn, unless this study was told of it before.

        One that the search space holds teaches the sampler as a drawn one does; any other is a
        trial all the same.
        """
        given = draft.model_dump_json()
        known = self._study.get_trials(deepcopy=False)
        if not any(trial.user_attrs.get(GIVEN) == given for trial in known):
            params = self._space.params_of(draft) or {}
            self._study.enqueue_trial(params, user_attrs={GIVEN: given, START: source})

    def ask(self) -> tuple[optuna.Trial, Draft]:
        """Return a new trial and what it is to be: what the space draws, or what was asked for."""
        trial = self._study.ask()
        given = trial.user_attrs.get(GIVEN)
        if given is None:
            return trial, self._space.draw(trial, flat=self._flat)
        draft = Draft.model_validate_json(given)
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
        self._study.sampler = self._sampler
        # No result of a cut-off run may be taken for this one's.
        files = self._folder.trial(recipe.uid)
        files.result.unlink(missing_ok=True)
        files.write_recipe(recipe)
        run = self._start_run(trial.number, recipe, trial.user_attrs)
        for key, value in {
            UID: recipe.uid,
            RUN: run,
            THOP: verdict.params_thop if verdict else None,
            TRUE: verdict.params_true if verdict else None,
        }.items():
            trial.set_user_attr(key, value)
        trial.set_constraint("params_over_limit", float(verdict.over_limit) if verdict else 0.0)
        trial.set_constraint("refused", 1.0 if refused else 0.0)
        return Running(trial, recipe, run)

    def report(self, running: Running, epoch: Epoch) -> Onward:
        """Enter an epoch; say how its trial goes on."""
        running.epochs.append(epoch)
        running.trial.report(epoch.objective, epoch.epoch)
        self._tracking.log_epoch(running.run, _epoch_metrics(epoch), epoch.epoch)
        num_epochs = running.recipe.num_epochs
        if epoch.epoch == num_epochs:
            return "go on"
        if not self._halving:
            return "prune" if running.trial.should_prune() else "go on"
        number = running.trial.number
        self._ladder.enter(number, _objectives(running))
        return "go on" if self._ladder.goes_on(number, epoch.epoch, num_epochs) else "pause"

    def report_tryout(self, running: Running, objective: float) -> bool:
        """Enter what a tryout reached; say whether the trial goes on at once."""
        number = running.trial.number
        running.trial.report(objective, 0)
        self._tracking.log_epoch(running.run, {"tryout": objective}, 0)
        self._ladder.enter(number, {0: objective})
        return self._ladder.goes_on(number, 0, running.recipe.num_epochs)

    def pause(self, running: Running) -> None:
        """Let a trial wait that was told to pause, and did: it may go on later."""
        self._ladder.wait(running.trial.number, len(running.epochs))
        self._paused[running.trial.number] = running
        self._tracking.set_state(running.run, "paused")

    def promote(
        self,
        *,
        at_least: int,
        cost: Callable[[Running], float],
        affordable: Callable[[float], bool] = lambda cost: True,
    ) -> Running | None:
        """Return a paused trial that is to go on now, if there is one; see `Ladder.promote`."""
        number = self._ladder.promote(
            at_least=at_least,
            cost=lambda number: cost(self._paused[number]),
            affordable=affordable,
        )
        if number is None:
            return None
        running = self._paused.pop(number)
        # From here on it is one that is cut off, if it is.
        self._folder.trial(running.recipe.uid).result.unlink(missing_ok=True)
        self._tracking.set_state(running.run, "running")
        running.started, running.num_before = time.monotonic(), len(running.epochs)
        return running

    def prune_hopeless(self, *, to_come: int) -> None:
        """End the paused trials that can no longer go on; see `Ladder.hopeless`."""
        for number in self._ladder.hopeless(to_come=to_come):
            self._prune_paused(number)

    def prune_worst(self) -> bool:
        """End the paused trial with the least hope; say whether there was one."""
        number = self._ladder.worst()
        if number is not None:
            self._prune_paused(number)
        return number is not None

    def _prune_paused(self, number: int) -> None:
        running = self._paused.pop(number)
        files = self._folder.trial(running.recipe.uid)
        paused = files.read_result()
        assert paused is not None, files.result
        reason = paused.reason.replace("paused", "pruned")
        result = paused.model_copy(update={"state": "pruned", "reason": reason})
        files.write_result(result)
        files.checkpoint.unlink(missing_ok=True)
        self.end(running, result)

    def end(self, running: Running, result: Result) -> None:
        """Close a trial's books."""
        trial = running.trial
        self._end_run(running.run, result, trial.user_attrs, restarts=running.restarts)
        trial.set_user_attr(REASON, result.reason)
        trial.set_user_attr(SECONDS, self._seconds(result))
        match result.state:
            case "complete":
                self._study.tell(trial, result.objective)
            case "pruned":
                self._study.tell(trial, state=TrialState.PRUNED)
            case "failed":
                self._ladder.leave(trial.number)
                self._study.tell(trial, state=TrialState.FAIL)

    def put_back(self, running: Running) -> None:
        """Have a trial in flight asked again the next time."""
        self._tracking.end_trial(running.run, state="interrupted", reason="The search was stopped.")
        self.give_back(running.trial, "cut off and asked again")

    def give_back(self, trial: optuna.Trial, why: str) -> None:
        """Have what a trial drew asked again the next time; it ends as none of the study."""
        # Asked again first: see `adopt`.
        self._study.enqueue_trial(trial.params, user_attrs=_origin(trial.user_attrs))
        self.hide(trial, why)

    def hide(self, trial: optuna.Trial, why: str) -> None:
        """End an Optuna trial that is no trial of the study; it teaches the sampler nothing."""
        self._ladder.leave(trial.number)
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
            if left and is_row(trial) and files.result.exists() and files.recipe.exists():
                result = files.read_result()
                assert result is not None
                yield files.read_recipe(), result
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

    def _start_run(self, number: int, recipe: Recipe, attrs: Mapping[str, Any]) -> str:
        start = {START: attrs[START]} if START in attrs else {}
        return self._tracking.start_trial(
            self._parent_run,
            number=number,
            uid=recipe.uid,
            name=recipe.backbone,
            recipe=recipe.model_dump(mode="json"),
            tags=self._trial_tags | start,
        )

    def _end_run(
        self, run: str, result: Result, attrs: Mapping[str, Any], *, restarts: int = 0
    ) -> None:
        files = self._folder.trial(result.recipe)
        params = {key: float(attrs[key]) for key in (THOP, TRUE) if attrs.get(key) is not None}
        final = {**result.metrics, **params, SECONDS: self._seconds(result)}
        for key in ("best_epoch", "peak_memory_bytes", "estimated_memory_bytes", "micro_batch"):
            if (value := getattr(result, key)) is not None:
                final[key] = float(value)
        if compiled := sum(epoch.compiled for epoch in result.epochs):
            final["compiled_epochs"] = float(compiled)
        if restarts:
            final["restarts"] = float(restarts)
        made = (files.result, files.scores, files.roc, files.pr, files.log)
        self._tracking.end_trial(
            run,
            state=_ended(result.state),
            reason=result.reason,
            metrics=final,
            artifacts=[file for file in made if file.exists()],
        )

    def _seconds(self, result: Result) -> float:
        """Return what a trial took, its tryout included."""
        tried = self._folder.trial(result.recipe).tryout().read_result()
        return result.seconds + (tried.seconds if tried else 0.0)


def _origin(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a trial came from, for one that takes its place."""
    return {key: attrs[key] for key in (GIVEN, START) if key in attrs}


def _epoch_metrics(epoch: Epoch) -> dict[str, float]:
    own = {"train_loss": epoch.train_loss, "lr": epoch.lr, "epoch_seconds": epoch.seconds}
    return {**epoch.metrics, **own}


def _ended(state: State) -> Literal["complete", "pruned", "failed"]:
    if state == "paused":
        raise ValueError("a paused trial has not ended")
    return state


def _objectives(running: Running) -> dict[int, float]:
    return {epoch.epoch: epoch.objective for epoch in running.epochs}


def mend_journal(folder: StudyFolder) -> None:
    """Drop a last line that a kill cut short: Optuna refuses a journal that goes on after one."""
    if not folder.journal.exists():
        return
    with folder.journal.open("r+b") as journal:
        text = journal.read()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            journal.truncate(whole)
