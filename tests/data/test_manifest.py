import errno
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from workbench.data import contents as module
from workbench.data.manifest import Layout, Manifest, changes, describe_manifest, read_manifest
from workbench.errors import DataError
from workbench.files import hash_file

TEMPLATE = "video_name,y_pred\nt0.mp4,\nt1.mp4,\nt0.mp4,\n"


def write_data(folder: Path) -> Path:
    """Write a data folder of four files a split; their content is their name."""
    for split in ("train", "val"):
        media = folder / f"{split}set"
        media.mkdir(parents=True)
        for index in range(4):
            (media / f"{split}{index}.mp4").write_text(f"{split}{index}")
        labels = [f"{split}{index}.mp4,{index % 2}" for index in range(4)]
        (folder / f"{split}_label.txt").write_text("\n".join(["video_name,target", *labels]))
    (folder / "testset").mkdir()
    for index in range(2):
        (folder / "testset" / f"t{index}.mp4").write_text(f"t{index}")
    (folder / "prediction.txt.csv").write_text(TEMPLATE)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


def read(data: Path, layout: Layout | None = None) -> Manifest:
    return read_manifest(data, layout or Layout(), cache=data.parent / "cache")


def test_every_labelled_and_every_template_file_has_one_row(data: Path) -> None:
    table = read(data).table
    assert list(table["split"]) == ["train"] * 4 + ["val"] * 4 + ["test"] * 2
    assert list(table["target"]) == [0, 1, 0, 1, 0, 1, 0, 1, -1, -1]
    assert list(table["path"])[::4] == ["trainset/train0.mp4", "valset/val0.mp4", "testset/t0.mp4"]
    assert set(table["status"]) == {"ok"}
    assert list(table["size_bytes"]) == [6] * 4 + [4] * 4 + [2] * 2
    assert all(
        hash_file(data / p) == c for p, c in zip(table["path"], table["content"], strict=True)
    )
    assert len(read(data).template.names) == 3


def test_missing_and_empty_files_are_counted_and_listed(data: Path) -> None:
    (data / "trainset" / "train1.mp4").unlink()
    (data / "trainset" / "train2.mp4").write_bytes(b"")
    (data / "testset" / "t1.mp4").unlink()
    (data / "testset" / "t1.mp4").symlink_to("nowhere")
    manifest = read(data)
    rows = manifest.table.set_index("name")
    assert list(rows.loc[["train1.mp4", "train2.mp4", "t1.mp4"], "status"]) == [
        "missing",
        "empty",
        "missing",
    ]
    assert list(rows.loc[["train1.mp4", "train2.mp4"], "content"]) == ["", ""]
    assert list(rows.loc[["train1.mp4", "train2.mp4"], "size_bytes"]) == [0, 0]
    assert describe_manifest(manifest) == [
        "train: 4 files, 2 fake; 1 empty, 1 missing (train1.mp4, train2.mp4)",
        "val: 4 files, 2 fake",
        "test: 2 files, no labels; 1 missing (t1.mp4)",
        "for example fake: trainset/train3.mp4, valset/val1.mp4; "
        "real: trainset/train0.mp4, valset/val0.mp4",
    ]


def test_a_missing_file_counts_once_however_often_it_is_spelled(data: Path) -> None:
    with (data / "train_label.txt").open("a") as labels:
        labels.write("\ngone.mp4,1\n./gone.mp4,1\na//gone.mp4,0\n")
    with (data / "prediction.txt.csv").open("a") as template:
        template.write("gone.mp4,\n./gone.mp4,\n./t0.mp4,\n")
    manifest = read(data)
    gone = manifest.table[manifest.table["status"] == "missing"]
    assert list(gone["name"]) == ["gone.mp4", "a//gone.mp4", "gone.mp4", "./gone.mp4"]
    assert list(gone["path"])[2:] == ["testset/gone.mp4"] * 2
    said = describe_manifest(manifest)
    assert "train: 6 files, 3 fake; 2 missing (gone.mp4, a//gone.mp4)" in said
    assert "test: 3 files, no labels; 1 missing (gone.mp4)" in said
    assert "dropped: 1 label row with name and label of an earlier one" in said


