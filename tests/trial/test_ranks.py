"""Several ranks train one model as one process does, to rounding; here each is a thread."""

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.trial.pictures import recipe_for
from workbench.data.prepare import Prepared
from workbench.parts.augment import Augment, Pictures
from workbench.parts.averages import EMA
from workbench.parts.contrast import Contrast
from workbench.parts.losses import CrossEntropy, Dice, Loss, PairwiseAUC
from workbench.parts.optimizers import SGD
from workbench.parts.transfer import Transfer
from workbench.trial.memory import WHOLE, Plan
from workbench.trial.ranks import Group, LostRankError, Ranks, Share
from workbench.trial.recipe import Recipe
from workbench.trial.stepping import backward, sharpness_aware
from workbench.trial.training import Training

T = TypeVar("T")


def by_ranks(size: int, meeting: Path, act: Callable[[Group], T]) -> list[T]:
    """Return what each of so many ranks makes of `act`."""

    def one(rank: int) -> T:
        group = Group(rank, size, "cpu", meeting / "ranks")
        group.connect()
        return act(group)

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


class Net(nn.Module):
    """Two convolutions with norms, and a linear head on the mean of each channel."""

    def __init__(self, *, norms: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4) if norms else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3),
            nn.BatchNorm2d(6, affine=False) if norms else nn.Identity(),
            nn.Tanh(),
        )
        self.dropout = nn.Identity()
        self.head = nn.Linear(6, 2)

    def features(self, inputs: dict[str, Tensor]) -> Tensor:
        features: Tensor = self.body(inputs["x"]).mean(dim=(2, 3))
        return features

    def logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.logits(self.features(inputs))


NET, NET_WITHOUT_NORMS = Net(norms=True), Net(norms=False)


def step(
    ranks: Ranks,
    num_samples: int,
    *,
    loss: Loss,
    num_parts: int = 1,
    contrast: float = 0.0,
    rho: float = 0.0,
) -> dict[str, Tensor]:
    """Return the loss of a batch, the gradients, and the running averages after the pass."""
    model = copy.deepcopy(NET if num_parts == 1 else NET_WITHOUT_NORMS)
    generator = torch.Generator().manual_seed(1)
    x = 2 + 3 * torch.randn(num_samples, 3, 8, 8, generator=generator)
    targets = torch.rand(num_samples, generator=generator)

    def add() -> Tensor:
        with ranks.norms_shared(model, num_samples):
            cost = backward(
                model,
                loss,
                {"x": x},
                targets,
                num_parts=num_parts,
                fake_share=0.4,
                contrast=Contrast(weight=contrast),
                ranks=ranks,
            )
        ranks.add_gradients(model)
        return cost

    cost = sharpness_aware(model, rho, add) if rho else add()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": cost} | grads | dict(model.named_buffers())


@pytest.mark.parametrize("loss", [CrossEntropy(), PairwiseAUC(), Dice()], ids=lambda x: x.kind)
@pytest.mark.parametrize(
    ("size", "num_samples", "others"),
    [
        (2, 8, {}),
        (3, 8, {}),
        (3, 2, {}),  # fewer samples than ranks
        (2, 7, {"contrast": 0.5}),
        (2, 7, {"num_parts": 3}),
        (2, 7, {"num_parts": 2, "contrast": 0.5}),
        (2, 8, {"rho": 0.1}),
    ],
    ids=str,
)
def test_the_step_of_several_ranks_is_that_of_one(
    tmp_path: Path, loss: Loss, size: int, num_samples: int, others: dict[str, Any]
) -> None:
    wanted = step(Ranks(), num_samples, loss=loss, **others)
    of_each = by_ranks(size, tmp_path, lambda r: step(r, num_samples, loss=loss, **others))
    for found in of_each:
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
            assert torch.equal(found[name], of_each[0][name])
    assert float(wanted["head.weight"].abs().max()) > 1e-3


