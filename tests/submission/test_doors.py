"""Places to write to that are none: each is told in a sentence, and nothing there is changed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.test_layouts import of_classes
from tests.study.test_fitted_experiment import LAPTOP, fitted
from tests.submission.made_study import TrainedStudy
from workbench.demo.build import make_demo
from workbench.errors import WorkbenchError
from workbench.files import write_text
from workbench.maintenance.study_export import export_study
from workbench.searching.fitted_experiment import write_fitted
from workbench.study.folder import StudyFolder, StudyInfo
from workbench.submission.bundle import Bundle, export
from workbench.submission.paths import check_out
from workbench.submission.retrain import How, retrain
from workbench.submission.verify_report import report_folder

Door = Callable[[Path], object]
DOORS = ("export", "predict", "verify", "retrain", "study-export", "demo-data", "init")


@pytest.fixture
def doors(
    study: TrainedStudy, own_study: StudyFolder, bundle: Bundle, tmp_path: Path
) -> dict[str, Door]:
    """What each command does with a place, before anything else."""
    info = {"name": "made", "id": "0", "experiment": "e.yaml", "data": "", "fingerprint": ""}
    about = StudyInfo.model_validate({**info, "seed": 0, "created": "2026-01-01"})
    write_text(own_study.info_file, about.model_dump_json())
    experiment = fitted(of_classes(tmp_path / "of", "real", "fake"), LAPTOP)
    return {
        "export": lambda out: export(own_study, out, allow_missing=True),
        "predict": lambda out: check_out(
            out, inputs=[], bundle=bundle.path, is_earlier=lambda _: False
        ),
        "verify": lambda out: report_folder(bundle.path, out),
        "retrain": lambda out: retrain(bundle.path, study.data, out, How(store=tmp_path)),
        "study-export": lambda out: export_study(own_study, tmp_path / "mlruns", out),
        "demo-data": lambda out: make_demo(out, num_train=2, num_val=2, num_test=2, jobs=1),
        "init": lambda out: write_fitted(experiment, out),
    }


@pytest.mark.parametrize("name", DOORS)
def test_no_command_writes_behind_a_link_that_leads_nowhere(
    doors: dict[str, Door], tmp_path: Path, name: str
) -> None:
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("mine")
    places = [tmp_path / "dead" / "out", tmp_path / "file" / "out"]
    if name != "predict":  # which writes to what a link names
        places.append(tmp_path / "dead")
    for out in places:
        with pytest.raises(WorkbenchError):
            doors[name](out)
    assert (tmp_path / "dead").is_symlink() and not (tmp_path / "nowhere").exists()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_study_is_exported_into_a_folder_that_is_made(
    doors: dict[str, Door], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "folder" / "made.tar"
    doors["study-export"](out)
    assert [path.name for path in out.parent.iterdir()] == ["made.tar"]