def test_two_rows_of_one_file_that_is_spelled_in_two_ways_and_say_two_generators_are_told(
    data: Path,
) -> None:
    rows = [f"train{index}.mp4,{index % 2},a" for index in range(4)]
    text = "\n".join(["video_name,target,generator", *rows, "./train1.mp4,1,b"])
    (data / "train_label.txt").write_text(text)
    assert any(
        line.startswith(
            "train_label.txt: repeated rows say another generator or the like of train1"
        )
        for line in read(data).understood
    )


def test_repeated_label_rows_are_said(data: Path) -> None:
    with (data / "train_label.txt").open("a") as labels:
        labels.write("\ntrain0.mp4,0\n")
    assert describe_manifest(read(data))[-1].startswith("dropped: 1 label row with")


def test_a_template_without_a_testset_names_the_validation_files(data: Path) -> None:
    shutil.rmtree(data / "testset")
    (data / "prediction.txt.csv").write_text("video_name,y_pred\nval3.mp4,\n")
    row = read(data).table.iloc[-1]
    assert (row["split"], row["path"], row["target"]) == ("test", "valset/val3.mp4", -1)
    assert row["status"] == "ok"


def test_files_of_the_other_track_are_found_by_their_names(data: Path) -> None:
    for old, new in (("trainset", "train"), ("valset", "val"), ("testset", "testset1")):
        (data / old).rename(data / new)
    (data / "train_label.txt").rename(data / "trainset_label.txt")
    (data / "prediction.txt.csv").rename(data / "prediction.csv")
    assert read(data).table["path"].iloc[-1] == "testset1/t1.mp4"


def test_a_layout_renames_and_nests(data: Path) -> None:
    (data / "clips").mkdir()
    (data / "trainset").rename(data / "clips" / "learn")
    table = read(data, Layout(train_media=("clips/learn",))).table
    assert table["path"].iloc[0] == "clips/learn/train0.mp4"
    assert table["status"].iloc[0] == "ok"


def test_a_name_may_have_a_folder(data: Path) -> None:
    (data / "testset" / "deep").mkdir()
    (data / "testset" / "t0.mp4").rename(data / "testset" / "deep" / "t0.mp4")
    (data / "prediction.txt.csv").write_text("video_name,y_pred\ndeep/t0.mp4,\n")
    assert read(data).table["status"].iloc[-1] == "ok"


def test_the_fingerprint_is_that_of_the_content_not_of_place_order_or_template_text(
    data: Path, tmp_path: Path
) -> None:
    fingerprint = read(data).fingerprint
    assert len(fingerprint) == 12
    other = tmp_path / "elsewhere" / "moved"
    shutil.copytree(data, other)
    header, *rows = (other / "train_label.txt").read_text().splitlines()
    (other / "train_label.txt").write_text("\n".join([header, *reversed(rows), rows[0]]))
    (other / "prediction.txt.csv").write_text("video_name,y_pred\nt1.mp4,0.7\nt0.mp4,\n")
    os.utime(other / "trainset" / "train0.mp4", (0, 0))
    assert read(other).fingerprint == fingerprint


@pytest.mark.parametrize("change", ["content", "target", "name", "split", "absence", "template"])
def test_the_fingerprint_changes_with(data: Path, change: str) -> None:
    before = read(data).fingerprint
    labels, first = data / "train_label.txt", data / "trainset" / "train0.mp4"
    if change == "content":
        first.write_text("other0")
    elif change == "target":
        labels.write_text(labels.read_text().replace("train0.mp4,0", "train0.mp4,1"))
    elif change == "name":
        first.rename(first.with_name("other.mp4"))
        labels.write_text(labels.read_text().replace("train0.mp4", "other.mp4"))
    elif change == "split":
        first.rename(data / "valset" / "train0.mp4")
        labels.write_text(labels.read_text().replace("train0.mp4,0\n", ""))
        with (data / "val_label.txt").open("a") as val:
            val.write("\ntrain0.mp4,0\n")
    elif change == "absence":
        first.unlink()
    else:
        (data / "prediction.txt.csv").write_text("video_name,y_pred\nt0.mp4,\n")
    assert read(data).fingerprint != before


def test_contents_are_read_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return hash_file(path)

    monkeypatch.setattr(module, "hash_file", counted)
    first = read(data)
    assert len(hashed) == 10
    hashed.clear()
    second = read(data)
    assert hashed == []
    assert second.table.equals(first.table)

    # Same size, other content: the time of the change tells.
    changed = data / "valset" / "val2.mp4"
    changed.write_text("VAL2")
    os.utime(changed, (1, 1))
    third = read(data)
    assert hashed == ["val2.mp4"]
    row = third.table.set_index("name").loc["val2.mp4"]
    assert row["content"] == hash_file(changed)
    hashed.clear()
    assert read(data).fingerprint == third.fingerprint != first.fingerprint
    assert hashed == []


