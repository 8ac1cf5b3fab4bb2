"""Prepared pictures that tests of this folder read."""

import pytest

from tests.trial.pictures import prepare_pictures
from workbench.data.prepare import Prepared


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Red and blue pictures, decoded."""
    return prepare_pictures(tmp_path_factory.mktemp("pictures"))
