"""Which files belong together, worked out by hand."""

from pathlib import Path

import pandas as pd

from workbench.data.metadata import column_of
from workbench.data.prepared_table import write_prepared_table
from workbench.files import write_json
from workbench.selection.file_groups import groups_of_files, joined
from workbench.study.folder import StudyFolder


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
