"""Training on two labels of a file: whether its sound is fake, and whether its picture is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.data.fake_parts import completed, fake_parts_of
from workbench.parts.heads import NUM_CLASSES
from workbench.parts.losses import Loss


@dataclass(frozen=True)
class TwoLabelsLoss:
    """A loss of each of both labels where one is known, and of the file's where neither is.

    With cross-entropy it is the log-likelihood of what is known of each sample.
    """

    loss: Loss
    fake_shares: Sequence[float]
    """Shares of fake sounds and of fake pictures among those that are known."""

    @property
    def over_batch(self) -> bool:
        """See `Loss`."""
        return self.loss.over_batch

    def __call__(self, logits: Tensor, targets: Tensor, *, fake_share: float = 0.5) -> Tensor:
        """Return the batch's loss, a scalar.

        Args:
            logits: (batch, 4), of a `two_labels.TwoLabels` in training.
            targets: (batch, 3), the probabilities of a fake file, sound and picture; those of the
                last two NaN where they are not known.
            fake_share: See `Loss`; of files.
        """
        is_known = ~targets[:, 1:].isnan()
        rows = ~is_known.any(dim=1)
        parts = [(logits[rows, :NUM_CLASSES], targets[rows, 0], fake_share)]
        for at, share in enumerate(self.fake_shares):
            rows = is_known[:, at]
            odds = logits[rows, NUM_CLASSES + at]
            both = torch.stack([torch.zeros_like(odds), odds], dim=1)
            parts.append((both, targets[rows, 1 + at], share))
        total = logits.new_zeros(())
        for some, labels, share in parts:
            if len(labels):
                cost = self.loss(some, labels, fake_share=share)
                total = total + cost * (len(labels) / len(targets))
        return total


def labels_of(rows: pd.DataFrame, num_files: int) -> Tensor:
    """Return what is known of the sound and the picture of each file, (rows, 2), else NaN.

    A damaged copy is what its file is. Of a forged one it is not said what of it was forged.

    Args:
        rows: Of the training files; behind them those of their copies.
        num_files: How many rows are of the files themselves.

    Raises:
        DataError: see `fake_parts_of`.
    """
    own = rows.iloc[:num_files]
    parts = completed(fake_parts_of(own), own["target"].to_numpy())
    keys = [*zip(rows["content"], rows["target"], strict=True)]
    known = dict(zip(keys, parts, strict=False))
    copies = [known.get(key, (np.nan, np.nan)) for key in keys[num_files:]]
    return torch.tensor(np.array([*parts, *copies]), dtype=torch.float32)


def targets_of(labels: Tensor, index: Tensor, parts: Tensor | None) -> Tensor:
    """Return what is to be learned of samples `index` and the blends behind them.

    Args:
        labels: (batch,) of all of them; of a fake that is mixed with a real one, its share.
        index: (samples,) of those that are no blends.
        parts: What is known of all samples, as `labels_of` returns it; None of one label.

    Returns:
        (batch,), or (batch, 3) with both parts behind.
    """
    if parts is None:
        return labels.float()
    # What is mixed in is real in both parts; blends are real ones with a fake picture.
    own = parts[index] * labels[: len(index), None]
    blends = torch.tensor([[0.0, 1.0]]).repeat(len(labels) - len(index), 1)
    return torch.cat([labels.float()[:, None], torch.cat([own, blends])], dim=1)
