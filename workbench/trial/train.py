"""The training of one trial: a function from a recipe to epoch results and one final result."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from safetensors.torch import save_file
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from workbench.data.prepare import Prepared
from workbench.errors import AccessError, CacheError, DiskFullError, WorkbenchError
from workbench.files import finished, hash_file
from workbench.trial import memory, memory_count
from workbench.trial.clock import TrialClock
from workbench.trial.compiling import Compile
from workbench.trial.decision import Decision
from workbench.trial.device import Capabilities, called, capabilities, give_back, peak_bytes
from workbench.trial.environment import present_environment
from workbench.trial.fitted_probe import FittedProbe
from workbench.trial.followers import Followed, led
from workbench.trial.memory import Plan, TooLargeError
from workbench.trial.metrics import DivergedError, metrics_by_slice
from workbench.trial.model_in_training import CHECKPOINT_FORMAT, ModelInTraining
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, State, TrialFolder, best_epoch
from workbench.trial.slice_scores import all_scores, in_order_of_slices, whole_metrics
from workbench.trial.training import Training


def run_trial(
    recipe: Recipe,
    prepared: Prepared,
    folder: Path,
    *,
    device: str,
    report: Callable[[Epoch], Decision],
    step: Callable[[float], None] = lambda share: None,
    store: Path | None = None,
    memory_bytes: int | None = None,
    cache: Path | None = None,
    compiled: Compile = "off",
    share: float = 1.0,
    uses: Capabilities | None = None,
    others: Sequence[str] = (),
) -> Result:
    """Train `recipe` and keep its scores, weights and result in `folder`.

    A trial that was cut off goes on after its last whole epoch, to the bits of one that was not;
    the epochs before are reported again.

    Args:
        recipe: What to train; the numbers depend on it alone, bit for bit on a CPU with the same
            number of threads. Where a batch does not fit into the memory and goes in parts, batch
            norms see the parts.
        prepared: The data it was made for.
        folder: The trial's folder; it is made.
        device: A torch device.
        report: Called after every epoch; it may end the trial, or pause it, after which the same
            call goes on. Of epochs that were trained before, its word on the last one counts.
        step: Called after every batch that was trained or scored, with the share of its epoch.
        store: Folder of local weights, if the recipe starts from one of them.
        memory_bytes: What the trial may take of the device's memory; nothing is counted if None.
        cache: Folder in which is kept what memory was counted or met, and what a layout was worth.
        compiled: Whether the training pass is compiled; see `compiling`. The numbers are then those
            of other roundings.
        share: Of the device, where trials run side by side on it: other sizes fit then.
        uses: How the device is made use of; by default as suits it.
        others: Devices of further ranks, which train along; see `ranks`.

    Returns:
        The result: complete, or pruned or paused as `report` said. Running out of memory, a
        diverged loss and unusable inputs are results too: failed, with the reason.

    Raises:
        DiskFullError: what the trial keeps could not be written; it can go on later.
        CacheError: the decoded data were changed or are gone; it can go on when they are back.
    """
    clock = TrialClock()
    if recipe.refit is not None:
        prepared = prepared.with_val_in_train()
    files = TrialFolder(folder)
    files.write_recipe(recipe)
    told: list[Epoch] = []

    def tell(epochs: Sequence[Epoch]) -> Decision:
        """Report what was not reported yet."""
        decision: Decision = "go on"
        for epoch in epochs[len(told) :]:
            told.append(epoch)
            decision = report(epoch)
        return decision

    uses = uses or capabilities(device)
    plan = memory.first_plan(recipe, counts_memory=uses.counts_memory)
    segments = max(view.num_segments for view in recipe.model.views.values())
    num_samples = len(prepared.for_fold(1).rows("train")) * segments
    num_ranks = 1 if recipe.training.probe else 1 + len(others)

    @contextmanager
    def begin(plan: Plan, fold: int) -> Iterator[ModelInTraining]:
        how: dict[str, Any] = {"device": device, "store": store, "uses": uses}
        how |= {"plan": plan, "fold": fold, "step": step, "cache": cache}
        if recipe.training.probe:
            yield FittedProbe(recipe, prepared, **how)
            return
        told = Followed(
            recipe.model_dump_json(),
            recipe.uid,
            prepared,
            folder,
            store=store,
            uses=uses,
            num_threads=torch.get_num_threads(),
            memory_bytes=memory_bytes,
            share=share,
            plan=plan,
            fold=fold,
        )
        with led(told, (device, *others)) as ranks:
            yield Training(recipe, prepared, compiled=compiled, ranks=ranks, **how)

    work = _Work(recipe, prepared, files, begin, tell, clock)
    fitted = None
    try:
        memory_count.check(recipe, num_samples)
        fitted = memory.Fitted(
            recipe,
            device=device,
            num_samples=num_samples,
            memory_bytes=memory_bytes,
            share=share,
            cache=cache,
            num_ranks=num_ranks,
        )
        if memory_bytes is not None:
            plan = memory.plan(
                recipe,
                num_samples=num_samples,
                device=device,
                limit_bytes=memory_bytes,
                cache=cache,
                num_ranks=num_ranks,
            )
        plan = fitted.known(plan)
        _say(plan, recipe)
        while True:
            try:
                ended = _train(work, plan)
                break
            except ValueError as error:
                if not memory_count.is_of_one_value(error):
                    raise
                raise memory_count.UntrainableError.of_one_sample(recipe) from error
            except LinAlgError as error:  # of an optimizer that decomposes matrices
                said = str(error).strip().splitlines()[0]
                raise DivergedError(
                    f"a step cannot be computed ({said}): the learning rate "
                    f"{recipe.training.optimizer.lr:g} is too high for this model"
                ) from error
            except RuntimeError as error:
                if not memory_count.is_out_of_memory(error):
                    raise
                said = str(error).strip().splitlines()[0]
            # Outside of the handler, which keeps what it was handed, and so its tensors.
            plan = _smaller(plan, recipe, device, said, num_ranks=num_ranks)
    except (DiskFullError, CacheError, AccessError):
        raise  # none of the recipe's doing
    except WorkbenchError as error:
        ended = _Ended("failed", str(error), plan, None)
    plan = ended.plan
    if fitted is not None:
        fitted.keep(plan)
    best = best_epoch(recipe, told)
    value, metrics = (best.objective, best.metrics) if best and not recipe.refit else (None, {})
    if ended.state == "complete" and prepared.num_folds > 1:
        metrics = whole_metrics(recipe.objective, ended.by_slice)
        value = metrics[recipe.objective.metric]
    result = Result(
        recipe=recipe.uid,
        state=ended.state,
        reason=ended.reason,
        epochs=tuple(told),
        best_epoch=best.epoch if best else None,
        objective=value,
        metrics=metrics,
        by_slice=ended.by_slice,
        ms_per_file=ended.ms_per_file,
        seconds=clock.seconds(),
        device=called(device),
        peak_memory_bytes=peak_bytes(device),
        estimated_memory_bytes=plan.estimated_bytes,
        micro_batch=plan.micro_batch,
        checkpointed=plan.checkpointed,
        environment=present_environment(),
        recipe_sha256=hash_file(files.recipe),
        weights_sha256=hash_file(files.weights) if ended.state == "complete" else "",
        scores_sha256=hash_file(files.scores) if files.scores.exists() else "",
    )
    files.write_result(result)
    if ended.state != "paused":  # only now: a trial that is killed before goes on from these
        files.checkpoint.unlink(missing_ok=True)
        if prepared.num_folds > 1:
            files.drop_fold_scores(prepared.num_folds, with_weights=ended.state != "complete")
    return result


class _Work(NamedTuple):
    """What a trial is to do, and with what."""

    recipe: Recipe
    prepared: Prepared
    files: TrialFolder
    begin: Callable[[Plan, int], AbstractContextManager[ModelInTraining]]
    """Takes the plan and the fold."""

    tell: Callable[[Sequence[Epoch]], Decision]
    clock: TrialClock


def _train(work: _Work, plan: Plan) -> "_Ended":
    """Run the epochs that are left, fold after fold; keep weights, and the scores of all folds."""
    files, num_folds = work.files, work.prepared.num_folds
    saved = files.read_checkpoint()
    if saved is not None and not _goes_on(saved, work.recipe, files):
        saved = None
    past = [Epoch(**epoch) for epoch in saved.get("past", ())] if saved else []
    first = saved.get("fold", 1) if saved else 1
    for fold in range(first, num_folds + 1):
        ended = _train_fold(work, plan, fold, past, saved)
        if ended.state != "complete":
            return ended
        past, plan, saved = [*ended.epochs], ended.plan, None
    scores = ended.scores
    if num_folds > 1:
        tables = [pd.read_parquet(files.fold_scores(n + 1)) for n in range(num_folds)]
        scores = in_order_of_slices(tables, work.prepared, work.recipe.objective)
    files.write_scores(scores)
    if work.recipe.refit is not None:
        return ended  # nothing with labels was held out
    from workbench.trial import plots  # after training: Matplotlib takes a second to load

    # Of one slice: several may hold the same file.
    shown = scores[scores["slice"] == scores["slice"].iloc[0]]
    plots.write_roc(shown["target"], shown["score"], files.roc)
    plots.write_pr(shown["target"], shown["score"], files.pr)
    return ended._replace(by_slice=metrics_by_slice(scores))


def _goes_on(saved: dict[str, Any], recipe: Recipe, files: TrialFolder) -> bool:
    """Return whether a checkpoint is of this recipe, and what the folds before it left is there."""
    if (saved["format"], saved["recipe"]) != (CHECKPOINT_FORMAT, recipe.uid):
        return False
    fold = saved.get("fold", 1)
    left = [files.weights, *map(files.fold_scores, range(1, fold))] if fold > 1 else []
    return all(file.exists() for file in left)


def _train_fold(
    work: _Work, plan: Plan, fold: int, past: Sequence[Epoch], saved: dict[str, Any] | None
) -> "_Ended":
    """Run the epochs of one fold that are left; keep the weights if it is the first.

    Args:
        work: Of the trial.
        plan: How batches go through the model.
        fold: Its place, from 1 on.
        past: The epochs of the folds before.
        saved: What a training of this fold left that was cut off.
    """
    # Held by this frame alone: where the memory runs out, the next one needs all of it.
    with work.begin(plan, fold) as training:
        recipe, files, num_folds = work.recipe, work.files, work.prepared.num_folds
        # An older version scored files of `val` that could not be decoded, too.
        if saved is not None and len(saved["best_scores"]) == training.measured.num_files:
            training.restore(saved)
            work.clock.go_on(after_s=saved["seconds"])
        while True:
            epochs = [*past, *training.epochs]
            decision = work.tell(epochs)
            if decision != "go on":
                files.write_scores(training.measured.table(training.best_scores))
                state: State = "pruned" if decision == "prune" else "paused"
                reason = f"{state} after epoch {len(epochs)}"
                return _Ended(state, reason, training.plan, training.ms_per_file)
            if len(training.epochs) == recipe.training.num_epochs:
                break
            training.run_epoch()
            if fold < num_folds or len(training.epochs) < recipe.training.num_epochs:
                of_folds = {"fold": fold, "past": [epoch.model_dump() for epoch in past]}
                seconds = {"seconds": work.clock.seconds()}
                files.write_checkpoint({**training.state(), **of_folds, **seconds})
        scores = all_scores(training, work.prepared)
        if fold == 1:
            with finished(files.weights) as part:
                save_file(training.best_weights, part, metadata={"recipe": recipe.uid})
        if num_folds > 1:
            with finished(files.fold_scores(fold)) as part:
                scores.to_parquet(part, index=False)
        return _Ended(
            "complete", "", training.plan, training.ms_per_file, epochs=epochs, scores=scores
        )


class _Ended(NamedTuple):
    """How the epochs ended, why, by which plan, and what scoring took."""

    state: State
    reason: str
    plan: Plan
    ms_per_file: float | None
    by_slice: dict[str, dict[str, float]] = {}  # noqa: RUF012 (nobody writes to it)
    epochs: Sequence[Epoch] = ()
    scores: pd.DataFrame = pd.DataFrame()


def _smaller(plan: Plan, recipe: Recipe, device: str, said: str, *, num_ranks: int) -> Plan:
    """Return the plan to go on with after running out of memory.

    Raises:
        TooLargeError: there is nothing smaller.
    """
    smaller = memory.after_running_out(plan, recipe, num_ranks)
    if smaller is None:
        raise TooLargeError(
            f"out of memory on {device} with {plan.least} sample{'s' * (plan.least > 1)} at a "
            f"time: {said}"
        )
    print(f"out of memory on {device}: {said}")
    _say(smaller, recipe)
    gc.collect()
    give_back(device)
    return smaller


def _say(plan: Plan, recipe: Recipe) -> None:
    """Write into the trial's log how its batches go."""
    if plan.micro_batch is not None:
        print(f"batches of {recipe.training.batch_size} go in parts of at most {plan.micro_batch}")
    if plan.checkpointed:
        print("activations are recomputed instead of kept (gradient checkpointing)")
