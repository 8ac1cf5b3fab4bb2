"""The screening: what is judged, what goes on, and what is tried first."""

import os
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.study.tiny import write_data
from workbench.data.manifest import Layout, read_manifest
from workbench.data.prepare import prepare
from workbench.media.image import Image
from workbench.media.views import AnyView
from workbench.parts.torchvision_fix import import_timm
from workbench.rules.rulebook import Rulebook
from workbench.screening import probing
from workbench.screening.probe import Probe
from workbench.screening.probing import screen
from workbench.screening.screening import (
    FILE,
    Candidate,
    Screening,
    choose_backbones,
    describe_screening,
    first_drafts,
    narrowed,
    rank_correlation,
    read_screening,
    summary,
)
from workbench.space.space import Space, read_tree_as_space
from workbench.space.weights_finder import WeightsFinder

VIEWS: dict[str, AnyView] = {"image": Image(image_px=32), "small": Image(image_px=16)}
TREE: dict[str, Any] = {
    "views": {"choice": [["image"], ["image", "small"]]},
    "backbone": {"choice": ["test_vit", "test_efficientnet", "test_resnet", "test_convnext"]},
    "pretrained": {"choice": ["none", "local"]},
    "image_px": {"choice": [64, 32]},
    "num_epochs": {"int": [2, 5]},
    "batch_size": {"int": [4, 64], "log": True},
    "dropout": {"float": [0.0, 0.4]},
    "optimizer": {
        "choice": [
            {"kind": "adamw", "lr": {"float": [1e-4, 1e-2], "log": True}},
            {"kind": "sgd", "lr": 0.1},
        ]
    },
}


def space_of(**changes: Any) -> Space:
    return read_tree_as_space({**TREE, **changes}, "space.yaml", tuple(VIEWS))


def judged(backbone: str, auc: float, views: tuple[str, ...] = ("image",)) -> Candidate:
    return Candidate(
        backbone=backbone,
        views=views,
        pretrained="local",
        image_px=32,
        auc=auc,
        standard_error=0.02,
        val_auc=auc,
        num_features=8,
        seconds=1.5,
    )


def unjudged(backbone: str, reason: str = "no pretrained weights", **fields: Any) -> Candidate:
    return Candidate(backbone=backbone, views=("image",), image_px=32, reason=reason, **fields)


