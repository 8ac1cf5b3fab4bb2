"""Which files an audit scores: those that no search has trained, chosen or been measured on."""

import errno
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.selection.studies import champion
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.test_as_begun import crashed
from tests.study.test_looks import look
from tests.study.tiny import THREE, write_data
from workbench.data import contents
from workbench.data.facts import FactsStore
from workbench.data.holdout import HOLDOUT
from workbench.data.prepare import Prepared, prepare
from workbench.errors import ConfigError, DataError, StudyError
from workbench.files import hash_file
from workbench.parts.joint import MeanOfProbabilities
from workbench.parts.pack_spec import PackSpec
from workbench.selection import audit, audited_files
from workbench.selection.champion import write_champion
from workbench.study.folder import StudyFolder
from workbench.study.looks import looks_elsewhere, read_looks
from workbench.study.packs import PackMember, PackRecord
from workbench.study.records import read_trials
from workbench.study.repeats import Repeat, write_repeat
from workbench.trial.recipe import Objective


def code_again(picture: Path, place: Path) -> None:
    """Write the pixels of a picture to a file of other bytes."""
    pixels = cv2.imread(str(picture))
    assert pixels is not None
    assert cv2.imwrite(str(place), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])


@pytest.mark.parametrize("use", [1, 3])
def test_a_share_is_found_again_whatever_folds_the_rest_was_dealt_into(
    bench: Bench, inline: InlineTrials, use: int
) -> None:
    inline.num_folds = use
    folds = {"kind": "stratified", "folds": 3, "use": use}
    file = bench.experiment(THREE, validation=folds, holdout={"share": 0.3})
    folder = bench.search(file, 1).folder
    holdout, searched = folder.experiment().holdout, Prepared.load(folder.path)
    assert holdout is not None
    manifest, place = audit._manifest(folder, bench.workspace, holdout, searched)
    assert place == bench.data
    assert len(manifest.table) == 12
    assert not set(manifest.table["path"]) & set(searched.table["path"])


