"""Slices and what an objective makes of a model's metrics on several of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.trial.pictures import SIZES
from workbench.data.metadata import Metadata, column_of
from workbench.data.prepare import Prepared
from workbench.errors import ConfigError
from workbench.scoring.slices import Slice, labelled_slices, num_files, slice_notes, slices_of
from workbench.scoring.stored import StoredViews
from workbench.scoring.stored_slices import StoredSlices
from workbench.trial.metrics import objective_metrics
from workbench.trial.recipe import MetricName, Objective
from workbench.validation import build

BY_SLICE: dict[str, dict[MetricName, float]] = {
    "a": {"auc": 0.75, "log_loss": 0.5, "fpr": 0.125},
    "b": {"auc": 0.5, "log_loss": 1.0, "fpr": 0.0},
    "c": {"auc": 1.0, "log_loss": 0.0, "fpr": 1.0},
}


def test_the_data_s_own_splits_are_slices_of_which_one_has_labels(pictures: Prepared) -> None:
    found = slices_of(pictures)
    for name, is_labelled in (("val", True), ("test", False)):
        assert (len(found[name].rows), found[name].is_labelled) == (SIZES[name], is_labelled)
    assert [part.name for part in labelled_slices(pictures, ["val"])] == ["val"]


@pytest.mark.parametrize(("name", "why"), [("test", "has no labels"), ("phone", "is no slice")])
def test_an_objective_is_measured_on_labelled_slices_alone(
    pictures: Prepared, name: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=f"`objective.over` names '{name}', which {why}"):
        labelled_slices(pictures, ["val", name])


def with_columns(
    prepared: Prepared, *, groups: tuple[str, ...] = (), **columns: list[str]
) -> Prepared:
    """Return `prepared` with a `val` of 40 files, 20 real before 20 fake, and metadata columns."""
    some = prepared.table[prepared.table["split"] == "val"].iloc[[0] * 40]
    val = some.assign(name=[f"v{number}" for number in range(40)], target=[0] * 20 + [1] * 20)
    val = val.assign(**{column_of(name): values for name, values in columns.items()})
    table = pd.concat([prepared.table[prepared.table["split"] != "val"], val])
    return replace(prepared, table=table, metadata=Metadata(groups=groups))


def names_in(part: Slice, target: int) -> list[str]:
    return part.rows.loc[part.rows["target"] == target, "name"].tolist()


def test_the_fakes_of_each_generator_stand_against_all_reals(pictures: Prepared) -> None:
    made_by = ["human"] * 20 + ["tool A/1"] * 10 + ["tool B"] * 10
    data = with_columns(pictures, generator=made_by)
    one, other = labelled_slices(data, ["generators"])
    assert (one.name, other.name) == ("generators.tool_A_1", "generators.tool_B")
    assert names_in(one, 0) == names_in(other, 0) == [f"v{number}" for number in range(20)]
    assert names_in(one, 1) == [f"v{number}" for number in range(20, 30)]
    assert names_in(other, 1) == [f"v{number}" for number in range(30, 40)]
    assert slice_notes(data, ["val", "generators"]) == []


def test_each_speaker_s_files_are_a_slice_of_their_own(pictures: Prepared) -> None:
    data = with_columns(pictures, groups=("speaker",), speaker=["ann", "bob"] * 20)
    ann, bob = labelled_slices(data, ["speaker"])
    assert (ann.name, bob.name) == ("speaker.ann", "speaker.bob")
    assert names_in(ann, 0) == [f"v{number}" for number in range(0, 20, 2)]
    assert names_in(bob, 1) == [f"v{number}" for number in range(21, 40, 2)]


def test_values_with_too_few_files_are_one_slice_together_or_none(pictures: Prepared) -> None:
    made_by = [""] * 20 + ["a"] * 10 + ["b"] * 5 + ["c"] * 4 + [""]
    data = with_columns(pictures, generator=made_by)
    assert [part.name for part in labelled_slices(data, ["generators"])] == ["generators.a"]
    assert "2 more values (e.g. b) with fewer than 10" in slice_notes(data, ["generators"])[0]
    assert "in no slice" in slice_notes(data, ["generators"])[0]
    data = with_columns(pictures, generator=[*made_by[:-1], "c"])
    *_, pooled = labelled_slices(data, ["generators"])
    assert pooled.name == "generators.other"
    assert names_in(pooled, 1) == [f"v{number}" for number in range(30, 40)]
    assert "together they are generators.other" in slice_notes(data, ["generators"])[0]


def test_files_without_a_value_are_told_since_no_slice_has_them(pictures: Prepared) -> None:
    data = with_columns(pictures, generator=["human"] * 20 + ["a"] * 10 + [""] * 10)
    assert [part.name for part in labelled_slices(data, ["generators"])] == ["generators.a"]
    said = "generators: the tables say no `generator` of 10 fakes of val, so no slice has them."
    assert slice_notes(data, ["generators"]) == [said]
    data = with_columns(pictures, groups=("speaker",), speaker=["ann", ""] * 20)
    (note,) = slice_notes(data, ["speaker"])
    assert note == "speaker: the tables say no `speaker` of 20 files of val, so no slice has them."


def test_values_that_are_written_alike_keep_names_apart(pictures: Prepared) -> None:
    data = with_columns(pictures, generator=[""] * 20 + ["a b"] * 10 + ["a/B"] * 10)
    assert set(slices_of(data)) == {"val", "test", "generators.a_b", "generators.a_B-2"}


def test_a_family_that_the_data_lack_is_left_out_and_said(pictures: Prepared) -> None:
    assert [part.name for part in labelled_slices(pictures, ["val", "generators"])] == ["val"]
    (note,) = slice_notes(pictures, ["val", "generators"])
    assert note == "No generators: the data's tables have no column `generator`."
    with pytest.raises(ConfigError, match=r"no column `generator`\. Name `val` too"):
        labelled_slices(pictures, ["generators"])


def test_one_slice_of_a_family_can_be_named_and_is_taken_once(pictures: Prepared) -> None:
    data = with_columns(pictures, generator=[""] * 20 + ["a", "b"] * 10)
    names = [part.name for part in labelled_slices(data, ["generators.b", "val", "generators"])]
    assert names == ["generators.b", "val", "generators.a"]
    with pytest.raises(ConfigError, match=r"'generators.x', which is no slice.*generators.a"):
        labelled_slices(data, ["val", "generators.x"])


def test_files_that_are_in_several_slices_are_scored_once(pictures: Prepared) -> None:
    data = with_columns(pictures, generator=[""] * 20 + ["a", "b"] * 10)
    # In another order than `val` has, so that a wrong place would show.
    parts = labelled_slices(data, ["generators.b", "generators.a"])

    def stored(part: Slice) -> StoredViews:
        views = {"image": pictures.views["image"]}
        cpu = torch.device("cpu")
        return StoredViews(part, views, image_px=32, device=cpu, most_kept_bytes=0)

    found = StoredSlices(parts, stored)
    (source,) = found.sources
    assert found.num_files == source.num_files == num_files(parts) == 40
    score = np.array([int(name[1:]) / 64 for name in source.names])
    table = found.table([score])
    assert table["slice"].value_counts().to_dict() == {"generators.a": 30, "generators.b": 30}
    assert (table["score"] == [int(name[1:]) / 64 for name in table["name"]]).all()
    for name, (targets, scores) in found.by_slice([score]).items():
        rows = table[table["slice"] == name]
        assert rows["score"].tolist() == scores.tolist()
        assert rows["target"].tolist() == targets.tolist()
    val = found.table_of(slices_of(data)["val"], [score])
    assert val is not None and val["score"].tolist() == [number / 64 for number in range(40)]
    assert found.table_of(slices_of(data)["test"], [score]) is None
    assert [part.tolist() for part in found.split(score)] == [score.tolist()]


def test_the_worst_is_the_least_of_what_is_to_grow_and_the_most_of_what_is_to_shrink() -> None:
    worst = Objective(metric="auc", over=("a", "b"), aggregate="worst")
    assert worst.aggregated(BY_SLICE) == {"auc": 0.5, "log_loss": 1.0, "fpr": 0.125}


def test_the_mean_is_over_the_slices_that_are_named() -> None:
    mean = Objective(metric="log_loss", over=("a", "c"), aggregate="mean")
    assert mean.aggregated(BY_SLICE) == {"auc": 0.875, "log_loss": 0.25, "fpr": 0.5625}


def test_the_lowest_quartile_is_the_mean_of_the_worst_quarter_rounded_up() -> None:
    values = [0.9, 0.5, 0.7, 0.8, 0.6]
    by_slice: dict[str, dict[MetricName, float]] = {
        f"of.{number}": {"auc": value, "log_loss": value} for number, value in enumerate(values)
    }
    lowest = Objective(over=("of",), aggregate="lowest-quartile")
    assert lowest.aggregated(by_slice) == pytest.approx({"auc": 0.55, "log_loss": 0.85})
    four = {name: by_slice[name] for name in list(by_slice)[:4]}
    assert lowest.aggregated(four) == {"auc": 0.5, "log_loss": 0.9}


def test_a_family_stands_for_its_slices_each_counted_once() -> None:
    there = ["val", "of.a", "of.b", "often.c"]
    for over, found in (
        (["of"], ("of.a", "of.b")),
        (["of.b", "val", "of"], ("of.b", "val", "of.a")),
        (["val", "absent"], ("val",)),
        (["absent"], ()),
    ):
        assert Objective.model_validate({"over": over}).slices_among(there) == found


def test_one_slice_gives_its_own_metrics() -> None:
    for aggregate in ("mean", "worst", "lowest-quartile"):
        one = Objective.model_validate({"over": ["b"], "aggregate": aggregate})
        assert one.aggregated(BY_SLICE) == BY_SLICE["b"]


def test_metrics_of_scores_are_aggregated_over_slices() -> None:
    # Of two pairs each: in `a` both are in order, in `b` one is.
    scored = {
        "a": ([0, 1], [0.25, 0.75]),
        "b": ([0, 0, 1], [0.1, 0.9, 0.5]),
        "unasked": ([1, 0], [0.25, 0.75]),
    }
    mean = Objective(over=("a", "b"))
    assert objective_metrics(mean, scored)["auc"] == 0.75
    worst = Objective(over=("a", "b"), aggregate="worst")
    assert objective_metrics(worst, scored)["auc"] == 0.5


def test_the_key_of_one_slice_is_still_read() -> None:
    assert build(Objective, {"metric": "f1", "slice": "val"}, where="x") == Objective(metric="f1")
    assert Objective(over=("phone",)) == build(Objective, {"slice": "phone"}, where="x")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"over": []}, "over"),
        ({"over": ["val", "val"]}, "names a slice twice"),
        ({"slice": "val", "over": ["val"]}, "`slice` is not a known key"),
        ({"aggregate": "best"}, "aggregate"),
    ],
)
def test_a_wrong_objective_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(Objective, given, where="x")


def test_a_person_reads_where_it_is_measured() -> None:
    assert Objective().place == "val"
    assert Objective(over=("a", "b"), aggregate="worst").place == "the worst of a, b"
    assert Objective(over=("a",), aggregate="lowest-quartile").place == "the worst quarter of a"


def test_a_standard_error_is_known_of_the_auc_on_one_slice() -> None:
    assert Objective().has_standard_error()
    assert not Objective(metric="f1").has_standard_error(["val"])
    assert not Objective(over=("a", "b")).has_standard_error(["a", "b"])
    assert Objective(over=("generators.a",)).has_standard_error()
    family, scored = Objective(over=("generators",)), ["val", "generators.a"]
    assert not family.has_standard_error(scored)
    # A labelled folder is one slice, which no name but its own can tell.
    folder = Objective(over=("phone",))
    assert folder.has_standard_error([*scored, "phone"])
    assert not folder.has_standard_error() and not folder.has_standard_error(scored)
