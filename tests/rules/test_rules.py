"""Each rule by itself, before and after there is a model; the list of them is the rulebook."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tests.media.test_face_detectors import write_model
from tests.parts.declared import picture, spectrogram
from workbench.errors import ConfigError
from workbench.media.face_detectors import YuNet
from workbench.media.faces import Faces
from workbench.media.frames import Frames
from workbench.media.view import View
from workbench.parts.model import MediaModel
from workbench.parts.weights import RANDOM
from workbench.rules.helper_models import helpers_of
from workbench.rules.judge import judge, networks_of
from workbench.rules.rulebook import Rule, Rulebook, RuleResult, Verdict
from workbench.rules.subject import Counts, HelperModel, StartWeights, Subject
from workbench.validation import build

IN1K, BAMBOO = (
    StartWeights(name="a.x_in1k", label="in1k"),
    StartWeights(name="a.bamboo", label="bamboo"),
)
DETECTOR = HelperModel(name="a detector", source="package p 1", saw="faces", params=300)


def rules(**keys: Any) -> dict[str, Rule]:
    book: Rulebook = build(Rulebook, keys, where="experiment.yaml")
    return {rule.name: rule for rule in book.rules}


def said(name: str, subject: Subject, **keys: Any) -> RuleResult:
    return rules(**keys)[name].check(subject)


def test_the_rulebook_is_the_list_of_its_rules() -> None:
    assert list(rules()) == ["params", "pretraining", "single_model", "helpers"]
    assert list(rules(single_model=False)) == ["params", "pretraining", "helpers"]


@pytest.mark.parametrize("name", rules())
def test_what_is_not_known_is_neither_obeyed_nor_broken(name: str) -> None:
    result = said(name, Subject(starts=(IN1K,)))
    assert result.name == name
    assert result.ok is (True if name == "pretraining" else None)
    assert result.sentence


@pytest.mark.parametrize(("limit", "ok"), [(1000, True), (999, False)])
def test_the_limit_holds_for_published_backbones_together(limit: int, ok: bool) -> None:
    result = said("params", Subject(starts=(IN1K,), published=(500, 500)), max_params=limit)
    assert (result.ok, result.over) == (ok, 1000 - limit)
    assert "has 1,000 parameters in 2 backbones as published" in result.sentence


@pytest.mark.parametrize(("counter", "counted"), [("larger", 1000), ("thop", 900), ("true", 1000)])
def test_a_built_model_is_held_by_the_counter_that_the_rulebook_names(
    counter: str, counted: int
) -> None:
    # Published figures do not matter any more.
    subject = Subject(starts=(IN1K,), published=(7,), counts=Counts(thop=900, true=1000))
    assert said("params", subject, counter=counter, max_params=1).over == counted - 1


@pytest.mark.parametrize(("counter", "over"), [("larger", 100), ("true", 100), ("thop", -200)])
def test_numbers_in_stored_buffers_count_but_by_thop(counter: str, over: int) -> None:
    counts = Counts(thop=900, true=1200, in_buffers=300, made_by_code=12)
    subject = Subject(starts=(IN1K,), counts=counts)
    result = said("params", subject, counter=counter, max_params=1100)
    does = "not counted" if counter == "thop" else "counted"
    assert f", 300 numbers in stored buffers {does}, " in result.sentence
    assert (result.ok, result.over) == (over <= 0, over)
    assert "its code" not in result.sentence  # twelve are few


def test_many_numbers_that_a_models_code_makes_are_told() -> None:
    subject = Subject(starts=(IN1K,), counts=Counts(thop=900, true=900, made_by_code=10))
    assert ", 10 in buffers that its code makes not counted, " in said("params", subject).sentence


def test_weights_of_every_backbone_are_looked_at() -> None:
    both = Subject(starts=(IN1K, BAMBOO))
    result = said("pretraining", both)
    assert (result.ok, result.cause) == (False, "Bamboo")
    assert "a.bamboo" in result.sentence
    assert "a.x_in1k" not in result.sentence
    assert said("pretraining", both, allowed_tags=["bamboo"]).ok
    assert said("pretraining", both, pretraining=["in1k", "bamboo"]).ok
    assert not said("pretraining", both, pretraining=["bamboo"]).ok


def member(*views: str) -> MediaModel:
    known = {"mel": spectrogram(1, 32, 32, 1), "frames": picture(1, 32, 32, 3)}
    shapes = {name: known[name] for name in views}
    return MediaModel("test_resnet", shapes, image_px=32, weights=RANDOM)


def test_one_model_has_one_network_a_view_and_a_pack_of_models_has_several() -> None:
    one = networks_of(member("mel", "frames"))
    assert one == {"mel": 1, "frames": 1}
    assert said("single_model", Subject(starts=(IN1K,), networks=one)).ok
    # A module that holds several models, wherever.
    pack = nn.Sequential(member("mel"), nn.ModuleDict({"x": member("mel", "frames")}))
    assert networks_of(pack) == {"mel": 2, "frames": 1}
    result = said("single_model", Subject(starts=(IN1K,), networks=networks_of(pack)))
    assert result.ok
    assert result.sentence == "its networks (2 read mel) are one module, as the rulebook asks"
    strict = said(
        "single_model",
        Subject(starts=(IN1K,), networks=networks_of(pack)),
        single_model="backbone",
    )
    assert (strict.ok, strict.over) == (False, 1)
    assert strict.sentence == "2 networks read mel, where the rulebook allows one for each view"


def test_yes_and_no_mean_what_they_meant() -> None:
    assert Rulebook.model_validate({"single_model": True}).single_model == "backbone"
    assert Rulebook.model_validate({"single_model": False}).single_model == "any"


def test_a_helper_is_named_and_may_count_or_be_refused() -> None:
    counts = Counts(thop=1000, true=1000)
    subject = Subject(starts=(IN1K,), counts=counts, helpers=(DETECTOR,))
    for policy, ok, over in (("allow", True, -200), ("count", True, 100), ("refuse", False, -200)):
        result = said("helpers", subject, helpers=policy)
        assert result.ok is ok
        assert (
            "made with a detector (package p 1; it saw faces), which the rulebook"
            in result.sentence
        )
        assert said("params", subject, helpers=policy, max_params=1200).over == over
    assert not said("params", subject, helpers="count", max_params=1200).ok
    unknown = DETECTOR.model_copy(update={"params": None})
    subject = Subject(starts=(IN1K,), counts=counts, helpers=(unknown,))
    result = said("params", subject, helpers="count")
    assert result.ok is False
    assert "how many a detector has is not known" in result.sentence
    assert said("params", subject).ok


def test_an_unknown_word_on_helpers_is_refused() -> None:
    with pytest.raises(ConfigError, match="`helpers` is 'maybe'"):
        rules(helpers="maybe")


def judged(view: View, **keys: Any) -> Verdict:
    book: Rulebook = build(Rulebook, keys, where="experiment.yaml")
    return judge(book, "test_resnet", {"faces": view}, image_px=64, weights=RANDOM)


def test_a_verdict_names_the_face_detector_and_counts_it_where_asked(tmp_path: Path) -> None:
    plain, allowed = judged(Frames(num_frames=1, image_px=64)), judged(Faces(num_frames=1))
    assert plain.helpers == ()
    assert "its views are made without other models" in plain.sentence
    assert [helper.name for helper in allowed.helpers] == ["the face detector yuface"]
    assert "the face detector yuface (package yuface" in allowed.sentence
    assert "it saw WIDER FACE)" in allowed.sentence
    assert allowed.params_counted == plain.params_counted
    counted = judged(Faces(num_frames=1), helpers="count")
    assert counted.params_counted == plain.params_counted + 53_104
    # The model file of the tests: 3 weights and a bias for each of 1 + 1 + 4 + 10 outputs, thrice.
    detector = YuNet(file=str(write_model(tmp_path / "tiny.onnx")))
    counted = judged(Faces(num_frames=1, detector=detector), helpers="count")
    assert counted.params_counted == plain.params_counted + 3 * 16 * (3 + 1)
    assert f"SHA-256 {detector.sha256[:12]}" in counted.sentence
    refused = judged(Faces(num_frames=1), helpers="refuse")
    assert not refused.legal
    (helpers,) = [result for result in refused.results if not result.ok]
    assert helpers.name == "helpers"
    assert refused.sentence == f"test_resnet is refused: {helpers.sentence}."


def test_two_views_of_one_detector_count_it_once() -> None:
    views = {"near": Faces(num_frames=1), "far": Faces(num_frames=1, margin=1.0)}
    found = judge(Rulebook(), "test_resnet", views, image_px=64, weights=RANDOM)
    assert found.helpers == helpers_of(Faces())