def test_one_folders_memory_is_not_anothers(data: Path, tmp_path: Path) -> None:
    read(data)
    other = write_data(tmp_path / "other")
    for path in (other / "valset").iterdir():
        path.write_text("V" + path.stem[1:])
        time = (data / "valset" / path.name).stat().st_mtime_ns
        os.utime(path, ns=(time, time))
    assert read(other).table["content"].iloc[4] == hash_file(other / "valset" / "val0.mp4")


def test_a_split_of_one_class_is_refused(data: Path) -> None:
    (data / "val_label.txt").write_text("video_name,target\nval0.mp4,1\nval1.mp4,1\n")
    with pytest.raises(DataError, match=r"val split needs real and fake.*all with target 1"):
        read(data)


def test_a_class_whose_files_are_all_absent_is_refused(data: Path) -> None:
    for index in (1, 3):
        (data / "trainset" / f"train{index}.mp4").unlink()
    with pytest.raises(DataError, match=r"train split .* 2 of 4 labelled files are there"):
        read(data)


def test_a_wrong_media_folder_shows_where_was_looked(data: Path) -> None:
    (data / "empty").mkdir()
    with pytest.raises(DataError, match=r"0 of 4 .*first path looked for: empty/train0\.mp4"):
        read(data, Layout(train_media=("empty",)))


@pytest.mark.parametrize("absent", ["train_label.txt", "valset", "prediction.txt.csv"])
def test_an_absent_part_is_named(data: Path, absent: str) -> None:
    (data / absent).rename(data / "away")
    with pytest.raises(DataError, match=f"looked for .*{absent}"):
        read(data)


def test_a_folder_that_is_none_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        read(tmp_path / "nowhere")
    shutil.rmtree(data / "trainset")
    (data / "trainset").write_text("")
    with pytest.raises(DataError, match="is not a folder"):
        read(data)


def test_an_absolute_name_in_a_layout_is_refused(data: Path) -> None:
    with pytest.raises(DataError, match="relative to that folder"):
        read(data, Layout(train_media=(str(data.parent),)))


def test_media_that_no_row_names_are_listed_with_their_split(data: Path) -> None:
    (data / "trainset" / "more").mkdir()
    for path in ("trainset/more/extra.MP4", "valset/extra.mp4", "trainset/.hidden.mp4"):
        (data / path).write_text("x")
    (data / "trainset" / "readme.txt").write_text("no media")
    unnamed = read(data).unnamed
    assert unnamed.to_dict("records") == [
        {"split": "train", "path": "trainset/more/extra.MP4"},
        {"split": "val", "path": "valset/extra.mp4"},
    ]


def test_a_folder_of_two_splits_lists_what_neither_names(data: Path) -> None:
    shutil.rmtree(data / "testset")
    labels = "video_name,target\nval0.mp4,0\nval1.mp4,1\n"
    (data / "val_label.txt").write_text(labels)
    (data / "prediction.txt.csv").write_text("video_name,y_pred\nval2.mp4,\nval0.mp4,\n")
    assert read(data).unnamed.to_dict("records") == [
        {"split": "val, test", "path": "valset/val3.mp4"}
    ]


def test_a_media_folder_within_another_is_not_unnamed(data: Path) -> None:
    (data / "valset").rename(data / "trainset" / "val")
    layout = Layout(val_media=("trainset/val",))
    assert read(data, layout).unnamed.empty
    (data / "trainset" / "val" / "extra.mp4").write_text("x")
    assert list(read(data, layout).unnamed["path"]) == ["trainset/val/extra.mp4"]


def test_a_name_that_is_no_utf8_can_be_printed(data: Path) -> None:
    with open(os.fsencode(data / "valset") + b"/\xff.mp4", "wb"):  # noqa: PTH123 (bytes)
        pass
    assert list(read(data).unnamed["path"]) == ["valset/\ufffd.mp4"]


