"""Which real file a fake was made of, and both mixed: paired mixup."""

from pathlib import PurePosixPath

import pandas as pd
import torch
from torch import Generator, Tensor

from workbench.data.metadata import ORIGINAL, column_of
from workbench.parts.augment_mixing import beta
from workbench.scoring.stored import StoredViews
from workbench.trial.batches import Batch
from workbench.trial.drawn_copies import DrawnCopies


def originals_of(rows: pd.DataFrame, copies: DrawnCopies | None) -> Tensor:
    """Return where the real file is that each was made of, (files,) int64; -1: none that is known.

    Args:
        rows: The files, copies behind them.
        copies: What is known of the copies.
    """
    num_files = copies.num_files if copies else len(rows)
    found = torch.full((len(rows),), -1)
    if column_of(ORIGINAL) in rows:
        places: dict[str, int] = {}
        for place, (name, target) in enumerate(zip(rows["name"], rows["target"], strict=True)):
            if target == 0 and place < num_files:
                for key in dict.fromkeys(
                    (name, PurePosixPath(name).name, PurePosixPath(name).stem)
                ):
                    places[key] = -1 if key in places else place  # of two, none is meant
        cells = zip(rows[column_of(ORIGINAL)], rows["target"], strict=True)
        found = torch.tensor(
            [places.get(cell, -1) if target == 1 else -1 for cell, target in cells]
        )
    if copies is not None:
        fakes = (found[:num_files] >= 0).nonzero()[:, 0]
        for damaged in copies.plain:  # a damaged fake is of its original as damaged
            there = fakes[damaged[fakes] != fakes]
            found[damaged[there]] = damaged[found[there]]
        for fake, real_place in copies.made_of.items():
            found[fake] = real_place
    return found


def mixed_with_originals(
    batch: Batch, source: StoredViews, originals: Tensor, alpha: float, generator: Generator
) -> Batch:
    """Return a batch whose fakes are mixed with what they were made of, labels and all.

    Args:
        batch: Samples of `source`.
        source: The samples.
        originals: See `originals_of`.
        alpha: A fake keeps a share of itself that is drawn from Beta(alpha, alpha).
        generator: A CPU generator; as much is drawn whatever the samples are.
    """
    files, segments = batch.index // source.num_segments, batch.index % source.num_segments
    shares = torch.tensor([beta(alpha, generator) for _ in files.tolist()])
    mixed = (originals[files] >= 0).nonzero()[:, 0]
    if not len(mixed):
        return batch
    real = source.inputs(originals[files[mixed]] * source.num_segments + segments[mixed])
    targets = batch.targets.float()
    targets[mixed] *= shares[mixed]
    inputs = {}
    for name, x in batch.inputs.items():
        there = mixed.to(x.device, non_blocking=True)
        share = shares[mixed].to(x, non_blocking=True).view(-1, *[1] * (x.dim() - 1))
        inputs[name] = x.clone()
        inputs[name][there] = real[name].lerp(x[there], share)
    return Batch(inputs, targets, batch.index)
