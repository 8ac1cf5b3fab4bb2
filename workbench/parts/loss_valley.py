"""The valley of the held-out loss along a training, and the mean of the weights on its ground.

Source: Cha et al. 2021, arXiv:2102.08604, algorithm 1.
"""

import copy
import math
from typing import Any

from workbench.parts.model import MediaModel
from workbench.parts.running_averages import (
    Average,
    MeanWeights,
    copy_buffers,
    draw_to,
    weights_of,
)


class ValleyAverage(Average):
    """The mean over the steps of the valley that the loss goes through; see `averages.SWAD`.

    Args:
        start_patience: Losses in a row of which the first is the least, where the valley begins.
        end_patience: Losses in a row that are all above the limit, where it has ended.
        tolerance: The limit, in means of those first losses.
        losses_per_epoch: How often the loss is measured.
    """

    def __init__(
        self,
        model: MediaModel,
        *,
        start_patience: int,
        end_patience: int,
        tolerance: float,
        losses_per_epoch: int,
    ) -> None:
        super().__init__(model)
        self._start_patience, self._end_patience = start_patience, end_patience
        self._tolerance, self._losses_per_epoch = tolerance, losses_per_epoch
        self._averaged = copy.deepcopy(model)
        self._since = MeanWeights()
        """Over the steps since the last loss."""

        self._start: list[tuple[float, MeanWeights]] = []
        """The losses in a row of which the first is the least, each with the steps before it; empty
        once the valley has begun."""

        self._limit: float | None = None
        """What losses of the valley keep to, once it has begun."""

        self._valley, self._above = MeanWeights(), MeanWeights()
        """Over its steps up to the last loss within the limit, and over those after that."""

        self._num_above = 0
        self._is_over = self._is_new = False

    @property
    def model(self) -> MediaModel:
        """The average, once the valley has begun."""
        return self._trained if self._limit is None else self._averaged

    @property
    def models(self) -> tuple[MediaModel, ...]:
        """The trained model, and the average."""
        return self._trained, self._averaged

    def after_step(self, step: int) -> None:
        """See `Average.after_step`."""
        if not self._is_over:
            self._since.add(weights_of(self._trained))

    def wants_loss(self, batch: int, num_batches: int) -> bool:
        """See `Average.wants_loss`; the last batch of an epoch always does."""
        often = self._losses_per_epoch
        return not self._is_over and batch * often // num_batches > (
            (batch - 1) * often // num_batches
        )

    def after_loss(self, loss: float) -> None:
        """See `Average.after_loss`."""
        steps, self._since = self._since, MeanWeights()
        self._is_new = True
        if self._limit is not None:
            self._take(loss, steps)
            if self._num_above == self._end_patience:
                self._is_over, self._above = True, MeanWeights()
            return
        if self._start and loss < self._start[0][0]:
            self._start = []  # no later one of them is less than the first was
        self._start.append((loss, steps))
        if len(self._start) == self._start_patience:
            losses = [each for each, _ in self._start]
            self._limit = self._tolerance * math.fsum(losses) / len(losses)
            for each, before in self._start:
                self._take(each, before)
            self._start = []

    def _take(self, loss: float, steps: MeanWeights) -> None:
        """Sort the steps before a loss of the valley to those that are surely of it, or may be."""
        assert self._limit is not None
        if loss > self._limit:
            self._num_above += 1
            self._above.merge(steps)
            return
        self._valley.merge(self._above)
        self._valley.merge(steps)
        self._num_above, self._above = 0, MeanWeights()

    def after_epoch(self, epoch: int) -> bool:
        """See `Average.after_epoch`."""
        is_new, self._is_new = self._is_new and self._limit is not None, False
        if is_new:
            own = list(self._averaged.parameters())
            draw_to(own, self._valley.values, 1.0)
            if self._above.num:
                share = self._above.num / (self._valley.num + self._above.num)
                draw_to(own, self._above.values, share)
            copy_buffers(self._trained, self._averaged)
        return is_new

    def state(self) -> dict[str, Any]:
        """See `Average.state`: after an epoch, no step is without its loss."""
        return {
            "start": [(loss, steps.state()) for loss, steps in self._start],
            "limit": self._limit,
            "valley": self._valley.state(),
            "above": self._above.state(),
            "num_above": self._num_above,
            "is_over": self._is_over,
            "averaged": self._averaged.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """See `Average.restore`."""
        model = self._trained
        self._start = [(loss, MeanWeights.of(steps, model)) for loss, steps in state["start"]]
        self._limit, self._num_above = state["limit"], state["num_above"]
        self._valley = MeanWeights.of(state["valley"], model)
        self._above = MeanWeights.of(state["above"], model)
        self._is_over = state["is_over"]
        self._averaged.load_state_dict(state["averaged"])
