"""Slices whose data are made before a search: degraded copies, other labelled folders."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.test_as_begun import crashed
from tests.study.tiny import THREE, write_data
from workbench.data.manifest import Layout, Manifest, read_labelled
from workbench.data.metadata import PICTURE_FAKE, SOUND_FAKE, Metadata
from workbench.data.prepare import Prepared, prepare
from workbench.data.training_copies import prepare_training_copies
from workbench.errors import ConfigError, DataError, StudyError
from workbench.scoring.slices import columns_used
from workbench.searching import slice_data
from workbench.selection import audit
from workbench.study.records import read_trials

OVER = {"over": ["val", "degraded.jpeg30"], "aggregate": "worst"}


@pytest.mark.slow
def test_a_trial_is_scored_on_the_copies_that_the_objective_and_the_report_name(
    bench: Bench,
) -> None:
    file = bench.experiment(THREE, objective=OVER, slices=["degraded.picture-noise"])
    outcome = bench.search(file, 1)
    [row] = read_trials(outcome.folder)
    scores = outcome.folder.trial(row.recipe).read_scores()
    by_slice = {
        str(name): rows.set_index("name")["score"] for name, rows in scores.groupby("slice")
    }
    assert set(by_slice) == {"val", "degraded.jpeg30", "degraded.picture-noise", "test"}
    val = by_slice["val"]
    for name in ("degraded.jpeg30", "degraded.picture-noise"):
        assert list(by_slice[name].index) == list(val.index)
        assert (np.abs(by_slice[name] - val) > 1e-6).all()


def test_a_study_that_goes_on_has_the_same_copies(bench: Bench, inline: InlineTrials) -> None:
    file = bench.experiment(THREE, objective={"over": ["degraded"]})
    folder = bench.search(file, 1).folder
    before = Prepared.load(folder.path).beside
    assert [*before] == ["degraded.jpeg30"]
    bench.search(file, 2)
    after = Prepared.load(folder.path).beside["degraded.jpeg30"]
    assert after.table.equals(before["degraded.jpeg30"].table)


def test_a_study_has_the_copies_of_training_files_that_its_space_can_draw(
    bench: Bench, inline: InlineTrials
) -> None:
    # No view of these pictures notices what is done to a sound.
    copies = {"degraded": {"choice": [0.0, 0.5]}, "splice": 0.2}
    folder = bench.search(bench.experiment({**THREE, "copies": copies}), 1).folder
    prepared = Prepared.load(folder.path)
    assert [*prepared.beside] == ["copies.degraded"]
    rows, own = prepared.beside["copies.degraded"].table, prepared.rows("train")
    assert rows["name"].tolist() == own["name"].tolist()
    assert rows["target"].tolist() == own["target"].tolist()
    assert not set(rows["row.image"]) & set(prepared.table["row.image"])
    plain = bench.search(bench.experiment(THREE), 1).folder
    assert not Prepared.load(plain.path).beside


def test_training_files_without_a_copy_are_told(
    bench: Bench,
    inline: InlineTrials,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def dies(*given: Any, **named: Any) -> dict[str, Prepared]:
        made = prepare_training_copies(*given, **named)
        lost = ["train3.png", "train4.jpg"]
        return {name: crashed(copies, {"train": lost}) for name, copies in made.items()}

    monkeypatch.setattr(slice_data, "prepare_training_copies", dies)
    bench.search(bench.experiment({**THREE, "copies": {"degraded": 0.5}}), 1)
    said = (
        "copies.degraded: 2 of 24 files of train have no such copy, and are trained on as they "
        "are, e.g. train3.png: it died"
    )
    assert said in capsys.readouterr().err


def test_a_copy_that_no_view_notices_is_told_and_left_out(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bench.experiment(THREE, objective={"over": ["val", "degraded.room"]})
    folder = bench.search(file, 1).folder
    assert not Prepared.load(folder.path).beside
    assert "No degraded: no copy that was asked for differs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"objective": {"over": ["degraded.fog"]}}, "the degradation 'fog', which there is not"),
        ({"slices": ["fog"]}, "`slices` names 'fog'"),
    ],
)
def test_what_there_is_not_is_refused(
    bench: Bench, inline: InlineTrials, keys: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        bench.search(bench.experiment(THREE, **keys), 1)


def test_another_labelled_folder_is_a_slice_of_all_its_files(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    phone = write_data(tmp_path / "phone", seed=1)
    file = bench.experiment(THREE, objective={"over": ["val", "phone"]})
    folder = bench.search(file, 1, slices={"phone": phone}).folder
    rows = Prepared.load(folder.path).beside["phone"].rows("val")
    # 24 of its train and 16 of its val; the 8 of its test have no labels.
    assert len(rows) == 40
    assert rows["target"].sum() == 20
    # It belongs to the study from then on, wherever it lies.
    assert [*Prepared.load(bench.search(file, 2).folder.path).beside] == ["phone"]
    moved = phone.rename(tmp_path / "moved")
    bench.search(file, 3, slices={"phone": moved})
    labels = moved / "val_label.txt"
    labels.write_text(labels.read_text().replace("val0.png,0", "val0.png,1"))
    with pytest.raises(StudyError, match=r"slice phone .* began with \(other label: 1 "):
        bench.search(file, 3)
    folder.manifest.unlink()  # the table by which a study that has begun is known
    with pytest.raises(StudyError, match=r"slice phone .* began with \(other label: 1 "):
        bench.search(file, 3)
    with pytest.raises(StudyError, match="begun without the slice tablet"):
        bench.search(file, 3, slices={"tablet": phone})


def test_what_is_left_out_of_a_folder_is_told_as_it_is_of_the_data(
    bench: Bench, inline: InlineTrials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = write_data(tmp_path / "phone", seed=1)
    (phone / "valset" / "val1.jpg").unlink()
    (phone / "valset" / "val3.png").write_bytes(b"no picture")
    labels = phone / "val_label.txt"
    labels.write_text(labels.read_text().replace("val0.png,", "val0,"))
    file = bench.experiment(THREE, holdout={"data": str(phone)})
    folder = bench.search(
        file, 1, slices={"mine": shutil.copytree(phone, tmp_path / "mine")}
    ).folder
    said = capsys.readouterr().err
    assert "mine: 38 files, 18 fake, of " in said
    assert "mine: image: 1 file missing, e.g. valset/val1.jpg: the file is missing\n" in said
    assert "mine: image: 1 file broken, e.g. valset/val3.png: " in said
    assert (
        "mine: val: 38 of 40 files are measured; 2 of which no view could be made (2 fake)" in said
    )
    told = "val: 1 name was matched with files "
    assert f"mine: {told}" in said
    holdout = folder.experiment().holdout
    assert holdout is not None
    audit._manifest(folder, bench.workspace, holdout, Prepared.load(folder.path))
    assert f"holdout: {told}" in capsys.readouterr().err


def test_a_slice_that_cannot_be_read_for_now_changes_nothing_that_a_study_has(
    bench: Bench, inline: InlineTrials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = write_data(tmp_path / "phone", seed=1)
    file, new = (bench.experiment(THREE, objective={"over": ["val", "phone"]}) for _ in range(2))
    folder = bench.search(file, 1, slices={"phone": phone}).folder
    kept = {path: path.read_bytes() for path in (folder.path / "beside").rglob("*.parquet")}

    def unread(manifest: Manifest, place: Path, *args: Any, **options: Any) -> Prepared:
        made = prepare(manifest, place, *args, **options)
        if place == phone:
            made.table.loc[made.table["name"] == "val3.png", "status.image"] = "unreadable"
        return made

    with monkeypatch.context() as patch:
        patch.setattr(slice_data, "prepare", unread)
        for study in (file, new):
            with pytest.raises(DataError, match=r"1 file cannot be read for now, e.g. valset/val3"):
                bench.search(study, 2, slices={"phone": phone})
    assert kept == {path: path.read_bytes() for path in kept}
    # A study that has no trial yet begins without the file, as the sentence says.
    labels = phone / "val_label.txt"
    labels.write_text(labels.read_text().replace("val3.png,1\n", ""))
    began = bench.search(new, 1, slices={"phone": phone}).folder
    assert len(Prepared.load(began.path).beside["phone"].rows("val")) == 39


def test_metadata_that_change_in_mid_study_are_told(
    bench: Bench, inline: InlineTrials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    table = data / "metadata.csv"
    table.write_text("img_name,generator\nval1.jpg,espeak\nval3.png,espeak\n")
    file = bench.experiment(THREE)
    bench.search(file, 1, data=data)
    bench.search(file, 1, data=data)
    assert "the tables said before" not in capsys.readouterr().err
    table.write_text("img_name,generator\nval1.jpg,espeak\nval3.png,xtts\n")
    bench.search(file, 2, data=data)
    said = capsys.readouterr().err
    assert "generator of 1 file, e.g. valset/val3.png, is not what the tables said before" in said
    table.write_text("img_name,generator,sound_fake\nval3.png,xtts,1\nval5.jpg,,\n")
    other = (
        r"its data \(other sound_fake: 1 file, e\.g\. valset/val3\.png \(was '', is '1'\)\) changed"
    )
    with pytest.raises(StudyError, match=other):
        bench.search(file, 3, data=data)


def test_a_labelled_folder_has_a_name_of_its_own(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    phone = write_data(tmp_path / "phone", seed=1)
    with pytest.raises(ConfigError, match="val is taken"):
        bench.search(bench.experiment(THREE), 1, slices={"val": phone})
    with pytest.raises(ConfigError, match=r"'a\.b' cannot be used"):
        bench.search(bench.experiment(THREE), 1, slices={"a.b": phone})
    with pytest.raises(DataError, match=r"no labels: looked for train_label\.txt"):
        bench.search(bench.experiment(THREE), 1, slices={"empty": tmp_path})


def test_a_folder_may_have_labels_of_one_split_alone(tmp_path: Path) -> None:
    phone = write_data(tmp_path / "phone", seed=1)
    for name in ("train_label.txt", "prediction.txt.csv"):
        (phone / name).unlink()
    table = read_labelled(phone, Layout(), cache=tmp_path / "cache").table
    assert table["split"].unique().tolist() == ["val"]
    assert table["name"].tolist()[:2] == ["val0.png", "val1.jpg"]
    # The same names in both splits are told apart.
    labels = (phone / "val_label.txt").read_text()
    (phone / "train_label.txt").write_text(labels)
    (phone / "valset").rename(phone / "set")
    for split in ("train", "val"):
        (phone / f"{split}set").mkdir(exist_ok=True)
        for file in (phone / "set").iterdir():
            (phone / f"{split}set" / file.name).write_bytes(file.read_bytes())
    both = read_labelled(phone, Layout(), cache=tmp_path / "cache").table
    assert len(both) == 32
    assert both["name"].is_unique
    assert "valset/val0.png" in set(both["name"])


def test_what_fakes_were_made_of_is_the_studys_where_they_are_mixed_with_it(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    data, table = write_data(tmp_path / "data"), tmp_path / "data" / "metadata.csv"
    space = {**THREE, "augment": {"paired_mixup_alpha": {"choice": [0.0, 0.4]}}}
    file = bench.experiment(space, data={"groups": ["original"]})
    table.write_text("img_name,original\ntrain1.jpg,train0.png\n")
    bench.search(file, 1, data=data)
    table.write_text("img_name,original\ntrain1.jpg,train2.jpg\n")
    with pytest.raises(StudyError, match="its data"):
        bench.search(file, 2, data=data)
    assert columns_used(Metadata(groups=("original",)), ["val"]) == (SOUND_FAKE, PICTURE_FAKE)
