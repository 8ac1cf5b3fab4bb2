"""Which trials a promotion is decided between."""

import pytest

from tests.selection.studies import row
from workbench.selection.contenders import Chosen, choose_contenders, macs_in_words
from workbench.selection.finalists import Finalist, Finalists, MeanLead
from workbench.trial.recipe import Objective

AUC = Objective()
ROWS = [row(0, 0.7), row(1, 0.9), row(2, 0.8), row(3, None, state="failed")]


def again(number: int, *values: float) -> Finalist:
    picked = next(one for one in ROWS if one.number == number)
    repeats = [
        picked.model_copy(update={"recipe": f"repeat-{number}-{at}", "objective": value})
        for at, value in enumerate(values)
    ]
    return Finalist(row=picked, repeats=tuple(repeats), num_seeds=len(values))


def told(chosen: list[Chosen]) -> list[tuple[int, str]]:
    return [(one.row.number, one.role) for one in chosen]


def test_without_trials_there_is_nothing_to_decide() -> None:
    assert choose_contenders([ROWS[3]], AUC, None, None) == []


def test_the_best_is_held_against_the_next() -> None:
    assert told(choose_contenders(ROWS, AUC, None, None)) == [(1, "best"), (2, "runner-up")]


def test_the_champion_is_held_against_the_best_other() -> None:
    found = choose_contenders(ROWS, AUC, ROWS[0], None)
    assert told(found) == [(0, "champion"), (1, "runner-up")]


def test_a_champion_that_is_gone_leaves_the_best() -> None:
    for gone in (row(7, 0.7), row(0, None, state="failed")):
        found = choose_contenders(ROWS, AUC, gone, None)
        assert told(found) == [(1, "best"), (2, "runner-up")]


def test_the_best_finalist_stands_first_by_its_mean() -> None:
    lead = MeanLead(number=1, mean=0.75, margin=0.05, standard_error=0.02)
    ranked = (again(2, 0.7, 0.8, 0.9), again(1, 0.6, 0.9))
    found = choose_contenders(ROWS, AUC, None, Finalists(objective=AUC, ranked=ranked, lead=lead))
    assert told(found) == [(2, "best"), (1, "finalist")]
    # What would be promoted is the repeat nearest the mean, of two as near the worse.
    assert [one.row.recipe for one in found] == ["repeat-2-1", "repeat-1-0"]
    assert [one.lead for one in found] == [None, lead]


def test_the_promoted_repeat_is_the_one_that_is_shown() -> None:
    finalists = Finalists(objective=AUC, ranked=(again(2, 0.7, 0.8, 0.9),))
    found = choose_contenders(ROWS, AUC, finalists.ranked[0].repeats[2], finalists)
    assert found[0].row.recipe == "repeat-2-2"
    # Nobody else was trained again, so the best other trial is the rival.
    assert told(found) == [(2, "champion"), (1, "runner-up")]


@pytest.mark.parametrize(
    ("macs", "said"), [(None, "–"), (390_000_000, "0.39 G"), (4_100_000, "4.10 M")]
)
def test_macs_are_said_in_units_that_fit(macs: int | None, said: str) -> None:
    assert macs_in_words(macs) == said
