"""Which files belong together, worked out by hand."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.selection.studies import MadeStudy
from workbench.data.metadata import Metadata, column_of
from workbench.data.prepared_table import write_prepared_table
from workbench.errors import DamagedFileError
from workbench.files import write_json
from workbench.report.mistakes import _files
from workbench.selection.estimate import measured_on
from workbench.selection.mistakes import Mistake
from workbench.study.file_groups import (
    groups_of_files,
    groups_of_scores,
    joined,
    numbered_groups,
)
from workbench.study.folder import StudyFolder
from workbench.study.slice_folders import noted_folders, slice_folders


def table(**columns: list[str]) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    return pd.DataFrame({"name": [f"f{number}" for number in range(size)], **columns})


def test_files_are_joined_by_any_column_and_by_a_third_file() -> None:
    # f0 and f2 share a, f2 and f3 share y: one group. f1 and f5 share b. f4 has nothing.
    rows = table(content=["a", "b", "a", "c", "d", "b"], speaker=["x", "", "y", "y", "", ""])
    assert joined(rows, ["content", "speaker"]) == {
        "f0": "f0",
        "f1": "f1",
        "f2": "f0",
        "f3": "f0",
        "f4": "f4",
        "f5": "f1",
    }


def test_what_is_empty_or_absent_joins_nothing() -> None:
    rows = table(speaker=["", "", "x"])
    rows.loc[1, "speaker"] = None
    assert joined(rows, ["speaker"]) == {"f0": "f0", "f1": "f1", "f2": "f2"}
    assert joined(rows, []) == {"f0": "f0", "f1": "f1", "f2": "f2"}


def made(folder: Path, groups: list[str]) -> StudyFolder:
    """Return a study that keeps four files of `val`, one of `train`, and names columns."""
    rows = table(content=["a", "b", "a", "c", "a"]).assign(
        split=["val"] * 4 + ["train"], **{column_of("speaker"): ["x", "y", "z", "y", "y"]}
    )
    folder.mkdir()
    study = StudyFolder(folder)
    write_prepared_table(rows, study.manifest)
    write_json(folder / "prepared.json", {"metadata": {"groups": groups}})
    return study


def test_a_study_groups_its_files_of_val_by_content_and_by_the_columns_that_it_names(
    tmp_path: Path,
) -> None:
    plain = made(tmp_path / "plain", [])
    # f4 is of train: it joins none of them.
    assert groups_of_files(plain) == {"f0": "f0", "f1": "f1", "f2": "f0", "f3": "f3"}
    spoken = made(tmp_path / "spoken", ["speaker", "no such column"])
    assert groups_of_files(spoken) == {"f0": "f0", "f1": "f1", "f2": "f0", "f3": "f1"}


def test_nothing_is_known_where_the_table_is_gone_and_content_alone_without_the_record(
    tmp_path: Path,
) -> None:
    study = made(tmp_path / "study", ["speaker"])
    (study.path / "prepared.json").write_text("{")
    assert groups_of_files(study) == {"f0": "f0", "f1": "f1", "f2": "f0", "f3": "f3"}
    study.manifest.unlink()
    assert groups_of_files(study) == {}


def test_without_the_record_the_experiment_says_what_keeps_files_together(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path, data={"groups": ["speaker"]}).folder
    named = made(tmp_path / "named", ["speaker"])
    shutil.copy(named.manifest, study.manifest)
    whole = groups_of_files(named)
    assert groups_of_files(study) == whole
    (study.path / "prepared.json").write_text("{")
    assert groups_of_files(study) == whole


@pytest.mark.parametrize("damage", ["torn", "gone", "another study's"])
def test_a_table_that_cannot_be_read_is_told_since_intervals_may_be_too_narrow_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    study = made(tmp_path / "study", ["speaker"])
    if damage == "torn":
        study.manifest.write_bytes(study.manifest.read_bytes()[:200])
    elif damage == "gone":
        study.manifest.unlink()
    else:
        about = {"metadata": {"groups": ["speaker"]}, "table_sha256": "0" * 64}
        write_json(study.path / "prepared.json", about)
    assert groups_of_files(study) == groups_of_files(study) == {}
    [line] = capsys.readouterr().err.splitlines()
    assert str(study.manifest) in line and "take each file for itself" in line


def test_a_file_of_another_folder_is_in_no_group_of_val_that_is_called_alike(
    tmp_path: Path,
) -> None:
    study = made(tmp_path / "study", [])
    assert slice_folders(study) == frozenset()
    write_json(study.path / "slices.json", {"wild": {"data": "there", "fingerprint": "0"}})
    scores = pd.DataFrame(
        {
            "slice": ["val", "val", "val", "degraded.blur", "wild", "wild"],
            "name": ["f0", "f1", "f2", "f0", "f0", "f1"],
            "target": [0, 1, 0, 0, 0, 1],
            "score": 0.5,
        }
    )
    found = measured_on([scores], groups_of_files(study), slice_folders(study))
    # f2 is a copy of f0 in val, as is the degraded copy; what `wild` calls so are two other files.
    assert [one.groups.tolist() for one in found] == [[0, 1, 0], [0], [2, 3]]


def test_files_of_another_folder_are_grouped_by_its_own_tables(tmp_path: Path) -> None:
    study = made(tmp_path / "study", ["speaker"])
    write_json(study.path / "slices.json", {"wild": {"data": "there", "fingerprint": "0"}})
    rows = table(content=["d", "e", "f", "a"]).assign(
        split="val", **{column_of("speaker"): ["v", "v", "y", "w"]}
    )
    (study.path / "beside" / "wild").mkdir(parents=True)
    write_prepared_table(rows, study.path / "beside" / "wild" / "manifest.parquet")
    scores = pd.DataFrame(
        {
            "slice": ["val"] * 4 + ["wild"] * 4,
            "name": ["f0", "f1", "f2", "f3"] * 2,
            "target": [0, 1] * 4,
            "score": 0.5,
        }
    )
    found = measured_on([scores], groups_of_files(study), slice_folders(study))
    # In val f0 and f2 are copies, f1 and f3 of y. Of the folder f0 and f1 are of v, f2 is of y as
    # well, and f3 is a copy of f0 in val.
    assert [one.groups.tolist() for one in found] == [[0, 1, 0, 1], [2, 2, 1, 0]]
    assert groups_of_scores(study, scores).tolist() == [0, 1, 0, 1, 2, 2, 1, 0]


def test_no_file_of_val_is_shown_for_one_of_another_folder(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path).folder
    study.write_info(study.info().model_copy(update={"data": str(tmp_path)}))
    (tmp_path / "x.png").touch()
    rows = pd.DataFrame({"split": ["val"], "name": ["x"], "path": ["x.png"], "target": [1]})
    write_prepared_table(rows, study.manifest)
    mistake = Mistake(name="x", target=1, score=0.1, slices=("val",))
    assert _files(study, [mistake]) == {"x": tmp_path / "x.png"}
    assert _files(study, [mistake.model_copy(update={"source": "wild"})]) == {}


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", '{"wild": {"data": 5}}'])
def test_a_damaged_note_of_folders_is_a_sentence(tmp_path: Path, text: str) -> None:
    folder = StudyFolder(tmp_path)
    assert noted_folders(folder) == {}
    (tmp_path / "slices.json").write_text(text, encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"slices\.json is damaged\. Put the file back"):
        noted_folders(folder)
    assert slice_folders(folder) == frozenset()


def test_groups_of_a_holdout_are_numbered_by_paths() -> None:
    # Two folders have a file of one name; the speaker joins the first and the last.
    rows = table(content=["a", "b", "c", "d"]).assign(name=["f", "f", "g", "h"])
    rows = rows.assign(path=["x/f", "y/f", "g", "h"], **{column_of("speaker"): ["s", "", "t", "s"]})
    assert numbered_groups(rows, Metadata(groups=("speaker",))).tolist() == [0, 1, 2, 0]
    assert numbered_groups(rows, Metadata()).tolist() == [0, 1, 2, 3]
