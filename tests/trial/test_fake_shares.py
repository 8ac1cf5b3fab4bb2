"""The share of fakes that losses balance classes by: of what a training sees."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from workbench.media.declared import Modality
from workbench.parts.augment import Augment, Pictures
from workbench.parts.optimizers import SGD
from workbench.trial.fake_shares import fake_shares
from workbench.trial.training_spec import TrainingSpec

NAN = float("nan")
TARGETS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
ORIGINALS = torch.tensor([-1] * 6 + [0, 1, -1, -1])
# Of the fakes one has a fake sound, two have a fake picture, and of one nothing is known.
LABELS = torch.tensor([[0.0, 0.0]] * 6 + [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [NAN, NAN]])
BLEND, PAIRED = Augment(pictures=Pictures(self_blend=0.5)), Augment(paired_mixup_alpha=0.4)


def shares(
    augment: Augment | None = None,
    *,
    balanced: bool = False,
    forged: float = 0.0,
    pairs: float = 0.0,
    view: Modality = "picture",
) -> list[float]:
    """Return the share of files and of both parts."""
    spec = TrainingSpec.model_validate(
        {
            "optimizer": SGD(lr=0.1),
            "augment": augment or Augment(),
            "sampling": {"balanced": balanced},
        }
    )
    copies: Any = SimpleNamespace(num_forged=forged, num_pairs=pairs)
    file, parts = fake_shares(TARGETS, LABELS, ORIGINALS, copies, spec, {"x": view})
    return [file, *parts]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (shares(), (4 / 10, 1 / 9, 2 / 9)),
        # 2 of 6 real ones are forged: 6 fakes, of whose parts nothing more is known.
        (shares(forged=2), (6 / 10, 1 / 7, 2 / 7)),
        # 3 blends join, whose sound is real.
        (shares(BLEND), (7 / 13, 1 / 12, 5 / 12)),
        (shares(BLEND, view="spectrogram"), (4 / 10, 1 / 9, 2 / 9)),
        # 2 of 4 fakes keep a half: one with the fake sound, one of two with a fake picture.
        (shares(PAIRED), (3 / 10, 0.5 / 9, 1.5 / 9)),
        # 1 forged one keeps a half, and so do 2 that join their real ones.
        (shares(PAIRED, forged=1, pairs=2), (4.5 / 12, 0.5 / 8, 1.5 / 8)),
        # 5 of each class: a fake is seen 5/4 times.
        (shares(balanced=True), (5 / 10, 1.25 / 8.75, 2.5 / 8.75)),
        # Each real one 5/6 times, and with it 3 * 5/6 that join.
        (shares(balanced=True, pairs=3), (7.5 / 12.5, 1.25 / 8.75, 2.5 / 8.75)),
        (shares(BLEND, balanced=True), (7.5 / 12.5, 1.25 / 11.25, 5 / 11.25)),
    ],
)
def test_the_shares_are_of_what_is_seen(found: list[float], told: tuple[float, ...]) -> None:
    assert found == pytest.approx(told)


def test_a_part_of_which_one_class_is_known_is_not_balanced() -> None:
    spec = TrainingSpec(optimizer=SGD(lr=0.1))
    labels = torch.tensor([[0.0, 0.0], [1.0, NAN]])
    targets, nowhere = torch.tensor([0, 1]), torch.tensor([-1, -1])
    assert fake_shares(targets, labels, nowhere, None, spec, {}) == (0.5, [0.5, 0.5])
    labels[1] = NAN
    assert fake_shares(targets, labels, nowhere, None, spec, {}) == (0.5, [0.5, 0.5])
    assert fake_shares(targets, None, nowhere, None, spec, {}) == (0.5, [])
