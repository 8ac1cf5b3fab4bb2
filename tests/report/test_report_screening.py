"""The section about the screening in the page of a study."""

import re
from pathlib import Path

import pytest

from tests.selection.studies import MadeStudy, normal_scores
from workbench.files import write_json
from workbench.report.page import write_report
from workbench.screening.screening import FILE, Candidate, Screening
from workbench.trial.recipe import MetricName


def section(study: MadeStudy) -> str:
    """Return the section's text, without its tags."""
    write_report(study.folder, study.rows, study.objective, study.folder.report)
    page = study.folder.report.read_text(encoding="utf-8")
    found = re.search(r"<h2>Screening</h2>(.*?)</section>", page, re.DOTALL)
    return re.sub(r"<[^>]+>", " ", found[1]) if found else ""


def screened(study: MadeStudy, aucs: dict[str, float | None]) -> None:
    candidates = [
        Candidate(
            backbone=name,
            views=("mel",),
            image_px=32,
            auc=value,
            standard_error=None if value is None else 0.02,
            val_auc=value,
            seconds=1.5,
            reason="no pretrained <weights>" if value is None else "",
        )
        for name, value in aucs.items()
    ]
    kept = tuple(name for name, value in aucs.items() if value)
    screening = Screening(candidates=tuple(candidates), kept=kept, seconds=3.0)
    write_json(study.folder.path / FILE, screening.model_dump(mode="json"))


def trained(root: Path, shifts: dict[str, float], metric: MetricName = "auc") -> MadeStudy:
    study = MadeStudy(root, metric=metric)
    for seed, (name, shift) in enumerate(shifts.items()):
        study.add(*normal_scores(shift, seed=seed), backbone=name, seconds=10.0)
    return study


def test_a_study_without_one_has_no_section(tmp_path: Path) -> None:
    assert section(trained(tmp_path, {"a": 1.0})) == ""


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_it_says_what_it_cost_and_whether_training_bore_it_out(
    tmp_path: Path, metric: MetricName
) -> None:
    study = trained(tmp_path, {"a": 0.2, "b": 0.9, "c": 0.5}, metric)
    # The best trial of a backbone counts: this one of c is worse.
    study.add(*normal_scores(0.1, seed=9), backbone="c", seconds=10.0)
    screened(study, {"b": 0.8, "a": 0.7, "c": 0.6, "d": 0.5, "e": None})
    text = section(study)
    assert "The screening took 3.0 s: 4 of 5 backbones go on." in text
    assert "That is 7.5% of the time in trials so far." in text
    assert "objective is 0.50 over 3 backbones. Not counted: 1 judged, but never trained." in text
    assert "not judged because" in text
    assert "no pretrained &lt;weights&gt;" in text
    assert f"{next(row.objective for row in study.rows if row.backbone == 'b'):.4f}" in text


def test_too_few_trained_backbones_are_admitted(tmp_path: Path) -> None:
    study = trained(tmp_path, {"a": 0.2, "b": 0.9})
    screened(study, {"a": 0.8, "b": 0.7, "c": 0.6})
    text = section(study)
    assert "2 of the 3 judged backbones have a complete trial" in text
    assert "cannot be said" in text
    assert "not judged because" not in text


def test_a_screening_that_could_not_help_says_so(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    screened(study, {"a": None, "b": None})
    text = section(study)
    assert "cannot help" in text
    assert "No trial has ended yet" in text


def test_each_view_is_borne_out_on_its_own(tmp_path: Path) -> None:
    study = trained(tmp_path, {"a": 0.2, "b": 0.9, "c": 0.5})
    screened(study, {"b": 0.8, "a": 0.7, "c": 0.6})
    file = study.folder.path / FILE
    found = Screening.model_validate_json(file.read_text(encoding="utf-8"))
    of_views = found.model_copy(update={"kept": {"mel": ("b", "a")}})
    write_json(file, of_views.model_dump(mode="json"))
    text = section(study)
    assert "The screening took 3.0 s: 2 of 3 backbones go on." in text
    assert "mel: Spearman's rank correlation of the probe" in text.replace("&#x27;", "'")
    assert "objective is 0.50 over 3 backbones." in text
