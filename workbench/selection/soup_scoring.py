"""The mean of several trials' weights as a model: built, its batch norms estimated, and scored."""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import pandas as pd
import torch
from torch import Tensor

from workbench.data.prepare import Prepared
from workbench.parts.model import MediaModel
from workbench.parts.transfer import Transfer
from workbench.scoring.evaluator import Evaluator
from workbench.scoring.slices import Slice, labelled_slices, slices_of
from workbench.scoring.stored import StoredViews
from workbench.scoring.stored_slices import Scores, StoredSlices
from workbench.selection.registration import load_trained
from workbench.study.folder import StudyFolder
from workbench.trial.batches import sampled
from workbench.trial.memory import Plan
from workbench.trial.metrics import objective_metrics
from workbench.trial.norms import estimate_norms, training_files
from workbench.trial.stored_on_device import stored_for

_BATCH_SIZE = 32

State = Mapping[str, Tensor]


class Averaged(Protocol):
    """A trial whose weights are averaged: its row, or what a soup keeps of it."""

    @property
    def number(self) -> int:
        """Of the trial."""

    @property
    def recipe(self) -> str:
        """The uid of its recipe."""


class SoupScorer:
    """Scores means of the weights of a study's trials.

    Args:
        folder: The study.
        prepared: Its data.
        rows: The trials that may be averaged, best first; all fit together.
        device: A torch device.
    """

    def __init__(
        self, folder: StudyFolder, prepared: Prepared, rows: Sequence[Averaged], *, device: str
    ) -> None:
        self._folder, self._prepared, self._device = folder, prepared, torch.device(device)
        self._objective = folder.experiment().objective
        self.recipe = folder.trial(rows[0].recipe).read_recipe()
        """Of the first trial: by it a soup is built, and its batch norms see the training files."""

        self._trainings = {
            row.recipe: folder.trial(row.recipe).read_recipe().training for row in rows
        }
        results = [folder.trial(row.recipe).kept_result() for row in rows]
        sizes = [result.micro_batch for result in results if result and result.micro_batch]
        self._plan = Plan(micro_batch=min(sizes, default=None))
        self._sums: dict[tuple[str, ...], dict[str, Tensor]] = {}
        """Of the weights of trials, by their uids: of the last that was asked for, and of all but
        the last trial of it."""

        train = sampled(prepared, "train", self.recipe.training.sampling)
        self._train = self._stored(train)
        self._measured = StoredSlices(labelled_slices(prepared, self._objective.over), self._stored)
        self.ms_per_file: float | None = None
        """What scoring took of a file, from stored views on: the least."""

    def model(self, rows: Sequence[Averaged]) -> MediaModel:
        """Return the model with the mean of the weights of some trials, in evaluation mode.

        Raises:
            StudyError: weights are gone, or are not those of their recipe.
            DamagedFileError: a recipe or weights are not what the trial wrote.
        """
        model = self.recipe.model.build()
        model.load_state_dict(mean_state(self._sum(rows), len(rows), like=model.state_dict()))
        # By those that are averaged alone: of them it is averaged again without the others.
        trainings = [self._trainings[row.recipe] for row in rows]
        scopes = {training.transfer.scope for training in trainings}
        transfer = Transfer(scope=scopes.pop() if len(scopes) == 1 else "all")
        transfer.freeze(model, all(training.frozen for training in trainings))
        model.to(self._device)
        estimate_norms(model, training_files(self._train, self.recipe, self._plan))
        return model.eval()

    def value(self, rows: Sequence[Averaged]) -> float:
        """Return the objective of the mean of some trials; see `model`."""
        model = self.model(rows)
        scores = [self._scores(model, source) for source in self._measured.sources]
        scored = self._measured.by_slice(scores)
        return objective_metrics(self._objective, scored)[self._objective.metric]

    def table(self, model: MediaModel) -> pd.DataFrame:
        """Return the rows of a scores file: of every slice of the data, the objective's first."""
        first = labelled_slices(self._prepared, self._objective.over)
        names = {part.name for part in first}
        rest = [part for part in slices_of(self._prepared).values() if part.name not in names]
        every = StoredSlices([*first, *rest], self._stored)
        return every.table([self._scores(model, source) for source in every.sources])

    def _scores(self, model: MediaModel, source: StoredViews) -> Scores:
        began = time.monotonic()
        scores = Evaluator(self.recipe.model, model).scores(source, batch_size=_BATCH_SIZE)
        took_ms = 1000 * (time.monotonic() - began) / source.num_files
        self.ms_per_file = min(took_ms, self.ms_per_file or took_ms)
        return scores

    def _stored(self, part: Slice) -> StoredViews:
        return stored_for(part, self.recipe.model, self._device)

    def _sum(self, rows: Sequence[Averaged]) -> dict[str, Tensor]:
        """Return the sum of the weights of some trials, which are read once in a greedy choice."""
        *before, last = rows
        uids = tuple(row.recipe for row in rows)
        if uids not in self._sums:
            base = self._sum(before) if before else {}
            files = self._folder.trial(last.recipe)
            model = load_trained(files, files.read_recipe().model, f"trial {last.number}")
            state = model.state_dict()
            self._sums = {uids[:-1]: base, uids: add_state(base, state)}
        return self._sums[uids]


def add_state(total: State, state: State) -> dict[str, Tensor]:
    """Return the sum of two states of a model in float64; an empty `total` is nothing.

    What is no float, the counts of batch norms, is that of `total`.
    """
    if not total:
        return {n: v.double() if v.is_floating_point() else v for n, v in state.items()}
    return {n: v + state[n] if v.is_floating_point() else v for n, v in total.items()}


def mean_state(total: State, num: int, *, like: State) -> dict[str, Tensor]:
    """Return the mean of `num` states by their sum, each tensor of the type that it has in `like`.

    Source: Wortsman et al. 2022, arXiv:2203.05482, section 2.
    """
    return {
        name: (value / num).to(like[name].dtype) if value.is_floating_point() else value
        for name, value in total.items()
    }
