"""A training in progress: what an epoch does, and what has to be kept to go on after a stop."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils import clip_grad_norm_

from workbench.data.prepare import Prepared
from workbench.media.declared import modalities_of
from workbench.parts.augment import change, mix, with_blends
from workbench.parts.averages import NoAverage
from workbench.parts.losses import Loss
from workbench.parts.optimizers import lay_out_as_parameters, restore
from workbench.parts.train_size import read_at, resized
from workbench.parts.two_labels import TwoLabelsHead
from workbench.scoring.stored import StoredViews
from workbench.trial.batches import count_batches, shuffled
from workbench.trial.compiling import Compile, compiled_model
from workbench.trial.device import Capabilities, capabilities, go_on_with, random_state
from workbench.trial.fake_shares import fake_shares
from workbench.trial.layout import LayoutByClock
from workbench.trial.memory import Plan
from workbench.trial.metrics import DivergedError, objective_metrics
from workbench.trial.model_in_training import ModelInTraining
from workbench.trial.norms import estimate_norms, training_files
from workbench.trial.originals import mixed_with_originals, originals_of
from workbench.trial.ranks import Ranks
from workbench.trial.recipe import Recipe
from workbench.trial.rehearsal import at_once
from workbench.trial.result import Epoch, best_epoch
from workbench.trial.stepping import (
    ViewTensors,
    backward,
    checkpoint_activations,
    sharpness_aware,
)
from workbench.trial.two_labels import TwoLabelsLoss, labels_of, targets_of


class Training(ModelInTraining):
    """A training by gradients on its way through its epochs; see `ModelInTraining`.

    Args:
        recipe: What to train.
        prepared: The data it was made for.
        device: A torch device.
        store: Folder of local weights, if the recipe starts from one of them.
        plan: How batches go through the model.
        step: Called after every batch that was trained or scored, with the share of its epoch.
        compiled: Whether the training pass is compiled, before the first epoch of all weights.
        cache: Folder in which is kept what another layout was worth.
        uses: How the device is made use of; by default as suits it.
        fold: Which of the data's folds it is trained without, from 1 on.
        ranks: Those that it is trained by; only rank 0 scores, and decides what the clock says.
    """

    def __init__(
        self,
        recipe: Recipe,
        prepared: Prepared,
        *,
        device: str,
        store: Path | None,
        plan: Plan,
        step: Callable[[float], None],
        compiled: Compile = "off",
        cache: Path | None = None,
        uses: Capabilities | None = None,
        fold: int = 1,
        ranks: Ranks = Ranks(),  # noqa: B008 (one that keeps nothing)
    ) -> None:
        uses = uses or capabilities(device)
        super().__init__(
            recipe,
            prepared,
            device=device,
            store=store,
            plan=plan,
            step=step,
            uses=uses,
            fold=fold,
        )
        if plan.checkpointed:
            checkpoint_activations(self._model)
        spec = recipe.training
        groups = spec.transfer.groups(self._model, spec.optimizer.weight_decay)
        self._optimizer = spec.optimizer.build(groups, steps=uses.steps)
        average = NoAverage() if ranks.rank else spec.transfer.average
        self._average = average.begin(self._model, num_epochs=spec.num_epochs)
        self._ranks = ranks
        num_samples = self._train.num_samples
        self._samples_at_once = at_once(recipe, plan, num_samples, ranks.size)
        self._is_to_compile = compiled == "on"
        self._compiled: torch.nn.Module | None = None
        self._layout: LayoutByClock | None = None
        # One that is compiled stays as it is: laid anew, it would be compiled anew.
        # And epochs of pictures that grow cannot be held against each other.
        by_clock = uses.by_clock and not ranks.rank and len(set(recipe.train_sides)) == 1
        if by_clock and not self._model.channels_last and not self._is_to_compile:
            self._layout = LayoutByClock(
                self._model,
                recipe,
                samples_at_once=self._samples_at_once,
                lay_out=self._lay_out,
                num_samples=num_samples,
                cache=cache if ranks.size == 1 else None,  # what is kept is of one device
            )
        rows, num_files = self._train.part.rows, self._train.num_files
        self._modalities = modalities_of(recipe.model.views)
        self._originals = originals_of(rows, self._copies)
        two = isinstance(recipe.model.head, TwoLabelsHead)
        labels = labels_of(rows, num_files) if two else None
        self._fake_share, of_parts = fake_shares(
            self._train.targets[:num_files],
            labels,
            self._originals,
            self._copies,
            spec,
            self._modalities,
        )
        self._loss: Loss | TwoLabelsLoss = spec.loss
        self._labels: torch.Tensor | None = None
        """Of both parts of each training sample, (samples, 2), where they are learned apart."""

        if labels is not None:
            self._loss = TwoLabelsLoss(spec.loss, of_parts)
            self._labels = labels.repeat_interleave(self._train.num_segments, dim=0)
        self._step, self._factor = 0, 1.0

    def run_epoch(self) -> None:
        """Train the next epoch and score the slices of the objective; both go into `epochs`.

        Raises:
            DivergedError: the loss or the scores are no numbers.
        """
        recipe, model = self.recipe, self._model
        started = time.monotonic()
        number = len(self.epochs) + 1
        is_frozen = self._begin_epoch(number)
        scored = sum(-(-each.num_samples // self._scored_at_once) for each in self.measured.sources)
        self._batches = 0
        self._of_batches = (
            count_batches(self._train.num_samples, recipe.training.batch_size) + scored
        )
        self.settle_passes(number)
        learning = time.monotonic()
        with self._ranks.leading(self.epochs, channels_last=model.channels_last):
            train_loss = self._learn(number)
        compiled, channels_last = self._compiled is not None, self._model.channels_last
        averaging = time.monotonic()
        if self._average.after_epoch(number):
            recipe.training.transfer.freeze(self._average.model, is_frozen)
            files = training_files(
                self._train, recipe, self.plan, self._moved, num_ranks=self._ranks.size
            )
            estimate_norms(self._average.model, files)
        learning += time.monotonic() - averaging  # no layout is to be judged by it
        scores = [self.predict(each, self._average.model) for each in self.measured.sources]
        if self._layout is not None:
            self._layout.after_epoch(number, time.monotonic() - learning)
        metrics = objective_metrics(recipe.objective, self.measured.by_slice(scores))
        epoch = Epoch(
            epoch=(self.fold - 1) * recipe.training.num_epochs + number,
            fold=self.fold,
            train_loss=train_loss,
            lr=recipe.training.optimizer.lr * self._factor,
            metrics={str(name): value for name, value in metrics.items()},
            objective=metrics[recipe.objective.metric],
            seconds=time.monotonic() - started,
            compiled=compiled,
            channels_last=channels_last,
        )
        self.epochs.append(epoch)
        if best_epoch(recipe, self.epochs) is epoch:
            self.best_weights = {
                name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, tensor in self._average.model.state_dict().items()
            }
            self.best_scores = scores

    def follow_epoch(self, epochs: Sequence[Epoch], *, channels_last: bool) -> None:
        """Train the next epoch along with rank 0, which trained `epochs` and lies as is said.

        Raises:
            DivergedError: the loss is no number.
        """
        self.epochs = [*epochs]
        number = len(epochs) + 1
        self._begin_epoch(number)
        if channels_last != self._model.channels_last:
            self._lay_out(channels_last)
        # A trial that was cut off goes on to the same bits: only rank 0 keeps what it drew.
        torch.manual_seed((self.recipe.seed * 10_007 + number) * 10_007 + self._ranks.rank)
        self._learn(number)

    def _begin_epoch(self, number: int) -> bool:
        """Let those weights learn that shall in epoch `number`; return whether it is the head's."""
        spec = self.recipe.training
        is_frozen = spec.frozen or number <= spec.transfer.frozen_epochs
        spec.transfer.freeze(self._model, is_frozen)
        self._model.train()
        return is_frozen

    def settle_passes(self, number: int) -> None:
        """Compile the training pass or lay it out anew before epoch `number`, if it is time to."""
        if self._layout is not None:
            self._layout.before_epoch(number)
        if self._is_to_compile and number > self.recipe.training.transfer.frozen_epochs:
            self._is_to_compile = False
            samples = self._samples_at_once
            self._compiled = compiled_model(self._model, self.recipe, samples_at_once=samples)

    def predict_best(self, source: StoredViews) -> npt.NDArray[np.float64]:
        """Return what the best epoch's weights say of each file of `source`, (files,)."""
        self._model.load_state_dict(self.best_weights)
        return self.predict(source, self._model)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on from here bit for bit: tensors and plain values."""
        return {
            **self._kept_state(),
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.state(),
            "generator": self._generator.get_state(),
            "random": random_state(self._device),
            "step": self._step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, of the same recipe and format."""
        self._model.load_state_dict(state["model"])
        restore(self._optimizer, state["optimizer"])
        self._average.restore(state["average"])
        self._generator.set_state(state["generator"])
        self._step = state["step"]
        go_on_with(self._device, state["random"], else_seed=self.recipe.seed + self._step)
        self._restore_kept(state)

    def _add_gradient(self, inputs: ViewTensors, targets: torch.Tensor) -> torch.Tensor:
        """Let the model have the gradient that the next step goes by; return the batch's loss."""
        spec, ranks = self.recipe.training, self._ranks
        num_samples = len(targets)
        self._optimizer.zero_grad(set_to_none=True)
        targets = targets.to(self._device, non_blocking=True)

        def add() -> torch.Tensor:
            with ranks.norms_shared(self._model, num_samples):
                loss = backward(
                    self._compiled or self._model,
                    self._loss,
                    inputs,
                    targets,
                    num_parts=self.plan.num_parts(num_samples, ranks.size),
                    fake_share=self._fake_share,
                    precision=spec.precision,
                    contrast=spec.contrast,
                    ranks=ranks,
                )
            ranks.add_gradients(self._model)
            return loss

        rho = spec.gradient.sam_rho
        loss = sharpness_aware(self._model, rho, add) if rho else add()
        if spec.gradient.clip_norm:
            clip_grad_norm_(self._model.parameters(), spec.gradient.clip_norm)
        return loss

    def _held_out_loss(self) -> float:
        """Return the log-loss of the trained weights on the objective's slices."""
        scores = [self.predict(each, self._model) for each in self.measured.sources]
        self._model.train()
        scored = self.measured.by_slice(scores)
        return objective_metrics(self.recipe.objective, scored)["log_loss"]

    def _lay_out(self, channels_last: bool) -> None:
        """Lay out the model, its average and what the optimizer keeps of each parameter alike."""
        for model in self._average.models:
            model.lay_out(channels_last=channels_last)
        lay_out_as_parameters(self._optimizer)

    def _learn(self, number: int) -> float:
        """Take the steps of epoch `number`; return their mean loss."""
        self._ranks.agree(self._model)
        recipe, train = self.recipe, self._train
        steps = count_batches(train.num_samples, recipe.training.batch_size)
        sign = 1 if recipe.objective.direction == "maximize" else -1
        values = [past.objective for past in self.epochs]
        if recipe.refit is not None:
            values = list(recipe.refit.history[: len(values)])
        history = [sign * value for value in values]
        sampling = recipe.training.sampling
        side = recipe.train_sides[number - 1]
        losses = []
        for batch in shuffled(
            train,
            recipe.training.batch_size,
            self._generator,
            balanced=sampling.balanced,
            repeats=sampling.repeats,
            copies=self._copies,
        ):
            self._factor = recipe.training.schedule.factor(
                self._step,
                steps_per_epoch=steps,
                num_epochs=recipe.training.num_epochs,
                history=history,
            )
            recipe.training.optimizer.set_lr(self._optimizer, self._factor)
            if (alpha := recipe.training.augment.paired_mixup_alpha) > 0:
                batch = mixed_with_originals(batch, train, self._originals, alpha, self._generator)
            inputs, labels = with_blends(
                resized(batch.inputs, self._modalities, side),
                batch.targets,
                self._modalities,
                recipe.training.augment,
                self._generator,
            )
            changed = change(inputs, self._modalities, recipe.training.augment, self._generator)
            mixed = mix(changed, self._modalities, recipe.training.augment, self._generator)
            # Not a sum of two products, which can miss 1 by rounding where both labels are 1.
            targets = targets_of(labels, batch.index, self._labels)
            targets = targets[mixed.partner].lerp(targets, mixed.share)
            with read_at(self._model, side):
                loss = self._add_gradient(mixed.inputs, targets)
            self._optimizer.step()
            losses.append(loss)
            self._step += 1
            self._average.after_step(self._step)
            self._moved()
            if self._average.wants_loss(len(losses), steps):
                self._average.after_loss(self._held_out_loss())
        # Asked of the device once an epoch: each question makes it wait.
        train_loss = float(torch.stack(losses).mean())
        if not np.isfinite(train_loss):
            raise DivergedError(
                f"the loss is {train_loss} in epoch {number}: the learning rate "
                f"{recipe.training.optimizer.lr:g} is too high for this model"
            )
        return train_loss
