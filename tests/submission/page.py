"""The page about bundles: its code blocks, each of which a test runs."""

import re
import shlex
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "submission.md"


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page in a language, in their order."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def words_of(command: str, **values: str) -> list[str]:
    """Return the words of the one `workbench` command in a block, with values for its STUDY etc."""
    (line,) = [line for line in blocks("sh") if f"workbench {command} " in line]
    program, *words = shlex.split(line)
    assert program == "workbench"
    return [values.get(word, word) for word in words]
