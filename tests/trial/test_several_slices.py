"""A trial whose objective is measured on several slices."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from torch.nn import Module

from tests.trial.pictures import SIZES, recipe_for
from workbench.data.metadata import column_of
from workbench.data.prepare import Prepared
from workbench.errors import DamagedFileError
from workbench.scoring import slices
from workbench.scoring.slices import Slice, SliceFamily
from workbench.scoring.stored import StoredViews
from workbench.study.scored import gives
from workbench.trial.decision import Decision
from workbench.trial.metrics import binary_metrics
from workbench.trial.recipe import Objective
from workbench.trial.result import Epoch, TrialFolder
from workbench.trial.train import run_trial
from workbench.trial.training import Training


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


def test_slices_outside_of_the_objective_are_dealt_the_scores_of_their_files(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    val = pictures.table[pictures.table["split"] == "val"].iloc[[0] * 20 + [1] * 20]
    val = val.assign(name=[f"v{number}" for number in range(40)])
    made_by = {column_of("generator"): [""] * 20 + ["a", "b"] * 10}
    rest = pictures.table[pictures.table["split"] != "val"]
    data = replace(pictures, table=pd.concat([rest, val.assign(**made_by)], ignore_index=True))
    scored: list[int] = []
    predict = Training.predict

    def counted(self: Training, source: StoredViews, model: Module) -> NDArray[np.float64]:
        scored.append(source.num_files)
        return predict(self, source, model)

    monkeypatch.setattr(Training, "predict", counted)
    objective = Objective(over=("val",))
    recipe = recipe_for(data, objective=objective, num_epochs=1)
    result = run_trial(recipe, data, tmp_path, device="cpu", report=lambda epoch: "go on")
    assert scored == [40, SIZES["test"]]  # once in the epoch; then what has no score yet
    assert set(result.by_slice) == {"val", "generators.a", "generators.b"}
    assert result.by_slice["val"] == result.metrics
    assert result.ms_per_file is not None and result.ms_per_file > 0
    scores = TrialFolder(tmp_path).read_scores()
    sizes = {"val": 40, "generators.a": 30, "generators.b": 30, "test": SIZES["test"]}
    assert scores["slice"].value_counts().to_dict() == sizes
    for name, found in result.by_slice.items():
        part = scores[scores["slice"] == name]
        assert binary_metrics(part["target"], part["score"]) == found


def test_scores_with_a_file_twice_are_damaged(tmp_path: Path) -> None:
    files = TrialFolder(tmp_path / "trial")
    files.path.mkdir()
    rows = [(name, "a.png", 0.5, 1, False) for name in ("val", "degraded")]
    scores = pd.DataFrame(rows, columns=["slice", "name", "score", "target", "neutral"])
    files.write_scores(scores)
    assert files.read_scores().equals(scores)
    files.write_scores(pd.concat([scores, scores[:1]]))
    with pytest.raises(DamagedFileError, match="is damaged"):
        files.read_scores()
