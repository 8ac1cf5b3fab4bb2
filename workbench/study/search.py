"""The search: the one process that asks Optuna, hands out recipes and keeps the books.

Workers train and report; this process decides on pruning, writes MLflow, then tells Optuna. It can
be killed at any instant: the next search of the study adopts what is there.
"""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Never, assert_never

import optuna
from optuna.trial import TrialState
from tqdm import tqdm

from workbench.console import duration, say, trial_bar
from workbench.errors import ConfigError
from workbench.parts.weights import Mode
from workbench.rules.rulebook import Verdict
from workbench.study.experiment import Experiment, Pruning
from workbench.study.folder import StudyFolder
from workbench.study.pool import Died, WorkerPool
from workbench.study.records import (
    GIVEN,
    HIDDEN,
    REASON,
    RUN,
    SECONDS,
    START,
    THOP,
    TRUE,
    UID,
    is_row,
    open_storage,
)
from workbench.study.space import Draft, Space
from workbench.study.weights import WeightsFinder, judge_start
from workbench.tracking import Tracking
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result
from workbench.trial.training import best_epoch
from workbench.trial.worker import Bug, Job

MOST_REPEATS = 200
"""Draws of known recipes in a row after which the search space counts as used up."""


class TrialBug(Exception):
    """A bug showed in a worker; its traceback is the message."""


@dataclass
class _Running:
    """A trial that a worker trains."""

    trial: optuna.Trial
    recipe: Recipe
    run: str
    started: float
    epochs: list[Epoch] = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """How a search runs; nothing here changes a trial's numbers but the seed."""

    num_trials: int
    seed: int
    devices: tuple[str, ...]
    """One worker each."""

    threads_per_worker: int
    memory_bytes: int | None
    """What one trial may take of its device's memory; None for its share."""

    cache: Path
    deadline: float | None
    """`time.monotonic()` after which no trial starts."""


