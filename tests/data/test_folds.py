"""Folds: every labelled file in one of them, groups whole, the same on every machine."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.data.folds import Validation, with_fold
from workbench.data.labels import Template
from workbench.data.manifest import Manifest
from workbench.data.metadata import Metadata, column_of
from workbench.data.out_of_fold import FOLD
from workbench.errors import ConfigError, DataError
from workbench.validation import build

TEMPLATE = Template(pd.DataFrame({"name": [], "y": []}), "name", "y", Path("t.csv"))


def manifest(targets: list[int], **columns: list[str]) -> Manifest:
    """Return a manifest of labelled files, the first half `train`, and two `test` files."""
    num, half = len(targets), len(targets) // 2
    cells = {column_of(name): [*values, "", ""] for name, values in columns.items()}
    names = [f"c{number}.mp4" for number in range(num)]
    table = pd.DataFrame(
        {
            "split": ["train"] * half + ["val"] * (num - half) + ["test"] * 2,
            "name": [*names, "t0.mp4", "t1.mp4"],
            "path": [f"media/{name}" for name in [*names, "t0.mp4", "t1.mp4"]],
            "target": [*targets, -1, -1],
            "status": "ok",
            "content": [f"{number:064d}" for number in range(num + 2)],
            **cells,
        }
    )
    groups = tuple(name for name in columns if name != "generator")
    return Manifest(table, TEMPLATE, 0, metadata=Metadata(groups=groups))


def val_of(dealt: Manifest) -> set[str]:
    return set(dealt.table.loc[dealt.table["split"] == "val", "path"])


def test_every_labelled_file_is_in_one_fold_with_the_classes_in_proportion() -> None:
    data = manifest([0] * 30 + [1] * 20)
    seen: list[str] = []
    for fold in range(1, 6):
        dealt = with_fold(data, Validation(kind="stratified", fold=fold))
        val = dealt.table[dealt.table["split"] == "val"]
        assert val["target"].value_counts().to_dict() == {0: 6, 1: 4}
        assert dealt.table["split"].value_counts().to_dict() == {"train": 40, "val": 10, "test": 2}
        seen += val["path"].tolist()
        line = f"validation: fold {fold} of 5 is val, 10 of 50 labelled files"
        assert dealt.understood == (line,)
    assert sorted(seen) == sorted(data.table["path"][:50])


def test_folds_are_the_same_whatever_the_order_of_the_files() -> None:
    data = manifest([0, 1] * 20)
    shuffled = Manifest(data.table.sample(frac=1, random_state=3), TEMPLATE, 0)
    dealt = Validation(kind="stratified", folds=4, fold=2)
    assert val_of(with_fold(data, dealt)) == val_of(with_fold(shuffled, dealt))
    assert with_fold(data, dealt).fingerprint == with_fold(shuffled, dealt).fingerprint
    assert with_fold(data, dealt).fingerprint != data.fingerprint


def test_the_given_split_is_left_as_it_is() -> None:
    data = manifest([0, 1] * 4)
    assert with_fold(data, Validation()) is data


@pytest.mark.parametrize(
    ("validation", "told"),
    [
        (Validation(), "the data's own `val`"),
        (Validation(kind="group", folds=4, use=2), "`group`, 4 folds, 2 of them used"),
        (Validation(kind="cluster"), "`cluster`, 5 folds at most, 1 of them used"),
        (
            Validation(kind="leave-one-out-by-column", use=3),
            "`leave-one-out-by-column`, a fold for each value of `generator`, 3 of them used",
        ),
    ],
)
def test_no_number_of_folds_is_told_that_the_data_decide(validation: Validation, told: str) -> None:
    assert validation.told == told


@given(st.lists(st.integers(0, 6), min_size=40, max_size=60), st.integers(1, 3))
def test_a_group_is_never_split(speakers: list[int], fold: int) -> None:
    named = [str(speaker) for speaker in speakers]
    data = manifest([0, 1] * (len(speakers) // 2) + [0] * (len(speakers) % 2), speaker=named)
    try:
        dealt = with_fold(data, Validation(kind="group", folds=3, fold=fold)).table
    except DataError:
        return  # too few groups for so many folds
    labelled = dealt[dealt["target"] >= 0]
    assert labelled.groupby(column_of("speaker"))["split"].nunique().max() == 1


def test_copies_of_one_file_stay_together() -> None:
    data = manifest([0, 1] * 20)
    data.table["content"] = [f"{number // 4:064d}" for number in range(42)]
    for fold in (1, 2):
        table = with_fold(data, Validation(kind="stratified", folds=2, fold=fold)).table
        labelled = table[table["target"] >= 0]
        assert labelled.groupby("content")["split"].nunique().max() == 1


@pytest.mark.parametrize("kept", [0, 7, 12])
def test_copies_stay_together_whomever_the_tables_say_they_show(kept: int) -> None:
    """Files 1 and 2 are copies of speakers a and b, 3 and 4 of b and of none: all are one group."""
    speakers = ["a", "a", "b", "b", "", *(f"s{number}" for number in range(35))]
    data = manifest([0, 1, 1, 0, 0, *([1, 0] * 17), 1], speaker=speakers)
    content = data.table["content"].tolist()
    content[2], content[4] = content[1], content[3]
    table = data.table.assign(content=content)
    data = Manifest(table.iloc[[*table.index[kept:], *table.index[:kept]]], TEMPLATE, 0)
    data = replace(data, metadata=Metadata(groups=("speaker",)))
    folds = folds_of(with_fold(data, Validation(kind="group", folds=4, use=4)))
    assert len({folds[f"c{number}.mp4"] for number in range(5)}) == 1
    assert set(folds.values()) == {1, 2, 3, 4}


def test_files_of_one_name_in_two_folders_keep_apart_by_their_paths() -> None:
    data = manifest([0, 1] * 10)
    data.table["name"] = ["same.mp4", *data.table["name"][1:19], "same.mp4", "t0.mp4", "t1.mp4"]
    for fold in (1, 2):
        table = with_fold(data, Validation(kind="stratified", folds=2, fold=fold)).table
        assert not table.duplicated(["split", "name"]).any()


def test_a_file_that_is_real_and_fake_is_refused() -> None:
    data = manifest([0, 1] * 10)
    data.table["path"] = data.table["path"].replace("media/c19.mp4", "media/c0.mp4")
    with pytest.raises(DataError, match=r"gives media/c0\.mp4 both targets"):
        with_fold(data, Validation(kind="stratified", folds=2))


def test_one_generator_is_left_out_with_its_share_of_the_reals() -> None:
    made_by = [""] * 20 + ["gan"] * 6 + ["tts"] * 10 + [""] * 4
    data = manifest([0] * 20 + [1] * 20, generator=made_by)
    dealt = with_fold(data, Validation(kind="leave-one-out-by-column", fold=2))
    val = dealt.table[dealt.table["split"] == "val"]
    assert val.loc[val["target"] == 1, column_of("generator")].tolist() == ["tts"] * 10
    assert (val["target"] == 0).sum() == 10  # of two generators, half of the reals
    assert dealt.understood[0].startswith("validation: generator tts is val, 20 of 40")


def test_copies_of_a_fake_that_is_left_out_are_left_out_whatever_is_said_of_them() -> None:
    data = manifest([0, 1] * 10, generator=["", "gan", "", "tts"] * 5)
    content = data.table["content"].tolist()
    content[3] = content[5] = content[1]  # of tts and of gan, as the tables say
    data = replace(data, table=data.table.assign(content=content))
    dealt = with_fold(data, Validation(kind="leave-one-out-by-column")).table
    known = [set(dealt.loc[dealt["split"] == split, "content"]) for split in ("train", "val")]
    assert not known[0] & known[1]
    assert content[1] in known[1]


def test_one_speaker_is_left_out_with_its_own_reals() -> None:
    data = manifest([0, 1] * 10, speaker=["ann", "ann", "bob", "bob"] * 5)
    dealt = with_fold(data, Validation(kind="leave-one-out-by-column", by="speaker"))
    val = dealt.table[dealt.table["split"] == "val"]
    assert val[column_of("speaker")].tolist() == ["ann"] * 10


@pytest.mark.parametrize("use", [1, 3])
def test_the_share_of_a_speaker_without_reals_is_of_reals_of_nobody_who_is_left_out(
    use: int,
) -> None:
    said = ["ann", "bob", "cy", "", "bob", "cy"] * 6  # every file of ann is fake
    data = manifest([1, 1, 1, 0, 0, 0] * 6, speaker=said)
    by = Validation(kind="leave-one-out-by-column", by="speaker", use=use)
    dealt = with_fold(data, by).table
    known = dealt[(dealt["target"] >= 0) & (dealt[column_of("speaker")] != "")]
    place = known[FOLD] if use > 1 else known["split"]
    assert (place.groupby(known[column_of("speaker")]).nunique() == 1).all()


def test_a_speaker_without_reals_takes_none_of_those_who_are_left_out_in_turn() -> None:
    data = manifest([1, 0, 1, 0, 1, 1] * 6, speaker=["bob", "bob", "cy", "cy", "ann", "ann"] * 6)
    by = Validation(kind="leave-one-out-by-column", by="speaker", use=3)
    with pytest.raises(DataError, match="With speaker ann as val, val would lack a class"):
        with_fold(data, by)


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        (Validation(kind="group"), "nothing says what the groups are"),
        (
            Validation(kind="group", by="speaker"),
            "divides the files by `speaker`, which is no column",
        ),
        (Validation(kind="leave-one-out-by-column", fold=3), "fakes have only 1"),
        (Validation(kind="leave-one-out-by-column"), "train would lack a class"),
    ],
)
def test_folds_that_cannot_be_dealt_are_an_error(validation: Validation, said: str) -> None:
    data = manifest([0, 1] * 4, generator=["", "gan"] * 4)
    with pytest.raises(DataError, match=said):
        with_fold(data, validation)


def test_a_fold_that_is_none_of_them_is_refused() -> None:
    with pytest.raises(ConfigError, match="`fold` is 4, and there are only 3 folds"):
        build(Validation, {"kind": "stratified", "folds": 3, "fold": 4}, where="x")


def folds_of(dealt: Manifest) -> dict[str, int]:
    labelled = dealt.table[dealt.table["target"] >= 0]
    return dict(zip(labelled["name"], labelled[FOLD], strict=True))


def test_of_several_folds_the_first_is_val_and_a_column_names_the_others() -> None:
    data = manifest([0] * 30 + [1] * 20)
    alone = {
        fold: val_of(with_fold(data, Validation(kind="stratified", fold=fold)))
        for fold in range(1, 6)
    }
    dealt = with_fold(data, Validation(kind="stratified", fold=4, use=3))
    assert val_of(dealt) == alone[4]
    by_place = {
        place: {f"media/{name}" for name, fold in folds_of(dealt).items() if fold == place}
        for place in range(4)
    }
    # From the fourth on, and then from the first; what is in none of them is always trained on.
    assert by_place == {1: alone[4], 2: alone[5], 3: alone[1], 0: alone[2] | alone[3]}
    assert set(dealt.table.loc[dealt.table["target"] < 0, FOLD]) == {1}  # the first model's
    assert dealt.understood == (
        "validation: fold 4 of 5, fold 5 of 5, fold 1 of 5 are val in turn, 30 of 50 labelled "
        "files; every trial is trained 3 times, and keeps the weights that it learns without fold "
        "4 of 5",
    )
    assert FOLD not in with_fold(data, Validation(kind="stratified", fold=4)).table


def test_a_study_of_several_folds_has_other_data_than_one_of_the_first() -> None:
    data = manifest([0, 1] * 20)
    prints = [
        with_fold(data, Validation(kind="stratified", folds=4, use=use)).fingerprint
        for use in (1, 2, 3)
    ]
    assert len(set(prints)) == 3


def test_every_generator_is_left_out_in_turn_with_a_share_of_the_reals() -> None:
    generators = ["", "a", "", "b", "", "b"] * 5
    data = manifest([0, 1] * 15, generator=generators)
    dealt = with_fold(data, Validation(kind="leave-one-out-by-column", use=2))
    table = dealt.table[dealt.table["target"] >= 0]
    fakes = table[table["target"] == 1].groupby(column_of("generator"))[FOLD].unique()
    assert {name: list(found) for name, found in fakes.items()} == {"a": [1], "b": [2]}
    reals = table[table["target"] == 0][FOLD].value_counts().to_dict()
    assert set(reals) == {1, 2} and abs(reals[1] - reals[2]) <= 1


def test_files_of_two_folders_with_one_name_are_told_apart_in_all_folds() -> None:
    data = manifest([0, 1] * 10)
    names = data.table["name"].where(data.table.index != 10, "c0.mp4")
    dealt = with_fold(
        Manifest(data.table.assign(name=names), TEMPLATE, 0),
        Validation(kind="stratified", folds=2, use=2),
    )
    labelled = dealt.table[dealt.table["target"] >= 0]
    assert labelled["name"].is_unique and set(labelled["name"]) == set(labelled["path"])


def test_fakes_are_dealt_by_their_clusters_and_a_group_goes_where_most_of_its_fakes_are() -> None:
    targets = [0, 1] * 10
    speakers = ["x"] * 6 + [f"s{number}" for number in range(14)]
    data = manifest(targets, speaker=speakers)
    fakes = [f"media/c{number}.mp4" for number in range(1, 20, 2)]
    # Of speaker x, two fakes are in cluster 2 and one in cluster 1.
    clusters = dict(zip(fakes, [2, 1, 2, 1, 1, 1, 2, 2, 1, 2], strict=True))
    dealt = with_fold(data, Validation(kind="cluster", folds=2, use=2), clusters)
    folds = folds_of(dealt)
    assert {folds[f"c{number}.mp4"] for number in range(6)} == {2}
    for path in fakes[3:]:
        assert folds[Path(path).name] == clusters[path]
    rest = [folds[f"c{number}.mp4"] for number in range(6, 20, 2)]  # reals of other speakers
    assert sorted(rest) in ([1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2, 2])
    # Of equally many, the first.
    pair = manifest(targets, speaker=["x"] * 4 + [f"s{number}" for number in range(16)])
    assert (
        folds_of(with_fold(pair, Validation(kind="cluster", folds=2, use=2), clusters))["c1.mp4"]
        == 1
    )


def test_fewer_clusters_than_folds_are_told() -> None:
    data = manifest([0, 1] * 10)
    clusters = {f"media/c{number}.mp4": 1 + number % 4 // 2 for number in range(1, 20, 2)}
    with pytest.raises(DataError, match="uses fold 3, and the fakes form only 2 clusters"):
        with_fold(data, Validation(kind="cluster", folds=4, use=3), clusters)
    waiting = with_fold(data, Validation(kind="cluster", folds=4, use=2))
    assert waiting.table.equals(data.table)
    assert "clusters are found when a search begins" in waiting.understood[0]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"use": 2}, "is one fold"),
        ({"kind": "stratified", "folds": 3, "use": 4}, "`use` is 4, and there are only 3 folds"),
    ],
)
def test_more_folds_than_there_are_cannot_be_used(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(Validation, keys, where="e.yaml")


def test_groups_that_are_unknown_of_every_file_are_told() -> None:
    whole = manifest([0, 1] * 6, speaker=[""] * 12)
    with pytest.raises(DataError, match="the tables say it of no labelled file"):
        with_fold(whole, Validation(kind="group", folds=3, by="speaker"))
