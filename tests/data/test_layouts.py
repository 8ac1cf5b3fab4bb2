"""Data folders that are laid out otherwise than competitions': read, guessed, or refused."""

import re
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.data.any_table import Spreadsheet, read_any_table
from workbench.data.columns import Columns
from workbench.data.data_files import list_data
from workbench.data.folds import Validation, with_fold
from workbench.data.guessed_columns import Answers
from workbench.data.inspection import Inspection, inspect_data
from workbench.data.layout import Layout
from workbench.data.manifest import Manifest, read_labelled, read_manifest
from workbench.data.targets import Classes, turned_by_names
from workbench.errors import DataError

DOCS = Path(__file__).parents[2] / "docs"


def put(folder: Path, *names: str) -> Path:
    """Make files whose content is their name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def of_classes(folder: Path, *places: str, number: int = 6) -> Path:
    return put(folder, *(f"{place}/{place[-1]}{n}.wav" for place in places for n in range(number)))


def read(folder: Path, layout: Layout) -> Manifest:
    return read_manifest(folder, layout, cache=folder.parent / "cache")


def splits(found: Inspection) -> dict[str, int]:
    return {str(split): len(rows) for split, rows in found.files.table.groupby("split")}


def test_class_folders_are_read_with_and_without_splits(tmp_path: Path) -> None:
    flat = read(of_classes(tmp_path / "a", "real", "fake"), Layout(kind="class-folders"))
    assert flat.table["split"].unique().tolist() == ["train"]
    targets = dict(zip(flat.table["path"], flat.table["target"], strict=True))
    assert targets["real/l0.wav"] == 0
    assert targets["fake/e5.wav"] == 1
    assert flat.unnamed.empty and flat.in_class_folders
    places = ("Train/Real", "Train/Fake", "dev/real", "dev/fake", "test/real")
    deep = read(of_classes(tmp_path / "b", *places, number=3), Layout(kind="class-folders"))
    assert deep.table["split"].value_counts().to_dict() == {"train": 6, "val": 6, "test": 3}
    assert set(deep.table.loc[deep.table["split"] == "test", "target"]) == {-1}
    assert list(deep.template.names) == ["real/l0.wav", "real/l1.wav", "real/l2.wav"]


def test_a_third_folder_of_media_is_refused_and_by_name_left_out(tmp_path: Path) -> None:
    data = of_classes(tmp_path / "d", "real", "fake", "morph")
    (data / "papers").mkdir()
    for ask in (inspect_data, lambda folder: read(folder, Layout(kind="class-folders"))):
        with pytest.raises(DataError, match=r"3 folders of media.*Two classes are told apart here"):
            ask(data)
    found = inspect_data(data, Answers(fake=("fake", "morph"), real=("real",)))
    assert int((found.files.table["target"] == 1).sum()) == 12
    found = inspect_data(data, Answers(fake=("morph",), real=("real",)))
    assert splits(found) == {"train": 12}


def test_media_beside_the_folders_of_classes_are_told(tmp_path: Path) -> None:
    flat = of_classes(tmp_path / "a", "real", "fake")
    put(flat, "loose.wav", "val/v.wav", "test/t.wav", "notes.txt", ".hidden.wav")
    said = "left out: 2 media files in a, outside of the folders of classes, e.g. loose.wav"
    assert said in inspect_data(flat).lines()
    assert said in read(flat, Layout(kind="class-folders")).understood
    deep = of_classes(tmp_path / "b", "train/real", "train/fake")
    put(deep, "train/loose.wav", "extra/e.wav", "val/v.wav", "b.mp4", "test/t.wav")
    told = [line for line in inspect_data(deep).lines() if line.startswith("left out")]
    assert told == [
        "left out: 1 media file in train, outside of the folders of classes, e.g. loose.wav",
        "left out: 3 media files in b, outside of the folders of classes, e.g. b.mp4",
    ]
    clean = inspect_data(of_classes(tmp_path / "c", "real", "fake", "test"))
    assert not any("left out" in line for line in clean.lines())


def test_folders_of_the_other_class_within_one_and_unused_tables_are_told(tmp_path: Path) -> None:
    data = of_classes(tmp_path / "d", "real", "fake")
    put(data, "fake/real/a.wav", "fake/x/Real/b.wav", "real/real/c.wav", "fake/0/d.wav")
    table(data, "file,split\nreal/l0.wav,val\n", "splits.csv")
    told = inspect_data(data).lines()
    assert [line for line in told if "of the class of" in line] == [
        "fake: 1 file in folders called real within it is of the class of fake",
        "fake: 1 file in folders called Real within it is of the class of fake",
    ]
    assert "tables of which nothing is taken: splits.csv" in told


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("labels.csv", 'file,label\nfake/a.wav,"real\n', "cannot be split into cells"),
        ("labels.xlsx", "no zip", "cannot be read as a spreadsheet"),
        ("metadata.ods", "", "is of a format that is not read. Save it as CSV."),
        ("metadata.jsonl", "", "is of a format that is not read. Save it as CSV."),
    ],
)
def test_a_table_that_is_not_read_is_told_beside_folders_of_classes(
    tmp_path: Path, name: str, content: str, why: str
) -> None:
    data = of_classes(tmp_path / "d", "real", "fake")
    (data / name).write_text(content)
    (data / "README.txt").write_text('"')
    (line,) = [line for line in inspect_data(data).lines() if "is not read" in line]
    assert line.startswith(f"nothing is taken of one that is not read: {data / name} ")
    assert why in line


def test_a_table_of_a_usual_name_that_is_not_used_is_told(tmp_path: Path) -> None:
    data = of_classes(tmp_path / "d", "real", "fake")
    table(data, "file,speaker\nreal/l0.wav,ann\n", "labels.csv")
    assert "tables of which nothing is taken: labels.csv" in inspect_data(data).lines()


def test_a_folder_that_says_what_it_is_not_is_of_no_class(tmp_path: Path) -> None:
    for one, other in (("not_fake", "not_real"), ("real_files", "non-real files")):
        data = of_classes(tmp_path / one, one, other)
        with pytest.raises(DataError, match="nothing says which"):
            inspect_data(data)


@pytest.mark.parametrize(
    ("folders", "fakes"),
    [
        (("training_fake", "training_real"), ("training_fake",)),
        (("Bonafide", "Spoof"), ("Spoof",)),
        (("0", "1"), ("1",)),
    ],
)
def test_folders_are_known_by_their_words(
    tmp_path: Path, folders: tuple[str, str], fakes: tuple[str, ...]
) -> None:
    found = inspect_data(of_classes(tmp_path / "d", *folders))
    assert found.layout.classes.fake == fakes
    assert splits(found) == {"train": 12}


def test_two_folders_of_unknown_names_ask_which_is_fake(tmp_path: Path) -> None:
    data = of_classes(tmp_path / "d", "original", "altered")
    with pytest.raises(DataError, match=r"nothing says which holds the fakes.*--fake NAME"):
        inspect_data(data)
    found = inspect_data(data, Answers(fake=("altered",), real=("original",)))
    assert dict(found.kinds) == {"sound": 12}


def table(folder: Path, text: str, name: str = "labels.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


ROWS = "".join(f"f{n}.wav,{'fake' if n % 2 else 'real'}\n" for n in range(12))
FEW = range(8)
FILES = [f"clips/f{n}.wav" for n in range(12)]


@pytest.mark.parametrize("name", ["labels.csv", "train.csv"])
@pytest.mark.parametrize("ending", [".wav", ""])
def test_a_table_without_a_header_is_refused_since_its_first_file_would_be_lost(
    tmp_path: Path, name: str, ending: str
) -> None:
    data = put(table(tmp_path / "d", ROWS.replace(".wav", ending), name), *FILES)
    told = rf"{name} has no header: its first row, 'f0{ending},real', is of a file\. Put a row"
    with pytest.raises(DataError, match=told):
        inspect_data(data)


@pytest.mark.parametrize("words", [("bonafide", "spoof"), ("bonafide", "A07")])
def test_numbers_that_words_beside_them_turn_over_are_refused(
    tmp_path: Path, words: tuple[str, str]
) -> None:
    rows = "".join(f"f{n}.wav,{words[n % 2]},{1 - n % 2}\n" for n in range(12))
    data = put(table(tmp_path / "d", f"file,system,target\n{rows}"), *FILES)
    asks = (inspect_data, lambda folder: read(folder, Layout(kind="table", media=("clips",))))
    for ask in asks:
        with pytest.raises(DataError, match=r"line 2: `target` is '1' where `system` is 'bonafide"):
            ask(data)
    answers = Answers(label="target", fake=("0",), real=("1",))
    files = inspect_data(data, answers).files.table.set_index("name")
    assert files["target"]["f1.wav"] == 1
    folders = put(tmp_path / "f", *(f"{('real', 'fake')[n % 2]}/f{n}.wav" for n in range(12)))
    rows = "".join(f"{('real', 'fake')[n % 2]}/f{n}.wav,{1 - n % 2}\n" for n in range(12))
    with pytest.raises(DataError, match=r"line 2: `label` is '1' where `file` is 'real' \(and 11"):
        inspect_data(table(folders, f"file,label\n{rows}"))
    # A part of a fake may be real, and a model that was asked may err.
    rows = "".join(f"f{n}.wav,{n % 2},real,{'fake' if n else 'real'}\n" for n in range(12))
    put(table(tmp_path / "e", f"file,target,sound,guess\n{rows}"), *FILES)
    assert len(inspect_data(tmp_path / "e").files.table) == 12
    # Where nearly all are fakes, too.
    names = [f"g{n}.wav" for n in range(40)]
    rows = "".join(f"{name},{int(name > 'g1.wav')},real\n" for name in names)
    put(table(tmp_path / "g", f"file,target,sound\n{rows}"), *(f"clips/{one}" for one in names))
    assert inspect_data(tmp_path / "g").files.table["target"].sum() == 38


@pytest.mark.parametrize(
    ("real", "fake", "is_refused"),
    [
        ("m/real_{}.png", "m/fake_{}.png", True),
        ("realVoices/{}.wav", "SpoofedVoices/{}.wav", True),
        ("real_vs_fake/bona_fide/{}.png", "real_vs_fake/fake/{}.png", True),
        ("YouTube-real/{}.mp4", "Celeb-synthesis/{}.mp4", True),
        ("original_sequences/{}.mp4", "manipulated_sequences/{}.mp4", True),
        ("real_vids/{}.mp4", "ai_generated/{}.mp4", True),
        ("nature/{}.png", "ai/{}.png", True),
        ("hawaii/{}.png", "regenerated/{}.png", False),
        # Words of both classes in one folder say nothing, nor does a part of a word.
        ("FakeVideo-RealAudio/a{}.wav", "RealVideo-FakeAudio/b{}.wav", False),
        ("m/unreal{}x.png", "m/faker{}.png", False),
        # Of real files none is called fake: their names say another thing.
        ("m/real_voice_{}.wav", "m/voice_{}.wav", False),
    ],
)
def test_labels_that_the_names_of_files_turn_over_are_refused(
    tmp_path: Path, real: str, fake: str, is_refused: bool
) -> None:
    names = {name.format(n): str(name == real) for n in range(6) for name in (real, fake)}
    rows = "".join(f"{name},{int(one == 'True')}\n" for name, one in names.items())
    put(table(tmp_path / "a", f"file,target\n{rows}"), *names)
    turned = {name: int(one == "True") for name, one in names.items()}

    def targets(**given: tuple[str, ...]) -> dict[str, int]:
        found = inspect_data(tmp_path / "a", Answers(label="target", **given)).files.table
        return dict(zip(found["path"], found["target"].tolist(), strict=True))

    if is_refused:
        with pytest.raises(DataError, match="by their names it is the other way round"):
            targets()
        assert targets(fake=("1",), real=("0",)) == turned
        assert targets(fake=("0",), real=("1",)) == {name: 1 - t for name, t in turned.items()}
    else:
        assert targets() == turned


@pytest.mark.parametrize("filler", ["", "-", "None", "original"])
def test_a_maker_of_reals_alone_is_told(tmp_path: Path, filler: str) -> None:
    names = [f"m/{n}.png" for n in range(6)]
    rows = "".join(
        f"{name},{n % 2},{'gan' if n % 2 == 0 else filler}\n" for n, name in enumerate(names)
    )
    put(table(tmp_path / "a", f"file,target,generator\n{rows}"), *names)
    told = [line for line in inspect_data(tmp_path / "a").about() if "what made" in line]
    said = "warning: `generator` says what made 3 files, all of them read as real"
    assert len(told) == 1 and told[0].startswith(said)
    assert not any("what made" in line for line in _about(tmp_path / "a", fake=("0",), real=("1",)))
    right = rows.replace(",1,", ",x,").replace(",0,", ",1,").replace(",x,", ",0,")
    table(tmp_path / "a", f"file,target,generator\n{right}")
    assert not any("what made" in line for line in _about(tmp_path / "a"))


def _about(folder: Path, **given: tuple[str, ...]) -> list[str]:
    return inspect_data(folder, Answers(**given)).about()


@pytest.mark.parametrize(
    ("real", "fake"),
    [
        # What all files are called is the name of the data.
        ("deepfake-data/{}.png", "deepfake-data/x{}.png"),
        ("m/spoof_{}.wav", "m/spoof_x{}.wav"),
        ("m/not_fake_{}.png", "m/fake_{}.png"),
        ("non-fake/{}.png", "fake/{}.png"),
    ],
)
def test_few_fakes_among_files_that_are_all_called_so_are_not_refused(
    tmp_path: Path, real: str, fake: str
) -> None:
    names = {real.format(n): 0 for n in range(33)} | {fake.format(n): 1 for n in range(3)}
    rows = "".join(f"{name},{target}\n" for name, target in names.items())
    put(table(tmp_path / "a", f"file,target\n{rows}"), *names)
    found = inspect_data(tmp_path / "a", Answers(label="target")).files.table
    assert dict(zip(found["path"], found["target"].tolist(), strict=True)) == names


def test_a_column_may_be_called_as_a_file_is(tmp_path: Path) -> None:
    data = put(table(tmp_path / "d", f"image,fake_or_real\n{ROWS}"), *FILES, "clips/image.wav")
    assert len(inspect_data(data).files.table) == 12


def test_a_name_that_files_of_two_folders_have_is_told(tmp_path: Path) -> None:
    names = [f"{place}/f{n}.wav" for place in ("clips", "older/2019") for n in range(12)]
    data = put(table(tmp_path / "d", f"file,label\n{ROWS}"), *names)
    (told,) = [line for line in inspect_data(data).remarks if "two folders" in line]
    assert told == (
        "labels.csv: 12 names are of files in two folders, e.g. 'clips/f0.wav', which is taken, "
        "and 'older/2019/f0.wav'"
    )
    # What another split's folder holds is another file, and no row means it.
    rest = put(
        table(tmp_path / "e", f"file,label\n{ROWS}", "train.csv"), *names[:12], "test/f1.wav"
    )
    assert not any("two folders" in line for line in inspect_data(rest).remarks)


@pytest.mark.parametrize("called", ["{}", "./{}.wav", "{}.wav"])
def test_labels_are_not_of_the_test_files_that_are_numbered_alike(
    tmp_path: Path, called: str
) -> None:
    data = put(tmp_path / "d", *(f"{place}/{n}.wav" for place in ("test", "train") for n in FEW))
    (data / "train" / "3.wav").unlink()  # of test all are there
    table(data, "id,label\n" + "".join(f"{called.format(n)},{n % 2}\n" for n in FEW))
    asked = "id,label\n" + "".join(f"{called.format(n)},0.5\n" for n in FEW)
    (data / "sample_submission.csv").write_text(asked)
    found = inspect_data(data)
    there = found.files.table["status"] == "ok"
    of_split = found.files.table[there].groupby("split")["path"].agg(set)
    assert of_split["train"] == {f"train/{n}.wav" for n in FEW if n != 3}
    assert of_split["test"] == {f"test/{n}.wav" for n in FEW}
    (told,) = [line for line in found.remarks if "two folders" in line]
    assert "'train/0.wav', which is taken, and 'test/0.wav'" in told


@pytest.mark.parametrize("header", [",file,label", ",which,label", "row,file,label"])
def test_numbers_of_rows_are_no_names_of_files_that_are_numbered(
    tmp_path: Path, header: str
) -> None:
    data = put(tmp_path / "d", *(f"{n}.wav" for n in FEW))
    files = [7, 2, 5, 0, 3, 6, 1, 4, 99]  # one of them is not there
    files = files if "file" in header else files[:-1]
    rows = [f"{row},{n}.wav,{('real', 'fake')[n % 2]}\n" for row, n in enumerate(files)]
    put(table(data, f"{header}\n{''.join(rows)}"), *(["8.wav"] if "file" in header else []))
    read_ones = inspect_data(data).files.table.set_index("path")["target"].to_dict()
    assert read_ones == {f"{n}.wav": n % 2 for n in files}


def test_a_table_is_read_with_its_media_folder_columns_and_splits(tmp_path: Path) -> None:
    rows = [
        f"x,f{n}.wav,{'ja' if n % 2 else 'nein'},{'dev' if n < 4 else 'Train'}" for n in range(8)
    ]
    rows += ["x,f8.wav,?,test", "x,f9.wav,,eval"]
    data = put(table(tmp_path / "d", "id,wo,falsch,teil\n" + "\n".join(rows)), *FILES)
    answers = Answers(
        label="falsch", split="teil", fake=("ja",), real=("nein",), table="labels.csv"
    )
    found = inspect_data(data, answers)
    assert found.layout.media == ("clips",)
    assert found.layout.columns == Columns(name="wo", target="falsch", split="teil")
    assert splits(found) == {"train": 4, "val": 4, "test": 2}
    read_again = read(data, found.layout)
    assert read_again.table["path"].tolist()[-2:] == ["clips/f8.wav", "clips/f9.wav"]
    assert set(read_again.table["status"]) == {"ok"}
    assert read_again.unnamed["path"].tolist() == ["clips/f10.wav", "clips/f11.wav"]


def test_a_table_is_found_by_its_files_and_its_words(tmp_path: Path) -> None:
    text = "wo,sex,verdict\n" + "".join(
        f"f{n},{n % 2},{'spoof' if n % 2 else 'real'}\n" for n in range(12)
    )
    found = inspect_data(put(table(tmp_path / "d", text, "liste.csv"), *FILES))
    assert found.layout.columns == Columns(name="wo", target="verdict")
    assert found.validation == Validation(kind="stratified", folds=5)
    assert "liste.csv: not used: sex" in found.lines()


@pytest.mark.parametrize(("num_called_ai", "is_told"), [(9, False), (10, True)])
def test_one_speaker_whose_name_is_a_word_turns_nothing_over(
    num_called_ai: int, is_told: bool
) -> None:
    paths = [f"{'Ai' if n < num_called_ai else 'bob'}/{n}.wav" for n in range(80)]
    assert bool(turned_by_names(paths, [n >= 40 for n in range(80)])) == is_told


@pytest.mark.parametrize(
    "folder",
    ["user_generated", "no-fake", "withoutSynthesis", "human_ai", "fake_no", "deepfake-free"],
)
def test_reals_in_a_folder_whose_name_takes_its_word_back_are_right(folder: str) -> None:
    for whole in ("{}/{}.wav", "{1}_{0}.mp4"):
        paths = [whole.format(folder if n < 10 else "made", n) for n in range(20)]
        assert turned_by_names(paths, [n >= 10 for n in range(20)]) == ""


@pytest.mark.parametrize(
    "name",
    [
        "user{}_{}",
        "human_face_{1}{0}",
        "human_{1}/{0}",
        "no_{}_{}",
        "{1}_without_sound{0}",
        "{1}_no_bg/{0}",
    ],
)
def test_such_a_word_that_is_of_something_else_takes_nothing_back(name: str) -> None:
    paths = [name.format(n, "fake" if n < 10 else "real") + ".mp4" for n in range(20)]
    assert turned_by_names(paths, [int(n < 10) for n in range(20)]) == ""
    assert "other way round" in turned_by_names(paths, [int(n >= 10) for n in range(20)])


@pytest.mark.parametrize("name", ["set", "Usage", "data split"])
def test_a_column_of_words_for_splits_is_one(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["Training", "dev", "test"]
    rows = [f"f{n}.wav,{'fake' if n % 2 else 'real'},{words[n // 4]}\n" for n in range(12)]
    data = put(table(tmp_path / "d", f"file,label,{name}\n" + "".join(rows)), *FILES)
    found = inspect_data(data)
    assert found.layout.columns == Columns(name="file", target="label", split=name)
    assert splits(found) == {"train": 4, "val": 4, "test": 4}
    unnamed = Layout(kind="table", media=("clips",))
    assert read(data, unnamed).table["split"].tolist() == found.files.table["split"].tolist()
    assert len(read_labelled(data, unnamed, cache=tmp_path / "cache").table) == 8
    said = f"{data}: 4 files of test left out. Labels are read of train and val alone."
    assert said in capsys.readouterr().err
    alone = "".join(rows).replace("Training", "test").replace("dev", "test")
    data = put(table(tmp_path / "t", f"file,label,{name}\n" + alone), *FILES)
    for reading in (lambda: inspect_data(data), lambda: read(data, unnamed)):
        with pytest.raises(DataError, match=f"all files are of test by the column '{name}'"):
            reading()
    torn = put(table(tmp_path / "x", f"file,label,{name}\n" + alone.replace("test", "")), *FILES)
    assert splits(inspect_data(torn)) == {"train": 12}
    torn = put(table(tmp_path / "y", f"file,label,{name}\n" + "".join(rows)[:-5] + "?\n"), *FILES)
    for reading in (lambda: inspect_data(torn), lambda: read(torn, unnamed)):
        with pytest.raises(DataError, match=r"line 13: the split '\?' is none of train, val"):
            reading()
    other = "".join(rows).replace("Training", "Public").replace("dev", "Private")
    data = put(table(tmp_path / "o", f"file,label,{name}\n" + other), *FILES)
    assert splits(inspect_data(data)) == {"train": 12}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROWS + "f1.wav,morph\n", "has 3 labels: 'fake', 'morph', 'real'. Two classes"),
        (ROWS.replace("fake", "ja").replace("real", "nein"), "nothing says which is fake"),
        (ROWS + "../outside.wav,fake\n", "leaves the media folder"),
        (ROWS + "/etc/passwd,fake\n", "leaves the media folder"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    data = put(table(tmp_path / "d", "filename,label\n" + text), *FILES)
    with pytest.raises(DataError, match=re.escape(said)):
        inspect_data(data)


def test_a_split_that_is_none_is_named(tmp_path: Path) -> None:
    data = put(
        table(tmp_path / "d", "file,label,split\nf0.wav,real,train\nf1.wav,fake,7\n"), *FILES
    )
    with pytest.raises(DataError, match="line 3: the split '7' is none of train, val and test"):
        inspect_data(data)


def test_labels_that_classes_leaves_out_are_told(tmp_path: Path) -> None:
    data = put(table(tmp_path / "d", "filename,label\n" + ROWS + "f1b.wav,morph\n"), *FILES)
    classes = Classes(fake=("fake",), real=("real",))
    manifest = read(data, Layout(kind="table", media=("clips",), classes=classes))
    assert len(manifest.table) == 12
    assert "1 row of other labels left out (morph)" in manifest.understood[0]


def test_groups_and_generators_are_found(tmp_path: Path) -> None:
    rows = [
        (f"f{n}.wav", n % 2, f"s{n // 4}", "ab"[n // 2 % 2] if n % 2 else "") for n in range(24)
    ]
    frame = pd.DataFrame(rows, columns=["file", "label", "speaker_id", "attack"])
    data = put(tmp_path / "d", *(f"f{n}.wav" for n in range(24)))
    frame.to_parquet(data / "all.parquet")
    found = inspect_data(data)
    assert (found.layout.generator, found.layout.groups) == ("attack", ("speaker_id",))
    assert found.validation.kind == "group"
    dealt = with_fold(read(data, found.layout), found.validation).table
    assert set(dealt.groupby("meta.speaker_id")["split"].nunique()) == {1}


def test_a_word_for_unknown_in_a_column_of_groups_is_told(tmp_path: Path) -> None:
    who = ["Unknown" if n % 3 else ("" if n % 2 else f"s{n // 12}") for n in range(120)]
    rows = "".join(f"f{n}.wav,{n % 2},{who[n]}\n" for n in range(120))
    put(table(tmp_path / "a", f"file,target,speaker\n{rows}"), *(f"f{n}.wav" for n in range(120)))
    found = inspect_data(tmp_path / "a")
    assert found.layout.groups == ("speaker",)
    assert [line for line in found.lines() if "count as one group" in line] == [
        "speaker: 80 files have 'Unknown' and count as one group; leave the cells empty where it "
        "is not known"
    ]


@pytest.mark.parametrize("labels", ["list.csv", "train.csv", "train_label.txt"])
def test_what_the_metadata_say_keeps_speakers_together_beside_any_labels(
    tmp_path: Path, labels: str
) -> None:
    names = [f"{n:02}.wav" for n in range(40)]
    folder = "trainset" if labels == "train_label.txt" else "train"
    put(tmp_path, *(f"{folder}/{name}" for name in names))
    rows = [f"{name},{n % 2}\n" for n, name in enumerate(names)]
    (tmp_path / labels).write_text("file_name,target\n" + "".join(rows))
    said = [f"{name},p{n // 4},{'ab'[n // 2 % 2]},x\n" for n, name in enumerate(names)]
    (tmp_path / "metadata.csv").write_text("file,speaker,attack,note\n" + "".join(said))
    found = inspect_data(tmp_path)
    assert found.layout.groups == ("speaker",)
    assert found.validation.kind == "group"
    told = "metadata.csv: generators in attack; groups in speaker; not used: note"
    assert told in found.lines()


def test_a_column_of_the_metadata_that_is_not_used_is_told(tmp_path: Path) -> None:
    of_classes(tmp_path, "real", "fake")
    rows = [f"{c}/{c[-1]}{n}.wav,p{n % 3}\n" for c in ("real", "fake") for n in range(6)]
    (tmp_path / "metadata.csv").write_text("file,speaker\n" + "".join(rows))
    assert "metadata.csv: not used: speaker" in inspect_data(tmp_path).lines()


def test_what_validates_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    text = "filename,label\n"
    turned = text + "\n".join(reversed(ROWS.split())) + "\n"
    held = []
    for folder, content in (("a", text + ROWS), ("b", turned)):
        data = put(table(tmp_path / folder, content), *FILES)
        found = inspect_data(data)
        dealt = with_fold(read(data, found.layout), found.validation).table
        held.append(set(dealt.loc[dealt["split"] == "val", "path"]))
    assert held[0] == held[1]
    assert len(held[0]) == 2


def test_data_without_val_need_a_way_to_validate(tmp_path: Path) -> None:
    manifest = read(of_classes(tmp_path / "a", "real", "fake"), Layout(kind="class-folders"))
    with pytest.raises(DataError, match=r"no files of val.*kind: stratified"):
        with_fold(manifest, Validation())
    looked_at = with_fold(manifest, Validation(kind="cluster"))
    assert set(looked_at.table["split"]) == {"train", "val"}


def test_files_of_a_test_folder_are_named_so_that_no_spreadsheet_runs_them(tmp_path: Path) -> None:
    data = of_classes(tmp_path / "d", "real", "fake")
    put(data / "test", "=1+1.wav", "a,b.wav", ".hidden.wav", "x.txt", "c:d.wav", " e.wav")
    manifest = read(data, Layout(kind="class-folders"))
    assert list(manifest.template.names) == ["./=1+1.wav", "a,b.wav"]
    assert manifest.template.text == 'file_name,score\n./=1+1.wav,0.5\n"a,b.wav",0.5\n'
    tests = manifest.table[manifest.table["split"] == "test"]
    assert tests["path"].tolist() == ["test/=1+1.wav", "test/a,b.wav"]
    assert set(tests["status"]) == {"ok"}


def test_the_competitions_layout_may_lack_val_and_template(tmp_path: Path) -> None:
    data = put(tmp_path / "d", *(f"trainset/f{n}.wav" for n in range(12)), "testset/t.wav")
    (data / "train_label.txt").write_text("audio_name,target\n" + ROWS)
    found = inspect_data(data)
    assert (found.layout.val_labels, found.layout.template) == ((), ())
    assert splits(found) == {"train": 12, "test": 1}
    assert inspect_data(data).lines() == found.lines()


def test_another_labelled_folder_of_the_same_layout_is_a_slice(tmp_path: Path) -> None:
    data = of_classes(tmp_path / "d", "real", "fake", number=2)
    manifest = read_labelled(data, Layout(kind="class-folders"), cache=tmp_path / "cache")
    assert manifest.table["split"].tolist() == ["val"] * 4


TABLE = "file,label\n" + "".join(f"m/{n}.wav,{n % 2}\n" for n in range(8))
LABELLED = [f"{n}.wav" for n in range(8)]


def label_files(folder: Path) -> Path:
    put(folder, *(f"{place}/{name}" for place in ("trainset", "valset") for name in LABELLED))
    table(folder, TABLE.replace("m/", ""), "train_label.txt")
    return table(folder, TABLE.replace("m/", ""), "val_label.txt")


def one_table(folder: Path) -> Path:
    put(folder, *(f"m/{name}" for name in LABELLED))
    return table(folder, TABLE)


LAID_OUT = {
    "classes": lambda folder: of_classes(folder, "real", "fake"),
    "classes-of-splits": lambda folder: of_classes(
        folder, *(f"{split}/{name}" for split in ("train", "val") for name in ("real", "fake"))
    ),
    "label-files": label_files,
    "table": one_table,
}


@pytest.mark.parametrize("laid_out", LAID_OUT)
@pytest.mark.parametrize("has_test", [False, True])
def test_a_layout_that_a_study_keeps_means_what_it_meant(
    tmp_path: Path, laid_out: str, has_test: bool
) -> None:
    data = LAID_OUT[laid_out](tmp_path)
    put(data, *["test/a.wav", "test/b.wav"] * has_test)
    layout = inspect_data(data).layout
    kept = Layout.model_validate(layout.model_dump(mode="json"))
    files, again = list_data(data, layout), list_data(data, kept)
    pd.testing.assert_frame_equal(again.table, files.table)
    assert (files.table["split"] == "test").sum() == 2 * has_test


def test_a_folder_of_test_beside_a_table_is_predicted_or_told(tmp_path: Path) -> None:
    data = one_table(tmp_path)
    put(data, "test/a.wav", "test/b.wav")
    assert splits(inspect_data(data))["test"] == 2
    files = list_data(data, Layout(kind="table"))  # as an experiment of one's own may have it
    assert "test" not in set(files.table["split"])
    (line,) = (line for line in files.understood if "left out" in line)
    assert line == (
        "left out: 2 files in test, e.g. test/a.wav. Where they are to be predicted, write "
        "`data: {test_media: [test]}` into the experiment"
    )
    layout = Layout(kind="table", test_media=("test",))
    assert list_data(data, layout).template.names.tolist() == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    "place", ["images/test", "test_images", "images/test_a", "test_public", "LA_eval"]
)
def test_files_of_a_folder_of_test_beside_label_files_are_told_where_none_is_predicted(
    tmp_path: Path, place: str
) -> None:
    for split in ("train", "val"):
        names = [f"{split}{n}.wav" for n in range(4)]
        put(tmp_path, *(f"images/{split}/{name}" for name in names))
        rows = "".join(f"{name},{n % 2}\n" for n, name in enumerate(names))
        (tmp_path / f"{split}.csv").write_text(f"filename,label\n{rows}")
    assert not any("left out" in line for line in inspect_data(tmp_path).lines())
    put(tmp_path, f"{place}/a.wav", f"{place}/in/b.wav")
    found = inspect_data(tmp_path)
    assert set(found.files.table["split"]) == {"train", "val"}
    (line,) = (line for line in found.lines() if "left out" in line)
    assert f"left out: 2 files in {place}, e.g. {place}/a.wav" in line
    layout = found.layout.model_copy(update={"test_media": (place,)})
    assert list_data(tmp_path, layout).template.names.tolist() == ["a.wav", "in/b.wav"]


@pytest.mark.parametrize("place", ["test", "val"])
def test_so_is_no_folder_whose_files_the_table_names(tmp_path: Path, place: str) -> None:
    put(tmp_path, *(f"{place}/{name}" for name in LABELLED), f"{place}/more.wav")
    data = table(tmp_path, TABLE.replace("m/", f"{place}/"))
    found = inspect_data(data)
    assert set(found.files.table["split"]) == {"train"}
    assert not any("left out" in line for line in found.lines())


def test_escapes_in_names_reach_neither_terminal_nor_file(tmp_path: Path) -> None:
    data = of_classes(tmp_path / "d", "real", "fake")
    put(data / "fake", "notes\x1b[31m\nname: x.txt")
    (said,) = (line for line in inspect_data(data).lines() if "skipped" in line)
    assert "\\u001b[31m\\nname: x.txt" in said


def test_what_a_folder_without_a_template_has_besides_media_is_told(tmp_path: Path) -> None:
    of_classes(tmp_path, "real", "fake")
    put(tmp_path, "test/a.wav", "test/.b.wav", "test/.old/c.wav", "test/.notes", "test/d.txt")
    (tmp_path / "test" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "fake" / "f6.wav").symlink_to("nowhere.wav")
    files = list_data(tmp_path, Layout(kind="class-folders"))
    assert files.template.names.tolist() == ["a.wav"]
    assert [line for line in files.understood if "skipped" in line] == [
        "skipped in .: 1 name of a link that leads nowhere, a pipe or a device, e.g. fake/f6.wav",
        "skipped in test/: 1 file of no medium's ending, e.g. d.txt",
        "skipped in test/: 2 hidden files, e.g. .b.wav, .old/c.wav",
        "skipped in test/: 1 name of a link that leads nowhere, a pipe or a device, e.g. gone.wav",
    ]
    # What a table names is missing, be it a link or not, and matches no other spelling.
    assert len(files.table) == 13


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["state.json", "data-00000-of-00001.arrow"], "Hugging Face's `datasets`"),
        (["shard-0000.tar"], "as WebDataset has them"),
        (["read.me"], "not laid out in a known way"),
        (["inner/real/a.wav", "inner/fake/b.wav"], "Is it .*inner"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, names: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        inspect_data(put(tmp_path / "d", *names))


@pytest.mark.parametrize("place", ["", "train/"])
@pytest.mark.parametrize("others", [[], ["read.me"]])
def test_an_empty_folder_of_a_class_is_named(tmp_path: Path, place: str, others: list[str]) -> None:
    data = put(tmp_path / "d", f"{place}real/a.png", f"{place}real/b.png")
    (data / place / "fake").mkdir()
    put(data / place / "fake", *others)
    said = f"{place}fake is there, but has no file with the ending of a sound"
    with pytest.raises(DataError, match=said):
        inspect_data(data)
    with pytest.raises(DataError, match=said):
        list_data(data, Layout(kind="class-folders"))


def test_two_tables_of_labels_ask_which(tmp_path: Path) -> None:
    data = put(table(tmp_path / "d", "filename,label\n" + ROWS, "a.csv"), *FILES)
    table(data, "filename,label\n" + ROWS, "b.csv")
    with pytest.raises(DataError, match=r"several tables of labels: a.csv, b.csv.*--table"):
        inspect_data(data)
    assert inspect_data(data, Answers(table="b.csv")).layout.table == ("b.csv",)


def test_a_table_with_labels_and_scores_is_no_template(tmp_path: Path) -> None:
    text = "filename,label,score\n" + ROWS.replace("\n", ",0.5\n")
    found = inspect_data(put(table(tmp_path / "d", text), *FILES))
    assert (found.layout.kind, found.layout.table) == ("table", ("labels.csv",))
    assert found.layout.model_dump(include={"template"}, exclude_unset=True) == {}


def test_a_table_that_is_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    secret = table(tmp_path / "elsewhere", "filename,password\nf0.wav,x\n") / "labels.csv"
    data = put(tmp_path / "d", *FILES)
    (data / "labels.csv").symlink_to(secret)
    with pytest.raises(DataError, match="is a link that leads out of") as caught:
        inspect_data(data)
    assert "password" not in str(caught.value)


def test_a_parquet_table_is_rows_of_cells(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "file": ["a.wav", "b.wav", None],
            "label": pd.Categorical(["fake", "real", "real"]),
            "n": [1, 2, 3],
            "sure": [True, None, False],
            "audio": [{"bytes": b"1", "path": "a"}] * 3,
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_any_table(tmp_path / "t.parquet").rows == [
        ["file", "label", "n", "sure"],
        ["a.wav", "fake", "1", "True"],
        ["b.wav", "real", "2", ""],
        ["", "real", "3", "False"],
    ]
    pd.DataFrame({"file": ["a" * 40_000, "b"]}).to_parquet(tmp_path / "long.parquet")
    with pytest.raises(DataError, match="a cell of over 8,192 characters"):
        read_any_table(tmp_path / "long.parquet")
    many = pd.DataFrame({"n": np.zeros(5_000_001, np.int8)})
    many.to_parquet(tmp_path / "many.parquet")
    with pytest.raises(DataError, match="5,000,001 rows"):
        read_any_table(tmp_path / "many.parquet")


def test_no_column_of_a_parquet_table_that_says_something_is_lost(tmp_path: Path) -> None:
    """Without the column of splits, files of val would be trained on."""
    split = pa.array(["train"] * 2 + ["val"], pa.string_view())
    label = pa.array([Decimal(1), Decimal(0), None], pa.decimal128(3, 1))
    day, kind = pa.array([None, None, date(2026, 1, 2)]), pa.array([7, 8, 7]).dictionary_encode()
    media = pa.array([b"x", b"y", b"z"])
    columns = {"split": split, "label": label, "day": day, "kind": kind, "media": media}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = read_any_table(tmp_path / "t.parquet")
    assert isinstance(table, Spreadsheet) and table.told == "without media: no plain values"
    assert table.rows == [
        ["split", "label", "day", "kind"],
        ["train", "1.0", "", "7"],
        ["train", "0.0", "", "8"],
        ["val", "", "2026-01-02", "7"],
    ]


def test_a_number_that_is_none_says_nothing(tmp_path: Path) -> None:
    """Else all files of an unknown speaker were of one, called nan."""
    speaker = pa.array([7.0, float("nan")])
    pq.write_table(pa.table({"file": ["a", "b"], "speaker": speaker}), tmp_path / "t.parquet")
    assert read_any_table(tmp_path / "t.parquet").rows[1:] == [["a", "7.0"], ["b", ""]]
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["file", "speaker", "n"], ["001", "#N/A", 1], ["b", "nan", 2.5]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    assert read_any_table(tmp_path / "t.xlsx").rows[1:] == [["001", "", "1"], ["b", "nan", "2.5"]]


@pytest.mark.parametrize("splits", [[b"train", b"val"], [["train"], ["val"]]])
def test_a_column_of_splits_that_is_no_text_is_refused(
    tmp_path: Path, splits: list[object]
) -> None:
    columns = {"file": ["a", "b"], "label": [0, 1], "Split": splits}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"the column 'Split' holds (binary|list<.*>), not text"):
        read_any_table(tmp_path / "t.parquet")


def test_damaged_and_unreadable_tables_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1\x1b[31mPAR1")
    with pytest.raises(DataError, match="cannot be read as Parquet") as caught:
        read_any_table(tmp_path / "t.parquet")
    assert "\x1b" not in str(caught.value)
    (tmp_path / "t.xlsx").write_bytes(b"no zip")
    with pytest.raises(DataError, match="cannot be read as a spreadsheet"):
        read_any_table(tmp_path / "t.xlsx")


def test_every_table_shown_in_the_docs_is_understood(tmp_path: Path) -> None:
    text = (DOCS / "your-data.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```csv\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    of_labels = [block for block in shown if "label" in block]
    assert len(of_labels) == 2
    for number, block in enumerate(of_labels):
        names = re.findall(r"^(\S+?\.\w+),", block, flags=re.MULTILINE)
        found = inspect_data(put(table(tmp_path / f"d{number}", block), *names))
        assert found.num_labelled == 4


@pytest.mark.parametrize("values", [[True, False], [1, 0], ["true", "false"]])
def test_a_column_that_says_what_is_real_is_not_read_as_one_of_fakes(
    tmp_path: Path, values: list[object]
) -> None:
    names = [f"{n}.png" for n in range(20)]
    for name in names:
        put(tmp_path, name)
    table = pd.DataFrame({"file": names, "is_real": [values[n % 2] for n in range(20)]})
    table.to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(DataError, match="not laid out in a known way"):
        inspect_data(tmp_path)
    with pytest.raises(DataError, match="column 'is_real' says which files are real"):
        inspect_data(tmp_path, Answers(label="is_real"))
    answers = Answers(label="is_real", fake=(str(values[1]),), real=(str(values[0]),))
    found = inspect_data(tmp_path, answers).files.table
    assert found.loc[found["target"] == 1, "name"].tolist() == names[1::2]


@pytest.mark.parametrize("column", ["isReal", "isgenuine", "Bona-fide", "not_fake", "nonFake"])
def test_so_is_none_that_says_it_in_one_word_or_by_not(tmp_path: Path, column: str) -> None:
    put(table(tmp_path, f"file,{column}\n0.png,1\n1.png,0\n"), "0.png", "1.png")
    with pytest.raises(DataError, match=f"column '{column}' says which files are real"):
        inspect_data(tmp_path, Answers(label=column))


def test_what_1_means_in_a_column_of_another_name_is_told(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(6)]
    rows = "".join(f"{name},{n % 2}\n" for n, name in enumerate(names))
    put(table(tmp_path, f"file,issue\n{rows}"), *names)
    lines = inspect_data(tmp_path, Answers(label="issue")).lines()
    assert "labels.csv: columns file and issue, 1 is fake" in lines


@pytest.mark.parametrize(("labels", "prefix"), [("train.csv", ""), ("labels.csv", "train/")])
def test_a_template_does_not_mean_labelled_files_where_others_are_called_alike(
    tmp_path: Path, labels: str, prefix: str
) -> None:
    names = [f"{n}.png" for n in range(8)]
    put(tmp_path, *(f"{folder}/{name}" for folder in ("train", "unlabelled") for name in names))
    rows = "".join(f"{prefix}{name},{n % 2}\n" for n, name in enumerate(names))
    (tmp_path / labels).write_text(f"file,label\n{rows}")
    scores = "".join(f"{name},0.5\n" for name in [*names, "late.png"])  # one is not there yet
    (tmp_path / "sample_submission.csv").write_text(f"file,score\n{scores}")
    found = inspect_data(tmp_path).files.table
    assert found.loc[found["split"] == "test", "path"].iloc[0] == "unlabelled/0.png"
    assert found.loc[found["split"] == "train", "path"].iloc[0] == "train/0.png"


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (("t2.png", "t3.png"), ["left out: 2 files of test are not in the template, e.g. t2.png"]),
        (("t3.png",), ["left out: 1 file of test is not in the template, e.g. t3.png"]),
        ((), []),
    ],
)
def test_files_of_test_that_a_template_does_not_name_are_counted(
    tmp_path: Path, left: tuple[str, ...], said: list[str]
) -> None:
    names = [f"{n}.png" for n in range(8)]
    tests = [f"t{n}.png" for n in range(4)]
    put(tmp_path, *names, *tests)
    rows = [f"{name},{n % 2},{'val' if n < 4 else 'train'}" for n, name in enumerate(names)]
    rows += [f"{name},,test" for name in [*tests, "gone.png"]]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *rows]))
    scores = [f"{name},0.5" for name in tests if name not in left]
    (tmp_path / "prediction.csv").write_text("\n".join(["file,score", *scores]))
    found = list_data(tmp_path, Layout(kind="table", test_media=(".",)))
    assert [line for line in found.understood if line.startswith("left out")] == said
    assert len(found.template.names) == 4 - len(left)


def test_true_and_false_in_any_column_are_no_labels(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(20)]
    for name in names:
        put(tmp_path, name)
    table = pd.DataFrame({"file": names, "indoors": [n % 3 == 0 for n in range(20)]})
    table.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(DataError, match="not laid out in a known way"):
        inspect_data(tmp_path)


def test_splits_within_classes_are_refused(tmp_path: Path) -> None:
    for n in range(8):
        place = tmp_path / ("fake" if n % 2 else "real") / ("test" if n % 4 < 2 else "train")
        put(place, f"{n}.png")
    with pytest.raises(DataError, match=r"splits inside those of classes \(fake/test, fake/train"):
        inspect_data(tmp_path)


def test_two_label_tables_of_one_split_are_refused_and_of_test_told(tmp_path: Path) -> None:
    for n in range(20):
        put(tmp_path / "train", f"{n}.png")
    rows = pd.DataFrame({"file": [f"{n}.png" for n in range(20)], "label": [0, 1] * 10})
    rows[:16].to_csv(tmp_path / "train_a.csv", index=False)
    rows[16:].to_csv(tmp_path / "train_b.csv", index=False)
    with pytest.raises(DataError, match=r"train_a\.csv and train_b\.csv both look like"):
        inspect_data(tmp_path)
    (tmp_path / "train_b.csv").rename(tmp_path / "test.csv")
    assert "test.csv: its labels are not used" in inspect_data(tmp_path).remarks


def test_a_file_that_is_real_in_train_and_fake_in_val_is_refused(tmp_path: Path) -> None:
    for n in range(20):
        put(tmp_path, f"{n}.png")
    rows = [(f"{n}.png", n % 2, "val" if n > 15 else "train") for n in range(20)]
    table = pd.DataFrame([*rows, ("3.png", 0, "val")], columns=["file", "label", "split"])
    table.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(
        DataError, match=r"The file 3\.png is real in one split and fake in another"
    ):
        inspect_data(tmp_path)


def test_a_spreadsheet_is_rows_of_cells(tmp_path: Path) -> None:
    names = ["007.mp4", "NA", "c d.mp4"]
    frame = pd.DataFrame({"file": names, "label": [1, 0, 1], "p": [0.5, None, 2.0]})
    frame.to_excel(tmp_path / "labels.xlsx", index=False)
    assert read_any_table(tmp_path / "labels.xlsx").rows == [
        ["file", "label", "p"],
        ["007.mp4", "1", "0.5"],
        ["NA", "0", ""],
        ["c d.mp4", "1", "2"],
    ]


def merged_sheet(path: Path, rows: list[list[str]], *places: str) -> Path:
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        pd.DataFrame(rows).to_excel(writer, index=False, header=False)
        for place in places:
            writer.sheets["Sheet1"].merge_cells(place)
    return path


def test_merged_cells_of_a_column_are_the_value_of_each_row(tmp_path: Path) -> None:
    put(tmp_path, *(f"f{n}.wav" for n in range(6)))
    labels = ["fake", "", "", "real", "", ""]
    rows = [["file", "label"], *([f"f{n}.wav", label] for n, label in enumerate(labels))]
    merged_sheet(tmp_path / "labels.xlsx", rows, "B2:B4", "B5:B20")  # past the last row
    found = list_data(tmp_path, Layout(kind="table"))
    assert found.table["target"].tolist() == [1, 1, 1, 0, 0, 0]
    assert "merged cells read as one value for each row (B2:B4 and 1 more)" in found.understood[0]


def test_a_formula_without_its_value_is_refused(tmp_path: Path) -> None:
    # As programs write it that do not compute: groups would be empty, a whole row would be gone.
    rows = [["file", "label", "speaker"], ["a.wav", "1", "x"], ["b.wav", "0", "=C2"]]
    path = merged_sheet(tmp_path / "labels.xlsx", rows)
    with pytest.raises(DataError, match=r"the formula in C3 was never computed"):
        read_any_table(path)
    # Spreadsheet programs store what came out, an empty text among it.
    for value, cell in (("", ' t="str"'), ("y", ' t="str"'), ("7", "")):
        with zipfile.ZipFile(path) as parts:
            files = {name: parts.read(name) for name in parts.namelist()}
        sheet = "xl/worksheets/sheet1.xml"
        computed = f'<c r="C3"{cell}><f>C2</f><v>{value}</v></c>'.encode()
        files[sheet] = re.sub(rb'<c r="C3".*?</c>', computed, files[sheet])
        with zipfile.ZipFile(tmp_path / "computed.xlsx", "w") as parts:
            for name, data in files.items():
                parts.writestr(name, data)
        assert read_any_table(tmp_path / "computed.xlsx").rows[2] == ["b.wav", "0", value]


def test_merged_cells_of_several_columns_are_refused(tmp_path: Path) -> None:
    rows = [["all of the files", ""], ["file", "label"], ["a.wav", "fake"]]
    title = merged_sheet(tmp_path / "title.xlsx", rows, "A1:B1")  # of one row: no other lacks it
    assert read_any_table(title).rows[2] == ["a.wav", "fake"]
    rows = [["file", "label", "by"], ["a.wav", "1", "x"], ["", "", "y"]]
    path = merged_sheet(tmp_path / "labels.xlsx", rows, "A2:B3")
    with pytest.raises(DataError, match="the cells A2:B3 are merged, and they are of several"):
        read_any_table(path)


# Some programs give every element a prefix, or keep sheets elsewhere.
@pytest.mark.parametrize(
    ("prefix", "place"), [("", "xl/worksheets/sheet"), ("x:", "xl/worksheets/s"), ("", "xl/Tab")]
)
def test_a_spreadsheet_of_two_tables_is_refused(tmp_path: Path, prefix: str, place: str) -> None:
    with zipfile.ZipFile(tmp_path / "labels.xlsx", "w") as parts:
        for number, rows in ((1, "<row r='1'/>"), (2, "<row r='1'/>"), (3, "")):
            sheet = f"<worksheet><sheetData>{rows}</sheetData></worksheet>"
            parts.writestr(f"{place}{number}.xml", re.sub("<(/?)", rf"<\1{prefix}", sheet))
    with pytest.raises(DataError, match="has 2 sheets with rows, and only one can be read"):
        read_any_table(tmp_path / "labels.xlsx")


def test_hidden_rows_of_a_spreadsheet_are_read_and_told(tmp_path: Path) -> None:
    rows = [["file", "label"], *([f"f{n}.wav", str(n % 2)] for n in range(4))]
    path = tmp_path / "labels.xlsx"
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        pd.DataFrame(rows).to_excel(writer, index=False, header=False)
        for hidden in (2, 4, 40):
            writer.sheets["Sheet1"].row_dimensions[hidden].hidden = True
    table = read_any_table(path)
    assert len(table.rows) == 5 and isinstance(table, Spreadsheet)
    assert table.told == "2 hidden rows read like the others"


def test_a_spreadsheet_with_faulty_styles_is_told(tmp_path: Path) -> None:
    path = merged_sheet(tmp_path / "labels.xlsx", [["file", "label"], ["a.wav", "1"]])
    with zipfile.ZipFile(path) as parts:
        data = {name: parts.read(name) for name in parts.namelist()}
    styles = "xl/styles.xml"
    data[styles] = re.sub(rb"<fills.*</fills>", b"<fills><fill/></fills>", data[styles])
    with zipfile.ZipFile(path, "w") as parts:
        for name, part in data.items():
            parts.writestr(name, part)
    with pytest.raises(DataError, match="cannot be read as a spreadsheet"):
        read_any_table(path)


def test_a_spreadsheet_of_a_damaged_disk_is_told(tmp_path: Path) -> None:
    path = merged_sheet(tmp_path / "labels.xlsx", [["file", "label"], ["a.wav", "1"]])
    sheet = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(path) as parts:
        start = parts.getinfo(sheet).header_offset + 30 + len(sheet)
    data = bytearray(path.read_bytes())
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read as a spreadsheet"):
        read_any_table(path)