def test_files_that_trials_were_measured_on_are_no_holdout_and_trained_ones_are_told(
    bench: Bench, inline: InlineTrials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phone, known = write_data(tmp_path / "phone", seed=1), tmp_path / "known"
    code_again(bench.data / "trainset/train3.png", phone / "valset/val0.png")
    code_again(phone / "valset/val6.png", phone / "valset/val12.png")
    shutil.copy(phone / "trainset/train6.png", phone / "trainset/train12.png")
    held = shutil.copytree(phone, tmp_path / "held")
    shutil.copytree(bench.data, known)
    (known / "val_label.txt").unlink()
    locked = bench.experiment(THREE, holdout={"data": str(held)})
    with pytest.raises(ConfigError, match=r"The slice mine .* are locked by `holdout`"):
        bench.search(locked, 1, slices={"mine": held})
    objective = {"over": ["val", "phone", "known"]}
    file = bench.experiment(THREE, objective=objective, holdout={"data": str(held)})
    folder = bench.search(file, 1, slices={"phone": phone, "known": known}).folder
    said = capsys.readouterr().err
    assert "24 of the 24 files of known are copies of files that are trained on" in said
    assert "files of phone are copies" not in said
    assert "1 of the 40 files of phone look and sound the same as files that are trained on" in said
    assert (
        "1 of the 40 files of phone are the same as others of it, byte for byte, and 1 look" in said
    )
    assert "files of known are the same as others" not in said
    holdout, searched = folder.experiment().holdout, Prepared.load(folder.path)
    assert holdout is not None
    manifest, _ = audit._manifest(folder, bench.workspace, holdout, searched)
    assert len(manifest.table) == 40
    left, num_copies = audited_files.without_copies(manifest, [searched])
    assert (len(left.table), num_copies) == (0, 40)


def test_files_of_a_holdout_that_cannot_be_decoded_are_left_out_and_told(
    bench: Bench, inline: InlineTrials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = write_data(tmp_path / "torn", seed=2)
    for number in range(3):  # two real ones and a fake
        next(held.glob(f"valset/val{number}.*")).write_bytes(bytes([number]))
    inline.scores = _undecided()
    folder = bench.search(bench.experiment(THREE, holdout={"data": str(held)}), 1).folder

    monkeypatch.setattr(audit, "_scored", _scored)
    told = audit.describe_audit(audit.audit(folder, bench.workspace, 0, device="cpu"))
    assert "37 files, look 1.\nLeft out: 3 files missing or not to be decoded." in told
    # One that lies there three times counts once, and so it is the same holdout.
    once = told.splitlines()[0].removesuffix("look 1.")
    labels = (held / "val_label.txt").read_text(encoding="utf-8")
    for name in ("val41.jpg", "val42.jpg"):
        shutil.copy(held / "valset/val4.jpg", held / "valset" / name)
        labels += f"{name},0\n"
    (held / "val_label.txt").write_text(labels, encoding="utf-8")
    told = audit.describe_audit(audit.audit(folder, bench.workspace, 0, device="cpu"))
    same = "Left out: 2 copies of other files of the holdout; each file counts once."
    assert told.startswith(f"{once}look 2.\n{same}\nLeft out: 3 files missing")
    # Whichever stands first in the table: else each order of it would be a holdout of its own.
    header, *rows = (held / "val_label.txt").read_text(encoding="utf-8").splitlines()
    labels = "\n".join([header, *reversed(rows)]) + "\n"
    (held / "val_label.txt").write_text(labels, encoding="utf-8")
    told = audit.describe_audit(audit.audit(folder, bench.workspace, 0, device="cpu"))
    assert told.startswith(f"{once}look 3.\n{same}\n")
    for file in [*held.glob("valset/*"), *held.glob("trainset/*")]:
        if int(file.stem.strip("trainvl")) % 2:  # every fake
            file.write_bytes(f"torn {file}".encode())
    with pytest.raises(DataError, match="18 real and 0 fake can be decoded"):
        audit.audit(folder, bench.workspace, 0, device="cpu")


@pytest.mark.parametrize("is_share", [True, False])
def test_no_look_is_spent_and_nothing_begun_while_a_file_cannot_be_read(
    bench: Bench,
    inline: InlineTrials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_share: bool,
) -> None:
    data = write_data(tmp_path / "data", seed=3)
    held = data if is_share else write_data(tmp_path / "held", seed=4)
    inline.scores = _undecided()
    holdout = {"share": 0.3} if is_share else {"data": str(held)}
    file = bench.experiment(THREE, holdout=holdout)
    folder = bench.search(file, 1, data=data).folder
    shutil.rmtree(bench.workspace.cache / "contents")  # else no file were read

    def refuse(path: Path) -> str:
        if path == held / "valset/val2.jpg":
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return hash_file(path)

    monkeypatch.setattr(contents, "hash_file", refuse)
    said = r"^1 file cannot be read for now, e\.g\. valset/val2\.jpg"
    with pytest.raises(DataError, match=said):
        audit.audit(folder, bench.workspace, 0, device="cpu")
    assert read_looks(folder) == []
    if is_share:
        other = bench.experiment(THREE, holdout=holdout)
        for ask in (file, other):
            with pytest.raises(DataError, match=said):
                bench.search(ask, 2, data=data)
        assert not StudyFolder(other.with_suffix("")).info_file.exists()


def test_looks_of_other_studies_at_the_same_files_are_told(
    bench: Bench, inline: InlineTrials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = write_data(tmp_path / "shared", seed=9)
    inline.scores = _undecided()
    first, second = (
        bench.search(bench.experiment(THREE, holdout={"data": data}), 1).folder
        for data in (str(held), f"{held}/../shared/")  # one folder, spelled in two ways
    )
    share: dict[str, Any] = {"holdout": {"share": 0.37}}
    folds = {"validation": {"kind": "stratified", "folds": 4}}  # of what is not held out
    third, fourth = (
        bench.search(bench.experiment(THREE, **share, **also), 1).folder for also in ({}, folds)
    )

    monkeypatch.setattr(audit, "_scored", _scored)
    for number in (1, 2):
        told = audit.audit(first, bench.workspace, 0, device="cpu")
        assert told.elsewhere == "" and told.num_looks == number
    assert looks_elsewhere(first) == looks_elsewhere(third) == ""
    assert looks_elsewhere(second) == f"{first.name} 2 times"  # before it has a look of its own
    told = audit.audit(second, bench.workspace, 0, device="cpu")
    said = audit.describe_audit(told)
    assert f"Other studies here looked at the same files: {first.name} 2 times. Each" in said
    assert looks_elsewhere(first) == f"{second.name} once"
    audit.audit(third, bench.workspace, 0, device="cpu")
    assert looks_elsewhere(fourth) == f"{third.name} once"
    assert looks_elsewhere(third) == ""
    audit.audit(fourth, bench.workspace, 0, device="cpu")
    assert looks_elsewhere(third) == f"{fourth.name} once"  # the same files, by what each looked at


def test_near_copies_of_files_that_were_trained_on_count_and_are_told(
    bench: Bench, inline: InlineTrials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = write_data(tmp_path / "coded again", seed=5)
    inline.scores = _undecided()
    folder = bench.search(bench.experiment(THREE, holdout={"data": str(held)}), 1).folder

    monkeypatch.setattr(audit, "_scored", _scored)
    told = audit.describe_audit(audit.audit(folder, bench.workspace, 0, device="cpu"))
    assert "look and sound the same" not in told
    for number in (0, 3):
        code_again(bench.data / f"trainset/train{number}.png", held / f"valset/val{number}.png")
    told = audit.describe_audit(audit.audit(folder, bench.workspace, 0, device="cpu"))
    assert "\n2 files of its 40 look and sound the same as files" in told
    (first,) = {look.holdout for look in read_looks(folder)[:1]}
    other = f"Of 1 look before, 1 was at other files or labels (holdout {first}), and nothing"
    assert f"40 files, look 2.\n{other}" in told
    assert "others of it" not in told
    code_again(held / "valset/val6.png", held / "valset/val12.png")
    told = audit.describe_audit(audit.audit(folder, bench.workspace, 0, device="cpu"))
    assert "Of 2 looks before, 2 were at other files" in told
    assert "1 file of its 40 look and sound the same as others of it (e.g. valset/val12.png" in told
    assert "(e.g. valset/val0.png as trainset/train0.png)" in told


def test_near_copies_and_speakers_of_a_slice_that_is_a_folder_are_told(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    held, phone = (write_data(tmp_path / name, seed=seed) for name, seed in (("h", 6), ("p", 7)))
    code_again(phone / "valset/val0.png", held / "valset/val3.png")
    for place, speaker in ((held, "ann"), (phone, "ann"), (bench.data, "bob")):
        rows = f"name,speaker\nval1,{speaker}\n"
        where = shutil.copytree(place, tmp_path / "own") if place == bench.data else place
        (where / "metadata.csv").write_text(rows)
    keys = {"data": {"groups": ["speaker"]}, "holdout": {"data": str(held)}}
    file = bench.experiment(THREE, objective={"over": ["val", "phone"]}, **keys)
    folder = bench.search(file, 1, data=tmp_path / "own", slices={"phone": phone}).folder
    holdout, searched = folder.experiment().holdout, Prepared.load(folder.path)
    assert holdout is not None
    manifest, place = audit._manifest(folder, bench.workspace, holdout, searched)
    unknown, said = audited_files.of_known_groups(manifest, [searched])
    assert unknown == (
        "Of 39 of its 40 files no speaker is known: each counts by itself, so that the interval "
        "may be too narrow."
    )
    assert said.startswith("1 of its 40 files are of a speaker that was trained or chosen on")
    cache = bench.workspace.cache
    prepared = prepare(manifest, place, searched.views, cache=cache, jobs=1)
    (said,) = audited_files.of_near_copies(prepared, [searched], FactsStore(cache))
    assert "(e.g. valset/val3.png as valset/val0.png)" in said


def test_a_value_is_not_that_of_weights_that_were_trained_since(
    bench: Bench, inline: InlineTrials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the study was put back from a copy that did not know the trial yet."""
    held = write_data(tmp_path / "again", seed=4)
    inline.scores = _undecided()
    folder = bench.search(bench.experiment(THREE, holdout={"data": str(held)}), 2).folder
    files = folder.trial(read_trials(folder)[0].recipe)
    kept = files.kept_result()
    assert kept is not None

    monkeypatch.setattr(audit, "_scored", _scored)
    for trial in (0, 1):
        files.write_result(kept.model_copy(update={"weights_sha256": "a" * 64}))
        assert audit.audit(folder, bench.workspace, trial, device="cpu").look.of_trial == 0
        files.write_result(kept.model_copy(update={"weights_sha256": "b" * 64}))
        with pytest.raises(StudyError, match="is that of trial 0 with other weights than it has"):
            audit.audit(folder, bench.workspace, trial, device="cpu")
    assert len(read_looks(folder)) == 2


def test_what_stands_is_measured_anew_where_other_files_can_be_decoded(
    bench: Bench, inline: InlineTrials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = write_data(tmp_path / "crashing", seed=8)
    inline.scores = _undecided()
    folder = bench.search(bench.experiment(THREE, holdout={"data": str(held)}), 2).folder
    lost = ["val0.png", "val2.jpg"]

    def partly(*given: Any, **named: Any) -> Prepared:
        return crashed(prepare(*given, **named), dict.fromkeys([HOLDOUT], lost))

    def scored(_: Any, uid: str, prepared: Prepared, device: str) -> tuple[Any, Any]:
        rows = prepared.rows(HOLDOUT)
        fakes = rows["target"].to_numpy()
        return fakes, np.where(rows["name"].isin(lost), 1.0, fakes)

    monkeypatch.setattr(audit, "_scored", scored)
    monkeypatch.setattr(audit, "prepare", partly)
    first = audit.audit(folder, bench.workspace, 0, device="cpu").look
    assert (first.num_files, first.value) == (38, 1.0)
    monkeypatch.setattr(audit, "prepare", prepare)
    # 20 fakes have 1; of 20 real files, 18 have 0 and two 1: (18 + 2 / 2) / 20.
    for trial in (1, 0):
        audited = audit.audit(folder, bench.workspace, trial, device="cpu")
        now = audited.look
        assert now.value == pytest.approx(0.95)
        assert (now.num_files, now.of_trial) == (40, 0)
        told = audit.describe_audit(audited)
        is_first = trial == 1
        assert ("of trial 0, had been measured on 38 files as they" in told) == is_first
        assert (audited.num_before == 38) == is_first
        assert "auc 0.9500" in told and "1.0000 (" not in told


def test_a_repeat_of_a_trial_is_told_from_the_others(bench: Bench, inline: InlineTrials) -> None:
    folder = bench.search(bench.experiment(THREE), 1).folder
    (row,) = rows = read_trials(folder)
    for place in (1, 2):
        repeat = Repeat(number=0, of=row.recipe, place=place, recipe=f"{place:012x}")
        write_repeat(folder, repeat)
    for place, title in ((0, "trial 0"), (1, "repeat 0.1"), (2, "repeat 0.2")):
        uid = f"{place:012x}" if place else row.recipe
        write_champion(folder, champion(0, study=folder.name, recipe=uid))
        asked = audit._asked(folder, rows, None)
        made = look(0).model_copy(update={"place": asked.place})
        assert (asked.place, made.title, made.of_title) == (place, title, "trial 0")


def test_files_that_a_member_of_another_study_was_measured_on_are_no_holdout(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    held = write_data(tmp_path / "own", seed=3)
    folder = bench.search(bench.experiment(THREE, holdout={"data": str(held)}), 1).folder
    objective = {"over": ["val", "mine"]}
    other = bench.search(
        bench.experiment(THREE, objective=objective), 1, slices={"mine": held}
    ).folder
    (uid,) = [path.name for path in (other.path / "trials").iterdir()]
    trained = other.trial(uid).read_recipe()
    member = PackMember(
        study=other.name, number=0, recipe=uid, trained=trained, weights_sha256="", objective=0.5
    )
    joint = MeanOfProbabilities(weights=(1.0,))
    pack = PackRecord(
        spec=PackSpec(members=(trained.model,), joint=joint), members=(member,), data="",
        objective=Objective(), num_trials=1,
    )  # fmt: skip
    files = folder.pack("0123456789ab")
    files.path.mkdir(parents=True)
    files.write_pack(pack)
    holdout = folder.experiment().holdout
    assert holdout is not None
    searched = Prepared.load(folder.path)
    manifest, _ = audit._manifest(folder, bench.workspace, holdout, searched)
    assert audited_files.without_copies(manifest, [searched])[1] == 0
    others = audited_files.of_other_studies(folder, "0123456789ab")
    assert audited_files.without_copies(manifest, [searched, *others])[1] == len(manifest.table)
    shutil.rmtree(other.path)
    with pytest.raises(StudyError, match=f"members of the study {other.name}, which is gone"):
        audited_files.of_other_studies(folder, "0123456789ab")


def test_speakers_that_a_holdout_spells_otherwise_are_known(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    held = write_data(tmp_path / "h", seed=6)
    own = shutil.copytree(bench.data, tmp_path / "own")
    (own / "metadata.csv").write_text("name,speaker\ntrain0,1\ntrain1,SPK_2\ntrain2,7\n")
    (held / "metadata.csv").write_text("name,speaker\nval0,1.0\nval1,spk 2\nval2,9\n")
    keys = {"data": {"groups": ["speaker"]}, "holdout": {"data": str(held)}}
    folder = bench.search(bench.experiment(THREE, **keys), 1, data=own).folder
    holdout, searched = folder.experiment().holdout, Prepared.load(folder.path)
    assert holdout is not None
    manifest, _ = audit._manifest(folder, bench.workspace, holdout, searched)
    said = audited_files.of_known_groups(manifest, [searched])[-1]
    assert said.startswith("2 of its 40 files are of a speaker that was trained or chosen on")


@pytest.mark.parametrize("by", ["speaker", None])
def test_files_of_a_speaker_who_was_trained_on_are_told(
    bench: Bench, inline: InlineTrials, tmp_path: Path, by: str | None
) -> None:
    data = shutil.copytree(bench.data, tmp_path / "spoken")
    names = [f"{split}{n}" for split, many in (("train", 24), ("val", 16)) for n in range(many)]
    speakers = {name: f"p{at // 4}" for at, name in enumerate(names)}
    rows = [f"{name},{speaker}\n" for name, speaker in speakers.items()]
    (data / "metadata.csv").write_text("name,speaker\n" + "".join(rows))
    keys = {"data": {"groups": ["speaker"]}, "holdout": {"share": 0.3, "by": by}}
    folder = bench.search(bench.experiment(THREE, **keys), 1, data=data).folder
    holdout, searched = folder.experiment().holdout, Prepared.load(folder.path)
    assert holdout is not None
    manifest, _ = audit._manifest(folder, bench.workspace, holdout, searched)
    said = audited_files.of_known_groups(manifest, [searched])
    held = {Path(path).stem for path in manifest.table["path"]}
    known = {speakers[name] for name in names if name not in held}
    number = sum(speakers[name] in known for name in held)
    assert [line.partition(", which")[0] for line in said] == (
        [] if by else [f"{number} of its 12 files are of a speaker that was trained or chosen on"]
    )
    assert (number == 0) == (by is not None)


def _scored(folder: StudyFolder, uid: str, prepared: Prepared, device: str) -> tuple[Any, Any]:
    """Score each file of a holdout alike, in the place of a trained model."""
    targets = prepared.rows(HOLDOUT)["target"].to_numpy()
    return targets, np.full(len(targets), 0.5)


def _undecided() -> pd.DataFrame:
    """Return the scores of a trial that takes all files of val for the same."""
    names = [f"val{number}" for number in range(16)]
    values = {"slice": "val", "name": names, "score": 0.5, "neutral": False}
    return pd.DataFrame({**values, "target": [number % 2 for number in range(16)]})
