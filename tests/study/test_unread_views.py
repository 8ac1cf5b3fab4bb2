"""A training is repeated on what the first one was given of each file."""

from dataclasses import replace

import pytest

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.test_as_begun import crashed, neutral
from tests.study.tiny import THREE
from workbench.data.prepare import Prepared
from workbench.errors import DataError
from workbench.study.folder import StudyFolder
from workbench.submission.unread_views import unread_views, without_unread

LOST = {"train": "train3.png", "val": "val3.png", "test": "test3.png"}


@pytest.fixture
def study(bench: Bench, inline: InlineTrials) -> StudyFolder:
    file = bench.experiment(THREE, objective={"over": ["val", "degraded.jpeg30"]})
    return bench.search(file, 1).folder


def test_what_could_not_be_decoded_then_is_left_out_again(
    study: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Prepared.load(study.path)
    assert unread_views(study) == {"": {}, "degraded.jpeg30": {}}
    copies = crashed(whole.beside["degraded.jpeg30"], {"val": "val6.png"})
    replace(crashed(whole, LOST), beside={"degraded.jpeg30": copies}).save(study.path)
    noted = unread_views(study)
    assert len(noted[""]["image"]) == 3
    capsys.readouterr()
    made = without_unread(whole, noted, "mine")
    assert neutral(made.table) == [*LOST.values()]
    assert neutral(made.beside["degraded.jpeg30"].table) == ["val6.png"]
    assert len(made.rows("val")) == len(whole.rows("val")) - 1
    made.open_array("image")  # whose checksums are known
    said = capsys.readouterr().err
    assert "mine: the model was trained without 3 files, e.g. trainset/train3.png (image: " in said
    assert "mine, slice degraded.jpeg30: the model was trained without 1 file, e.g. " in said
    # Here they are not decoded either, and nothing is to be told.
    again = without_unread(made, noted, "mine")
    assert again.table.equals(made.table)
    assert capsys.readouterr().err == ""
    # An older version noted nothing.
    assert without_unread(whole, {}, "mine") is whole


def test_a_file_that_was_decoded_then_is_missed(study: StudyFolder) -> None:
    whole, noted = Prepared.load(study.path), unread_views(study)
    with pytest.raises(DataError, match=r"mine: decoded when .* 1 file, e\.g\. valset/val3\.png"):
        without_unread(crashed(whole, {"val": "val3.png"}), noted, "mine")
    # The scores of the test files are compared, and tell of one.
    lost = crashed(whole, {"test": "test3.png"})
    assert without_unread(lost, noted, "mine").table.equals(lost.table)
    # What no try makes, as a view of sound of a mute file, is the same everywhere.
    mute = crashed(whole, {"val": "val3.png"})
    mute.table["status.image"] = mute.table["status.image"].replace("crashed", "silent")
    assert without_unread(mute, noted, "mine").table.equals(mute.table)


@pytest.mark.parametrize(("status", "is_noted"), [("changed", True), ("silent", False)])
def test_what_befalls_a_file_while_it_is_read_is_noted(
    study: StudyFolder, status: str, is_noted: bool
) -> None:
    lost = crashed(Prepared.load(study.path), {"train": "train3.png"})
    lost.table["status.image"] = lost.table["status.image"].replace("crashed", status)
    replace(lost, beside={}).save(study.path)
    assert bool(unread_views(study)[""]) is is_noted
