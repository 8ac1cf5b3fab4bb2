"""What is said of files that a promoted model saw nothing of."""

from collections.abc import Sequence

import pandas as pd
import pytest

from tests.selection.studies import MadeStudy, champion, normal_scores
from workbench.selection.champion import describe_champion
from workbench.selection.soup_decision import decision_for_soup
from workbench.selection.summary import summarise
from workbench.selection.unseen import unseen_of, unseen_told
from workbench.trial.recipe import Objective

ENDING = "it scored neutral arrays of them, and these scores count like any other."


def part(name: str, targets: Sequence[int], unseen: Sequence[int]) -> pd.DataFrame:
    """Return the scores of a slice, of which the model saw nothing of the files at `unseen`."""
    places = range(len(targets))
    return pd.DataFrame(
        {
            "slice": name,
            "name": [f"{place}.mp4" for place in places],
            "score": [0.5 if place in unseen else 0.1 for place in places],
            "target": targets,
            "neutral": [place in unseen for place in places],
        }
    )


@pytest.mark.parametrize(
    ("unseen", "said"),
    [
        ((), ""),
        ((1, 3, 5), "3 of 8 files of val (3 fake) have none of the views that it reads: " + ENDING),
        (
            (1, 3, 4),
            "3 of 8 files of val (2 fake, 1 real) have none of the views that it reads: " + ENDING,
        ),
        (
            (0,),
            "1 of 8 files of val (1 real) has none of the views that it reads: "
            + ENDING.replace("them", "it"),
        ),
    ],
)
def test_files_that_a_model_saw_nothing_of_are_counted_by_class(
    unseen: tuple[int, ...], said: str
) -> None:
    # The files without labels and the slices beside the objective's measure nothing.
    others = [part("test", [-1] * 3, (0, 1)), part("phone", [0, 1], (1,))]
    scores = pd.concat([part("val", [0, 1] * 4, unseen), *others], ignore_index=True)
    assert unseen_told(scores, Objective()) == said


def test_slices_are_told_each_by_itself() -> None:
    over = ("val", "generators", "phone")
    tables = [part(f"generators.g{n}", [0, 1, 1], (1,)) for n in range(4)]
    tables += [part("val", [0, 1, 1], (1, 2)), part("phone", [0, 1], ())]
    told = unseen_told(pd.concat(tables), Objective(over=over, aggregate="worst"))
    assert told.startswith(
        "2 of 3 files of val (2 fake), 1 of 3 files of generators.g0 (1 fake), 1 of 3 files of "
        "generators.g1 (1 fake) and files of 2 more slices have none of the views "
    )


def test_of_scores_of_an_older_version_nothing_is_said() -> None:
    scores = part("val", [0, 1] * 4, (1, 3)).drop(columns="neutral")
    assert unseen_told(scores, Objective()) == ""


def test_the_page_and_the_terminal_say_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = MadeStudy(tmp_path_factory.mktemp("study"))
    recipe = made.add(*normal_scores(1.0, seed=0, num=20))
    assert "neutral" not in summarise(made.folder, made.rows, made.objective)[0].decision[1]
    files = made.folder.trial(recipe.uid)
    scores = files.read_scores()
    seen_not = (scores["target"] == 1) & (scores["name"] < "clip00012.mp4")
    files.write_scores(scores.assign(neutral=seen_not))
    told = f"6 of 20 files of val (6 fake) have none of the views that it reads: {ENDING}"
    assert unseen_of(made.folder, recipe.uid, made.objective) == told
    summary, _ = summarise(made.folder, made.rows, made.objective)
    assert summary.decision[1].endswith(f". {told}")
    promoted = champion(recipe=recipe.uid, unseen=told)
    assert describe_champion(promoted).splitlines().count(told) == 1
    soup = promoted.model_copy(update={"number": None, "members": ("0",), "soup": "all"})
    assert told in decision_for_soup(soup, 10**8)[1]
    files.scores.write_bytes(b"damaged")
    assert unseen_of(made.folder, recipe.uid, made.objective) == ""