def test_nothing_is_unnamed_in_a_whole_data_set(data: Path) -> None:
    assert read(data).unnamed.empty
    assert list(read(data).unnamed.columns) == ["split", "path"]


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.EACCES, "denied"),
        (errno.EPERM, "denied"),
        (errno.EBADMSG, "broken"),
        (errno.EIO, "unreadable"),
        (errno.ESTALE, "unreadable"),
    ],
)
def test_a_file_that_cannot_be_read_is_no_content_and_read_again_the_next_time(
    data: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: str
) -> None:
    def refuse(path: Path) -> str:
        if path.name == "train0.mp4":
            raise OSError(number, os.strerror(number), str(path))
        return hash_file(path)

    monkeypatch.setattr(module, "hash_file", refuse)
    part = read(data)
    assert part.table["status"].tolist() == [status, *["ok"] * 9]
    assert part.table["content"].iloc[0] == ""
    assert describe_manifest(part)[0] == f"train: 4 files, 2 fake; 1 {status} (train0.mp4)"
    monkeypatch.undo()
    assert read(data).table["content"].iloc[0] == hash_file(data / "trainset" / "train0.mp4")


def overwrite(path: Path, text: str) -> None:
    """Write a text of the same length, and set the time back to what it was."""
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_change_that_leaves_size_and_time_as_they_were_is_noticed_and_told(data: Path) -> None:
    first = read(data)
    assert first.altered == ()
    overwrite(data / "valset" / "val2.mp4", "VAL2")
    second = read(data)
    assert second.altered == ("valset/val2.mp4",)
    assert second.fingerprint != first.fingerprint
    assert (
        "1 file had changed, though size and time were the same, e.g. valset/val2.mp4"
        in describe_manifest(second)
    )
    assert read(data).altered == ()


def test_a_link_to_another_file_of_the_same_size_and_moment_is_noticed(data: Path) -> None:
    store = data / "store"
    store.mkdir()
    # As an archive unpacks them: some within one tick of the clock. Python's `open` would look at
    # each, and a file that was looked at gets a time of its own when it is written to.
    files = [store / f"{number}.mp4" for number in range(300)]
    for number, file in enumerate(files):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.write(handle, b"%08d" % number)
        os.close(handle)
        os.utime(file, (0, 0))
    seen: dict[int, Path] = {}
    for file in files:
        one = seen.setdefault(file.stat().st_ctime_ns, file)
        if one != file:
            break
    else:
        pytest.skip("this file system tells every moment from the next")
    link = data / "testset" / "t0.mp4"
    link.unlink()
    link.symlink_to(one)
    before = read(data).table.set_index("name")["content"]["t0.mp4"]
    assert before == hash_file(one)
    link.unlink()
    link.symlink_to(file)
    assert read(data).table.set_index("name")["content"]["t0.mp4"] == hash_file(file)


def test_contents_remembered_by_an_older_version_are_believed_unless_all_is_verified(
    data: Path,
) -> None:
    first = read(data)
    (memory,) = (data.parent / "cache" / "contents").iterdir()
    pd.read_parquet(memory).drop(columns="ctime_ns").to_parquet(memory)
    before = memory.stat().st_mtime_ns
    overwrite(data / "valset" / "val2.mp4", "VAL2")
    assert read_manifest(data, Layout(), cache=data.parent / "cache").fingerprint == (
        first.fingerprint
    )
    assert memory.stat().st_mtime_ns != before  # from now on it tells
    found = read_manifest(data, Layout(), cache=data.parent / "cache", verify=True)
    assert found.altered == ("valset/val2.mp4",)
    assert found.fingerprint != first.fingerprint


def test_damaged_memory_is_made_anew(data: Path) -> None:
    first = read(data)
    (memory,) = (data.parent / "cache" / "contents").iterdir()
    memory.write_bytes(memory.read_bytes()[:100])
    assert read(data).fingerprint == first.fingerprint


def test_what_changed_is_named_file_by_file(data: Path) -> None:
    before = read(data).table
    assert changes(before, before) == ""
    (data / "trainset" / "train0.mp4").write_text("other")
    (data / "valset" / "val3.mp4").unlink()
    labels = data / "val_label.txt"
    labels.write_text(labels.read_text().replace("val0.mp4,0", "val0.mp4,1"))
    (data / "prediction.txt.csv").write_text("video_name,y_pred\nt0.mp4,\nt9.mp4,\n")
    assert changes(before, read(data).table) == (
        "other content: 2 files, e.g. trainset/train0.mp4; "
        "other label: 1 file, e.g. valset/val0.mp4; "
        "new: 1 file, e.g. testset/t9.mp4; "
        "no longer named: 1 file, e.g. testset/t1.mp4"
    )


