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
from workbench.parts.archives import MAX_HEADER_BYTES, MAX_MEMBER_BYTES
from workbench.space.backbone_options import MAX_QUESTIONS
from workbench.space.language import MAX_WALKED
from workbench.yaml_files import MAX_YAML_BYTES, MAX_YAML_DEPTH, MAX_YAML_VALUES

PAGE = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")


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
        f"a header of {MAX_HEADER_BYTES >> 20} MiB",
        f"{MAX_MEMBER_BYTES >> 30} GiB, the wheel inflating ten times",
        f"{MOST_ARCHIVE_BYTES >> 40} TiB and {MOST_FILES:,} files",
        f"{plugins.MOST_BYTES >> 10} KiB at most",
    ],
)
def test_a_limit_is_that_of_the_program(said: str) -> None:
    assert said in re.sub(r"\s+", " ", PAGE)


def test_five_minutes_are_the_limit_of_a_file() -> None:
    assert FILE_LIMIT_S == 5 * 60
    assert "for five minutes (`prepare --limit`)" in re.sub(r"\s+", " ", PAGE)


def test_it_says_what_is_trusted_what_is_not_and_how_to_report() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    assert headings == [
        "What is trusted",
        "What is not trusted, and how it is fenced",
        "What is not defended",
        "How to report",
    ]
    trusted = PAGE.partition("## What is trusted")[2].partition("\n## ")[0]
    for what in ("A bundle is a program", "A tracking store", "Plugins", "Ray"):
        assert what in trusted
