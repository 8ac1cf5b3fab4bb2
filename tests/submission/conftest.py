"""One study and its bundle, made once for all tests here. Tests that change them copy them."""

import shutil
from pathlib import Path

import pytest

from tests.submission.made_study import TrainedStudy, make_study
from workbench.study.folder import StudyFolder
from workbench.submission.bundle import Bundle, export


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> TrainedStudy:
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def bundle(study: TrainedStudy, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    # Three of the seven files are broken, empty and missing.
    out = tmp_path_factory.mktemp("bundles") / "bundle"
    return export(study.folder, out, allow_missing=True)


@pytest.fixture
def own_study(study: TrainedStudy, tmp_path: Path) -> StudyFolder:
    """A copy of the study that a test may change."""
    shutil.copytree(study.folder.path, tmp_path / "made")
    return StudyFolder(tmp_path / "made")


@pytest.fixture
def own_bundle(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may change."""
    return shutil.copytree(bundle.path, tmp_path / "own")
