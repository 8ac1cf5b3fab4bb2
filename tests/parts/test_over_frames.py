"""From several frames to one, by hand; and which models may be told how."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from tests.parts.declared import Declared, picture, spectrogram, vector
from tests.submission.test_bundle_code import MOST_CODE_LINES, num_lines
from workbench.errors import ConfigError
from workbench.media.frames import Frames
from workbench.parts.any_over_frames import (
    AnyOverFrames,
    AttentionOverFrames,
    ConfidentFrames,
    TopFrames,
    TransformerOverFrames,
)
from workbench.parts.contrast import Contrast
from workbench.parts.example_inputs import example_inputs
from workbench.parts.losses import CrossEntropy
from workbench.parts.model import MediaModel, Reading
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.over_frames import MEAN, OverFrames
from workbench.parts.suited import require_readable
from workbench.parts.two_labels import TwoLabelsHead
from workbench.parts.weights import RANDOM
from workbench.rules.counts import count
from workbench.rules.judge import judge, judge_spec
from workbench.rules.rulebook import Rulebook
from workbench.searching.costs import epoch_work
from workbench.space.space import SampledConfig
from workbench.submission import technical_report
from workbench.submission.bundle_code import code_for
from workbench.trial.memory_count import cost_key, peak_of_pass
from workbench.trial.recipe import Recipe
from workbench.trial.stepping import backward
from workbench.trial.training_spec import TrainingSpec
from workbench.validation import build
from workbench.values import kinds

ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyOverFrames)
KINDS: dict[str, OverFrames] = {
    kind: ADAPTER.validate_python({"kind": kind}) for kind in kinds(AnyOverFrames)
}
LEARNED = ["attention", "transformer"]
OF_LOGITS = ["top-k", "confident"]
VIEWS = {"mel": spectrogram(1, 32, 32, 1), "frames": picture(3, 32, 32, 3)}
POOLING_CODE_LINES = 100
"""What any way but the mean may have beside in a bundle."""


def model(over_frames: OverFrames = MEAN, views: dict[str, Declared] = VIEWS) -> MediaModel:
    torch.manual_seed(0)
    reading = Reading(over_frames=over_frames)
    return MediaModel("test_resnet", views, image_px=32, weights=RANDOM, reading=reading)


def noise(batch: int = 2, frames: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    shown = {**VIEWS, "frames": picture(frames, 32, 32, 3)}
    return {name: torch.rand_like(view) for name, view in example_inputs(shown, batch).items()}


def logits_of(*probabilities: float) -> torch.Tensor:
    """Return (1, frames, 2) logits of frames whose probability to be fake is given."""
    return torch.tensor([[[0.0, math.log(p / (1 - p))] for p in probabilities]])


def probability(logits: torch.Tensor) -> float:
    return float(logits.softmax(dim=1)[0, 1])


@pytest.mark.parametrize("kind", LEARNED)
def test_what_is_learned_begins_as_the_mean(kind: str) -> None:
    torch.manual_seed(0)
    frames = torch.randn(2, 5, 16)
    torch.testing.assert_close(KINDS[kind].build(16)(frames), frames.mean(dim=1))


def test_attention_by_hand() -> None:
    pool: Any = AttentionOverFrames(hidden=8).build(1)
    with torch.no_grad():
        for tensor in pool.parameters():
            tensor.zero_()
        pool.inward.weight[0, 0] = 1.0
        pool.weigh.weight[0, 0] = 2.0
    # Frames 0 and 0.5: weights 1 and exp(2 tanh(0.5)).
    share = math.exp(2 * math.tanh(0.5))
    found = pool(torch.tensor([[[0.0], [0.5]]]))
    assert found.tolist() == [[pytest.approx(0.5 * share / (1 + share), abs=1e-6)]]


def test_a_transformer_sees_the_order_and_the_other_frames() -> None:
    torch.manual_seed(0)
    pool: Any = TransformerOverFrames(blocks=2).build(16)
    nn.init.normal_(pool.outward.weight)
    frames = torch.randn(1, 4, 16)
    seen = pool(frames)
    assert not torch.allclose(pool(frames.flip(1)), seen)
    changed = frames.clone()
    changed[0, 0] = 0
    # More than the first frame's own part of the mean.
    own = (pool(changed) - seen) - (changed - frames).mean(dim=1)
    assert own.abs().max() > 1e-3


@pytest.mark.parametrize(("k", "counted"), [(1, [3.0]), (2, [3.0, 1.0]), (9, [3.0, 1.0, -2.0])])
def test_the_top_frames_by_hand(k: int, counted: list[float]) -> None:
    odds = torch.tensor([[1.0, -2.0, 3.0]])
    logits = torch.stack(
        [torch.tensor([[5.0, 6.0, 7.0]]), odds + torch.tensor([[5.0, 6.0, 7.0]])], 2
    )
    found = TopFrames(k=k).build(2)(logits)
    assert float(found[0, 1] - found[0, 0]) == pytest.approx(sum(counted) / len(counted), abs=1e-5)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ((0.9, 0.85, 0.5, 0.5, 0.1), 0.875),  # two of five surely fake: they alone
        ((0.9, 0.6, 0.5, 0.5, 0.1), 0.52),  # one of five is too few: all
        ((0.1, 0.05, 0.15, 0.02, 0.18), 0.1),  # all surely real
        ((0.1, 0.05, 0.15, 0.02, 0.5), 0.164),  # four of five are not over nine in ten: all
        ((0.1,) * 10 + (0.5,), 0.1),  # ten of eleven are: the eleventh does not count
    ],
)
def test_confident_averaging_by_hand(probabilities: tuple[float, ...], expected: float) -> None:
    join = ConfidentFrames().build(2)
    logits = logits_of(*probabilities)
    assert probability(join.eval()(logits)) == pytest.approx(expected, abs=1e-5)
    mean = sum(probabilities) / len(probabilities)
    assert probability(join.train()(logits)) == pytest.approx(mean, abs=1e-5)


def test_confident_averaging_keeps_sure_clips_apart() -> None:
    # Their probabilities are 1 in float32: the log-odds must tell them apart.
    join = ConfidentFrames().build(2).eval()
    odds = torch.tensor([[[0.0, 30.0]] * 3, [[0.0, 40.0]] * 3])
    found = join(odds)
    assert (found[:, 1] - found[:, 0]).tolist() == pytest.approx([30.0, 40.0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_two_logits_and_takes_one_frame(kind: str) -> None:
    tested = model(KINDS[kind]).eval()
    inputs = noise()
    assert tested(inputs).shape == (2, 2)
    # Of one frame there is nothing to weigh: untrained, every kind says what the mean says.
    alone = inputs | {"frames": inputs["frames"][:, :1]}
    odds, expected = (m(alone).diff(dim=1) for m in (tested, model().eval()))
    torch.testing.assert_close(odds, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", OF_LOGITS)
def test_other_views_stand_beside_each_frame(kind: str) -> None:
    tested = model(KINDS[kind]).eval()
    inputs = noise()
    each = [tested(inputs | {"frames": inputs["frames"][:, i : i + 1]}) for i in range(3)]
    frames = torch.stack(each, dim=1)
    expected = KINDS[kind].build(2).eval()(frames)
    torch.testing.assert_close(tested(inputs).diff(dim=1), expected.diff(dim=1))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_all_that_learns(kind: str) -> None:
    tested = model(KINDS[kind])
    for tensor in tested.parameters():  # what begins at nothing keeps gradients from what is below
        nn.init.normal_(tensor, std=0.1) if not tensor.any() else None
    targets = torch.tensor([0.0, 1.0, 1.0, 0.0])
    contrast = Contrast(weight=0.5)
    inputs = noise(batch=4)
    backward(
        tested, CrossEntropy(), inputs, targets, num_parts=1, fake_share=0.5, contrast=contrast
    )
    unreached = [n for n, p in tested.named_parameters() if p.grad is None or not p.grad.any()]
    assert unreached == []


@pytest.mark.parametrize("kind", LEARNED)
def test_with_a_frozen_backbone_the_way_over_frames_learns(kind: str) -> None:
    tested = model(KINDS[kind])
    tested.freeze(True)
    tested(noise())[:, 1].sum().backward()
    learned = {name.split(".")[0] for name, p in tested.named_parameters() if p.grad is not None}
    assert learned == {"head", "over_frames"}


def test_the_mean_is_the_model_that_it_was() -> None:
    names = model().state_dict().keys()
    assert {name.split(".")[0] for name in names} == {"readers", "head"}
    for kind in OF_LOGITS:
        assert model(KINDS[kind]).state_dict().keys() == names
    for kind in LEARNED:  # and the head begins as it did
        torch.testing.assert_close(model(KINDS[kind]).head.weight, model().head.weight)


def test_what_is_learned_counts_for_thop_too() -> None:
    inputs = example_inputs(VIEWS, 1)
    plain = count(model, inputs)
    attention = count(lambda: model(KINDS["attention"]), inputs)
    assert attention.true - plain.true == 128 * 96 + 128 + 128  # the backbone gives 96 features
    transformer = count(lambda: model(KINDS["transformer"]), inputs)
    assert plain.thop and attention.thop and transformer.thop
    assert attention.thop - plain.thop == attention.true - plain.true
    # thop misses the 64 places, which are no layer, and timm's two norms. The larger count is held
    # to the limit.
    missed = (transformer.true - plain.true) - (transformer.thop - plain.thop)
    assert missed == 64 * 256 + 2 * 2 * 256


@pytest.mark.parametrize(
    ("views", "over_frames", "says"),
    [
        (
            {"mel": VIEWS["mel"], "v": vector(3)},
            "attention",
            r"no view has more than one frame \(m",
        ),
        ({"image": picture(1, 32, 32, 3)}, "top-k", "`over_frames` is top-k, and no view"),
        (
            {"frames": picture(4, 32, 32, 3), "faces": picture(2, 32, 32, 3)},
            "confident",
            r"numbers of frames differ \(frames 4, faces 2\)",
        ),
    ],
)
def test_what_has_no_frames_for_it_is_refused(
    views: dict[str, Declared], over_frames: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        require_readable(Reading(over_frames=KINDS[over_frames]), views)
    require_readable(Reading(), views)


def test_features_of_different_numbers_of_frames_are_each_made_one() -> None:
    views = {"frames": picture(4, 32, 32, 3), "faces": picture(2, 32, 32, 3)}
    require_readable(Reading(over_frames=KINDS["attention"]), views)
    assert model(KINDS["attention"], views)(example_inputs(views, 2)).shape == (2, 2)


SPEC = ModelSpec(
    views={"frames": Frames(num_frames=2, image_px=32)},
    backbone="test_resnet",
    weights=RANDOM,
    image_px=32,
)


def test_a_judge_counts_what_is_read_and_refuses_what_cannot_be(tmp_path: Path) -> None:
    def judged(over_frames: OverFrames, num_frames: int = 2) -> int:
        views = {"frames": Frames(num_frames=num_frames, image_px=32)}
        reading = Reading(over_frames=over_frames)
        book, px = Rulebook(), 32
        found = judge(
            book,
            "test_resnet",
            views,
            image_px=px,
            weights=RANDOM,
            reading=reading,
            counted=tmp_path,
        )
        return found.params_true

    assert judged(KINDS["attention"]) > judged(MEAN)  # nor does what is kept mix them up
    with pytest.raises(ConfigError, match="no view has more than one frame"):
        judged(KINDS["attention"], num_frames=1)


def test_what_a_way_over_frames_costs_is_counted() -> None:
    training = TrainingSpec(optimizer=AdamW(lr=1e-3))
    recipe = Recipe(data="0", model=SPEC, training=training)
    other = recipe.replaced(over_frames=KINDS["transformer"])
    bytes_of = [peak_of_pass(one, "cpu", False, 4) for one in (recipe, other)]
    work = [epoch_work(one, num_train=1, num_scored=0) for one in (recipe, other)]
    assert bytes_of[0] < bytes_of[1] and work[0] < work[1]
    for kind in OF_LOGITS:  # on tensors without contents, too
        assert peak_of_pass(recipe.replaced(over_frames=KINDS[kind]), "cpu", False, 4) > 0


def test_what_costs_more_has_a_key_of_its_own() -> None:
    specs = [SPEC.model_copy(update={"over_frames": kind}) for kind in KINDS.values()]
    keys = [str(cost_key(spec)) for spec in specs]
    assert len(set(keys)) == len(keys)
    assert "over_frames" not in cost_key(SPEC)  # what was measured before holds


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_carries_the_ways_over_frames_of_its_model_alone(kind: str) -> None:
    code = code_for({Frames}, ["resnet18"], has_over_frames=kind != "mean")
    source = code.files[Path("workbench/parts/any_over_frames.py")].decode()
    assert ("class AttentionOverFrames" in source) == (kind != "mean")
    most = MOST_CODE_LINES + POOLING_CODE_LINES * (kind != "mean")
    assert sum(map(num_lines, code.files.values())) <= most


def test_a_recipe_has_the_name_that_it_had_and_a_fitted_head_reads_the_mean() -> None:
    recipe = Recipe(data="0", model=SPEC, training=TrainingSpec(optimizer=AdamW(lr=1e-3)))
    uids = {recipe.replaced(over_frames=kind).uid for kind in KINDS.values()}
    assert len(uids) == len(KINDS) and recipe.uid in uids
    flat = recipe.flat() | {"over_frames": {"kind": "top-k", "k": 2}}
    assert build(Recipe, flat, where="recipe.json").model.over_frames == TopFrames(k=2)
    probe = flat | {"method": {"kind": "probe"}, "head": {"kind": "logistic"}}
    with pytest.raises(ConfigError, match="a head that is fitted reads the mean"):
        build(Recipe, probe, where="recipe.json")
    # A space may draw both: what a probe does not read is settled.
    tree = {"views": ["frames"], "backbone": "test_resnet", "method": "probe"}
    draft = SampledConfig.model_validate(tree | {"over_frames": {"kind": "top-k"}})
    assert draft.over_frames == MEAN


def test_a_wrong_setting_is_refused() -> None:
    for wrong in ({"kind": "top-k", "k": 0}, {"kind": "median"}, {"kind": "mean", "k": 2}):
        with pytest.raises(ValidationError):
            ADAPTER.validate_python(wrong)


@pytest.mark.parametrize("kind", OF_LOGITS)
def test_logits_of_frames_are_joined_with_two_labels_beside(kind: str) -> None:
    torch.manual_seed(0)
    made = MediaModel(
        "test_resnet",
        VIEWS,
        image_px=32,
        weights=RANDOM,
        head=TwoLabelsHead(),
        reading=Reading(over_frames=KINDS[kind]),
    )
    features = torch.randn(4, 3, sum(made.widths))
    in_training = made.logits(features)
    assert in_training.shape == (4, 4)
    if kind == "confident":  # all frames count in training
        of_frames = made.head(features)
        p = of_frames[..., :2].softmax(dim=2).mean(dim=1)
        torch.testing.assert_close(in_training[:, :2].softmax(dim=1), p)
        torch.testing.assert_close(in_training[:, 2:], of_frames[..., 2:].mean(dim=1))
    assert made.eval().logits(features).shape == (4, 2)


def test_a_technical_report_says_how_pictures_are_read() -> None:
    def told(spec: ModelSpec) -> str:
        of: Any = SimpleNamespace(spec=spec, verdict=judge_spec(Rulebook(), spec))
        return technical_report._model(of)

    assert "| 32 px |" in told(SPEC)
    update = {"over_frames": TopFrames(k=3), "picture_input": "rgb+srm"}
    assert "| 32 px, over_frames kind top-k, k 3, picture_input rgb+srm |" in told(
        SPEC.model_copy(update=update)
    )
