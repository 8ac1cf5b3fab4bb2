import math
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from workbench.data.prepare import Prepared
from workbench.errors import ConfigError
from workbench.scoring.stored import StoredViews
from workbench.trial import batches
from workbench.trial.batches import count_batches, sampled, shuffled, subset
from workbench.trial.sampling import Sampling


def stored(prepared: Prepared) -> StoredViews:
    return StoredViews(
        sampled(prepared, "train", Sampling()),
        prepared.views,
        image_px=32,
        device=torch.device("cpu"),
        most_kept_bytes=math.inf,
    )


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [(4, [4, 4, 4, 2]), (13, [14]), (14, [14]), (50, [14]), (7, [7, 7]), (1, [1] * 12 + [2])],
)
def test_every_sample_comes_once_and_no_batch_is_left_with_one(
    pictures: Prepared, batch_size: int, sizes: list[int]
) -> None:
    source = stored(pictures)
    every = list(shuffled(source, batch_size, seeded()))
    assert [len(batch.targets) for batch in every] == sizes
    assert count_batches(source.num_samples, batch_size) == len(sizes)
    seen = torch.cat([batch.inputs["image"] for batch in every]).flatten(1)
    there = source.inputs(torch.arange(source.num_samples))["image"].flatten(1)
    distances = torch.cdist(seen.double(), there.double())
    origin = distances.argmin(1)
    assert (distances.min(1).values < 1e-4).all()
    assert sorted(origin.tolist()) == list(range(source.num_samples))
    assert torch.equal(torch.cat([batch.targets for batch in every]), source.targets[origin])


def test_an_epoch_whose_reals_are_all_forged_is_not_balanced(pictures: Prepared) -> None:
    source = stored(pictures)
    fakes = torch.flatten(torch.nonzero(source.targets == 1))
    forged = Mock(
        drawn=lambda order, *_: fakes[order % len(fakes)], with_partners=lambda index, _: index
    )
    every = list(shuffled(source, 4, seeded(), balanced=True, copies=forged))
    assert sum(len(batch.targets) for batch in every) == source.num_samples
    assert all((batch.targets == 1).all() for batch in every)


def test_what_is_learned_beside_a_sample_is_in_its_batch(pictures: Prepared) -> None:
    source = stored(pictures)
    last, given = source.num_samples - 1, []

    def with_partners(index: torch.Tensor, _: int) -> torch.Tensor:
        given.append(index)
        return torch.cat([index, last - index[index < 2]])

    paired = Mock(drawn=lambda order, *_: order, with_partners=with_partners)
    batches = list(shuffled(source, 4, seeded(), copies=paired))
    assert sorted(torch.cat(given).tolist()) == list(range(source.num_samples))
    for own, batch in zip(given, batches, strict=True):
        assert batch.index.tolist() == [*own.tolist(), *(last - i for i in own.tolist() if i < 2)]
        assert torch.equal(batch.targets, source.targets[batch.index])
        assert len(batch.inputs["image"]) == len(batch.index)


def test_each_epoch_has_its_order_and_each_seed_its_epochs(pictures: Prepared) -> None:
    source = stored(pictures)

    def order(generator: torch.Generator) -> list[float]:
        parts = [
            batch.inputs["image"].sum((1, 2, 3, 4)) for batch in shuffled(source, 4, generator)
        ]
        return torch.cat(parts).tolist()

    generator = seeded(1)
    first, second = order(generator), order(generator)
    assert sorted(first) == sorted(second)
    assert first != second
    assert order(seeded(1)) == first
    assert order(seeded(2)) != first


def test_a_subset_keeps_the_share_of_fakes_and_is_the_same_every_time() -> None:
    targets = np.array([1] * 30 + [0] * 10, np.int8)
    half = subset(targets, Sampling(subset=0.5))
    assert (len(half), int(targets[half].sum())) == (20, 15)
    assert np.array_equal(half, np.sort(half))
    assert len(set(half.tolist())) == 20
    assert np.array_equal(half, subset(targets, Sampling(subset=0.5)))
    assert not np.array_equal(half, subset(targets, Sampling(subset=0.5, seed=1)))
    eight = subset(targets, Sampling(subset=8))
    assert (len(eight), int(targets[eight].sum())) == (8, 6)
    assert subset(targets, Sampling()).tolist() == list(range(40))


@pytest.mark.parametrize(("wanted", "said"), [(41, "Ask for fewer"), (2, "without any")])
def test_an_impossible_subset_is_refused(wanted: int, said: str) -> None:
    targets = np.array([1] * 39 + [0], np.int8)
    with pytest.raises(ConfigError, match=said):
        subset(targets, Sampling(subset=wanted))


def test_a_balanced_epoch_has_half_of_each_class(pictures: Prepared) -> None:
    source = stored(pictures)
    source.targets = torch.tensor([1] * 3 + [0] * 11)  # 14 files
    batches_ = list(shuffled(source, 4, seeded(), balanced=True))
    targets = torch.cat([batch.targets for batch in batches_])
    assert (len(targets), int(targets.sum())) == (14, 7)
    again = torch.cat([b.targets for b in shuffled(source, 4, seeded(), balanced=True)])
    assert torch.equal(targets, again)


def test_repeats_of_a_sample_are_in_one_batch_of_an_epoch_as_long(pictures: Prepared) -> None:
    source = stored(pictures)
    source.targets = torch.arange(14) % 2
    found = [batch.index.tolist() for batch in shuffled(source, 4, seeded(), repeats=2)]
    every = [batch.index.tolist() for batch in shuffled(source, 4, seeded())]
    first = [sample for batch in every for sample in batch][:7]
    assert found == [[a, a, b, b] for a, b in zip(first[:6:2], first[1:6:2], strict=True)] + [
        [first[6]] * 2
    ]


def test_a_balanced_epoch_of_repeats_has_half_of_each_class(pictures: Prepared) -> None:
    source = stored(pictures)
    source.targets = torch.tensor([1] * 3 + [0] * 11)
    for seed in range(8):  # four reals and three fakes, each twice
        found = list(shuffled(source, 4, seeded(seed), balanced=True, repeats=2))
        targets = torch.cat([batch.targets for batch in found])
        assert (len(targets), int(targets.sum())) == (14, 6)


def test_of_the_rarer_class_each_is_seen_before_any_is_seen_again() -> None:
    taken = batches._repeated(torch.tensor([4, 7, 9]), 7, seeded())
    counts = [taken.tolist().count(sample) for sample in (4, 7, 9)]
    assert sorted(counts) == [2, 2, 3]
    assert sorted(batches._repeated(torch.arange(10), 4, seeded()).tolist()) == [0, 1, 2, 3]
