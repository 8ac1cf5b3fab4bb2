"""The reference of all keys: whole, as the program has them, and as the pages say."""

from pathlib import Path

import pytest
from pydantic import Field

from tests.commands import run_here
from workbench.space.experiment import Experiment
from workbench.space.reference import Key, matching, pages, sections
from workbench.space.space import SampledConfig
from workbench.values import Frozen

DOCS = Path(__file__).parents[2] / "docs"


class Inner(Frozen):
    """Where it stands. A second sentence."""

    left: float | None = Field(None, gt=0, le=2)
    """Whether it is
    left."""


class Outer(Frozen):
    """All of it."""

    size: int = Field(ge=1)
    inner: Inner = Inner()
    many: dict[str, Inner] = Field(default_factory=dict)
    names: tuple[str, ...] = ("a", "b")


def test_keys_are_told_with_what_they_may_be() -> None:
    whole, inner, many = sections(Outer)
    assert whole.keys == (
        Key("size", "whole number, at least 1", "", ""),
        Key("inner", "mapping", "{}", "Where it stands."),
        Key("many", "mapping of names to mappings", "{}", "Where it stands."),
        Key("names", "list of texts", "[a, b]", ""),
    )
    assert inner.title == "inner"
    assert inner.keys == (
        Key("inner.left", "number or null, above 0, at most 2", "null", "Whether it is left."),
    )
    assert [key.name for key in many.keys] == ["many.NAME.left"]


@pytest.mark.parametrize("model", [Experiment, SampledConfig])
def test_every_key_says_what_it_means(model: type[Experiment] | type[SampledConfig]) -> None:
    found = list(sections(model))
    assert [section.title for section in found if not section.about] == []
    assert [key.name for section in found for key in section.keys if not key.meaning] == []


def test_the_pages_are_those_of_this_program() -> None:
    for name, page in pages().items():
        is_same = (DOCS / name).read_text(encoding="utf-8") == page
        assert is_same, f"docs/{name} is old: python -m workbench.space.reference docs"


def test_a_drawn_dimension_is_found_by_its_name() -> None:
    (section,) = matching("schedule.plateau.gamma")
    assert [key.name for key in section.keys] == ["schedule.gamma"]


def test_the_command_explains_a_key(tmp_path: Path) -> None:
    said = run_here(tmp_path, "keys", "transfer.layer_decay")
    assert "transfer.layer_decay: number, above 0, at most 1 [1.0]" in said
    assert "optimizer.lr" in run_here(tmp_path, "keys")
    assert run_here(tmp_path, "--version").startswith("workbench 0.")
