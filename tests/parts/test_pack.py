"""Joints by hand, and the spec and the module of a pack."""

import math

import pytest
import torch
from pydantic import ValidationError

from workbench.media.mel import Mel
from workbench.parts.joint import JointLayer, LinearOfLogits, MeanOfProbabilities
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import (
    PackSpec,
    members_of,
    with_views_told_apart,
)
from workbench.parts.weights import RANDOM
from workbench.scoring.any_model import read_spec

MEL = Mel(num_mels=16, image_px=32)
OTHER = Mel(num_mels=32, image_px=32)


def member(view: Mel = MEL, name: str = "mel", *, image_px: int = 32) -> ModelSpec:
    return ModelSpec(views={name: view}, backbone="test_resnet", weights=RANDOM, image_px=image_px)


def test_a_mean_weighs_probabilities_and_a_linear_joint_weighs_logits() -> None:
    columns = torch.tensor([[0.2, 0.8], [0.5, 0.9]], dtype=torch.float64)
    mean = JointLayer(MeanOfProbabilities(weights=(0.75, 0.25)))(columns)
    torch.testing.assert_close(mean, torch.tensor([0.35, 0.6], dtype=torch.float64))
    # Logits of 0.5 and 0.9 are 0 and log 9: 2 * 0 + 0.5 * log 9 - log 3 = 0.
    linear = JointLayer(LinearOfLogits(weights=(2.0, 0.5), bias=-math.log(3)))(columns)
    assert float(linear[1]) == pytest.approx(0.5)
    # Logits of 0.2 and 0.8 are -log 4 and log 4: (-2 + 0.5) log 4 - log 3.
    assert float(linear[0]) == pytest.approx(1 / (1 + 3 * 4**1.5))


def test_certain_probabilities_stay_numbers() -> None:
    columns = torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    linear = JointLayer(LinearOfLogits(weights=(1.0, 1.0)))(columns)
    assert float(linear[0]) == pytest.approx(0.5)
    assert 0.999 < float(linear[1]) <= 1
    third = (1 / 3, 1 / 3, 1 / 3)
    ones = torch.ones(1, 3, dtype=torch.float64)
    assert float(JointLayer(MeanOfProbabilities(weights=third))(ones)) <= 1


@pytest.mark.parametrize("weights", [(0.5, 0.6), (1.5, -0.5), ()])
def test_weights_of_a_mean_are_shares(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        MeanOfProbabilities(weights=weights)


def test_no_weight_makes_a_sum_that_is_no_number() -> None:
    for joint in (MeanOfProbabilities, LinearOfLogits):
        with pytest.raises(ValidationError):
            joint(weights=(1e308, 1e308))


def test_a_pack_has_a_weight_for_each_member_and_one_view_for_each_name() -> None:
    half = MeanOfProbabilities(weights=(0.5, 0.5))
    with pytest.raises(ValidationError, match="2 weights for 1 members"):
        PackSpec(members=(member(),), joint=half)
    with pytest.raises(ValidationError, match="different views named 'mel'"):
        PackSpec(members=(member(), member(OTHER)), joint=half)


def test_views_of_one_name_are_told_apart() -> None:
    first, same, other, third = (member(), member(image_px=64), member(OTHER), member(OTHER))
    members, names = with_views_told_apart([first, same, other, third])
    assert [list(one.views) for one in members] == [["mel"], ["mel"], ["mel_2"], ["mel_2"]]
    assert names == ({"mel": "mel"}, {"mel": "mel"}, {"mel": "mel_2"}, {"mel": "mel_2"})
    pack = PackSpec(members=members, joint=MeanOfProbabilities(weights=(0.25,) * 4))
    assert pack.views == {"mel": MEL, "mel_2": OTHER}


def test_views_of_one_member_stay_apart_whatever_they_are_called() -> None:
    third = Mel(num_mels=64, image_px=32)
    for views in ({"mel": OTHER, "mel_2": third}, {"mel": OTHER, "mel_2": OTHER}):
        other = member().model_copy(update={"views": views})
        (_, renamed), _ = with_views_told_apart([member(), other])
        assert list(renamed.views.values()) == list(views.values())


def test_a_spec_is_read_as_the_model_or_the_pack_that_it_is() -> None:
    one = member()
    pack = PackSpec(members=(one,), joint=MeanOfProbabilities(weights=(1.0,)))
    for spec in (one, pack):
        assert read_spec(spec.model_dump(mode="json")) == spec
        assert members_of(spec) == (one,)


def test_the_module_joins_its_members_and_keeps_their_names() -> None:
    pack = PackSpec(
        members=(member(), member(image_px=64)), joint=MeanOfProbabilities(weights=(0.25, 0.75))
    )
    model = pack.build().eval()
    x = {"mel": torch.rand(2, 1, 1, 32, 32)}
    with torch.no_grad():
        each = [torch.softmax(one(x).double(), dim=1)[:, 1] for one in model.members]
        torch.testing.assert_close(model(x), 0.25 * each[0] + 0.75 * each[1], atol=1e-6, rtol=0)
    names = set(model.state_dict())
    assert {"joint.linear.weight", "members.1.head.bias"} <= names
    assert all(name.startswith(("members.0.", "members.1.", "joint.")) for name in names)