class Search:
    """One sitting of a study.

    Args:
        folder: The study's folder, held by this process, with its prepared data.
        experiment: What the study is about.
        space: What its trials may choose.
        fingerprint: Of the data.
        finder: Finds pretrained weights.
        tracking: The tracking store.
        parent_run: The study's run in it.
        trial_tags: What to note with each trial's run.
        settings: How to run.
    """

    def __init__(
        self,
        folder: StudyFolder,
        experiment: Experiment,
        space: Space,
        *,
        fingerprint: str,
        finder: WeightsFinder,
        tracking: Tracking,
        parent_run: str,
        trial_tags: Mapping[str, str],
        settings: Settings,
    ) -> None:
        self._folder, self._experiment, self._space = folder, experiment, space
        self._fingerprint, self._finder = fingerprint, finder
        self._tracking, self._parent_run = tracking, parent_run
        self._trial_tags, self._settings = dict(trial_tags), settings
        self._running: dict[int, _Running] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        mend_journal(folder)
        storage = open_storage(folder)
        asked = len(storage.get_all_studies()) and len(
            optuna.load_study(study_name=folder.name, storage=storage).trials
        )
        # A grouped TPE, since a plain multivariate one drops what only some options open.
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        # A sitting with the first one's seed would draw the first one's recipes again.
        self._sampler = optuna.samplers.TPESampler(
            seed=settings.seed + asked, multivariate=True, group=True
        )
        self._study = optuna.create_study(
            study_name=folder.name,
            storage=storage,
            load_if_exists=True,
            direction=experiment.objective.direction,
            sampler=self._sampler,
            pruner=_pruner(experiment.pruning),
        )

    def adopt(self) -> tuple[int, int]:
        """Take over what a killed search left running.

        Returns:
            How many trials had ended unnoticed and are now told, and how many are asked again.
        """
        told = again = 0
        for left in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            trial = optuna.Trial(self._study, left._trial_id)
            uid = left.user_attrs.get(UID)
            result = self._folder.trial(uid).read_result() if uid else None
            if result and RUN in left.user_attrs:
                for epoch in result.epochs:
                    if epoch.epoch not in left.intermediate_values:
                        trial.report(epoch.objective, epoch.epoch)
                recipe = self._folder.trial(result.recipe).read_recipe()
                run = _Running(trial, recipe, left.user_attrs[RUN], time.monotonic())
                self._end(run, result)
                told += 1
            else:
                # Asked again first: killed between the two lines, it is asked twice, and the
                # second is seen to be known; the other way round it would be lost.
                # One that was itself asked again may not have been drawn yet.
                drawn = left.system_attrs.get("fixed_params", {}) | left.params
                if worth := bool(drawn) or GIVEN in left.user_attrs:
                    self._study.enqueue_trial(drawn, user_attrs=_origin(left.user_attrs))
                self._hide(trial, "cut off and asked again")
                again += worth
        self._tracking.close_open_runs(self._parent_run)
        return told, again

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

    def run(self) -> str:
        """Run trials until the study has its number.

        Returns:
            Why it stopped, in one sentence; empty if the study is whole.

        Raises:
            KeyboardInterrupt: Ctrl-C; the trials in flight are asked again the next time.
            TrialBug: a bug showed in a worker.
        """
        settings = self._settings
        if self.num_ended() >= settings.num_trials:
            return ""
        pool = WorkerPool(len(settings.devices))
        stopped = ""
        clean = False
        try:
            with trial_bar(settings.num_trials, self.num_ended()) as bar:
                while True:
                    while not stopped and (slot := pool.free_slot()) is not None:
                        if self.num_ended() + len(self._running) >= settings.num_trials:
                            break
                        stopped = self._out_of_time()
                        if stopped:
                            break
                        started = self._start_next()
                        if started is None:
                            known = self.num_ended() + len(self._running)
                            stopped = (
                                f"The search space is used up: {known} different recipes "
                                "are all it holds."
                            )
                        elif isinstance(started, _Running):
                            self._running[slot] = started
                            pool.submit(slot, self._job(slot, started.recipe))
                        self._show(bar)
                    if not self._running:
                        clean = True
                        return stopped
                    for slot, event in pool.events(timeout_s=1.0):
                        self._take(slot, event, pool)
                        self._show(bar)
                    bar.refresh()
        finally:
            pool.close(at_once=not clean)
            self._running, left = {}, list(self._running.values())
            for running in left:
                attrs = _origin(running.trial.user_attrs)
                self._study.enqueue_trial(running.trial.params, user_attrs=attrs)
                self._tracking.end_trial(
                    running.run, state="interrupted", reason="The search was stopped."
                )
                self._hide(running.trial, "cut off and asked again")

    def _start_next(self) -> "_Running | Result | None":
        """Ask for a recipe that is new.

        Returns:
            The trial to run; or the result of one that ended since it may not run; or nothing if
            the search space is used up.
        """
        known = {
            trial.user_attrs[UID]
            for trial in self._study.get_trials(deepcopy=False)
            if UID in trial.user_attrs and HIDDEN not in trial.user_attrs
        }
        for repeats in range(MOST_REPEATS):
            trial = self._study.ask()
            draft = self._draft(trial)
            recipe = draft.recipe(
                data=self._fingerprint,
                views=self._experiment.views,
                weights=self._finder.find(draft.backbone, draft.pretrained),
                objective=self._experiment.objective,
                seed=self._settings.seed,
            )
            if recipe.uid not in known:
                self._study.sampler = self._sampler
                return self._begin(trial, recipe, draft.pretrained)
            self._hide(trial, f"drew the known recipe {recipe.uid}")
            if repeats == MOST_REPEATS // 4:
                # The sampler is stuck where it knows everything: look anywhere else.
                self._study.sampler = optuna.samplers.RandomSampler(seed=len(known))
        return None

    def _draft(self, trial: optuna.Trial) -> Draft:
        """Return what `trial` is to be: what the space draws, or what was asked for."""
        given = trial.user_attrs.get(GIVEN)
        if given is None:
            return self._space.draw(trial)
        draft = Draft.model_validate_json(given)
        # Enqueued with what has to be drawn for it, so that the sampler knows it as its own.
        return draft if self._space.params_of(draft) is None else self._space.draw(trial)

    def _begin(self, trial: optuna.Trial, recipe: Recipe, mode: Mode) -> "_Running | Result":
        """Judge a new recipe by the rulebook, and open its books."""
        verdict, refusal = self._judge(recipe, mode)
        # No result of a cut-off run may be taken for this one's.
        files = self._folder.trial(recipe.uid)
        files.result.unlink(missing_ok=True)
        files.write_recipe(recipe)
        run = self._tracking.start_trial(
            self._parent_run,
            number=trial.number,
            uid=recipe.uid,
            name=recipe.backbone,
            recipe=recipe.model_dump(mode="json"),
            tags={
                **self._trial_tags,
                **({START: trial.user_attrs[START]} if START in trial.user_attrs else {}),
            },
        )
        for key, value in {
            UID: recipe.uid,
            RUN: run,
            THOP: verdict.params_thop if verdict else None,
            TRUE: verdict.params_true if verdict else None,
        }.items():
            trial.set_user_attr(key, value)
        trial.set_constraint("params_over_limit", float(verdict.over_limit) if verdict else 0.0)
        trial.set_constraint("refused", 1.0 if refusal else 0.0)
        running = _Running(trial, recipe, run, time.monotonic())
        if not refusal:
            return running
        result = Result(recipe=recipe.uid, state="pruned", reason=refusal)
        self._end(running, result)
        return result

    def _judge(self, recipe: Recipe, mode: Mode) -> tuple[Verdict | None, str]:
        """Return the rulebook's verdict, if there can be one, and why not to train; empty if to."""
        try:
            verdict = judge_start(
                self._experiment.rulebook,
                recipe.backbone,
                mode,
                recipe.views,
                image_px=recipe.image_px,
                finder=self._finder,
            )
        except ConfigError as error:
            # Only these two do not fit, the backbone and the side drawn with it: a bad draw.
            return None, str(error)
        return verdict, "" if verdict.legal else verdict.sentence

    def _take(self, slot: int, event: Epoch | Result | Bug | Died, pool: WorkerPool) -> None:
        """Enter what a worker said into the books."""
        running = self._running[slot]
        match event:
            case Epoch():
                running.epochs.append(event)
                running.trial.report(event.objective, event.epoch)
                self._tracking.log_epoch(running.run, _epoch_metrics(event), event.epoch)
                last = event.epoch == running.recipe.num_epochs
                prune = not last and running.trial.should_prune()
                pool.answer(slot, "prune" if prune else "go on")
            case Result():
                del self._running[slot]
                self._end(running, event)
            case Died(reason=reason):
                del self._running[slot]
                best = best_epoch(running.recipe, running.epochs)
                result = Result(
                    recipe=running.recipe.uid,
                    state="failed",
                    reason=reason,
                    epochs=tuple(running.epochs),
                    best_epoch=best.epoch if best else None,
                    objective=best.objective if best else None,
                    metrics=best.metrics if best else {},
                    seconds=time.monotonic() - running.started,
                )
                self._folder.trial(running.recipe.uid).write_result(result)
                self._end(running, result)
            case Bug(traceback=text):
                raise TrialBug(f"trial {running.trial.number} hit a bug:\n{text}")
            case _:
                assert_never(event)

    def _end(self, running: _Running, result: Result) -> None:
        """Close a trial's books: MLflow first, Optuna last, so that none is left open."""
        trial, files = running.trial, self._folder.trial(result.recipe)
        params = {
            key: float(trial.user_attrs[key])
            for key in (THOP, TRUE)
            if trial.user_attrs.get(key) is not None
        }
        final = {**result.metrics, **params, SECONDS: result.seconds}
        if result.best_epoch is not None:
            final["best_epoch"] = float(result.best_epoch)
        for key in ("peak_memory_bytes", "estimated_memory_bytes", "micro_batch"):
            if (value := getattr(result, key)) is not None:
                final[key] = float(value)
        made = (files.result, files.scores, files.roc, files.pr, files.log)
        self._tracking.end_trial(
            running.run,
            state=result.state,
            reason=result.reason,
            metrics=final,
            artifacts=[file for file in made if file.exists()],
        )
        trial.set_user_attr(REASON, result.reason)
        trial.set_user_attr(SECONDS, result.seconds)
        match result.state:
            case "complete":
                self._study.tell(trial, result.objective)
            case "pruned":
                self._study.tell(trial, state=TrialState.PRUNED)
            case "failed":
                self._study.tell(trial, state=TrialState.FAIL)
        metric = self._experiment.objective.metric
        score = "" if result.objective is None else f"  {metric} {result.objective:.4f}"
        views = "+".join(running.recipe.views)
        parts = "" if result.micro_batch is None else f"  in parts of {result.micro_batch}"
        parts += "  checkpointed" * result.checkpointed
        why = f"  {result.reason}" if result.state == "failed" or not result.epochs else ""
        say(
            f"trial {trial.number:<3} {result.state:<8}{score}  "
            f"{running.recipe.backbone} {views} {running.recipe.image_px} px"
            f"  {len(result.epochs)}/{running.recipe.num_epochs} epochs"
            f"  {duration(result.seconds)}{parts}{why}"
        )

    def _hide(self, trial: optuna.Trial, why: str) -> None:
        """End an Optuna trial that is no trial of the study; it teaches the sampler nothing."""
        trial.set_user_attr(HIDDEN, why)
        self._study.tell(trial, state=TrialState.FAIL)

    def _job(self, slot: int, recipe: Recipe) -> Job:
        return Job(
            recipe=recipe.model_dump_json(),
            prepared=self._folder.path,
            folder=self._folder.trial(recipe.uid).path,
            device=self._settings.devices[slot],
            num_threads=self._settings.threads_per_worker,
            store=self._finder.store,
            cache=self._settings.cache,
            share=1 / self._settings.devices.count(self._settings.devices[slot]),
            memory_bytes=self._settings.memory_bytes,
        )

    def num_ended(self) -> int:
        """Return how many trials of the study have ended, whenever that was."""
        return sum(is_row(trial) for trial in self._study.get_trials(deepcopy=False))

    def _out_of_time(self) -> str:
        """Return the sentence that stops the search if a trial could not end in time."""
        deadline = self._settings.deadline
        if deadline is None:
            return ""
        took = sorted(
            trial.user_attrs[SECONDS]
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state == TrialState.COMPLETE and is_row(trial)
        )
        expected = took[len(took) // 2] if took else 0.0
        if time.monotonic() + expected < deadline:
            return ""
        missing = self._settings.num_trials - self.num_ended() - len(self._running)
        return f"The time is up: {missing} trials were not started. The same command continues."

    def _show(self, bar: "tqdm[Never]") -> None:
        """Bring the progress bar up to date."""
        bar.n = self.num_ended()
        complete = [
            trial.value
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if trial.value is not None
        ]
        objective = self._experiment.objective
        pick = max if objective.direction == "maximize" else min
        best = f"best {objective.metric} {pick(complete):.4f}, " if complete else ""
        now = ", ".join(
            f"#{r.trial.number} epoch {len(r.epochs) + 1}/{r.recipe.num_epochs}"
            for r in self._running.values()
            if len(r.epochs) < r.recipe.num_epochs
        )
        bar.set_postfix_str(best + now, refresh=True)


def _origin(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a trial came from, for one that takes its place."""
    return {key: attrs[key] for key in (GIVEN, START) if key in attrs}


def _epoch_metrics(epoch: Epoch) -> dict[str, float]:
    own = {"train_loss": epoch.train_loss, "lr": epoch.lr, "epoch_seconds": epoch.seconds}
    return {**epoch.metrics, **own}


def _pruner(pruning: Pruning) -> optuna.pruners.BasePruner:
    match pruning.kind:
        case "median":
            return optuna.pruners.MedianPruner(
                n_startup_trials=pruning.startup_trials,
                n_warmup_steps=pruning.warmup_epochs + 1,  # epochs count from 1
            )
        case "halving":
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=max(1, pruning.warmup_epochs), reduction_factor=3
            )
        case "none":
            return optuna.pruners.NopPruner()


def mend_journal(folder: StudyFolder) -> None:
    """Drop a last line that a kill cut short: Optuna refuses a journal that goes on after one."""
    if not folder.journal.exists():
        return
    with folder.journal.open("r+b") as journal:
        text = journal.read()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            journal.truncate(whole)
