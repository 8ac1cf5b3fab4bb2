"""The training of one trial: a function from a recipe to epoch results and one final result."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor

from workbench.data.prepare import Prepared
from workbench.errors import WorkbenchError
from workbench.files import finished
from workbench.parts.augment import change, mix
from workbench.parts.transfer import Average
from workbench.trial import plots
from workbench.trial.batches import Split, count_batches, in_order, shuffled
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import TTA, Recipe
from workbench.trial.result import Epoch, Result, State, TrialFolder
from workbench.trial.scoring import build_model, score

Verdict = Literal["go on", "prune"]


class DivergedError(WorkbenchError):
    """The loss is no number any more."""


def run_trial(
    recipe: Recipe,
    prepared: Prepared,
    folder: Path,
    *,
    device: str,
    report: Callable[[Epoch], Verdict],
    store: Path | None = None,
) -> Result:
    """Train `recipe` and keep its scores, weights and result in `folder`.

    Args:
        recipe: What to train; the numbers depend on it alone, bit for bit on a CPU with the same
            number of threads.
        prepared: The data it was made for.
        folder: The trial's folder; it is made.
        device: A torch device.
        report: Called after every epoch; it may end the trial.
        store: Folder of local weights, if the recipe starts from one of them.

    Returns:
        The result: complete, or pruned as `report` said. Running out of memory, a diverged loss
        and unusable inputs are results too: failed, with the reason.
    """
    started = time.monotonic()
    files = TrialFolder(folder)
    files.write_recipe(recipe)
    epochs: list[Epoch] = []
    state: State
    try:
        state, reason = _train(recipe, prepared, files, device, report, store, epochs)
    except torch.OutOfMemoryError as error:
        state, reason = "failed", f"out of memory on {device}: {_first_line(error)}"
    except WorkbenchError as error:
        state, reason = "failed", str(error)
    except RuntimeError as error:
        # What a CPU allocator raises has no class of its own.
        if "not enough memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        state, reason = "failed", f"out of memory on {device}: {_first_line(error)}"
    best = best_epoch(recipe, epochs)
    cuda = torch.device(device).type == "cuda"
    result = Result(
        recipe=recipe.uid,
        state=state,
        reason=reason,
        epochs=tuple(epochs),
        best_epoch=best.epoch if best else None,
        objective=best.objective if best else None,
        metrics=best.metrics if best else {},
        seconds=time.monotonic() - started,
        device=torch.cuda.get_device_name(device) if cuda else "cpu",
        peak_memory_bytes=torch.cuda.max_memory_allocated(device) if cuda else None,
    )
    files.write_result(result)
    return result


def best_epoch(recipe: Recipe, epochs: list[Epoch]) -> Epoch | None:
    """Return the epoch with the best objective; of equals, the earliest."""
    best = None
    for epoch in epochs:
        if best is None or recipe.objective.is_better(epoch.objective, best.objective):
            best = epoch
    return best


def _train(
    recipe: Recipe,
    prepared: Prepared,
    files: TrialFolder,
    device_name: str,
    report: Callable[[Epoch], Verdict],
    store: Path | None,
    epochs: list[Epoch],
) -> tuple[Literal["complete", "pruned"], str]:
    """Run the epochs, appending each to `epochs`; keep the best weights and their scores."""
    device = torch.device(device_name)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    train = Split(
        prepared,
        "train",
        recipe.views,
        image_px=recipe.image_px,
        device=device,
        sampling=recipe.sampling,
    )
    val = Split(prepared, "val", recipe.views, image_px=recipe.image_px, device=device)
    model = build_model(recipe, load=True, store=store).to(device)
    groups = recipe.transfer.groups(model, recipe.optimizer.weight_decay)
    optimizer = recipe.optimizer.build(groups)
    average = Average(model, recipe.transfer.ema_decay)
    steps_per_epoch = count_batches(len(train), recipe.batch_size)
    balanced = recipe.sampling.balanced
    fake_share = 0.5 if balanced else float(train.targets.double().mean())
    sign = 1 if recipe.objective.direction == "maximize" else -1
    step = 0
    best_state: dict[str, Tensor] = {}
    best_scores: list[pd.DataFrame] = []

    for number in range(1, recipe.num_epochs + 1):
        epoch_started = time.monotonic()
        model.freeze(recipe.frozen or number <= recipe.transfer.frozen_epochs)
        model.train()
        history = [sign * past.objective for past in epochs]
        losses = []
        for batch in shuffled(train, recipe.batch_size, generator, balanced=balanced):
            factor = recipe.schedule.factor(
                step,
                steps_per_epoch=steps_per_epoch,
                num_epochs=recipe.num_epochs,
                history=history,
            )
            recipe.optimizer.set_lr(optimizer, factor)
            mixed = mix(change(batch.inputs, recipe.augment, generator), recipe.augment, generator)
            # Not a sum of two products, which can miss 1 by rounding where both labels are 1.
            targets = batch.targets.float()
            targets = targets[mixed.partner].lerp(targets, mixed.share)
            loss = recipe.loss(model(mixed.inputs), targets.to(device), fake_share=fake_share)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            step += 1
            average.update(step)
        # Asked of the device once an epoch: each question makes it wait.
        train_loss = float(torch.stack(losses).mean())
        if not np.isfinite(train_loss):
            raise DivergedError(
                f"the loss is {train_loss} in epoch {number}: the learning rate "
                f"{recipe.optimizer.lr:g} is too high for this model"
            )
        val_scores = predict(average.model, val, recipe.batch_size, recipe.tta)
        metrics = binary_metrics(val.targets.numpy(), val_scores)
        epoch = Epoch(
            epoch=number,
            train_loss=train_loss,
            lr=recipe.optimizer.lr * factor,
            metrics={str(name): value for name, value in metrics.items()},
            objective=metrics[recipe.objective.metric],
            seconds=time.monotonic() - epoch_started,
        )
        epochs.append(epoch)
        if best_epoch(recipe, epochs) is epoch:
            best_state = {
                name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, tensor in average.model.state_dict().items()
            }
            best_scores = [_slice("val", val, val_scores)]
        if report(epoch) == "prune":
            files.write_scores(pd.concat(best_scores))
            return "pruned", f"pruned after epoch {number}"

    model.load_state_dict(best_state)
    test = Split(prepared, "test", recipe.views, image_px=recipe.image_px, device=device)
    best_scores.append(_slice("test", test, predict(model, test, recipe.batch_size, recipe.tta)))
    scores = pd.concat(best_scores, ignore_index=True)
    files.write_scores(scores)
    of_objective = scores[scores["slice"] == recipe.objective.slice]
    plots.write_roc(of_objective["target"], of_objective["score"], files.roc)
    plots.write_pr(of_objective["target"], of_objective["score"], files.pr)
    with finished(files.weights) as part:
        save_file(best_state, part, metadata={"recipe": recipe.uid})
    return "complete", ""


def _slice(name: str, split: Split, scores: np.ndarray) -> pd.DataFrame:
    """Return the scores of one slice as rows of the trial's scores file."""
    targets = split.targets.numpy().astype(np.int8)
    return pd.DataFrame({"slice": name, "name": split.names, "score": scores, "target": targets})


@torch.inference_mode()
def predict(model: torch.nn.Module, split: Split, batch_size: int, tta: TTA = "none") -> np.ndarray:
    """Return the probability of a fake for each file of `split`, (files,) float64."""
    model.eval()
    scores = split.of_files(
        torch.cat([score(model, x, tta) for x in in_order(split, batch_size)]).numpy()
    )
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise DivergedError(
            f"{bad} of {len(scores)} scores are no numbers: the weights have diverged, so the "
            "learning rate is too high for this model"
        )
    return scores


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
