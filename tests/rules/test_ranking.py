"""The ranking of published models: who is in, who is out and why, in which order."""

from typing import Any

import pytest
from pydantic import ValidationError

from workbench.parts.leaderboard import COLUMNS, Row, Table, read_table
from workbench.rules.ranking import (
    FIGURES,
    Query,
    Ranking,
    excluded_table,
    parse_size,
    rank_backbones,
    ranking_as_json,
    ranking_as_table,
)
from workbench.rules.rulebook import Rulebook


def row(model: str, image_px: int = 224, params_m: float = 10.0, **figures: float) -> Row:
    empty = dict.fromkeys(COLUMNS[3:])
    about = {"model": model, "image_px": image_px, "params_m": params_m}
    return Row.model_validate({**empty, **about, **figures})


TABLE = Table(
    source="made by hand",
    rows=(
        row("resnet18.a_in1k", imagenet=70, imagenet_r=30, imagenet_r_clean=90, macts=5.0),
        row("resnet34.a_in1k", imagenet=73, imagenet_r=40, imagenet_r_clean=92, macts=50.0),
        row("resnet50.a_in1k", imagenet=76, imagenet_r=40, imagenet_r_clean=95, macts=5.0),
        row("resnet50.a_in1k", 288, imagenet=77, imagenet_r=42, imagenet_r_clean=96, macts=9.0),
        row("vit_base.b_in21k_ft_in1k", imagenet=85, imagenet_r=60, imagenet_r_clean=98),
        row("vit_tiny.b_in1k", imagenet=74, imagenet_r=35, imagenet_r_clean=80, macts=5.0),
        row("vit_huge.b_in1k", params_m=600.5, imagenet=87, imagenet_r=65, imagenet_r_clean=98),
        row("swin_tiny.strange", imagenet=81, imagenet_r=50, imagenet_r_clean=95),
        row("vgg11.tv_in1k", imagenet=69),
    ),
)


def ranked(rulebook: Rulebook | None = None, **query: Any) -> Ranking:
    return rank_backbones(TABLE, Query(**query), rulebook or Rulebook())


def names(ranking: Ranking) -> list[str]:
    return [r.model.partition(".")[0] for r in ranking.rows]


def why(ranking: Ranking) -> dict[tuple[str, int], str]:
    return {(e.row.model.partition(".")[0], e.row.image_px): e.sentence for e in ranking.excluded}


def test_the_greatest_figure_comes_first_and_each_other_row_has_its_reason() -> None:
    found = ranked()
    assert names(found) == ["resnet50", "resnet34", "vit_tiny", "resnet18"]
    assert found.rows[0].image_px == 288
    assert why(found) == {
        ("resnet50", 224): "the same weights rank higher at 288 px",
        ("vit_base", 224): "its weights (vit_base.b_in21k_ft_in1k) saw ImageNet-21K, where the "
        "rulebook allows only ImageNet-1K",
        ("vit_huge", 224): "it has 600.5M parameters as published, over the limit of 200M",
        ("swin_tiny", 224): "its weights (swin_tiny.strange) saw data that nobody has named, since "
        "its tag names no data set that workbench knows, where the rulebook allows only "
        "ImageNet-1K; `allowed_tags: [strange]` would allow it by name",
        ("vgg11", 224): "there is no published top-1 on ImageNet-R of it",
    }
    assert found.num_excluded() == {"size": 1, "pretraining": 2, "params": 1, "figure": 1}


def test_a_tie_goes_to_the_better_on_imagenet() -> None:
    assert names(ranked(image_px=224))[:2] == ["resnet50", "resnet34"]  # both 40 on -R


def test_the_least_gap_comes_first() -> None:
    # Gaps: vit_tiny 45, resnet34 52, resnet50 at 288 px 54 (at 224 px 55), resnet18 60.
    assert names(ranked(sort="gap-r")) == ["vit_tiny", "resnet34", "resnet50", "resnet18"]


@pytest.mark.parametrize("sort", FIGURES)
def test_every_figure_ranks_the_whole_table_the_right_way(sort: Any) -> None:
    figure = FIGURES[sort]
    values = [figure.of(r) for r in rank_backbones(read_table(), Query(sort=sort), Rulebook()).rows]
    known = [value for value in values if value is not None]
    assert len(known) == len(values) > 300
    assert known == sorted(known, reverse=figure.most)


def test_every_row_is_ranked_or_excluded_once() -> None:
    query = Query(image_px=300, memory=parse_size("16GiB"), families=2, sort="imagenet-a")
    found = rank_backbones(read_table(), query, Rulebook())
    rows = [*found.rows, *(e.row for e in found.excluded)]
    assert {(r.model, r.image_px) for r in rows} == {
        (r.model, r.image_px) for r in read_table().rows
    }
    assert len(rows) == 1556
    reasons = {"params", "pretraining", "image", "memory", "figure", "size", "family"}
    assert set(found.num_excluded()) == reasons


def test_the_default_limits_leave_942_models() -> None:
    found = rank_backbones(read_table(), Query(), Rulebook())
    assert len(found.rows) == 942
    # 942 + 233 = 1175 rows of ImageNet-1K; with 276 of other pretraining, the 1451 within 200M.
    assert found.num_excluded() == {"params": 105, "pretraining": 276, "size": 233}


def test_a_family_has_no_more_than_its_share() -> None:
    found = ranked(families=1)
    assert names(found) == ["resnet50", "vit_tiny"]
    assert why(found)["resnet18", 224] == "1 of the family resnet rank higher"
    real = rank_backbones(read_table(), Query(families=2), Rulebook()).rows
    families = [r.family for r in real]
    assert max(families.count(family) for family in families) == 2


