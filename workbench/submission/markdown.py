"""Strangers' words as Markdown in which nothing of them counts as markup."""

import re

from workbench.console import visible


def as_cell(text: str) -> str:
    """Return a name as a cell of a Markdown table: as it is if it is plain, else as code."""
    return text if re.fullmatch(r"[\w./-]+( [\w./-]+)*", text) else as_code(text)


def as_text(text: str) -> str:
    """Return a line of strangers' words as Markdown in which none of them is markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", visible(text))


def as_code(text: str) -> str:
    """Return `text` as Markdown code, in which no markup, HTML or link of a stranger counts."""
    text = visible(text).replace("|", r"\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in (text[:1], text[-1:]) else ""
    return f"{fence}{space}{text}{space}{fence}"
