"""Known recipes of packs: what their members are, and that each is legal as one model."""

from pathlib import Path

import pytest

from workbench.errors import ConfigError, RuleError
from workbench.parts.joint import MeanOfProbabilities
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.parts.weights import RANDOM
from workbench.rules.judge import judge_published, judge_spec
from workbench.rules.rulebook import Rulebook
from workbench.space.experiment import read_experiment
from workbench.space.pack_presets import (
    is_pack,
    read_known,
    read_pack_preset,
    require_legal_members,
)
from workbench.space.weights_finder import WeightsFinder

ROOT = Path(__file__).parents[2] / "experiments"
SHIPPED = sorted((ROOT / "recipes" / "packs").glob("*.yaml"))

PACK = """
views: {image: {kind: image, image_px: 32}}
backbone: test_resnet
pretrained: none
image_px: 32
num_epochs: 2
batch_size: 8
optimizer: {kind: adamw, lr: 1e-3}
augment: {pictures: {hflip: 0.5}}
members:
  - {image_px: 48}
  - {backbone: test_efficientnet, augment: {mixup_alpha: 0.2}}
  - {optimizer: {kind: sgd, lr: 0.01}}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "pair.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_member_has_the_shared_keys_and_its_own(tmp_path: Path) -> None:
    preset = read_pack_preset(written(tmp_path, PACK), ["num_epochs=1"])
    first, second, third = preset.drafts.values()
    assert (first.image_px, second.image_px) == (48, 32)
    assert (first.backbone, second.backbone) == ("test_resnet", "test_efficientnet")
    assert second.augment.pictures.hflip == first.augment.pictures.hflip == 0.5
    assert (first.augment.mixup_alpha, second.augment.mixup_alpha) == (0.0, 0.2)
    # Another kind of part is another part: nothing of the shared one is kept.
    assert third.optimizer.kind == "sgd"
    assert {draft.num_epochs for draft in preset.drafts.values()} == {1}
    assert set(preset.space.backbones()) == {"test_resnet", "test_efficientnet"}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ("members: [{}]", "Write a list of two or more"),
        ("members: [{}, {}]", "member 2 is the same as one before it"),
        ("members: [{}, 3]", "member 2 is 3"),
        ("members: [{}, {dropout: {float: [0.0, 0.5]}}]", "dropout would be drawn"),
    ],
)
def test_what_is_no_pack_says_why(tmp_path: Path, members: str, said: str) -> None:
    shared = PACK.partition("members:")[0]
    with pytest.raises(ConfigError, match=said):
        read_pack_preset(written(tmp_path, shared + members))


def test_a_pack_is_judged_whole_before_anything_is_trained(tmp_path: Path) -> None:
    finder = WeightsFinder(tmp_path / "weights")
    file = written(tmp_path, PACK)
    assert len(read_known(file, ()).drafts) == 3
    preset = read_pack_preset(written(tmp_path, PACK + "rulebook: {max_params: 1000}\n"))
    with pytest.raises(RuleError, match=r"over the limit of 1,000.* Nothing was trained\."):
        require_legal_members(preset.experiment, preset.drafts, finder)


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_a_shipped_pack_is_within_the_competitions_rules(path: Path) -> None:
    assert is_pack(path)
    preset = read_pack_preset(path)
    assert f"workbench train experiments/recipes/packs/{path.name} --data DIR" in path.read_text()
    members = tuple(
        ModelSpec(
            backbone=draft.backbone,
            views=preset.experiment.views,
            image_px=draft.image_px,
            weights=RANDOM,
        )
        for draft in preset.drafts.values()
    )
    even = MeanOfProbabilities(weights=(1 / len(members),) * len(members))
    verdict = judge_spec(Rulebook(), PackSpec(members=members, joint=even))
    assert verdict.legal, verdict.sentence
    assert verdict.params_counted > 150_000_000


@pytest.mark.slow
def test_the_winners_weights_are_refused_by_the_letter_and_allowed_as_played() -> None:
    letter = Rulebook()
    played, space = read_experiment(ROOT / "ffdi-as-played.yaml")
    for backbone in space.backbones():
        assert not judge_published(letter, backbone).legal
        assert judge_published(played.rulebook, backbone).legal
