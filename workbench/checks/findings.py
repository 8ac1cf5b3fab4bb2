"""What the data check says: a finding, in one sentence, and what to do about it."""

from collections.abc import Iterable, Sequence
from typing import Literal

from workbench.values import Frozen

Severity = Literal["warning", "note"]

LISTED = 50
"""Groups of files that a finding names at most."""


class Finding(Frozen):
    """One thing about a data set that can fool a search."""

    code: str
    """What kind of thing, e.g. `copies_across_splits`."""

    severity: Severity
    sentence: str
    """What is wrong, with its numbers."""

    remedy: str
    """What to do about it, in one sentence."""

    files: tuple[tuple[str, ...], ...] = ()
    """The files, as groups of paths that belong together (copies) or one by one; the first
    LISTED."""

    num_groups: int = 0
    """Groups there are, listed or not."""


def finding(
    code: str,
    severity: Severity,
    sentence: str,
    remedy: str,
    files: Iterable[Sequence[str]] = (),
) -> Finding:
    """Return the finding with its list of files cut to LISTED."""
    groups = [tuple(printable(path) for path in group) for group in files]
    return Finding(
        code=code,
        severity=severity,
        sentence=printable(sentence),
        remedy=remedy,
        files=tuple(groups[:LISTED]),
        num_groups=len(groups),
    )


def printable(text: str) -> str:
    """Return `text` without what would move a terminal's cursor or is no character.

    Names come from strangers.
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def listed(words: Sequence[str]) -> str:
    """Return e.g. `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
