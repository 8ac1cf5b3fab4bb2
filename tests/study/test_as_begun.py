"""A study that goes on reads its files as its first trials did."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import THREE, write_data
from workbench.data.manifest import Manifest
from workbench.data.prepare import Prepared, prepare
from workbench.data.rows import UNKNOWN
from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import StudyError
from workbench.searching import slice_data
from workbench.searching.as_begun import as_begun

CRASHED: dict[str, int | str] = {
    "row.image": NEUTRAL_ROW,
    "status.image": "crashed",
    "reason.image": "it died",
}


def crashed(prepared: Prepared, names: Mapping[str, str | list[str]]) -> Prepared:
    """Return the data with the decoder dead on files of some splits, one of each or several."""
    table = prepared.table.copy()
    for split, lost in names.items():
        those = (table["split"] == split) & table["name"].isin(np.atleast_1d(lost))
        for column, value in CRASHED.items():
            table.loc[those, column] = value
    return replace(prepared, table=table)


def neutral(table: pd.DataFrame) -> list[str]:
    return table.loc[table["row.image"] == NEUTRAL_ROW, "name"].tolist()


def test_files_that_can_be_read_again_are_told_and_stay_out_of_the_study(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bench.experiment(THREE, objective={"over": ["val", "degraded.jpeg30"]})
    folder = bench.search(file, 1).folder
    whole = Prepared.load(folder.path)
    lost = crashed(whole, {"train": "train3.png", "val": "val3.png", "test": "test3.png"})
    copies = crashed(whole.beside["degraded.jpeg30"], {"val": "val6.png"})
    lost = replace(lost, beside={"degraded.jpeg30": copies})
    lost.save(folder.path)
    capsys.readouterr()
    bench.search(file, 2)
    said = capsys.readouterr().err
    assert (
        f"Not to be read when the study {folder.name} began, and read now: 3 files, e.g. "
        "trainset/train3.png (image: it died). The study goes on without, as it began"
    ) in said
    assert "1 file of degraded.jpeg30, e.g. valset/val6.png (image: it died)" in said
    assert "search into a new study by --study NAME" in said
    now = Prepared.load(folder.path)
    assert neutral(now.table) == ["train3.png", "val3.png", "test3.png"]
    assert now.table.equals(lost.table)
    assert "val6.png" in neutral(now.beside["degraded.jpeg30"].table)
    assert len(now.rows("val")) == len(whole.rows("val")) - 1
    # Nothing was ranked yet: another study has them.
    other = bench.search(bench.experiment(THREE), 1).folder
    assert not neutral(Prepared.load(other.path).table)


def test_a_file_that_earlier_trials_read_is_missed(bench: Bench, inline: InlineTrials) -> None:
    folder = bench.search(bench.experiment(THREE), 1).folder
    prepared = Prepared.load(folder.path)
    with pytest.raises(StudyError, match=r"now: 1 file, e\.g\. trainset/train3\.png .*--retry"):
        as_begun(crashed(prepared, {"train": "train3.png"}), folder)
    with pytest.raises(StudyError, match=r"now: 1 file of phone, e\.g\. valset/val3\.png"):
        prepared.save(folder.path / "beside" / "phone")
        as_begun(crashed(prepared, {"val": "val3.png"}), folder, beside="phone")
    # Its array would be neutral for all later trials, and nothing told which trials had it.
    with pytest.raises(StudyError, match=r"now: 1 file, e\.g\. testset/test3\.png"):
        as_begun(crashed(prepared, {"test": "test3.png"}), folder)


@pytest.mark.parametrize("works", [True, False])
def test_a_slice_that_trials_had_is_tried_again_by_the_search_itself(
    bench: Bench,
    inline: InlineTrials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    works: bool,
) -> None:
    phone = write_data(tmp_path / "phone", seed=1)
    file = bench.experiment(THREE, objective={"over": ["val", "phone"]})
    folder = bench.search(file, 1, slices={"phone": phone}).folder
    tries = []

    def dies(manifest: Manifest, place: Path, *args: Any, **options: Any) -> Prepared:
        made = prepare(manifest, place, *args, **options)
        tries.append(options.get("retry", False))
        return made if works and tries[-1] else crashed(made, {"val": "val3.png"})

    monkeypatch.setattr(slice_data, "prepare", dies)
    if works:
        bench.search(file, 2)
    else:
        with pytest.raises(StudyError, match=r"now: 1 file of phone, e\.g\. valset/val3\.png"):
            bench.search(file, 2)
    assert tries == [False, True]
    assert not neutral(Prepared.load(folder.path).beside["phone"].table)


def test_what_no_trial_had_and_what_is_not_known_is_as_it_is_now(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bench.search(bench.experiment(THREE), 1).folder
    prepared = Prepared.load(folder.path)
    lost = crashed(prepared, {"val": "val3.png"})
    lost.save(folder.path)
    assert neutral(as_begun(prepared, folder).table) == ["val3.png"]
    folder.manifest.unlink()
    capsys.readouterr()
    assert as_begun(prepared, folder) is prepared
    assert f"{folder.manifest} is gone or damaged, so that nothing tells" in capsys.readouterr().err
    lost.save(folder.path)
    (folder.path / "trials").rename(folder.path / "elsewhere")
    assert as_begun(prepared, folder) is prepared


def test_arrays_that_another_decoder_made_are_told(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bench.experiment(THREE)
    folder = bench.search(file, 1).folder
    prepared = Prepared.load(folder.path)
    table = prepared.table.copy()
    of_one = table["name"] == "val3.png"
    table.loc[of_one, "sum.image"] += 1
    table.loc[table["name"] == "val5.png", "sum.image"] = UNKNOWN  # of an older version
    replace(prepared, table=table).save(folder.path)
    capsys.readouterr()
    for said in ("1 file, e.g. valset/val3.png (image). Its new trials are ranked with", ""):
        bench.search(file, 2)
        told = capsys.readouterr().err
        assert said in told
        assert ("Decoded to other pixels" in told) == bool(said)
    assert Prepared.load(folder.path).table.equals(prepared.table)
