"""Pictures that are smaller in training than where they are scored."""

import pytest
import torch

from tests.parts.declared import MODALITIES, picture, vector
from workbench.parts.model import MediaModel, PictureReader
from workbench.parts.train_size import TrainSize, read_at, resized
from workbench.parts.weights import RANDOM


def test_sides_go_in_even_steps_and_are_multiples_of_eight() -> None:
    assert TrainSize(first=0.5).sides(128, 4) == [64, 88, 104, 128]  # of 64, 85.3, 106.7, 128
    assert TrainSize(first=0.75, last=0.75).sides(512, 3) == [384] * 3
    assert TrainSize(first=0.5).sides(128, 1) == [64]
    assert TrainSize().sides(100, 2) == [100, 100]


def test_pictures_alone_are_made_smaller() -> None:
    views = {"frames": torch.rand(2, 3, 3, 64, 64), "values": torch.rand(2, 64)}
    small = resized(views, MODALITIES, 32)
    assert small["frames"].shape == (2, 3, 3, 32, 32)
    # An average over areas: the mean level stays.
    assert small["frames"].mean().item() == pytest.approx(views["frames"].mean().item(), abs=1e-2)
    assert torch.equal(small["values"], views["values"])
    assert torch.equal(resized(views, MODALITIES, 64)["frames"], views["frames"])


def test_backbones_read_another_side_in_the_body_alone() -> None:
    views = {"frames": picture(1, 64, 64, 3), "features": vector(4)}
    model = MediaModel("test_resnet", views, image_px=64, weights=RANDOM)
    reader = model.readers["frames"]
    assert isinstance(reader, PictureReader)
    seen: list[int] = []
    reader.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    inputs = {"frames": torch.rand(2, 1, 3, 32, 32), "features": torch.rand(2, 4)}
    with read_at(model, 32):
        model(inputs)
    model(inputs)
    assert seen == [32, 64]