def test_without_shared_norms_the_step_is_another(tmp_path: Path) -> None:
    # What shows that the test above sees them: each rank's own mean and variance do not do.
    class Apart(Group):
        norms_shared = Ranks.norms_shared

    def act(group: Group) -> dict[str, Tensor]:
        group.__class__ = Apart
        return step(group, 8, loss=CrossEntropy())

    wanted = step(Ranks(), 8, loss=CrossEntropy())
    found, _ = by_ranks(2, tmp_path, act)
    assert not torch.allclose(found["head.weight"], wanted["head.weight"], rtol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_norms_are_shared_in_the_body_alone_and_in_training_alone(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    x = torch.arange(16.0, dtype=dtype).view(4, 1, 2, 2)

    def act(group: Group) -> tuple[Tensor, ...]:
        norm = nn.BatchNorm2d(1)
        mine = x[group.share(4).rows]
        with group.norms_shared(norm, 4):
            shared = norm(mine)
            kept = norm.running_mean.clone(), norm.running_var.clone()  # type: ignore[union-attr]
            scored = norm.eval()(mine)
        return shared, *kept, scored, norm.train()(mine)

    first, second = by_ranks(2, tmp_path, act)
    mean, std = 7.5, (255 / 12) ** 0.5  # of 0 to 15
    for rows, (shared, kept_mean, kept_var, scored, alone) in ((x[:2], first), (x[2:], second)):
        torch.testing.assert_close(shared, (rows.float() - mean).div(std).to(dtype))
        torch.testing.assert_close(kept_mean, torch.tensor([0.1 * mean]))
        torch.testing.assert_close(kept_var, torch.tensor([0.9 + 0.1 * std**2 * 16 / 15]))
        for found, centre, scale in (
            (scored, kept_mean, kept_var.sqrt()),
            (alone, rows.float().mean(), rows.float().std(correction=0)),
        ):
            torch.testing.assert_close(found, ((rows.float() - centre) / scale).to(dtype))


def test_shares_are_even_and_no_rank_is_without() -> None:
    ranks = [Group(rank, 3, "cpu", Path()) for rank in range(3)]
    eight = [Share(slice(0, 3), 1.0), Share(slice(3, 6), 1.0), Share(slice(6, 8), 1.0)]
    assert [rank.share(8) for rank in ranks] == eight
    assert [rank.share(2) for rank in ranks] == [Share(slice(None), 1 / 3)] * 3


@pytest.mark.parametrize(
    ("num_samples", "num_ranks", "micro_batch", "parts"),
    [(32, 2, None, 1), (32, 2, 16, 1), (32, 2, 8, 2), (32, 4, 3, 3), (7, 2, 2, 1), (3, 4, 2, 1)],
)
def test_a_share_goes_in_as_many_parts_on_every_rank(
    num_samples: int, num_ranks: int, micro_batch: int | None, parts: int
) -> None:
    plan = Plan(micro_batch=micro_batch)  # of two samples at least
    assert plan.num_parts(num_samples, num_ranks) == parts


def test_others_get_the_weights_of_rank_0(tmp_path: Path) -> None:
    def act(group: Group) -> list[Tensor]:
        norm = nn.BatchNorm1d(2)
        for x in (norm.weight.data, norm.running_mean):
            x.fill_(1.5 + group.rank)  # type: ignore[union-attr]
        group.agree(norm)
        return [norm.weight.data, norm.running_mean]  # type: ignore[list-item]

    for found in by_ranks(2, tmp_path, act):
        assert all(torch.equal(x, torch.full((2,), 1.5)) for x in found)


def test_a_rank_that_was_left_says_so(tmp_path: Path) -> None:
    is_met = threading.Event()

    def act(group: Group) -> str:
        if group.rank == 1:
            assert is_met.wait(60)
            group.abort()
            return ""
        is_met.set()
        with pytest.raises(LostRankError, match="rank 0 lost another one"):
            group.sum(torch.ones(1))
        return "said"

    assert by_ranks(2, tmp_path, act)[0] == "said"


def test_a_rank_that_meets_nobody_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> None:
        raise RuntimeError("connection closed by peer")

    monkeypatch.setattr(dist, "ProcessGroupGloo", closed)
    monkeypatch.setattr("torch.distributed.FileStore.check", lambda *_: True)
    with pytest.raises(LostRankError, match="rank 1 found no other one: connection closed"):
        Group(1, 2, "cpu", tmp_path / "ranks").connect()


def test_a_rank_waits_for_none_that_ended_before_they_met(tmp_path: Path) -> None:
    group = Group(0, 2, "cpu", tmp_path / "ranks")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(group.connect)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.2)
        group.abort()
        with pytest.raises(LostRankError, match="rank 0 found no other one: one of them ended"):
            waiting.result(timeout=60)


MIXED = Augment(pictures=Pictures(hflip=0.5, self_blend=0.3), mixup_alpha=0.4)


@pytest.mark.parametrize(
    ("changes", "plan"),
    [
        ({"augment": MIXED}, WHOLE),
        # Activations that are computed again, norms too.
        ({"loss": PairwiseAUC()}, Plan(checkpointed=True)),
        (
            {
                "augment": MIXED,
                "loss": PairwiseAUC(),
                "contrast": {"weight": 0.3},
                "gradient": {"sam_rho": 0.05, "clip_norm": 1.0},
                "transfer": Transfer(average=EMA(decay=0.9)),
            },
            WHOLE,
        ),
    ],
    ids=["mixup", "pairwise", "all"],
)
def test_an_epoch_of_two_ranks_is_that_of_one(
    pictures: Prepared, tmp_path: Path, changes: dict[str, Any], plan: Plan
) -> None:
    # Batches of seven: a norm over two values is a step, which rounding may fall from.
    recipe = recipe_for(pictures, optimizer=SGD(lr=1e-2), batch_size=7, **changes)

    def begun(recipe: Recipe, ranks: Ranks) -> Training:
        return Training(
            recipe,
            pictures,
            device="cpu",
            store=None,
            plan=plan,
            step=lambda share: None,
            ranks=ranks,
        )

    one = begun(recipe, Ranks())
    first = copy.deepcopy(one._average.model.state_dict())
    one.run_epoch()
    trainings = [begun(recipe, Group(rank, 2, "cpu", tmp_path / "ranks")) for rank in range(2)]

    def train(training: Training) -> dict[str, Tensor]:
        training._ranks.connect()  # type: ignore[attr-defined]
        if training._ranks.rank == 0:
            training.run_epoch()
        else:
            training.follow_epoch((), channels_last=True)
        return training._model.state_dict()

    with ThreadPoolExecutor(2) as pool:
        mine, other = pool.map(train, trainings)
    learnt = "head.weight"
    for name, wanted in one._model.state_dict().items():
        torch.testing.assert_close(mine[name], wanted, rtol=1e-4, atol=1e-5)
        assert torch.equal(mine[name], other[name])
    for name, wanted in one._average.model.state_dict().items():
        found = trainings[0]._average.model.state_dict()[name]
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert (one._model.state_dict()[learnt] - first[learnt]).abs().max() > 1e-4
    assert trainings[0].epochs[0].train_loss == pytest.approx(one.epochs[0].train_loss, rel=1e-5)
    assert trainings[0].epochs[0].metrics == pytest.approx(one.epochs[0].metrics, rel=1e-5)
    assert trainings[1].best_scores == []  # rank 0 alone scores