def test_a_crowded_out_model_does_not_come_back_at_another_size() -> None:
    table = Table(
        source="",
        rows=(
            row("resnet50.a_in1k", imagenet_r=50),
            row("resnet34.a_in1k", imagenet_r=40),
            row("resnet34.a_in1k", 288, imagenet_r=45),
        ),
    )
    found = rank_backbones(table, Query(families=1), Rulebook())
    assert [e.reason for e in found.excluded] == ["family", "family"]


def test_what_does_not_fit_the_memory_is_out_with_its_estimate() -> None:
    # resnet34: 10M x 16 bytes + 32 x 50M x 8 bytes = 12.96 GB = 12.1 GiB.
    assert why(ranked(memory="12GiB"))["resnet34", 224] == "about 12.1 GiB to train, over 12 GiB"
    assert "resnet34" in names(ranked(memory="12.1GiB"))
    assert "resnet34" in names(ranked(memory="12GiB", batch_size=16))
    by_name = Rulebook(allowed_tags=("strange",))
    said = why(ranked(by_name, memory="12GiB"))["swin_tiny", 224]
    assert said == "no published activations to estimate its memory by"


def test_a_rulebook_widens_what_may_be_listed() -> None:
    assert names(ranked(Rulebook(allowed_tags=("strange",))))[0] == "swin_tiny"
    assert names(ranked(Rulebook(allowed_tags=("vit_base.b_in21k_ft_in1k",))))[0] == "vit_base"
    assert names(ranked(Rulebook(pretraining=("in1k", "in21k"))))[0] == "vit_base"
    assert names(ranked(Rulebook(max_params=601_000_000)))[0] == "vit_huge"


def test_a_query_narrows_and_never_widens_what_the_limits_allow() -> None:
    wide = Rulebook(max_params=10**9, pretraining=("in1k", "in21k"))
    assert names(ranked(wide))[:2] == ["vit_huge", "vit_base"]
    assert names(ranked(wide, limit="200M"))[0] == "vit_base"
    assert names(ranked(wide, pretrained="in21k")) == ["vit_base"]
    assert "vit_base" not in names(ranked(pretrained=["in1k", "in21k"]))
    assert "vit_huge" not in names(ranked(limit="1B"))
    assert why(ranked(image_px=256))["resnet50", 288] == "its figures are for 288 px, over 256 px"


def test_the_limit_itself_is_within() -> None:
    assert "vit_huge" in names(ranked(Rulebook(max_params=600_500_000)))
    assert "vit_huge" not in names(ranked(Rulebook(max_params=600_499_999)))


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("16GiB", 16 * 2**30), ("1.5 gib", 1.5 * 2**30), ("800MiB", 800 * 2**20), ("24GB", 24e9)],
)
def test_a_memory_size_is_read_in_its_unit(text: str, size_bytes: float) -> None:
    assert parse_size(text) == size_bytes


def test_yes_is_no_memory_size() -> None:  # it would be 1 byte, and a budget of that deletes
    with pytest.raises(ValueError, match="write a memory size"):
        parse_size(True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sort": "imagenet_r"},
        {"top": 0},
        {"families": 0},
        {"limit": "40 million"},
        {"limit": 0},
        {"memory": "16"},
        {"memory": 0},
        {"pretrained": ["imagenet"]},
        {"image_px": 0},
        {"max_params": 3},
    ],
    ids=str,
)
def test_a_query_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Query(**wrong)


def test_the_printed_table_says_what_is_shown_and_why_the_rest_is_not() -> None:
    query = Query(top=1)
    text = ranking_as_table(
        rank_backbones(TABLE, query, Rulebook()), query, Rulebook(), source="made by hand"
    )
    lines = text.splitlines()
    assert lines[2].split()[:4] == ["resnet50.a_in1k", "288", "10.0", "77.0"]
    assert "1 of 4 models, the greatest top-1 on ImageNet-R first; 9 rows in all" in text
    assert (
        "Excluded: 1 over 200M parameters, 2 for what their weights saw (1 ImageNet-21K, 1 data "
        "that nobody has named), 1 without that figure, 1 the same weights at another image size."
    ) in text
    assert "published counts" in text and "--check NAME` counts truly" in text
    assert "an estimate of training at batch 32 in 32 bits" in text


def test_the_excluded_are_listed_one_by_one() -> None:
    lines = excluded_table(ranked()).splitlines()
    assert len(lines) == 2 + 5
    assert lines[2].split()[:3] == ["resnet50.a_in1k", "224", "size"]


def test_json_has_the_rows_and_the_excluded_with_their_reasons() -> None:
    query = Query(top=2)
    found = ranking_as_json(
        rank_backbones(TABLE, query, Rulebook()), query, Rulebook(), source="made by hand"
    )
    assert [r["model"] for r in found["rows"]] == ["resnet50.a_in1k", "resnet34.a_in1k"]
    first = found["rows"][0]
    assert (first["gap_r"], first["family"], first["pretraining"]) == (54.0, "resnet", "in1k")
    assert first["memory_bytes"] == 160_000_000 + 32 * 9_000_000 * 8
    assert found["num_ranked"] == 4
    assert found["num_excluded"] == {"size": 1, "pretraining": 2, "params": 1, "figure": 1}
    assert len(found["excluded"]) == 5
    assert {"model", "image_px", "reason", "sentence"} == found["excluded"][0].keys()