def screening(*candidates: Candidate, kept: tuple[str, ...] = ()) -> Screening:
    return Screening(candidates=candidates, kept=kept, seconds=3.0)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red and blue pictures as two views, and weights of two backbones: one is blind."""
    root = tmp_path_factory.mktemp("screening")
    manifest = read_manifest(write_data(root / "data"), Layout(), cache=root / "cache")
    prepare(manifest, root / "data", VIEWS, cache=root / "cache", jobs=1).save(root / "study")
    (root / "store").mkdir()
    torch.manual_seed(0)
    for name in ("test_resnet", "test_efficientnet", "test_convnext"):
        state = import_timm().create_model(name).state_dict()
        if name == "test_efficientnet":
            state = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
        save_file(state, root / "store" / f"{name}.r160_in1k.safetensors")
    return root


def finder(root: Path) -> WeightsFinder:
    return WeightsFinder(root / "store")


def screened(root: Path, space: Space, study: str = "study", **changes: Any) -> Screening:
    options: dict[str, Any] = {
        "rulebook": Rulebook(),
        "finder": finder(root),
        "cache": root / "cache",
        "device": "cpu",
        "num_threads": 1,
    }
    return screen(space, VIEWS, root / study, **options | changes)


@pytest.fixture(scope="module")
def found(workplace: Path) -> Screening:
    return screened(workplace, space_of())


@pytest.mark.slow
def test_a_backbone_that_sees_ranks_above_one_that_is_blind(found: Screening) -> None:
    best = found.best
    assert best["test_resnet"].auc == 1.0
    assert best["test_efficientnet"].auc == 0.5
    assert list(best).index("test_resnet") < list(best).index("test_efficientnet")
    assert all(one.seconds > 0 for one in best.values())


def test_the_smallest_side_and_the_way_to_the_weights_are_taken(found: Screening) -> None:
    for one in found.best.values():
        assert (one.image_px, one.pretrained) == (32, "local")
        assert one.weights == f"{one.backbone}.r160_in1k"


def test_a_set_of_views_has_the_features_of_each(found: Screening) -> None:
    widths = {
        len(one.views): one.num_features
        for one in found.candidates
        if one.backbone == "test_resnet"
    }
    assert widths[2] == 2 * (widths[1] or 0)


def test_what_is_not_judged_has_its_reason(found: Screening) -> None:
    reasons = {(one.backbone, one.views): one.reason for one in found.candidates if one.reason}
    assert "no test_vit" in reasons["test_vit", ("image",)]
    assert all(one.auc is None for one in found.candidates if one.reason)
    assert [one.auc is None for one in found.candidates] == sorted(
        one.auc is None for one in found.candidates
    )


def test_the_rulebook_is_asked_before_anything_is_computed(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "ask", None)
    (workplace / "refused").mkdir()
    said = screened(workplace, space_of(), "refused", rulebook=Rulebook(max_params=10))
    reasons = {one.backbone: one.reason for one in said.candidates}
    assert "over the limit" in reasons["test_resnet"]
    assert not any(one.legal for one in said.candidates if one.backbone != "test_vit")
    assert said.kept == tuple(space_of().backbones())  # it judged nothing, so it changes nothing


def test_a_restart_reads_it_and_computes_nothing(
    workplace: Path, found: Screening, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (workplace / "study" / FILE).exists()
    monkeypatch.setattr(probing, "child_process", None)
    assert screened(workplace, space_of()) == found
    assert read_screening(workplace / "study") == found
    assert read_screening(workplace) is None


OF_VIEWS: dict[str, Any] = {
    "image": {"choice": ["test_vit", "test_efficientnet", "test_resnet", "test_convnext"]},
    "small": {"choice": ["test_convnext", "test_resnet"]},
}


def test_each_views_backbones_are_judged_on_that_view_alone(workplace: Path) -> None:
    probed: list[tuple[str, str]] = []

    def ask(child: object, limit_s: float, what: Any, *args: Any) -> Any:
        if what.__name__ == "compute":
            return 1.5
        (one,) = args[0]
        probed.append((one.view, one.backbone))
        return Probe(0.9, 0.01, 0.9, 8)

    (workplace / "of_views").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing, "ask", ask)
        patch.setattr(probing, "child_process", nullcontext)
        patch.setattr(probing, "Where", lambda *args: args)
        space = space_of(backbone=OF_VIEWS)
        said = screened(workplace, space, "of_views")
    assert probed == [
        ("image", "test_efficientnet"),
        ("image", "test_resnet"),
        ("image", "test_convnext"),
        ("small", "test_convnext"),
        ("small", "test_resnet"),
    ]
    # Without weights test_vit was not judged, and so few that were do not drop it.
    assert said.kept == {
        "image": ("test_efficientnet", "test_resnet", "test_vit"),
        "small": ("test_convnext", "test_resnet"),
    }
    assert read_screening(workplace / "of_views") == said
    # A view with one backbone has nothing to choose from.
    one = space_of(backbone={**OF_VIEWS, "small": "test_vit"})
    assert {
        c.views for c, _ in probing.candidates_of(one, VIEWS, Rulebook(), finder(workplace))
    } == {("image",)}


def test_what_goes_on_is_narrowed_and_tried_first_view_by_view() -> None:
    said = Screening(
        candidates=(
            judged("test_resnet", 0.9, ("small",)),
            judged("test_efficientnet", 0.8),
            judged("test_convnext", 0.75, ("small",)),
            judged("test_resnet", 0.7),
            judged("test_vit", 0.6),
        ),
        kept={"image": ("test_efficientnet", "test_resnet", "test_vit"), "small": ("test_resnet",)},
        seconds=3.0,
    )
    space = space_of(backbone=OF_VIEWS)
    left = narrowed(space, said)
    assert left.backbones_by_view() == {
        "image": ["test_vit", "test_efficientnet", "test_resnet"],
        "small": ["test_resnet"],
    }
    drafts = first_drafts(left, said)
    assert [draft.backbone for draft in drafts] == [
        {"image": "test_efficientnet", "small": "test_resnet"},
        "test_resnet",
        {"image": "test_vit", "small": "test_resnet"},
    ]
    assert {draft.views for draft in drafts} == {("image", "small")}
    for draft in drafts:
        assert left.at(left.params_of(draft) or {}) == draft
    lines = describe_screening(said)
    assert [line.split()[-1] for line in lines[2:7]] == ["yes", "yes", "no", "yes", "yes"]
    assert lines[-1] == "The screening took 3.0 s: 4 of 5 backbones go on."
    finals = {"test_efficientnet image": 0.9, "test_resnet image": 0.8, "test_vit image": 0.85}
    parts = said.by_view()
    assert rank_correlation(parts["image"], finals) == pytest.approx(0.5)
    assert rank_correlation(parts["small"], finals) is None
    assert list(parts["small"].best) == ["test_resnet small", "test_convnext small"]
    # Where one view has a single backbone, it stands in every draft.
    fixed = space_of(backbone={**OF_VIEWS, "small": "test_convnext"})
    only = parts["image"]
    again = narrowed(fixed, only)
    assert again.tree["backbone"]["small"] == "test_convnext"
    assert len(first_drafts(again, only)) == 3


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_process_that_dies_or_hangs_costs_its_answer_alone() -> None:
    with probing.child_process() as child:
        assert probing.ask(child, 60, os._exit, 3) == "its process died (exit code 3)"
        assert "SIGKILL, which the system sends when memory" in str(probing.ask(child, 60, die))
        assert probing.ask(child, 0.5, time.sleep, 60) == "it took over 0.5 s"
        assert probing.ask(child, 60, len, "four") == 4


def test_the_best_third_goes_on_with_two_of_a_family() -> None:
    names = ["resnet18", "resnet34", "resnet50", "vit_tiny", "vit_small", "convnext_tiny"]
    names += ["swin_tiny", "densenet121", "vgg16"]
    ranked = [judged(name, 0.9 - index / 100) for index, name in enumerate(names)]
    assert choose_backbones(ranked, names) == ("resnet18", "resnet34", "vit_tiny")


def test_a_third_of_one_family_is_filled_by_rank() -> None:
    names = [f"resnet{size}" for size in (18, 26, 34, 50, 101, 152, 200)]
    ranked = [judged(name, 0.9 - index / 100) for index, name in enumerate(names)]
    assert choose_backbones(ranked, names) == ("resnet18", "resnet26", "resnet34")


def test_two_go_on_at_least() -> None:
    ranked = [judged("a", 0.9), judged("b", 0.8), judged("c", 0.7)]
    assert choose_backbones(ranked, ["c", "b", "a"]) == ("a", "b")


def test_a_few_that_were_judged_do_not_drop_those_that_were_not() -> None:
    few = [judged("a", 0.9), judged("b", 0.8), unjudged("x"), unjudged("y", legal=False)]
    assert choose_backbones(few, ["x", "y", "a", "b"]) == ("a", "b", "x")
    many = [*(judged(name, 0.6) for name in "abcdefg"), unjudged("x")]
    assert choose_backbones(many, [*"abcdefg", "x"]) == ("a", "b", "c")


def test_probes_that_are_no_surer_than_chance_change_nothing() -> None:
    names = [*"abcdef"]
    unsure = [judged(name, 0.56).model_copy(update={"standard_error": 0.03}) for name in names]
    assert choose_backbones(unsure, names) == tuple(names)
    assert "no probe is surely better than chance" in summary(screening(*unsure, kept=tuple(names)))
    sure = [judged("a", 0.57).model_copy(update={"standard_error": 0.03}), *unsure[1:]]
    assert choose_backbones(sure, names) == ("a", "b")


def test_a_backbone_ranks_by_its_best_views() -> None:
    ranked = [judged("a", 0.9, ("mel",)), judged("b", 0.8), judged("c", 0.7), judged("a", 0.6)]
    assert choose_backbones(ranked, ["a", "b", "c"]) == ("a", "b")
    assert screening(*ranked).best["a"].views == ("mel",)


def test_without_any_weights_it_says_so_and_changes_nothing() -> None:
    space = space_of()
    rows = [unjudged(name) for name in space.backbones()]
    said = screening(*rows, kept=choose_backbones(rows, space.backbones()))
    assert "cannot help" in summary(said)
    assert narrowed(space, said) == space
    assert first_drafts(space, said) == []


def test_a_narrowed_space_draws_what_goes_on_and_keeps_its_question() -> None:
    nested = {"choice": ["a", {"choice": ["b", "c"]}, {"choice": ["d"]}], "asked": {"top": 4}}
    space = space_of().model_copy(update={"tree": {**TREE, "backbone": nested}})
    left = narrowed(space, screening(kept=("c", "a")))
    assert left.backbones() == ["a", "c"]
    assert left.tree["backbone"]["asked"] == {"top": 4}
    assert {k: v for k, v in left.tree.items() if k != "backbone"} == {
        k: v for k, v in TREE.items() if k != "backbone"
    }
    plain = space_of(backbone="a")
    assert narrowed(plain, screening(kept=("a",))) == plain


def test_first_drafts_are_in_the_middle_of_the_space() -> None:
    said = screening(
        judged("test_resnet", 0.9, ("image", "small")),
        judged("test_resnet", 0.8, ("image",)),
        judged("test_efficientnet", 0.7, ("image",)),
        judged("test_convnext", 0.6, ("image",)),
        kept=("test_resnet", "test_efficientnet", "test_vit"),
    )
    space = narrowed(space_of(), said)
    first, second = first_drafts(space, said)
    assert (first.backbone, first.views) == ("test_resnet", ("image", "small"))
    assert (second.backbone, second.views) == ("test_efficientnet", ("image",))
    drawn = space.params_of(first)
    assert drawn == {
        "views": "image+small",
        "backbone": "test_resnet",
        "pretrained": "local",
        "image_px": 64,
        "num_epochs": 4,
        "batch_size": 16,
        "dropout": 0.2,
        "optimizer": "adamw",
        "optimizer.adamw.lr": pytest.approx(1e-3),
    }
    assert space.at(drawn or {}) == first
    assert space.params_of(second) is not None


def test_it_is_told_in_eighty_columns() -> None:
    long = "vit_base_patch16_clip_224.laion2b_ft_in12k_in1k"
    said = screening(
        judged(long, 0.9, ("mel", "frames", "faces", "features")),
        judged("resnet18", 0.8),
        unjudged("resnet34"),
        unjudged("resnet50"),
        unjudged("vgg16", "x" * 200),
        kept=(long,),
    )
    lines = describe_screening(said)
    assert max(map(len, lines)) <= 80
    assert lines[2].split()[-1] == "yes"
    assert lines[3].split() == ["resnet18", "image", "0.800", "0.020", "0.800", "no"]
    assert "not judged: resnet34 and 1 more: no pretrained weights" in lines
    assert lines[-1] == "The screening took 3.0 s: 1 of 5 backbones go on."


def test_the_rank_correlation_is_spearmans() -> None:
    said = screening(
        judged("a", 0.9), judged("b", 0.8), judged("c", 0.7), judged("a", 0.1), unjudged("x")
    )
    assert rank_correlation(said, {"a": 0.95, "b": 0.9, "c": 0.91}) == pytest.approx(0.5)
    assert rank_correlation(said, {"a": 3, "b": 2, "c": 1, "x": 9}) == pytest.approx(1)
    assert rank_correlation(said, {"a": 0.95, "b": 0.9, "x": 0.91}) is None
    assert rank_correlation(said, dict.fromkeys("abc", 0.9)) is None
