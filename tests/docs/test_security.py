"""SECURITY.md: the limits that it names are those of the program."""

import re
from pathlib import Path

import pytest

from workbench.data.delimited import MAX_LINE_LETTERS, MAX_TABLE_BYTES
from workbench.data.file_rows import MAX_MEDIA_BYTES
from workbench.maintenance.archive import MOST_ARCHIVE_BYTES, MOST_FILES
from workbench.media.decoders import FILE_LIMIT_S, MEMORY_LIMIT_BYTES
from workbench.media.source import MAX_DURATION_S, MAX_FRAMES, MAX_PIXELS, MAX_VIDEO_PIXELS
from workbench.parts import plugins
from workbench.parts.archives import MAX_HEADER_BYTES, MAX_MEMBER_BYTES, MAX_RATIO
from workbench.space.backbone_options import MAX_QUESTIONS
from workbench.space.language import MAX_WALKED
from workbench.yaml_files import MAX_YAML_BYTES, MAX_YAML_DEPTH, MAX_YAML_VALUES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
RATIO = {5: "five", 10: "ten", 20: "twenty"}[MAX_RATIO]


def in_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def section(heading: str) -> str:
    """Return what stands below a heading of SECURITY.md, in one line."""
    return in_one_line(PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0])


@pytest.mark.parametrize(
    "said",
    [
        f"{MAX_YAML_BYTES >> 20} MiB, {MAX_YAML_VALUES:,} values and {MAX_YAML_DEPTH} levels",
        f"{MAX_WALKED // 10**6} million options times values, {MAX_QUESTIONS} leaderboard queries",
        f"{MAX_TABLE_BYTES >> 20} MiB, lines of {MAX_LINE_LETTERS:,} letters",
        f"{MAX_MEDIA_BYTES >> 30} GiB; decoded in a process of its own",
        f"{MEMORY_LIMIT_BYTES >> 30} GiB of memory",
        f"{MAX_PIXELS // 10**6} million pixels",
        f"{MAX_FRAMES:,} frames and {MAX_VIDEO_PIXELS // 10**9} billion pixels",
        f"{MAX_DURATION_S} s of sound",
        f"{MAX_MEMBER_BYTES >> 30} GiB, the wheel inflating {RATIO} times",
        f"a header of {MAX_HEADER_BYTES >> 20} MiB; an archive that inflates {RATIO} times",
        f"{MOST_ARCHIVE_BYTES >> 40} TiB and {MOST_FILES:,} files",
        f"{plugins.MOST_BYTES >> 10} KiB at most",
    ],
)
def test_a_limit_is_that_of_the_program(said: str) -> None:
    assert said in in_one_line(PAGE)


def test_five_minutes_are_the_limit_of_a_file() -> None:
    assert FILE_LIMIT_S == 5 * 60
    assert "for five minutes (`prepare --limit`)" in in_one_line(PAGE)


def test_it_says_what_is_trusted_what_is_not_and_how_to_report() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    assert headings == [
        "What is trusted",
        "What is not trusted, and how it is fenced",
        "What is not defended",
        "How to report",
    ]
    trusted = section("What is trusted")
    for what in ("A bundle is a program", "A tracking store", "Plugins", "Ray"):
        assert what in trusted
    assert "`workbench predict BUNDLE` runs the code that lies in it, as you." in trusted
    assert "load only from stores that you trust" in trusted
    report = section("How to report")
    for what in ("privately", '"Report a vulnerability" on the Security page', "the version (`pip"):
        assert what in report


def test_it_says_that_a_csv_file_may_hold_formulas() -> None:
    open_to = section("What is not defended")
    assert "**CSV files opened as spreadsheets.**" in open_to
    assert "begins with `=`, `+`, `-` or `@` is a formula to a spreadsheet" in open_to
    assert "Open such a file as text." in open_to


def test_the_readme_says_what_runs_a_program_of_others() -> None:
    readme = in_one_line((ROOT / "README.md").read_text(encoding="utf-8"))
    for said in (
        "A bundle and a registered model are programs: load either only from whom you trust.",
        "`workbench predict` runs the program of a bundle, as you.",
        "[SECURITY.md](SECURITY.md) says what is trusted",
    ):
        assert said in readme


def test_the_page_on_machines_says_that_threads_change_numbers() -> None:
    machines = in_one_line((ROOT / "docs" / "machines.md").read_text(encoding="utf-8"))
    assert (
        "On a CPU, the number of threads changes a score in its fourth digit, so it is recorded "
        "with each trial." in machines
    )
