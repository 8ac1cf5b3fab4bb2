"""Names of tables matched with files: as they stand, then more loosely, never by a guess."""

import unicodedata
from pathlib import Path

import pytest

from workbench.data.names import find_files, leaves_folder, match
from workbench.errors import DataError

NFC, NFD = (unicodedata.normalize(form, "Zoë/übung.mp4") for form in ("NFC", "NFD"))

SPELLINGS = [
    ("a.mp4 ", "a.mp4", "spaces"),
    ("\u00a0a.mp4\t", "a.mp4", "spaces"),
    ("a.mp4", " a.mp4", "spaces"),
    ("./a.mp4", "a.mp4", "`./`"),
    ("in//./a.mp4", "in/a.mp4", "`./`"),
    (".\\in\\a.mp4", "in/a.mp4", "slashes"),
    (NFC, NFD, "accents"),
    (NFD, NFC, "accents"),
    ("a.MP4", "a.mp4", "case of the ending"),
    ("A.JPeg", "A.jpeg", "case of the ending"),
    ("a", "a.mp4", "ending that they lack"),
    ("in/a.b", "in/a.b.wav", "ending that they lack"),
    ("IN/Clip_A.mp4", "in/clip_a.MP4", "upper and lower case"),
    ("CLIP", "clip.mp4", "whatever the case"),
]


@pytest.mark.parametrize(("name", "file", "how"), SPELLINGS)
def test_a_name_is_found_however_it_is_spelled(name: str, file: str, how: str) -> None:
    there = {file, "b.mp4", "in/c.mp4"}
    found = match([name, "b.mp4", "gone.mp4"], there, where="val")
    assert found.files == {name: file, "b.mp4": "b.mp4"}
    assert len(found.said) == 1
    assert found.said[0].startswith("val: 1 name was matched with files ")
    assert how in found.said[0]


def test_exact_names_come_first_and_nothing_is_said_of_them() -> None:
    names = ["a.mp4", "A.mp4", "a.MP4", " a.mp4", "a"]
    found = match(names, set(names), where="val")
    assert (found.files, found.said) == ({name: name for name in names}, ())


def test_a_file_of_another_row_is_no_guess_for_a_missing_one() -> None:
    found = match(["a.mp4", "A.mp4", "a"], {"a.mp4"}, where="val")
    assert (found.files, found.said) == ({"a.mp4": "a.mp4"}, ())
    # Two spellings of one name are the same file all the same.
    assert match(["a.mp4", "./a.mp4"], {"a.mp4"}, where="val").files["./a.mp4"] == "a.mp4"


@pytest.mark.parametrize(
    ("names", "there"),
    [
        (["a.mp4 "], ["a.mp4", " a.mp4"]),
        (["a.Mp4"], ["a.MP4", "a.mp4"]),
        (["a"], ["a.mp4", "a.wav"]),
        (["CLIP.mp4"], ["Clip.mp4", "clip.mp4"]),
    ],
)
def test_a_name_that_could_be_two_files_is_an_error(names: list[str], there: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        match(names, there, where="val")
    assert all(repr(name) in str(caught.value) for name in (*names, *there))


def test_two_names_that_could_be_one_file_are_an_error() -> None:
    with pytest.raises(
        DataError, match=r"names 'Clip\.mp4' and 'CLIP\.mp4' both match .*'clip\.mp"
    ):
        match(["Clip.mp4", "CLIP.mp4"], {"clip.mp4"}, where="val")


def test_what_was_matched_is_counted_by_kind() -> None:
    names = ["a.mp4 ", "b.mp4 ", "c.MP4", "\x1b[31md.mp4 "]
    found = match(names, {"a.mp4", "b.mp4", "c.mp4", "\x1b[31md.mp4"}, where="test")
    spaces, ending = found.said
    assert spaces.startswith("test: 3 names were matched with files leaving aside spaces")
    assert spaces.endswith("e.g. 'a.mp4 ' with 'a.mp4'")
    assert ending.endswith("e.g. 'c.MP4' with 'c.mp4'")
    assert "\x1b" not in "".join(found.said)


def test_files_are_found_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").touch()
    (tmp_path / " b.mp4").touch()
    found = find_files(["in\\A.mp4", " b.mp4", "x" * 300], tmp_path, where="t")
    assert found.files == {"in\\A.mp4": "in/a.mp4", " b.mp4": " b.mp4"}
    assert find_files(["in/a.mp4"], tmp_path, where="t").said == ()


def test_no_reading_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.mp4").touch()
    assert leaves_folder("..\\secret.mp4")
    assert leaves_folder(" ../secret.mp4")
    assert find_files(["secret"], tmp_path / "in", where="t").files == {}


def test_many_files_and_many_odd_names_are_matched() -> None:
    there = {f"clip_{index:06}.mp4" for index in range(40_000)}
    names = [f"clip_{index:06}.mp4{' ' * (index % 2)}" for index in range(20_000)]
    found = match(names, there, where="train")
    assert found.files == {name: name.strip() for name in names}
    assert found.said[0].startswith("train: 10000 names were matched")


def test_a_hidden_file_has_no_ending_to_add() -> None:
    assert match(["in/"], {"in/.mp4"}, where="val").files == {}
    assert match(["a.b/c"], {"a.b/c.mp4", "a.mp4"}, where="val").files == {"a.b/c": "a.b/c.mp4"}
