"""A probe on its way: the features of frozen backbones, a head fitted on them, and its scores."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.data.fake_parts import fake_parts_of
from workbench.data.prepare import Prepared
from workbench.media.declared import modalities_of
from workbench.media.sound_view import SoundView
from workbench.parts.augment import change, with_blends
from workbench.parts.methods import FeatureProbe
from workbench.scoring.evaluator import full_precision
from workbench.scoring.features import HEAD_ROWS, scores_of_features
from workbench.scoring.slices import Slice
from workbench.scoring.stored import StoredViews
from workbench.trial.batches import shuffled
from workbench.trial.device import Capabilities
from workbench.trial.frozen_features import FrozenFeatures
from workbench.trial.head_fitting import fit_head
from workbench.trial.memory import Plan
from workbench.trial.metrics import objective_metrics, require_numbers
from workbench.trial.model_in_training import ModelInTraining
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch

TIMED_FILES = 16
"""Files that are scored pixels first, to know what that takes: features are mostly kept ones."""


class FittedProbe(ModelInTraining):
    """A head fitted on features of frozen backbones, in one epoch; see `ModelInTraining`.

    Args:
        recipe: What to train.
        prepared: The data it was made for.
        device: A torch device.
        store: Folder of local weights, if the recipe starts from one of them.
        plan: How many samples go through the backbones at once.
        step: Called after every batch that was read, with the share of the epoch.
        cache: Folder in which features are kept.
        uses: How the device is made use of; by default as suits it.
        fold: Which of the data's folds it is trained without, from 1 on.
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
        cache: Path | None = None,
        uses: Capabilities | None = None,
        fold: int = 1,
    ) -> None:
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
        assert recipe.training.probe is not None
        self._method: FeatureProbe = recipe.training.probe
        self._model.eval()
        self._features = FrozenFeatures(
            recipe.model,
            self._model,
            self._device,
            cache=cache,
            compute=self._as_fits,
            step=self._moved,
        )

    def stored(self, part: Slice) -> StoredViews:
        """Return the stored views of some files; none are kept, since each is read once."""
        spec = self.recipe.model
        return StoredViews(
            part, spec.views, image_px=spec.image_px, device=self._device, most_kept_bytes=0
        )

    def run_epoch(self) -> None:
        """Fit the head and score the slices of the objective; both go into `epochs`.

        Raises:
            DivergedError: features or scores are no numbers.
        """
        started = time.monotonic()
        self._batches, self._of_batches = 0, self._count_batches()
        features, targets, fake_parts = self._samples()
        fitted = fit_head(
            self._method.fit,
            features.numpy(),
            targets.numpy(),
            widths=self._model.widths,
            are_sounds=[isinstance(v, SoundView) for v in self.recipe.model.views.values()],
            fake_parts=fake_parts.numpy(),
            balanced=self.recipe.training.sampling.balanced,
            seed=self.recipe.seed,
            step=lambda: self._tell_step(min(1.0, self._batches / self._of_batches)),
        )
        self._model.head.load_state_dict(fitted)
        self.best_weights = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self._model.state_dict().items()
        }
        self.best_scores = [self.predict_best(source) for source in self.measured.sources]
        self._time_scoring(self.measured.sources[0].part)
        metrics = objective_metrics(self.recipe.objective, self.measured.by_slice(self.best_scores))
        self.epochs.append(
            Epoch(
                epoch=self.fold,
                fold=self.fold,
                train_loss=self._loss(features, targets),
                lr=0.0,
                metrics={str(name): value for name, value in metrics.items()},
                objective=metrics[self.recipe.objective.metric],
                seconds=time.monotonic() - started,
                channels_last=self._model.channels_last,
            )
        )

    def predict_best(self, source: StoredViews) -> npt.NDArray[np.float64]:
        """Return what the fitted head says of each file of `source`, (files,)."""
        features = self._features.of(source.part)
        scores = scores_of_features(self._model.head, features.to(self._device))
        require_numbers(scores)
        return scores

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        return self._kept_state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, of the same recipe and format."""
        self._restore_kept(state)
        self._model.load_state_dict(self.best_weights)

    def _samples(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features of all training samples and of their copies, with their targets.

        Last, (samples, 2): see `head_fitting.fit_head`.
        """
        parts = torch.from_numpy(fake_parts_of(self._train.part.rows))
        parts = parts.repeat_interleave(self._train.num_segments, dim=0)
        plain = self._features.of(self._train.part, augmented=False)
        every = torch.arange(self._train.num_samples)
        samples = [(plain.flatten(0, 2), self._train.targets_of(every), parts)]
        samples += [self._copy(parts) for _ in range(self._method.copies)]
        features, targets, of_parts = zip(*samples, strict=True)
        return torch.cat(features), torch.cat(targets), torch.cat(of_parts)

    def _copy(self, parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return `_samples` of each training sample changed as is drawn for it."""
        before = self._generator.get_state()

        def read(batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
            self._generator.set_state(before)
            found, labels, told = zip(*self._changed_batches(batch_size, parts), strict=True)
            return torch.cat(found), torch.cat(labels), torch.cat(told)

        return self._as_fits(read, self._train.num_samples)

    @torch.inference_mode()
    def _changed_batches(
        self, batch_size: int, parts: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield `_samples` of all training samples, changed, in a random order."""
        augment, modalities = self.recipe.training.augment, modalities_of(self.recipe.model.views)
        for batch in shuffled(self._train, batch_size, self._generator):
            inputs, targets = with_blends(
                batch.inputs, batch.targets, modalities, augment, self._generator
            )
            changed = change(inputs, modalities, augment, self._generator)
            with full_precision():
                found = self._model.features(changed).float().cpu()
            # Blends, which are last, are real ones with a fake picture.
            blends = torch.tensor([[0.0, 1.0]]).repeat(len(targets) - len(batch.index), 1)
            yield found, targets, torch.cat([parts[batch.index], blends])
            self._moved()

    @torch.inference_mode()
    def _loss(self, features: Tensor, targets: Tensor) -> float:
        """Return the mean log-loss of the head on what it was fitted on, in nats."""
        parts = features.split(HEAD_ROWS)
        logits = torch.cat([self._model.head(rows.to(self._device)).cpu() for rows in parts])
        odds = logits[:, 1] - logits[:, 0]
        return float(F.binary_cross_entropy_with_logits(odds, targets.to(odds.dtype)))

    def _time_scoring(self, part: Slice) -> None:
        """Score a few files from their pixels on, which sets `ms_per_file`."""
        few = Slice(part.name, part.prepared, part.rows.head(TIMED_FILES), part.is_labelled)
        self.predict(self.stored(few), self._model)

    def _count_batches(self) -> int:
        """Return how many batches there are to be read, if no features are kept."""
        of_view = len(self._model.readers)
        sources = [self._train, *self.measured.sources]
        passes = [-(-each.num_samples // self._scored_at_once) for each in sources]
        return of_view * sum(passes) + passes[0] * self._method.copies + 1
