"""A pack is counted whole and judged as the one model that it is."""

from workbench.media.mel import Mel
from workbench.parts.joint import MeanOfProbabilities
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.parts.weights import RANDOM, Weights
from workbench.rules.judge import judge_spec
from workbench.rules.rulebook import Rulebook

MEL = Mel(num_mels=16, image_px=32)
ONE = ModelSpec(views={"mel": MEL}, backbone="test_resnet", weights=RANDOM, image_px=32)
OTHER = ModelSpec(views={"mel": MEL}, backbone="test_vit", weights=RANDOM, image_px=32)
PACK = PackSpec(members=(ONE, OTHER), joint=MeanOfProbabilities(weights=(0.5, 0.5)))
RULES = Rulebook(pretraining=("in1k",))


def test_both_counts_are_the_members_sums_and_the_joint() -> None:
    each = [judge_spec(RULES, member) for member in PACK.members]
    whole = judge_spec(RULES, PACK)
    joint = 2  # a weight for each member, and no bias
    assert whole.params_true == sum(one.params_true for one in each) + joint
    assert all(one.params_thop is not None for one in (*each, whole))
    assert whole.params_thop == sum(one.params_thop or 0 for one in each) + joint


def test_a_pack_one_parameter_over_the_limit_is_refused() -> None:
    larger = judge_spec(RULES, PACK).params_counted
    assert judge_spec(Rulebook(max_params=larger), PACK).legal
    verdict = judge_spec(Rulebook(max_params=larger - 1), PACK)
    assert not verdict.legal
    assert verdict.over_limit == 1
    assert verdict.sentence.startswith("the pack of 2 models is refused: it has ")


def test_a_pack_is_one_module_and_not_one_backbone() -> None:
    assert judge_spec(Rulebook(single_model="module"), PACK).legal
    verdict = judge_spec(Rulebook(single_model="backbone"), PACK)
    assert not verdict.legal
    assert "2 networks read mel, where the rulebook allows one for each view" in verdict.sentence


def test_what_a_member_starts_from_is_judged() -> None:
    jft = Weights(source="local", name="test_vit.jft", sha256="0" * 64, pretraining="unknown")
    pack = PACK.model_copy(update={"members": (ONE, OTHER.model_copy(update={"weights": jft}))})
    verdict = judge_spec(RULES, pack)
    assert not verdict.legal
    assert "test_vit.jft" in verdict.sentence
