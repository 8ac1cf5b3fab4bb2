"""Fine-tuning on two labels: what each head sees, what it learns from, and what comes of it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.parts.declared import picture, spectrogram
from tests.study.test_reaches_training import go_on, made_data
from tests.trial.test_fitted_probe import recipe_of
from workbench.parts.contrast import Contrast
from workbench.parts.example_inputs import example_inputs
from workbench.parts.heads import LINEAR, Head
from workbench.parts.losses import CrossEntropy, PairwiseAUC
from workbench.parts.model import MediaModel
from workbench.parts.two_labels import TwoLabels, TwoLabelsHead
from workbench.parts.weights import RANDOM
from workbench.rules.counts import count
from workbench.rules.subject import Counts
from workbench.searching.costs import epoch_work
from workbench.trial import memory_count, plots
from workbench.trial.result import TrialFolder
from workbench.trial.stepping import backward
from workbench.trial.train import run_trial
from workbench.trial.two_labels import TwoLabelsLoss, labels_of, targets_of

NAN = math.nan
LOSS = TwoLabelsLoss(CrossEntropy(), (0.5, 0.5))


def test_each_layer_sees_the_features_of_its_views_and_a_file_is_fake_if_either_is() -> None:
    head = TwoLabelsHead().build_for([2, 1], [False, True])
    assert isinstance(head, TwoLabels)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[100.0, 100.0, 1.0], [1.0, 2.0, 100.0]]))
        head.linear.bias.zero_()
    features = torch.tensor([[1.0, 0.5, -3.0]])
    logits = head(features)
    # Sound: 1 * -3 from the last feature alone. Picture: 1 * 1 + 2 * 0.5 from the first two.
    assert logits[0, 2:].tolist() == [-3.0, 2.0]
    a, b = 1 / (1 + math.exp(3)), 1 / (1 + math.exp(-2))
    p = 1 - (1 - a) * (1 - b)
    assert (logits[0, 1] - logits[0, 0]).item() == pytest.approx(math.log(p / (1 - p)), rel=1e-5)
    assert torch.equal(head.eval()(features), logits[:, :2])


def test_a_model_knows_which_features_are_of_the_sound() -> None:
    views = {"frames": picture(1, 32, 32, 3), "mel": spectrogram(1, 32, 32, 1)}
    model = MediaModel("test_resnet", views, image_px=32, weights=RANDOM, head=TwoLabelsHead())
    inputs = {name: torch.rand(x.shape) for name, x in example_inputs(views, 2).items()}
    odds = model(inputs)[:, 3].sum()  # of the picture
    odds.backward()
    moved = {
        name: any(p.grad is not None and bool(p.grad.any()) for p in reader.parameters())
        for name, reader in model.readers.items()
    }
    assert moved == {"frames": True, "mel": False}


def test_both_layers_are_counted_as_one_of_two_outputs_is() -> None:
    views = {"frames": picture(1, 32, 32, 3), "mel": spectrogram(1, 32, 32, 1)}

    def counted(head: Head) -> Counts:
        def build() -> MediaModel:
            return MediaModel("test_resnet", views, image_px=32, weights=RANDOM, head=head)

        return count(build, example_inputs(views, 1))

    two, one = counted(TwoLabelsHead()), counted(LINEAR)
    assert two.thop == two.true == one.thop


def test_the_memory_and_the_work_of_such_a_model_are_counted() -> None:
    two, one = (
        recipe_of(
            ("frames", "mel"),
            {"kind": "fine-tune", "two_labels": two_labels},
            optimizer={"kind": "sgd", "lr": 0.01},
        )
        for two_labels in (True, False)
    )
    need, usual = (memory_count.counted_need(r, "cpu", False, 8, None) for r in (two, one))
    assert (need.weights, need.trained) == (usual.weights, usual.trained)
    work, usual_work = (epoch_work(r, num_train=4, num_scored=2) for r in (two, one))
    assert work == pytest.approx(usual_work, rel=1e-3)


def test_what_is_known_of_a_sample_is_what_it_is_charged_for() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0, -1.0]]).repeat(4, 1)
    targets = torch.tensor([[1, 1, 0], [1, 1, NAN], [1, NAN, NAN], [0, 0, 0]])
    log = math.log1p
    fake = {"file": log(math.exp(-2)), "sound": log(math.exp(-1)), "picture": log(math.exp(1))}
    real = {"sound": log(math.exp(1)), "picture": log(math.exp(-1))}
    costs = [fake["sound"] + real["picture"], fake["sound"], fake["file"], sum(real.values())]
    assert float(LOSS(logits, targets)) == pytest.approx(sum(costs) / 4, rel=1e-6)
    for row, cost in enumerate(costs):
        assert float(LOSS(logits[[row]], targets[[row]])) == pytest.approx(cost, rel=1e-6)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, 5)
        self.head = TwoLabelsHead().build_for([2, 3], [True, False])

    def features(self, inputs: dict[str, Tensor]) -> Tensor:
        return torch.tanh(self.first(inputs["x"]))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.logits(self.features(inputs))

    def logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits


@pytest.mark.parametrize("contrast", [0.0, 0.5])
@pytest.mark.parametrize("loss", [CrossEntropy(), PairwiseAUC()])
def test_the_gradient_in_parts_is_that_of_the_batch(
    loss: CrossEntropy | PairwiseAUC, contrast: float
) -> None:
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([[0, 0, 0], [1, 1, 0], [1, NAN, NAN], [0, 0, 0], [1, 0, 1]])
    targets = torch.cat([targets, torch.tensor([[0.6, NAN, NAN], [0.4, 0.4, 0.0]])])
    found = []
    for num_parts in (1, 3):
        model = Small()
        cost = backward(
            model,
            TwoLabelsLoss(loss, (0.5, 0.5)),
            {"x": x},
            targets,
            num_parts=num_parts,
            fake_share=0.5,
            contrast=Contrast(weight=contrast),
        )
        found.append([cost, *(p.grad for p in model.parameters() if p.grad is not None)])
    assert all(bool(x.any()) for x in found[0])
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def test_the_labels_of_files_and_of_their_copies() -> None:
    rows = pd.DataFrame(
        {
            "name": ["a", "b", "c", "d", "b", "a"],
            "content": ["a", "b", "c", "d", "b", "a"],
            "target": [0, 1, 1, 1, 1, 1],  # of the copies b is damaged, and a forged
            "meta.sound_fake": ["", "0", "", "1", "0", "0"],
            "meta.picture_fake": ["", "", "", "1", "", "0"],
        }
    )
    labels = labels_of(rows, 4)
    told = [[0, 0], [0, 1], [NAN, NAN], [1, 1], [0, 1], [NAN, NAN]]
    np.testing.assert_array_equal(labels.numpy(), np.array(told))


def test_what_the_tables_say_of_fakes_reaches_both_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plot in ("write_roc", "write_pr"):
        monkeypatch.setattr(plots, plot, lambda *_: None)
    prepared = made_data(tmp_path, {"train": 12, "val": 6, "test": 3})
    recipe = recipe_of(
        ("frames", "mel"),
        {"kind": "fine-tune", "two_labels": True},
        augment={"pictures": {"self_blend": 0.5}, "mixup_alpha": 0.2},
        optimizer={"kind": "sgd", "lr": 0.01},
        num_epochs=1,
    )
    weights = []
    for number, (sound, picture_fake) in enumerate((("", ""), ("1", "0"))):
        is_fake = prepared.table["target"] == 1
        table = prepared.table.assign(
            **{
                "meta.sound_fake": np.where(is_fake, sound, ""),
                "meta.picture_fake": np.where(is_fake, picture_fake, ""),
            }
        )
        folder = TrialFolder(tmp_path / str(number))
        told = replace(prepared, table=table)
        result = run_trial(recipe, told, folder.path, device="cpu", report=go_on)
        assert result.state == "complete", result.reason
        assert folder.read_scores()["score"].between(0, 1).all()
        weights.append(load_file(folder.weights))
    assert set(weights[0]) >= {"head.linear.weight", "head.linear.bias"}
    assert "head.seen" not in weights[0]
    assert not torch.equal(weights[0]["head.linear.weight"], weights[1]["head.linear.weight"])


def test_what_a_fake_is_mixed_with_is_real_in_both_parts() -> None:
    unknown = math.nan
    parts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [unknown, unknown], [0.0, 0.0]])
    labels = torch.tensor([0.25, 1.0, 0.5, 0.0, 1.0])  # the last one is a blend
    found = targets_of(labels, torch.arange(4), parts)
    expected = [[0.25, 0.25, 0], [1, 0, 1], [0.5, unknown, unknown], [0, 0, 0], [1, 0, 1]]
    torch.testing.assert_close(found, torch.tensor(expected), equal_nan=True)