def test_what_is_said_of_files_is_named_where_it_counts(data: Path) -> None:
    before = read(data).table
    said = {"trainset/train1.mp4": "yes", "valset/val3.mp4": "no"}
    now = before.assign(**{"meta.sound_fake": before["path"].map(said).fillna("")})
    used = ("meta.sound_fake", "fold")
    assert changes(now, now, used) == ""
    assert changes(before, now) == ""
    assert changes(before, now, used) == (
        "other sound_fake: 2 files, e.g. trainset/train1.mp4 (was '', is 'yes')"
    )
    folds = now.assign(fold=[1, 1, 2, 2, 1, 1, 2, 2, 0, 0])
    other = folds.assign(fold=[1, 1, 2, 2, 1, 1, 2, 3, 0, 0])
    assert (
        changes(folds, other, used) == "other fold: 1 file, e.g. valset/val3.mp4 (was '2', is '3')"
    )
    empty = before.assign(**{"meta.sound_fake": ""})
    assert changes(before, empty, used) == "a new column sound_fake"
    assert changes(empty, before, used) == "no longer a column sound_fake"
    dotted = before.assign(**{"meta.audio.codec": ""})
    assert changes(before, dotted, ["meta.audio.codec"]) == "a new column audio.codec"


def test_links_in_circles_are_not_walked_for_ever(data: Path) -> None:
    before = read(data).table
    for name in ("one", "two", "three"):
        (data / "trainset" / name).symlink_to(".")
    pd.testing.assert_frame_equal(read(data).table, before)


def test_a_pipe_is_missing_and_not_waited_for(data: Path) -> None:
    (data / "testset" / "t1.mp4").unlink()
    os.mkfifo(data / "testset" / "t1.mp4")
    assert read(data).table["status"].iloc[9] == "missing"


def test_odd_spellings_of_names_find_their_files_and_are_told_once(data: Path) -> None:
    fingerprint = read(data).fingerprint
    labels = (data / "train_label.txt").read_text()
    labels = labels.replace("train0.mp4", "./train0.mp4").replace("train1.mp4", "train1.MP4")
    (data / "train_label.txt").write_text(labels + "\ntrain0.mp4,0\n")
    manifest = read(data)
    # The names are those of the files, so a study of the same files goes on.
    assert manifest.fingerprint == fingerprint
    assert set(manifest.table["status"]) == {"ok"}
    assert manifest.num_repeated == 1
    first, second, *rest = describe_manifest(manifest)
    assert first.startswith("train: 1 name was matched with files leaving aside spaces")
    assert second.startswith("train: 1 name was matched with files leaving aside the case of")
    assert rest[0] == "train: 4 files, 2 fake"


def test_a_template_keeps_its_cells_where_its_names_are_odd(data: Path) -> None:
    (data / "prediction.txt.csv").write_text("video_name,y_pred\nt0.mp4 ,\n./T1.mp4,\nt2,\n")
    rows = read(data).table.query("split == 'test'")
    assert list(rows["name"]) == ["t0.mp4 ", "./T1.mp4", "t2"]
    assert list(rows["path"]) == ["testset/t0.mp4", "testset/t1.mp4", "testset/t2"]
    assert list(rows["status"]) == ["ok", "ok", "missing"]
    assert read(data).unnamed.empty


def test_a_file_whose_name_begins_with_a_space_is_found(data: Path) -> None:
    (data / "trainset" / "train0.mp4").rename(data / "trainset" / " train0.mp4")
    labels = (data / "train_label.txt").read_text()
    (data / "train_label.txt").write_text(labels.replace("train0", " train0"))
    manifest = read(data)
    assert manifest.table["path"].iloc[0] == "trainset/ train0.mp4"
    assert manifest.table["status"].iloc[0] == "ok"
    assert manifest.understood == ()


def test_two_spellings_of_one_name_have_one_target(data: Path) -> None:
    with (data / "train_label.txt").open("a") as labels:
        labels.write("\n./train0.mp4,1\n")
    with pytest.raises(DataError, match=r"gives train0\.mp4 both targets"):
        read(data)


