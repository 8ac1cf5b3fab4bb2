import json
import sys

import pytest
import typer

from workbench.cli.shared import reporting_errors
from workbench.console import say, track, visible, visible_lines
from workbench.errors import DataError
from workbench.tables import duration, text_table
from workbench.visibly import print_traceback, printing_visibly

HOSTILE = "a\x1b[2Jb\x9b1m\u202egpj.\u2066\x07\x08\r\udce9\U000e0041"
SEEN = r"a\u001b[2Jb\u009b1m\u202egpj.\u2066\u0007\b\r\udce9\udb40\udc41"


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
    assert text_table(["backbone", "auc", "time"], rows).splitlines() == [
        "backbone      auc        time",
        "---------  ------  ----------",
        "resnet10t     0.9  3 min 05 s",
        "vit        -12.25",
        "x               -      59.0 s",
    ]


def test_a_column_with_one_word_is_left() -> None:
    assert text_table(["n"], [["1"], ["many"]]).splitlines() == ["n", "----", "1", "many"]


def test_a_table_without_rows_is_its_header() -> None:
    assert text_table(["trial", "auc"], []).splitlines() == ["trial  auc", "-----  ---"]


def test_a_row_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        text_table(["a", "b"], [["1", "2"], ["3"]])


def test_tracking_yields_everything_and_is_silent_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(track(iter("abc"), "read", unit="file", total=3)) == ["a", "b", "c"]
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


def test_a_bar_counts_on_a_terminal_and_lines_go_above_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("workbench.console.DRAWN_EVERY_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    seen = []
    for item in track(iter("ab"), "read [x]", unit="file", total=2):
        say(f"line {item}")
        seen.append(item)
    shown = capsys.readouterr()
    assert (seen, shown.out) == (["a", "b"], "")
    for text in ("read [x]", "1/2", "2/2", "files", "line a\n", "line b\n"):
        assert text in shown.err


def test_a_line_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("decoding")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "decoding\n")


@pytest.mark.parametrize(
    "text", ["clip 1.mp4", "é ü", "视频.mp4", "\u3000", "\xa0", "😀", "— “x”", "a\\b", ""]
)
def test_names_that_can_be_seen_stay_as_they_are(text: str) -> None:
    assert visible(text) == visible_lines(text) == text


def test_what_would_act_on_a_terminal_is_written_as_its_number() -> None:
    assert visible(HOSTILE) == SEEN
    assert visible("a\nb\tc") == r"a\nb\tc"
    assert visible_lines(f"a\n{HOSTILE}\tb\n") == f"a\n{SEEN}\tb\n"


def test_json_means_the_same_afterwards() -> None:
    text = json.dumps({HOSTILE: [HOSTILE]}, ensure_ascii=False)
    assert visible_lines(text).isprintable()
    assert json.loads(visible_lines(text)) == json.loads(text)


def test_a_cell_of_a_table_is_one_line() -> None:
    lines = text_table(["name", "n"], [["a\nerror: x", "1"], [HOSTILE, "2"]]).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith(r"a\nerror: x")
    assert all(line.isprintable() for line in lines)


def test_nothing_that_a_command_prints_reaches_the_terminal_raw(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit), reporting_errors():
        sys.stdout.write(f"{HOSTILE}\n")
        typer.echo(HOSTILE.partition("]")[2] + "\u202e")
        say(HOSTILE)
        raise DataError(f"{HOSTILE} is bad.\nAnd so on.")
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{SEEN}\n")
    assert r"\u202e" in shown.out
    assert SEEN in shown.err
    assert f"error: {SEEN} is bad." in shown.err
    assert all(line.isprintable() for line in (shown.out + shown.err).splitlines())


def test_printing_is_as_before_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    with printing_visibly():
        assert not sys.stdout.isatty()
        sys.stdout.flush()
    sys.stdout.write("\x1b")
    assert capsys.readouterr().out == "\x1b"


def test_a_bug_is_a_traceback_and_its_message_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise KeyError("x") from ValueError(HOSTILE)
    except KeyError as error:
        print_traceback(type(error), error, error.__traceback__)
    shown = capsys.readouterr().err
    assert shown.startswith("ValueError: ")
    assert SEEN in shown
    assert shown.endswith("KeyError: 'x'\n")
    assert all(line.isprintable() for line in shown.splitlines())
