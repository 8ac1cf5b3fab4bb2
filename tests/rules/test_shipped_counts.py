"""What thop counts of the backbones that the shipped spaces can draw, against the truth."""

import pytest

from tests.rules.shipped_counts import (
    OVER_THE_LIMIT,
    ROOT,
    counted,
    recorded,
    shipped_backbones,
    undercounts,
)

HOW = "run `python -m tests.rules.shipped_counts` and commit its CSV"
RECORDED = recorded()


def test_every_shipped_backbone_has_recorded_counts() -> None:
    wanted = {*shipped_backbones(), *OVER_THE_LIMIT}
    assert wanted - RECORDED.keys() == set(), f"they have no row: {HOW}"
    assert RECORDED.keys() - wanted == set(), f"no space has them: delete their rows, or {HOW}"


@pytest.mark.parametrize(
    "backbone",
    [
        # Above that, most of the time goes into models that no search on two cores draws.
        pytest.param(name, marks=[pytest.mark.slow] if true > 10_000_000 else [])
        for name, (_, true) in RECORDED.items()
    ],
)
def test_a_backbone_is_built_and_counted_as_recorded(backbone: str) -> None:
    assert counted(backbone) == RECORDED[backbone], f"(thop, true): delete its row and {HOW}"


def test_the_page_of_rules_lists_where_thop_counts_too_few() -> None:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    _, _, section = text.partition("\n## Two counts\n")
    table = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    assert table == undercounts(RECORDED)


def test_thop_alone_would_let_too_large_models_pass() -> None:
    for name in OVER_THE_LIMIT:
        thop, true = RECORDED[name]
        assert thop is not None
        assert thop < 200_000_000 < true


def test_a_small_undercount_is_not_listed() -> None:
    counts = {"a": (99, 100), "b": (98, 100), "c": (None, 100), "d": (100, 99), "e": (50, 100)}
    assert [row.split(" | ")[0] for row in undercounts(counts)] == ["| `e`", "| `b`"]
