"""Which files a holdout takes: always the same, groups whole, and nothing of them left behind."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from tests.study.tiny import write_data
from workbench.data.holdout import HOLDOUT, Holdout, holdout_of, read_holdout, without_holdout
from workbench.data.labels import Template
from workbench.data.manifest import Layout, Manifest, read_manifest
from workbench.errors import DataError
from workbench.study.file_groups import numbered_groups

NOTHING = Template(pd.DataFrame({"name": [], "score": []}), "name", "score", Path("none"))


def made(num: int = 200, *, speakers: int = 20) -> Manifest:
    """A manifest of `num` labelled files, every second a fake, a quarter of them in val."""
    rows = [
        {
            "split": "val" if number % 4 < 2 and number < num // 2 else "train",
            "name": f"{number}.png",
            "path": f"trainset/{number}.png",
            "target": number % 2,
            "size_bytes": 10,
            "status": "ok",
            "content": f"{number:064x}",
            "meta.speaker": f"s{number // 2 % speakers}",
        }
        for number in range(num)
    ]
    test = {**rows[0], "split": "test", "name": "t.png", "path": "testset/t.png", "target": -1}
    table = pd.DataFrame([*rows, {**test, "content": "f" * 64}]).astype({"target": "int8"})
    return Manifest(table, NOTHING, 0)


def names(manifest: Manifest) -> set[str]:
    return set(manifest.table["name"])


def test_a_share_of_each_class_is_in_no_split() -> None:
    whole, holdout = made(), Holdout(share=0.2)
    left, held = without_holdout(whole, holdout), holdout_of(whole, holdout)
    assert names(left) | names(held) == names(whole)
    assert not names(left) & names(held)
    assert set(held.table["split"]) == {HOLDOUT}
    assert held.table["target"].value_counts().to_dict() == {0: 20, 1: 20}
    assert "t.png" in names(left)


def test_it_is_dealt_alike_whatever_the_order_and_nearly_so_with_more_files() -> None:
    whole, holdout = made(), Holdout(share=0.2)
    held = names(holdout_of(whole, holdout))
    shuffled = Manifest(whole.table.sample(frac=1, random_state=1), NOTHING, 0)
    assert names(holdout_of(shuffled, holdout)) == held
    more = names(holdout_of(made(240), holdout))
    assert len(held - more) <= 8


def test_groups_are_never_split() -> None:
    whole, holdout = made(), Holdout(share=0.3, by="speaker")
    left, held = without_holdout(whole, holdout), holdout_of(whole, holdout)
    of_left, of_held = (set(m.table["meta.speaker"][m.table["target"] >= 0]) for m in (left, held))
    assert not of_left & of_held
    assert len(of_held) == 6  # of 20 speakers of ten files each


def test_files_that_are_not_there_are_held_out_each_by_itself() -> None:
    table = made().table
    lost = table.index < 100
    table = table.assign(status="ok", content=table["content"].mask(lost, ""))
    table["status"] = table["status"].mask(lost, "missing")
    held = holdout_of(Manifest(table, NOTHING, 0), Holdout(share=0.3, by="speaker"))
    assert len(held.table) == 60  # six speakers of ten files each, and no two of them one


def test_copies_stay_together() -> None:
    whole = made()
    contents = whole.table["content"].tolist()
    contents[1:20:2] = [contents[1]] * 10
    table = whole.table.assign(content=contents)
    held = holdout_of(Manifest(table, NOTHING, 0), Holdout(share=0.2))
    left = without_holdout(Manifest(table, NOTHING, 0), Holdout(share=0.2))
    assert not set(held.table["content"]) & set(left.table["content"])


def test_one_file_with_both_labels_is_refused_where_it_is_held_out() -> None:
    whole, holdout = made(), Holdout(share=0.3, by="speaker")

    def torn(split: pd.DataFrame) -> Manifest:
        """The whole, a real and a fake file of the split the same byte for byte."""
        real, fake = (split[split["target"] == target].iloc[0] for target in (0, 1))
        contents = whole.table["content"].replace(fake["content"], real["content"])
        return Manifest(whole.table.assign(content=contents), NOTHING, 0)

    held = torn(holdout_of(whole, holdout).table)
    for refused in (holdout_of, without_holdout):
        with pytest.raises(
            DataError, match=r"trainset/\d+\.png and trainset/\d+\.png of the holdout"
        ):
            refused(held, holdout)
    left = torn(without_holdout(whole, holdout).table)
    assert names(holdout_of(left, holdout)) == names(holdout_of(whole, holdout))


def test_without_a_holdout_and_with_one_in_a_folder_all_is_left(tmp_path: Path) -> None:
    whole = made()
    assert without_holdout(whole, None) is whole
    assert without_holdout(whole, Holdout(data=str(tmp_path))) is whole
    with pytest.raises(DataError, match="of the holdout does not exist"):
        without_holdout(whole, Holdout(data=str(tmp_path / "gone")))


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "give either `data`"),
        ({"data": "d", "share": 0.2}, "give either `data`"),
        ({"data": "d", "by": "speaker"}, "`by` says which files of a `share`"),
        ({"share": 1.0}, "less than 1"),
    ],
)
def test_what_is_no_holdout_says_why(tree: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Holdout.model_validate(tree)


def test_a_column_that_is_not_there_and_a_share_that_is_too_small_say_what_to_do() -> None:
    with pytest.raises(DataError, match="is by 'identity', which is no known column"):
        without_holdout(made(), Holdout(share=0.2, by="identity"))
    with pytest.raises(DataError, match="would lack a class"):
        without_holdout(made(), Holdout(share=0.001))


def test_a_split_that_keeps_no_file_is_refused() -> None:
    with pytest.raises(DataError, match=r"leaves no file of (train|val)\. Lower `share`"):
        without_holdout(made(8), Holdout(share=0.95))


def test_a_folder_is_read_with_its_labels_beside_the_media(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    layout, cache = Layout(), tmp_path / "cache"
    whole = read_manifest(data, layout, cache=cache)
    both = read_holdout(data, layout, cache=cache)  # laid out like a data folder
    labelled = whole.table[whole.table["target"] >= 0]
    assert both.table["content"].tolist() == labelled["content"].tolist()
    assert both.table["target"].tolist() == labelled["target"].tolist()
    assert set(both.table["split"]) == {HOLDOUT}
    val = whole.table[whole.table["split"] == "val"]

    flat = tmp_path / "flat"
    (data / "valset").rename(flat)
    (data / "val_label.txt").rename(flat / "labels.csv")
    found = read_holdout(flat, layout, cache=cache)
    assert found.table["content"].tolist() == val["content"].tolist()
    assert found.table["target"].tolist() == val["target"].tolist()


def test_the_tables_of_a_folder_say_which_files_belong_together(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    flat = tmp_path / "flat"
    (data / "valset").rename(flat)
    header, *lines = (data / "val_label.txt").read_text().split()
    rows = [f"{header},speaker", *(f"{line},s{at % 3}" for at, line in enumerate(lines))]
    (flat / "labels.csv").write_text("\n".join(rows))
    found = read_holdout(flat, Layout(groups=("speaker",)), cache=tmp_path / "cache")
    alike = numbered_groups(found.table, found.metadata)
    assert alike.tolist() == [at % 3 for at in range(len(lines))]


def test_a_file_that_is_real_in_one_label_file_and_fake_in_the_other_is_refused(
    tmp_path: Path,
) -> None:
    data = write_data(tmp_path / "data")
    rows = (data / "val_label.txt").read_text()
    (data / "train_label.txt").write_text(rows.replace("val0.png,0", "val0.png,1"))
    layout = Layout(train_media=("valset",))
    with pytest.raises(DataError, match=r"gives valset/val0\.png both targets"):
        read_holdout(data, layout, cache=tmp_path / "cache")
    (data / "train_label.txt").write_text(rows)
    assert len(read_holdout(data, layout, cache=tmp_path / "cache").table) == 16


def test_a_folder_in_which_one_file_has_both_labels_is_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    shutil.copyfile(data / "valset" / "val0.png", data / "valset" / "val3.png")
    with pytest.raises(DataError, match=r"val0\.png and valset/val3\.png .* both real and fake"):
        read_holdout(data, Layout(), cache=tmp_path / "cache")


def test_a_holdout_that_takes_a_class_of_val_says_that_it_is_the_holdout() -> None:
    whole = made(40)
    rows = whole.table["split"].eq("val") & whole.table["target"].eq(1)
    speakers = ["A31" if is_one else f"B{number}" for number, is_one in enumerate(rows)]
    whole.table["meta.speaker"] = speakers
    with pytest.raises(DataError, match="labelled files leaves too few: The val split needs"):
        without_holdout(whole, Holdout(share=0.3, by="speaker"))


def test_labels_of_a_folder_that_its_names_turn_over_are_refused(tmp_path: Path) -> None:
    rows = []
    for kind in ("real", "fake"):
        for n in range(3):
            (tmp_path / f"{kind}_{n}.png").write_bytes(f"{kind}{n}".encode())
            rows.append(f"{kind}_{n}.png,{int(kind == 'real')}\n")
    (tmp_path / "label.csv").write_text("img_name,target\n" + "".join(rows))
    with pytest.raises(DataError, match="by their names it is the other way round"):
        read_holdout(tmp_path, Layout(), cache=tmp_path / "cache")
    known = Layout(classes={"fake": ("0",), "real": ("1",)})
    held = read_holdout(tmp_path, known, cache=tmp_path / "cache").table
    assert held.set_index("name")["target"]["real_1.png"] == 0
