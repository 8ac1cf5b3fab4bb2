import pytest

from workbench.console import duration, say, table, track


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (8.31, "8.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (12_000, "3 h 20 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_a_duration_reads_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_words_are_left_and_numbers_right() -> None:
    rows = [["resnet10t", "0.9", "3 min 05 s"], ["vit", "-12.25", ""], ["x", "-", "59.0 s"]]
    assert table(["backbone", "auc", "time"], rows).splitlines() == [
        "backbone      auc        time",
        "---------  ------  ----------",
        "resnet10t     0.9  3 min 05 s",
        "vit        -12.25",
        "x               -      59.0 s",
    ]


def test_a_column_with_one_word_is_left() -> None:
    assert table(["n"], [["1"], ["many"]]).splitlines() == ["n", "----", "1", "many"]


def test_a_table_without_rows_is_its_header() -> None:
    assert table(["trial", "auc"], []).splitlines() == ["trial  auc", "-----  ---"]


def test_a_row_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        table(["a", "b"], [["1", "2"], ["3"]])


def test_tracking_yields_everything_and_is_silent_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(track(iter("abc"), "read", unit="file", total=3)) == ["a", "b", "c"]
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


def test_a_line_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("decoding")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "decoding\n")
