"""Real stills trained on in one batch with their own blends."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trial.pictures import prepare_pictures, recipe_for
from workbench.data.prepare import Prepared
from workbench.data.training_copies import prepare_training_copies
from workbench.parts.augment import Augment
from workbench.parts.copies import Copies
from workbench.trial.memory import Plan
from workbench.trial.training import Training


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """7 real and 7 fake pictures, with copies of the real ones beside."""
    root: Path = tmp_path_factory.mktemp("pictures")
    prepared = prepare_pictures(root)
    made = prepare_training_copies(
        prepared, ("blend",), (), root / "data", {}, cache=root / "cache", jobs=1
    )
    assert {name: len(each.table) for name, each in made.items()} == {
        "copies.blend": 7,
        "copies.blend-real": 7,
    }
    return replace(prepared, beside=made)


def trained(prepared: Prepared, **changes: object) -> Training:
    recipe = recipe_for(prepared, num_epochs=1, **changes)
    training = Training(
        recipe, prepared, device="cpu", store=None, plan=Plan(), step=lambda share: None
    )
    training.run_epoch()
    return training


def weights(training: Training) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in training.best_weights.values()])


@pytest.mark.parametrize(("chance", "balanced", "share"), [
    (1.0, False, 14 / 21), (0.5, False, 10.5 / 17.5), (1.0, True, 14 / 21), (0.0, False, 0.5),
])  # fmt: skip
def test_the_share_of_fakes_counts_those_that_join(
    pictures: Prepared, chance: float, balanced: bool, share: float
) -> None:
    training = trained(pictures, copies=Copies(blend=chance), sampling={"balanced": balanced})
    assert training._fake_share == pytest.approx(share)


def test_blends_and_their_mixing_change_what_is_learned(pictures: Prepared) -> None:
    mixing = Augment(paired_mixup_alpha=0.5)
    blends = Copies(blend=1.0)
    plain, blended = trained(pictures), trained(pictures, copies=blends)
    mixed = trained(pictures, copies=blends, augment=mixing)
    again = trained(pictures, copies=blends, augment=mixing)
    assert torch.equal(weights(mixed), weights(again))
    assert not torch.equal(weights(mixed), weights(blended))
    assert not torch.equal(weights(plain), weights(blended))
