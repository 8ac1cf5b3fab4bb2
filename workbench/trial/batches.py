"""Batches of a training: which files are taken, in which order, how many at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workbench.data.prepare import Prepared
from workbench.errors import ConfigError
from workbench.scoring.slices import Slice
from workbench.scoring.stored import StoredViews
from workbench.trial.drawn_copies import DrawnCopies
from workbench.trial.sampling import Sampling


@dataclass(frozen=True)
class Batch:
    """Some samples of the training data."""

    inputs: dict[str, Tensor]
    targets: Tensor
    index: Tensor
    """Which samples they are."""


def sampled(prepared: Prepared, split: str, sampling: Sampling) -> Slice:
    """Return the files of a split that are taken.

    Raises:
        ConfigError: see `subset`.
    """
    rows = prepared.rows(split)
    return Slice(split, prepared, rows.iloc[subset(rows["target"].to_numpy(), sampling)])


def subset(targets: npt.NDArray[np.int8], sampling: Sampling) -> npt.NDArray[np.int64]:
    """Return the places of the files that are taken, ascending; of each class the same share.

    Raises:
        ConfigError: more files are asked for than there are, or too few for one of each class.
    """
    wanted = sampling.subset
    share = wanted if isinstance(wanted, float) else wanted / len(targets)
    if share > 1:
        raise ConfigError(
            f"sampling.subset is {wanted}, and only {len(targets)} training files can be "
            "decoded. Ask for fewer, or for a share of them such as 0.5."
        )
    random = np.random.default_rng(sampling.seed)
    num_fake = round(share * int((targets == 1).sum()))
    num_real = round(share * len(targets)) - num_fake
    taken = []
    for target, count in ((0, num_real), (1, num_fake)):
        places = random.permutation(np.flatnonzero(targets == target))
        if len(places) and not count:
            raise ConfigError(
                f"sampling.subset is {wanted}: of {len(targets)} training files, that leaves one "
                "class without any. Ask for more."
            )
        taken.append(places[:count])
    return np.sort(np.concatenate(taken))


def shuffled(
    source: StoredViews,
    batch_size: int,
    generator: torch.Generator,
    *,
    balanced: bool = False,
    repeats: int = 1,
    copies: DrawnCopies | None = None,
) -> Iterator[Batch]:
    """Yield the samples in a random order; a last batch of one sample joins the one before.

    A batch norm cannot learn from one sample.

    Args:
        source: What to yield.
        batch_size: Samples of one batch.
        generator: A CPU generator.
        balanced: As many samples, half of each class: of the rarer class some come again, of the
            other some are left out.
        repeats: How often each comes, one after the other; so many times fewer come at all.
        copies: Draws which samples are seen as copies, before classes are balanced; fakes that are
            learned beside a real sample join its batch.
    """
    order = torch.randperm(source.num_samples, generator=generator)
    if copies is not None:
        order = copies.drawn(order, generator, source.num_segments)
    targets, num_seen = source.targets_of(order), -(-len(order) // repeats)
    # Forged copies may leave no real sample in an epoch: then there is nothing to balance.
    if balanced and len(targets.unique()) > 1:
        wanted = (num_seen - num_seen // 2, num_seen // 2)
        halves = [
            _repeated(order[targets == target], count, generator)
            for target, count in enumerate(wanted)
        ]
        order = torch.cat(halves)[torch.randperm(num_seen, generator=generator)]
    if repeats > 1:
        order = order[:num_seen].repeat_interleave(repeats)[: source.num_samples]
    for index in _pieces(order, batch_size):
        if copies is not None:
            index = copies.with_partners(index, source.num_segments)
        yield Batch(source.inputs(index), source.targets_of(index), index)


def count_batches(num_samples: int, batch_size: int) -> int:
    """Return how many batches `shuffled` yields."""
    return len(_pieces(torch.arange(num_samples), batch_size))


def _repeated(order: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` of the samples `order`, each again only when all were taken."""
    if not len(order):
        return order
    rounds = [order]
    while sum(map(len, rounds)) < count:
        rounds.append(order[torch.randperm(len(order), generator=generator)])
    return torch.cat(rounds)[:count]


def _pieces(order: Tensor, batch_size: int) -> list[Tensor]:
    pieces = list(order.split(batch_size))
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        last = pieces.pop()
        pieces[-1] = torch.cat([pieces[-1], last])
    return pieces