def test_columns_and_classes_of_a_layout_are_for_all_tables(data: Path) -> None:
    for split in ("train", "val"):
        rows = [f"{split}{index}.mp4\t{'gf'[index % 2]}" for index in range(4)]
        (data / f"{split}_label.txt").write_text("\n".join(["clip_id\twhat", *rows]))
    (data / "prediction.txt.csv").write_text("clip_id,y_pred\nt0.mp4,\n")
    about = {"columns": {"name": "clip_id", "target": "what"}}
    layout = Layout.model_validate({**about, "classes": {"fake": "f", "real": ["g"]}})
    manifest = read(data, layout)
    assert list(manifest.table["target"]) == [0, 1, 0, 1, 0, 1, 0, 1, -1]
    assert manifest.understood == (
        "train_label.txt: tabs, columns clip_id and what, f/g read as 1/0",
        "val_label.txt: tabs, columns clip_id and what, f/g read as 1/0",
        "prediction.txt.csv: columns clip_id and y_pred",
    )


SECRET = "password,hunter2\n"


@pytest.mark.parametrize("part", ["train_labels", "val_labels", "template"])
@pytest.mark.parametrize(
    "named", ["../other.csv", "trainset/../../other.csv", "{whole}", "out", "folder/other.csv"]
)
def test_a_table_outside_of_the_data_folder_is_not_opened(
    data: Path, part: str, named: str
) -> None:
    other = data.parent / "other.csv"
    other.write_text(SECRET)
    (data / "out").symlink_to(other)
    (data / "folder").symlink_to(data.parent)
    with pytest.raises(DataError) as refused:
        read(data, Layout(**{part: (named.format(whole=other),)}))
    said = str(refused.value)
    assert "relative to that folder" in said or "leads out of" in said
    assert "password" not in said
    assert "\n" not in said


@pytest.mark.parametrize("part", ["train_labels", "template"])
def test_a_table_that_is_no_regular_file_is_not_waited_for(data: Path, part: str) -> None:
    os.mkfifo(data / "pipe")
    (data / "device").symlink_to("/dev/zero")
    with (data / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="pipe is a pipe"):
        read(data, Layout(**{part: ("pipe",)}))
    with pytest.raises(DataError, match="leads out of"):
        read(data, Layout(**{part: ("device",)}))
    with pytest.raises(DataError, match="huge has over 128 MiB"):
        read(data, Layout(**{part: ("huge",)}))


@pytest.mark.parametrize("named", ["../media", "/media", "trainset/../../media", ".."])
def test_an_experiment_names_no_media_folder_outside_of_the_data_folder(
    data: Path, named: str
) -> None:
    shutil.copytree(data / "trainset", data.parent / "media")
    with pytest.raises(DataError, match="relative to that folder"):
        read(data, Layout(train_media=(named,)))


def test_media_may_be_links_to_another_disk_but_a_table_may_not(data: Path) -> None:
    disk = data.parent / "disk"
    expected = read(data).table
    (data / "trainset").rename(disk)
    (data / "trainset").symlink_to(disk)  # the folder, and a file of another
    (data / "valset" / "val0.mp4").rename(disk / "val0.mp4")
    (data / "valset" / "val0.mp4").symlink_to(disk / "val0.mp4")
    pd.testing.assert_frame_equal(read(data).table, expected)
    (data / "val_label.txt").rename(disk / "val_label.txt")
    (data / "val_label.txt").symlink_to(disk / "val_label.txt")
    with pytest.raises(DataError, match=r"val_label\.txt is a link that leads out of"):
        read(data)


def test_a_media_file_of_an_absurd_size_is_not_read(data: Path) -> None:
    with (data / "trainset" / "train0.mp4").open("wb") as file:
        file.truncate(1 << 42)  # a hole: it takes no room on the disk
    row = read(data).table.set_index("name").loc["train0.mp4"]
    assert (row["status"], row["content"]) == ("too_large", "")


def test_names_of_strangers_are_seen_and_do_not_act(data: Path) -> None:
    evil = "gone\x1b[2J\u202e.mp4"
    with (data / "train_label.txt").open("a", encoding="utf-8") as labels:
        labels.write(f'\n"{evil}\n",1')
    (line,) = [line for line in describe_manifest(read(data)) if line.startswith("train")]
    assert line.isprintable()
    assert r"gone\u001b[2J\u202e.mp4" in line
