"""A study as Python sees it: its trials, its scores, its comparison, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from tests.selection.studies import MadeStudy, row
from workbench.access import is_locked
from workbench.api import prediction
from workbench.api import study as api_study
from workbench.api.comparison import trials_table
from workbench.errors import ConfigError, DataError, StudyError
from workbench.searching import mending, start
from workbench.selection import promotion, told_in_mlflow
from workbench.study.folder import StudyFolder
from workbench.tracking import registry
from workbench.trial.recipe import Objective

TARGETS = [0, 0, 1, 1]
NAMES = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]


@pytest.fixture
def made(tmp_path: Path) -> MadeStudy:
    """Two complete trials, of which the second is the better one, one pruned and one failed."""
    study = MadeStudy(tmp_path / "experiments")
    study.add(TARGETS, [0.1, 0.6, 0.5, 0.9], names=NAMES, drawn={"optimizer.lr": 1e-3})
    study.add(TARGETS, [0.2, 0.3, 0.7, 0.8], names=NAMES, slices={"phone": [1, 3]})
    study.add(state="pruned", reason="too big")
    study.add(state="failed", reason="no memory")
    return study


def test_trials_are_rows_the_best_first(made: MadeStudy, tmp_path: Path) -> None:
    found = wb.Study.open("made", root=tmp_path).trials
    assert found.index.name == "trial"
    assert found.index.tolist() == [1, 0, 2, 3]
    assert found["state"].tolist() == ["complete", "complete", "pruned", "failed"]
    # Of the four pairs of a real and a fake file, the first trial has one in the wrong order.
    assert found["objective"].tolist()[:2] == [1.0, 0.75]
    assert found["objective"].isna().tolist() == [False, False, True, True]
    assert found.loc[0, "drawn.optimizer.lr"] == 1e-3
    assert found.loc[2, "reason"] == "too big"
    assert found["params_true"].tolist()[:2] == [1_234_567, 1_234_567]
    assert str(found["params_true"].dtype) == "Int64"


def test_scores_are_samples_by_trials(made: MadeStudy, tmp_path: Path) -> None:
    found = wb.Study.open("made", root=tmp_path).scores
    assert [*found] == [0, 1]
    assert found.index.names == ["slice", "name", "target"]
    assert found.xs("b.mp4", level="name").loc["val"].to_numpy().tolist() == [[0.6, 0.3]]
    assert found.loc["val"].groupby("target").mean()[1].tolist() == pytest.approx([0.25, 0.75])
    assert found.loc["test"].index.get_level_values("target").unique().tolist() == [-1]
    # The first trial was not scored on this slice.
    assert found.loc["phone"][1].tolist() == [0.3, 0.8]
    assert np.isnan(found.loc["phone"][0]).all()


def test_a_study_without_a_complete_trial_has_no_scores(tmp_path: Path) -> None:
    MadeStudy(tmp_path / "experiments").add(state="failed", reason="no memory")
    study = wb.Study.open("made", root=tmp_path)
    assert study.scores.shape == (0, 0)
    assert study.scores.index.names == ["slice", "name", "target"]
    assert study.champion is None
    assert "No trial is complete yet." in study._repr_html_()
    assert study.compare(page=False).decision == ()


def test_a_comparison_is_shown_and_its_figures_are_kept(made: MadeStudy, tmp_path: Path) -> None:
    study = wb.Study.open("made", root=tmp_path)
    compared = study.compare()
    assert compared.page == study.path / "compare.html"
    assert compared.decision[0].startswith("Trial 1 (test_resnet on mel) would be promoted")
    shown = compared._repr_html_()
    assert compared.decision[0] in shown
    assert shown.count("<tr") == 4  # two lines of headings, two trials
    assert set(compared.figures) == {"history", "curves", "parallel", "roc", "pr"}
    compared.figures["history"].write_json(tmp_path / "history.json")
    assert '"scatter"' in (tmp_path / "history.json").read_text(encoding="utf-8")
    assert compared.as_json()["trials"][1]["objective"] == 1.0
    assert "2 complete, 1 pruned, 1 failed" in str(compared)


def test_strangers_texts_are_no_markup() -> None:
    drawn = trials_table([row(0, 0.9, backbone="<script>")], Objective())
    assert "&lt;script&gt;" in drawn
    assert "<script>" not in drawn


def test_the_last_study_is_opened_by_default_and_others_are_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="There is no study yet"):
        wb.Study.open(root=tmp_path)
    made = MadeStudy(tmp_path / "experiments", "mine")
    with pytest.raises(StudyError, match="There is mine"):
        wb.Study.open("other", root=tmp_path)
    (made.folder.path.parent / ".last-study").write_text("mine\n")
    assert wb.Study.open(root=tmp_path).name == "mine"


def test_no_page_of_an_earlier_promotion_is_written_over_that_of_a_later_one(
    made: MadeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mending, "mend_runs", lambda *_: None)
    monkeypatch.setattr(registry, "ModelRegistry", lambda *_: None)
    monkeypatch.setattr(promotion, "promote", lambda *_: None)
    monkeypatch.setattr(told_in_mlflow, "tell_in_mlflow", lambda *_: None)
    held: list[bool] = []

    def compare(folder: StudyFolder, *, page: bool) -> None:
        held.append(is_locked(folder.path / ".promoting"))

    monkeypatch.setattr(api_study, "compare_trials", compare)
    wb.Study.open("made", root=tmp_path).promote(0)
    assert held == [True]


def test_a_trial_and_a_pack_are_not_promoted_together(made: MadeStudy, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name several models"):
        wb.Study.open("made", root=tmp_path).promote(1, pack=True)
    # True is no trial, though Python counts it as 1.
    with pytest.raises(ConfigError, match="`trial` is True: give a trial's number"):
        wb.Study.open("made", root=tmp_path).promote(True)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"joint": "average"}, "`joint` is 'average': give mean, calibrated, logistic"),
        ({"members": 1}, "`members` is 1: give 2 or more"),
        ({"max_params": 0}, "`max_params` is 0: give 1 or more"),
        ({"others": ["made"]}, "`others` has 'made': give studies"),
    ],
)
def test_a_pack_of_wrong_settings_is_refused(
    made: MadeStudy, tmp_path: Path, wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        wb.Study.open("made", root=tmp_path).pack(**wrong)  # type: ignore[arg-type]


def test_a_prediction_of_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file to score"):
        wb.predict(tmp_path, [])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"trials": 0}, "`trials` is 0: give 1 or more"),
        ({"jobs": -1}, "`jobs` is -1: give 1 or more"),
        ({"finalists": (5, 0)}, "`seeds of finalists` is 0: give 1 or more"),
        ({"finalists": (5,)}, r"`finalists` is \(5,\): give two numbers"),
        ({"trials": "2"}, "`trials` is '2': give a whole number"),
        ({"trials": 2.5}, r"`trials` is 2\.5: give a whole number"),
        ({"seed": True}, "`seed` is True: give a whole number"),
        ({"memory_bytes": -5}, "`memory_bytes` is -5: give 1 or more"),
        ({"timeout_s": float("nan")}, "`timeout_s` is nan: give seconds"),
        ({"timeout_s": -1}, "`timeout_s` is -1: give seconds"),
        ({"seed": -1}, "`seed` is -1: give 0 to 2147483647"),
        ({"trials": None}, "`trials` is None: give a whole number"),
        ({"seed": None}, "`seed` is None: give a whole number"),
        ({"device": 0}, "`device` is 0: give auto"),
        ({"study": 5}, "`study` is 5: give a study's name"),
        ({"start_from": "a.yaml"}, r"`start_from` is 'a.yaml': give a list, \['a.yaml'\]"),
        ({"slices": ["a"]}, r"`slices` is \['a'\]: give a name for each folder"),
        ({"after_trials": "f"}, "`after_trials` is 'f': give a function"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_read(
    wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        wb.search("nowhere.yaml", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("stopped", ["The time is up.", ""])
def test_a_search_without_a_complete_trial_promotes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    made = MadeStudy(tmp_path / "experiments")
    made.add(state="failed", reason="no memory")
    ended = start.SearchOutcome(made.folder, made.folder.experiment(), stopped, num_new=1)
    monkeypatch.setattr(start, "run_search", lambda *given, **named: ended)
    seen: list[tuple[str, int]] = []

    def look(study: wb.Study) -> None:
        seen.append((study.name, study.num_new))

    if stopped:
        study = wb.search("made.yaml", root=tmp_path, after_trials=look)
        assert (study.stopped, study.champion) == (stopped, None)
    else:
        with pytest.raises(StudyError, match="No trial is complete"):
            wb.search("made.yaml", root=tmp_path, after_trials=look)
    assert seen == [("made", 1)]


def test_a_pack_that_lacks_members_is_not_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MadeStudy(tmp_path / "experiments")
    made.add([0, 1], [0.1, 0.9])
    file = tmp_path / "made.yaml"
    file.write_text("members: [{}, {}]\n", encoding="utf-8")
    lacks = "The pack is not promoted, since it lacks member 2."
    ended = start.SearchOutcome(made.folder, made.folder.experiment(), "It is full.", 1, lacks)
    monkeypatch.setattr(start, "run_preset", lambda *given, **named: ended)
    study = wb.train(file, data=tmp_path, root=tmp_path)
    assert (study.stopped, study.champion) == (f"It is full. {lacks}", None)


def test_predictions_keep_names_and_every_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(bundle: Path, files: list[Path], out: Path, device: str) -> None:
        assert (bundle, files, device) == (Path("bundle"), [Path("NA"), Path("007")], "cpu")
        out.write_text("name,y_pred\nNA,0.1000000000000000055\n007,0.30000000000000004\n")

    monkeypatch.setattr(prediction, "run_predict", score)
    found = wb.predict("bundle", ["NA", Path("007")], out=tmp_path / "out.csv")
    expected = pd.DataFrame({"name": ["NA", "007"], "y_pred": [0.1, 0.1 + 0.2]})
    assert (tmp_path / "out.csv").exists()
    assert found["name"].tolist() == expected["name"].tolist()
    assert found["y_pred"].tolist() == expected["y_pred"].tolist()


@pytest.mark.parametrize("top", [0, -1, "3", True])
def test_a_table_of_no_trials_is_refused(made: MadeStudy, tmp_path: Path, top: object) -> None:
    with pytest.raises(ConfigError, match=f"`top` is {top!r}: give 1 or more"):
        wb.Study.open("made", root=tmp_path).table(top=top)  # type: ignore[arg-type]


def test_settings_of_a_recipe_are_several(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`settings` is 'num_epochs=1': give a list"):
        wb.train("a.yaml", data=tmp_path, settings="num_epochs=1")
