"""Bounds that a trial must keep to."""

import pytest

from workbench.errors import ConfigError
from workbench.trial.constraints import Bound, Constraints, broken, constrained_values, excesses
from workbench.trial.result import Result
from workbench.validation import build


def constraints(tree: dict[str, dict[str, object]]) -> Constraints:
    found: Constraints = build(Constraints, tree, where="x")
    return found


def test_the_excess_is_a_share_of_the_bound_and_none_at_the_bound() -> None:
    assert Bound(at_least=0.5).excess(0.4) == pytest.approx(0.2)
    assert Bound(at_least=0.5).excess(0.5) == 0
    assert Bound(at_most=50).excess(75) == pytest.approx(0.5)
    assert Bound(at_least=1, at_most=3).excess(2) < 0
    assert Bound(at_most=0).excess(0.25) == 0.25


def test_what_a_trial_breaks_is_said_with_value_and_bound() -> None:
    asked = constraints(
        {
            "tpr_at_fpr_1e-2": {"at_least": 0.6},
            "params": {"at_most": "50M"},
            "ms_per_file": {"at_most": 50},
            "auc": {"at_least": 0.5, "at_most": 0.999},
        }
    )
    metrics = {"tpr_at_fpr_1e-2": 0.52, "auc": 0.9}
    ended = Result(recipe="0" * 12, state="complete", metrics=metrics, ms_per_file=12.5)
    values = constrained_values(ended, params=(86_500_000, None, 85_000_000))
    assert broken(asked, values) == (
        "tpr_at_fpr_1e-2 is 0.52, not at least 0.6",
        "params is 86.5M, not at most 50M",
    )
    found = excesses(asked, values)
    assert found["params"] == pytest.approx(0.73)
    assert max(found["auc"], found["ms_per_file"]) < 0


def test_what_is_not_known_of_a_trial_is_not_said_to_be_kept() -> None:
    asked = constraints({"params": {"at_most": 1}, "ms_per_file": {"at_most": 1}})
    ended = Result(recipe="0" * 12, state="complete")
    unknown = constrained_values(ended, params=(None, None))
    assert excesses(asked, unknown) == {}
    assert broken(asked, unknown) == (
        "params is not known, to be at most 1",
        "ms_per_file is not known, to be at most 1",
    )


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"auc": {}}, "write `at_least`, `at_most` or both"),
        ({"auc": {"at_least": 0.9, "at_most": 0.8}}, "nothing lies between"),
        ({"speed": {"at_most": 1}}, "speed"),
        ({"params": {"at_most": "many"}}, "at_most"),
    ],
)
def test_a_wrong_constraint_is_refused(tree: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        constraints(tree)
