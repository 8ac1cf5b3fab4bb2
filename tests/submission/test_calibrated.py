"""Bundles whose scores are divided by a temperature."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from tests.selection.test_refit import record
from tests.submission.made_study import TrainedStudy
from tests.submission.test_bundle import stored_scores
from workbench.errors import BundleError
from workbench.parts.temperature import tempered
from workbench.study.folder import StudyFolder
from workbench.submission.api import Predictor
from workbench.submission.bundle import Bundle, export
from workbench.submission.contents import Temperature
from workbench.submission.documents import calibrated_by
from workbench.submission.places import read_temperature
from workbench.submission.technical_report import REPORT
from workbench.submission.verify import check_bundle


def predictions(bundle: Path) -> dict[str, float]:
    with (bundle / "predictions.csv").open(newline="") as file:
        return {row["video_name"]: float(row["y_pred"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def calibrated(study: TrainedStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calibrated") / "bundle"
    return export(study.folder, out, allow_missing=True, is_calibrated=True).path


def test_every_score_is_divided_and_none_overtakes_another(
    study: TrainedStudy, calibrated: Path
) -> None:
    temperature = read_temperature(calibrated)
    assert temperature != 1
    stored, filled = stored_scores(study.folder), predictions(calibrated)
    wanted = tempered([stored[name] for name in filled], temperature)
    assert list(filled.values()) == wanted.tolist()
    assert sorted(filled, key=filled.__getitem__) == sorted(filled, key=stored.__getitem__)


def test_the_bundle_predicts_as_it_is_filled(study: TrainedStudy, calibrated: Path) -> None:
    files = [study.data / "testset" / name for name in ("t0.mp4", "t1.mp4")]
    with Predictor(calibrated, num_decoders=0) as predictor:
        found = predictor.predict_many(files)
    filled = predictions(calibrated)
    assert found == pytest.approx([filled["t0.mp4"], filled["t1.mp4"]], abs=1e-5)


def test_the_bundle_says_what_it_divides_by(calibrated: Path) -> None:
    assert "calibration.json" in check_bundle(calibrated).files
    said = json.loads((calibrated / "calibration.json").read_text())
    assert (said["slice"], said["num_files"]) == ("val", 4)
    assert f"divided by {said['temperature']}" in (calibrated / "README.md").read_text()
    before = "Each log-loss that is told of the model is of its scores before that."
    assert before in (calibrated / "README.md").read_text()
    report = (calibrated / REPORT).read_text()
    assert "The log-loss above is that of the scores before they are calibrated." in report


def test_nothing_is_divided_unless_it_is_asked_for(study: TrainedStudy, bundle: Bundle) -> None:
    assert not (bundle.path / "calibration.json").exists()
    assert read_temperature(bundle.path) == 1
    stored = stored_scores(study.folder)
    assert all(stored[name] == score for name, score in predictions(bundle.path).items())
    assert "divided" not in (bundle.path / "README.md").read_text()


def test_an_experiment_may_ask_for_it(own_study: StudyFolder, tmp_path: Path) -> None:
    tree = yaml.safe_load(own_study.experiment_file.read_text())
    tree["experiment"]["calibrated"] = True
    own_study.experiment_file.write_text(yaml.safe_dump(tree))
    made = export(own_study, tmp_path / "out", allow_missing=True).path
    assert read_temperature(made) != 1


def test_of_a_refit_it_is_said_whose_temperature_it_is(calibrated: Path) -> None:
    told = json.loads((calibrated / "calibration.json").read_text())
    said = calibrated_by(Temperature.model_validate(told), record())
    assert "the log-loss on the 4 files of val is least" in said
    assert said.endswith(
        "It is that of the scores of trial 5, not of the refit's own: the refit was trained on "
        "those files, and none is left to fit one on."
    )
    assert f"divided by {told['temperature']}" in (calibrated / REPORT).read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["{}", '{"temperature": 0, "slice": "val", "num_files": 4}', "x"])
def test_a_damaged_temperature_is_no_temperature(own_bundle: Path, text: str) -> None:
    (own_bundle / "calibration.json").write_text(text)
    with pytest.raises(BundleError, match="cannot be built"):
        Predictor(own_bundle, num_decoders=0)
