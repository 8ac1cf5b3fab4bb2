"""A recipe on its way from data to scores, whatever its method: what all of them have in common."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workbench.data.prepare import Prepared
from workbench.parts.model import is_grouped
from workbench.parts.pretrained import loader
from workbench.scoring.evaluator import Evaluator
from workbench.scoring.slices import Slice, measured_slices
from workbench.scoring.stored import StoredViews
from workbench.scoring.stored_slices import StoredSlices
from workbench.trial.batches import sampled
from workbench.trial.device import Capabilities, capabilities, forget_peak, give_back
from workbench.trial.drawn_copies import DrawnCopies
from workbench.trial.memory import Plan
from workbench.trial.memory_count import is_out_of_memory
from workbench.trial.metrics import require_numbers
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch
from workbench.trial.stored_on_device import stored_for

T = TypeVar("T")

CHECKPOINT_FORMAT = 2
"""Of a checkpoint; another one is not gone on from."""


class ModelInTraining(ABC):
    """One recipe on its way through its epochs.

    Args:
        recipe: What to train.
        prepared: The data it was made for.
        device: A torch device.
        store: Folder of local weights, if the recipe starts from one of them.
        plan: How batches go through the model.
        step: Called after every batch that was trained or scored, with the share of its epoch.
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
        uses: Capabilities | None = None,
        fold: int = 1,
    ) -> None:
        self.recipe, self.plan, self.fold = recipe, plan, fold
        self._tell_step = step
        self._device = torch.device(device)
        uses = uses or capabilities(device)
        forget_peak(self._device)
        torch.manual_seed(recipe.seed)
        self._generator = torch.Generator().manual_seed(recipe.seed)
        part = sampled(prepared.for_fold(fold), "train", recipe.training.sampling)
        self._copies: DrawnCopies | None = None
        if recipe.training.copies.are_made:
            self._copies = DrawnCopies(part, recipe.training.copies, recipe.model.views)
            part = self._copies.part
        self._train = self.stored(part)
        if self._copies is not None:
            self._train.num_files = self._copies.num_files  # copies are no further samples
        parts = measured_slices(prepared, recipe.objective.over, fold)
        self.measured = StoredSlices(parts, self.stored)
        """The slices of the objective."""

        self._model = recipe.build_model(loader(store))
        grouped = is_grouped(self._model)
        self._model.place(self._device, channels_last=uses.grouped_last or not grouped)
        self._batches, self._of_batches = 0, 1
        self.epochs: list[Epoch] = []
        self.best_weights: dict[str, Tensor] = {}
        """Of the best epoch, on the CPU."""

        self.best_scores: list[npt.NDArray[np.float64]] = []
        """Of the files of each source of `measured`, then."""

        self.ms_per_file: float | None = None
        """What scoring took, from stored views on: the least, since others were disturbed."""

    def stored(self, part: Slice) -> StoredViews:
        """Return the stored views of some files as the model reads them."""
        return stored_for(part, self.recipe.model, self._device)

    @abstractmethod
    def run_epoch(self) -> None:
        """Train the next epoch and score the slices of the objective; both go into `epochs`.

        Raises:
            DivergedError: the loss or the scores are no numbers.
        """

    @abstractmethod
    def predict_best(self, source: StoredViews) -> npt.NDArray[np.float64]:
        """Return what the best epoch's weights say of each file of `source`, (files,)."""

    def predict(self, source: StoredViews, model: torch.nn.Module) -> npt.NDArray[np.float64]:
        """Return the probability of a fake for each file of `source`, (files,).

        Where the memory runs out, half as many samples are scored at once from then on.

        Raises:
            DivergedError: some are no numbers.
        """
        evaluator = Evaluator(self.recipe.model, model)
        took_s = 0.0

        def score(batch_size: int) -> npt.NDArray[np.float64]:
            nonlocal took_s
            started = time.monotonic()
            scores = evaluator.scores(source, batch_size=batch_size, step=self._moved)
            took_s = time.monotonic() - started
            return scores

        scores = self._as_fits(score, source.num_samples)
        took_ms = 1000 * took_s / source.num_files
        self.ms_per_file = min(took_ms, self.ms_per_file or took_ms)
        require_numbers(scores)
        return scores

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on from here bit for bit: tensors and plain values."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, of the same recipe and format."""

    def _kept_state(self) -> dict[str, Any]:
        """Return what `state` has of every method."""
        return {
            "format": CHECKPOINT_FORMAT,
            "recipe": self.recipe.uid,
            "epochs": [epoch.model_dump() for epoch in self.epochs],
            "best_weights": self.best_weights,
            "best_scores": torch.from_numpy(np.concatenate([*self.best_scores])),
        }

    def _restore_kept(self, state: dict[str, Any]) -> None:
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.best_weights = state["best_weights"]
        self.best_scores = self.measured.split(state["best_scores"].numpy())

    def _as_fits(self, compute: Callable[[int], T], num_samples: int) -> T:
        """Return what `compute` makes with so many samples at once as fit into the memory.

        Where it runs out, half as many are taken at once from then on.

        Args:
            compute: Takes the number of samples; called again after running out.
            num_samples: All that there are.
        """
        while True:
            try:
                return compute(self._scored_at_once)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                smaller = self.plan.scoring_less(self.recipe.training.batch_size, num_samples)
                if smaller is None:
                    raise
            # Outside of the handler, which keeps what it was handed, and so its tensors.
            self.plan = smaller
            print(f"out of memory: {self._scored_at_once} samples are scored at once from here on")
            give_back(self._device)

    @property
    def _scored_at_once(self) -> int:
        return self.plan.scored_at_once(self.recipe.training.batch_size)

    def _moved(self) -> None:
        """Tell that a batch ended; those after the last epoch, of other slices, are beyond it."""
        self._batches += 1
        self._tell_step(min(1.0, self._batches / self._of_batches))
