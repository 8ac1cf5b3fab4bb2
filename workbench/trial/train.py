"""The training of one trial: a function from a recipe to epoch results and one final result."""

import gc
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from safetensors.torch import save_file
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from workbench.data.prepare import Prepared
from workbench.errors import AccessError, CacheError, DiskFullError, WorkbenchError
from workbench.files import finished, hash_file
from workbench.scoring.slices import slices_of
from workbench.scoring.stored_slices import StoredSlices
from workbench.trial import memory, memory_count
from workbench.trial.compiling import Compile
from workbench.trial.decision import Decision
from workbench.trial.device import Capabilities, called, capabilities, give_back, peak_bytes
from workbench.trial.memory import Plan, TooLargeError
from workbench.trial.metrics import metrics_by_slice
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, State, TrialFolder, best_epoch
from workbench.trial.training import CHECKPOINT_FORMAT, DivergedError, Training


class UntrainableError(WorkbenchError):
    """Nothing can be learnt by this recipe, whatever the device."""


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

    Returns:
        The result: complete, or pruned or paused as `report` said. Running out of memory, a
        diverged loss and unusable inputs are results too: failed, with the reason.

    Raises:
        DiskFullError: what the trial keeps could not be written; it can go on later.
        CacheError: the decoded data were changed or are gone; it can go on when they are back.
    """
    clock = _Clock()
    files = TrialFolder(folder)
    files.write_recipe(recipe)
    told: list[Epoch] = []

    def tell(training: Training) -> Decision:
        """Report what was not reported yet."""
        decision: Decision = "go on"
        for epoch in training.epochs[len(told) :]:
            told.append(epoch)
            decision = report(epoch)
        return decision

    uses = uses or capabilities(device)
    plan = memory.first_plan(recipe, counts_memory=uses.counts_memory)
    segments = max(view.num_segments for view in recipe.model.views.values())
    num_samples = len(prepared.rows("train")) * segments
    begin = partial(
        Training,
        recipe,
        prepared,
        device=device,
        store=store,
        step=step,
        compiled=compiled,
        cache=cache,
        uses=uses,
    )
    fitted = None
    try:
        _check(recipe, num_samples)
        fitted = memory.Fitted(
            recipe,
            device=device,
            num_samples=num_samples,
            memory_bytes=memory_bytes,
            share=share,
            cache=cache,
        )
        if memory_bytes is not None:
            plan = memory.plan(
                recipe,
                num_samples=num_samples,
                device=device,
                limit_bytes=memory_bytes,
                cache=cache,
            )
        plan = fitted.known(plan)
        _say(plan, recipe)
        while True:
            try:
                ended = _train(begin, prepared, plan, files, tell, clock)
                break
            except ValueError as error:
                if not memory_count.is_of_one_value(error):
                    raise
                raise UntrainableError(_of_one_sample(recipe)) from error
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
            plan = _smaller(plan, recipe, device, said)
    except (DiskFullError, CacheError, AccessError):
        raise  # none of the recipe's doing
    except WorkbenchError as error:
        ended = _Ended("failed", str(error), plan, None)
    plan = ended.plan
    if fitted is not None:
        fitted.keep(plan)
    if ended.state != "paused":
        files.checkpoint.unlink(missing_ok=True)
    best = best_epoch(recipe, told)
    result = Result(
        recipe=recipe.uid,
        state=ended.state,
        reason=ended.reason,
        epochs=tuple(told),
        best_epoch=best.epoch if best else None,
        objective=best.objective if best else None,
        metrics=best.metrics if best else {},
        by_slice=ended.by_slice,
        ms_per_file=ended.ms_per_file,
        seconds=clock.seconds(),
        device=called(device),
        peak_memory_bytes=peak_bytes(device),
        estimated_memory_bytes=plan.estimated_bytes,
        micro_batch=plan.micro_batch,
        checkpointed=plan.checkpointed,
        recipe_sha256=hash_file(files.recipe),
        weights_sha256=hash_file(files.weights) if ended.state == "complete" else "",
        scores_sha256=hash_file(files.scores) if files.scores.exists() else "",
    )
    files.write_result(result)
    return result


def _train(
    begin: Callable[..., Training],
    prepared: Prepared,
    plan: Plan,
    files: TrialFolder,
    tell: Callable[[Training], Decision],
    clock: "_Clock",
) -> "_Ended":
    """Run the epochs that are left; keep the best weights and their scores."""
    # Held by this frame alone: where the memory runs out, the next one needs all of it.
    training = begin(plan=plan)
    recipe = training.recipe
    saved = files.read_checkpoint()
    if saved is not None and (
        (saved["format"], saved["recipe"]) == (CHECKPOINT_FORMAT, recipe.uid)
        # An older version scored files of `val` that could not be decoded, too.
        and len(saved["best_scores"]) == training.measured.num_files
    ):
        training.restore(saved)
        clock.go_on(after_s=saved["seconds"])
    while True:
        decision = tell(training)
        if decision != "go on":
            files.write_scores(training.measured.table(training.best_scores))
            state: State = "pruned" if decision == "prune" else "paused"
            reason = f"{state} after epoch {len(training.epochs)}"
            return _Ended(state, reason, training.plan, training.ms_per_file)
        if len(training.epochs) == recipe.training.num_epochs:
            break
        training.run_epoch()
        if len(training.epochs) < recipe.training.num_epochs:
            files.write_checkpoint({**training.state(), "seconds": clock.seconds()})
    scores = _scores(training, prepared)
    files.write_scores(scores)
    from workbench.trial import plots  # after training: Matplotlib takes a second to load

    # Of one slice: several may hold the same file.
    shown = scores[scores["slice"] == training.measured.names[0]]
    plots.write_roc(shown["target"], shown["score"], files.roc)
    plots.write_pr(shown["target"], shown["score"], files.pr)
    with finished(files.weights) as part:
        save_file(training.best_weights, part, metadata={"recipe": recipe.uid})
    by_slice = metrics_by_slice(scores)
    return _Ended("complete", "", training.plan, training.ms_per_file, by_slice)


class _Ended(NamedTuple):
    """How the epochs ended, why, by which plan, and what scoring took."""

    state: State
    reason: str
    plan: Plan
    ms_per_file: float | None
    by_slice: dict[str, dict[str, float]] = {}  # noqa: RUF012 (nobody writes to it)


class _Clock:
    """How long a trial took, in all the goes that its epochs are of."""

    def __init__(self) -> None:
        self.go_on(after_s=0.0)

    def go_on(self, *, after_s: float) -> None:
        """Count from now, after so many seconds."""
        self._before_s, self._since = after_s, time.monotonic()

    def seconds(self) -> float:
        """Return the seconds so far."""
        return self._before_s + time.monotonic() - self._since


def _scores(training: Training, prepared: Prepared) -> pd.DataFrame:
    """Return the best epoch's scores on every slice of the data as rows of the scores file.

    Those of the objective come first. What has their files is dealt their scores, and the rest is
    scored now.
    """
    measured, best = training.measured, training.best_scores
    tables, left = [measured.table(best)], []
    for other in slices_of(prepared).values():
        if other.name in measured.names:
            continue
        table = measured.table_of(other, best)
        if table is None:
            left.append(other)
        else:
            tables.append(table)
    if left:
        rest = StoredSlices(left, training.stored)
        tables.append(rest.table([training.predict_best(source) for source in rest.sources]))
    return pd.concat(tables, ignore_index=True)


def _check(recipe: Recipe, num_samples: int) -> None:
    """Find out before training what the first steps would fail of.

    Raises:
        UntrainableError: the recipe cannot be trained.
        ConfigError: its backbone takes no such pictures.
    """
    if min(recipe.training.batch_size, num_samples) == 1 and memory_count.least_samples(recipe) > 1:
        raise UntrainableError(_of_one_sample(recipe))


def _of_one_sample(recipe: Recipe) -> str:
    """Say that a step of one sample teaches the recipe's model nothing."""
    return (
        f"one sample at a time teaches {recipe.model.backbone_label} at {recipe.model.image_px} px "
        "nothing: the model has a norm over the samples of a batch, and `batch_size` is "
        f"{recipe.training.batch_size}. Give it 2 or more"
    )


def _smaller(plan: Plan, recipe: Recipe, device: str, said: str) -> Plan:
    """Return the plan to go on with after running out of memory.

    Raises:
        TooLargeError: there is nothing smaller.
    """
    smaller = memory.after_running_out(plan, recipe)
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
        print("activations are computed twice instead of kept")
