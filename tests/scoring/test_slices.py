"""Slices and what an objective makes of a model's metrics on several of them."""

import pytest

from tests.trial.pictures import SIZES
from workbench.data.prepare import Prepared
from workbench.errors import ConfigError
from workbench.scoring.slices import labelled_slices, slices_of
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


def test_the_worst_is_the_least_of_what_is_to_grow_and_the_most_of_what_is_to_shrink() -> None:
    worst = Objective(metric="auc", over=("a", "b"), aggregate="worst")
    assert worst.aggregated(BY_SLICE) == {"auc": 0.5, "log_loss": 1.0, "fpr": 0.125}


def test_the_mean_is_over_the_slices_that_are_named() -> None:
    mean = Objective(metric="log_loss", over=("a", "c"), aggregate="mean")
    assert mean.aggregated(BY_SLICE) == {"auc": 0.875, "log_loss": 0.25, "fpr": 0.5625}


def test_one_slice_gives_its_own_metrics() -> None:
    for aggregate in ("mean", "worst"):
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


def test_a_standard_error_is_known_of_the_auc_on_one_slice() -> None:
    assert Objective().has_standard_error
    assert not Objective(metric="f1").has_standard_error
    assert not Objective(over=("a", "b")).has_standard_error
