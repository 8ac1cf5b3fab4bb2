"""A trial whose objective is measured on several slices."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.trial.pictures import SIZES, recipe_for
from workbench.data.prepare import Prepared
from workbench.scoring import slices
from workbench.scoring.slices import Slice, SliceFamily
from workbench.selection.statistics import gives
from workbench.trial.decision import Decision
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import Objective
from workbench.trial.result import Epoch, TrialFolder
from workbench.trial.train import run_trial


def _first_files(prepared: Prepared) -> Iterator[SliceFamily]:
    """Yield a slice of a kind that only this test has: the first four files of `val`."""
    yield SliceFamily("first", (Slice("first", prepared, prepared.rows("val").iloc[:4]),))


@pytest.mark.parametrize("aggregate", ["mean", "worst"])
def test_its_objective_is_the_aggregate_and_its_scores_are_those_of_every_slice(
    pictures: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    aggregate: Literal["mean", "worst"],
) -> None:
    monkeypatch.setattr(slices, "_KINDS", (*slices._KINDS, _first_files))
    objective = Objective(metric="log_loss", over=("first", "val"), aggregate=aggregate)
    recipe = recipe_for(pictures, objective=objective, num_epochs=2)

    def run(*verdicts: Decision) -> Epoch:
        told: list[Epoch] = []

        def report(epoch: Epoch) -> Decision:
            told.append(epoch)
            return verdicts[len(told) - 1]

        result = run_trial(recipe, pictures, tmp_path, device="cpu", report=report)
        assert result.state == ("complete" if verdicts[-1] == "go on" else "paused"), result.reason
        return min(result.epochs, key=lambda epoch: epoch.objective)

    run("pause")
    best = run("go on", "go on")  # from its checkpoint, which holds the scores of both slices
    scores = TrialFolder(tmp_path).read_scores()
    assert scores["slice"].value_counts().to_dict() == {
        "first": 4,
        "val": SIZES["val"],
        "test": SIZES["test"],
    }
    of = {
        name: binary_metrics(part["target"], part["score"])["log_loss"]
        for name, part in scores[scores["slice"] != "test"].groupby("slice")
    }
    expected = (of["first"] + of["val"]) / 2 if aggregate == "mean" else max(of.values())
    assert best.objective == pytest.approx(expected)
    assert best.metrics["log_loss"] == best.objective
    assert gives(scores, objective, best.objective)
    assert not gives(scores, objective, best.objective + 0.01)
    # The same files have the same scores, whatever slice they are in.
    by_name = scores[scores["slice"] == "val"].set_index("name")["score"]
    of_first = scores[scores["slice"] == "first"].set_index("name")["score"]
    assert of_first.to_dict() == pytest.approx(by_name[of_first.index].to_dict())
