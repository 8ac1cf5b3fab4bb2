"""The training of one trial: a function from a recipe to epoch results and one final result."""

import gc
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors.torch import save_file

from workbench.data.prepare import Prepared
from workbench.errors import DiskFullError, WorkbenchError
from workbench.files import finished
from workbench.trial import memory, plots
from workbench.trial.batches import Split
from workbench.trial.compiling import Compile
from workbench.trial.memory import Plan, TooLargeError
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, State, TrialFolder
from workbench.trial.training import FORMAT, Training, best_epoch

Verdict = Literal["go on", "prune", "pause"]


def run_trial(
    recipe: Recipe,
    prepared: Prepared,
    folder: Path,
    *,
    device: str,
    report: Callable[[Epoch], Verdict],
    step: Callable[[float], None] = lambda share: None,
    store: Path | None = None,
    memory_bytes: int | None = None,
    cache: Path | None = None,
    compiled: Compile = "off",
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
        cache: Folder in which counts of memory are kept, and what compiling was worth.
        compiled: When the passes of training are compiled; see `compiling`. The numbers are then
            those of other roundings.

    Returns:
        The result: complete, or pruned or paused as `report` said. Running out of memory, a
        diverged loss and unusable inputs are results too: failed, with the reason.

    Raises:
        DiskFullError: what the trial keeps could not be written; it can go on later.
    """
    clock = _Clock()
    files = TrialFolder(folder)
    files.write_recipe(recipe)
    told: list[Epoch] = []

    def tell(training: Training) -> Verdict:
        """Report what was not reported yet."""
        verdict: Verdict = "go on"
        for epoch in training.epochs[len(told) :]:
            told.append(epoch)
            verdict = report(epoch)
        return verdict

    plan = Plan()
    begin = partial(
        Training,
        recipe,
        prepared,
        device=device,
        store=store,
        step=step,
        compiled=compiled,
        cache=cache,
    )
    state: State
    try:
        if memory_bytes is not None:
            segments = max(view.num_segments for view in recipe.views.values())
            plan = memory.plan(
                recipe,
                num_samples=len(prepared.rows("train")) * segments,
                device=device,
                limit_bytes=memory_bytes,
                cache=cache,
            )
            _say(plan, recipe)
        while True:
            try:
                state, reason = _train(begin, plan, files, tell, clock)
                break
            except RuntimeError as error:
                if not memory.is_out_of_memory(error):
                    raise
                said = str(error).strip().splitlines()[0]
            # Outside of the handler, which keeps what it was handed, and so its tensors.
            plan = _smaller(plan, recipe, device, said)
    except DiskFullError:
        raise
    except WorkbenchError as error:
        state, reason = "failed", str(error)
    if state != "paused":
        files.checkpoint.unlink(missing_ok=True)
    best = best_epoch(recipe, told)
    cuda = torch.device(device).type == "cuda"
    result = Result(
        recipe=recipe.uid,
        state=state,
        reason=reason,
        epochs=tuple(told),
        best_epoch=best.epoch if best else None,
        objective=best.objective if best else None,
        metrics=best.metrics if best else {},
        seconds=clock.seconds(),
        device=torch.cuda.get_device_name(device) if cuda else "cpu",
        peak_memory_bytes=torch.cuda.max_memory_allocated(device) if cuda else None,
        estimated_memory_bytes=plan.estimated_bytes,
        micro_batch=plan.micro_batch,
        checkpointed=plan.checkpointed,
    )
    files.write_result(result)
    return result


def _train(
    begin: Callable[..., Training],
    plan: Plan,
    files: TrialFolder,
    tell: Callable[[Training], Verdict],
    clock: "_Clock",
) -> tuple[State, str]:
    """Run the epochs that are left; keep the best weights and their scores."""
    # Held by this frame alone: where the memory runs out, the next one needs all of it.
    training = begin(plan=plan)
    recipe = training.recipe
    saved = files.read_checkpoint()
    if saved is not None and (
        (saved["format"], saved["recipe"]) == (FORMAT, recipe.uid)
        # An older version scored files of `val` that could not be decoded, too.
        and len(saved["best_scores"]) == len(training.val.names)
    ):
        training.restore(saved)
        clock.go_on(after_s=saved["seconds"])
    while True:
        verdict = tell(training)
        if verdict != "go on":
            _scores("val", training.val, training.best_scores).pipe(files.write_scores)
            state: State = "pruned" if verdict == "prune" else "paused"
            return state, f"{state} after epoch {len(training.epochs)}"
        if len(training.epochs) == recipe.num_epochs:
            break
        training.run_epoch()
        if len(training.epochs) < recipe.num_epochs:
            files.write_checkpoint({**training.state(), "seconds": clock.seconds()})
    test = training.split("test")
    scores = pd.concat(
        [
            _scores("val", training.val, training.best_scores),
            _scores("test", test, training.predict_best(test)),
        ],
        ignore_index=True,
    )
    files.write_scores(scores)
    of_objective = scores[scores["slice"] == recipe.objective.slice]
    plots.write_roc(of_objective["target"], of_objective["score"], files.roc)
    plots.write_pr(of_objective["target"], of_objective["score"], files.pr)
    with finished(files.weights) as part:
        save_file(training.best_weights, part, metadata={"recipe": recipe.uid})
    return "complete", ""


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


def _scores(name: str, split: Split, scores: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Return the scores of one slice as rows of the trial's scores file."""
    targets = split.targets.numpy().astype(np.int8)
    return pd.DataFrame(
        {
            "slice": name,
            "name": split.names,
            "score": scores,
            "target": targets,
            "neutral": split.neutral,
        }
    )


def _smaller(plan: Plan, recipe: Recipe, device: str, said: str) -> Plan:
    """Return the plan to go on with after running out of memory.

    Raises:
        TooLargeError: there is nothing smaller.
    """
    smaller = plan.halved(recipe.batch_size)
    if smaller is None:
        raise TooLargeError(
            f"out of memory on {device} with {plan.least} sample{'s' * (plan.least > 1)} at a "
            f"time: {said}"
        )
    print(f"out of memory on {device}: {said}")
    _say(smaller, recipe)
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    return smaller


def _say(plan: Plan, recipe: Recipe) -> None:
    """Write into the trial's log how its batches go."""
    if plan.micro_batch is not None:
        print(f"batches of {recipe.batch_size} go in parts of at most {plan.micro_batch}")
    if plan.checkpointed:
        print("activations are computed twice instead of kept")
