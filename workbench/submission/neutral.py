"""Test files that the model saw nothing of: they have a score all the same, and it says nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

from workbench.data.delimited import shown_cell
from workbench.data.names import spelled
from workbench.errors import DataError
from workbench.submission.places import SCORED_FILES
from workbench.submission.scored_files import ScoredFile

MOST_NEUTRAL = 0.01
"""Share of the test files that may have such a score before an export asks."""

MOST_LISTED = 20
"""Such files that a text lists; a table in the bundle lists all."""


@dataclass(frozen=True)
class Neutral:
    """Which of the template's files have a neutral score."""

    files: tuple[ScoredFile, ...]
    """In the template's order, each once."""

    num_files: int
    """That the template names."""

    @property
    def sentence(self) -> str:
        """The same for a person; empty if there are none."""
        if not self.files:
            return ""
        count = len(self.files)
        which = "The first is" if count > 1 else "It is"
        return (
            f"{count} of the {self.num_files} test files got a neutral score, that of a grey "
            "picture or silence, since they could not be decoded when they were scored. "
            f"{which} {shown_cell(self.files[0].line, most=300)}."
        )

    @property
    def lines(self) -> list[str]:
        """Each file and why, a line each, `MOST_LISTED` at most, then where the others are."""
        lines = [f"- {file.line}" for file in self.files[:MOST_LISTED]]
        if (more := len(self.files) - len(lines)) > 0:
            lines.append(f"- and {more} more, which {SCORED_FILES} lists")
        return lines


def neutral_of(files: Iterable[ScoredFile]) -> Neutral:
    """Return which of the files a model scored without having seen anything of them."""
    all_files = tuple({spelled(file.name): file for file in files}.values())
    return Neutral(tuple(file for file in all_files if file.neutral == "wholly"), len(all_files))


def require_few(neutral: Neutral) -> None:
    """Raise DataError if more than MOST_NEUTRAL of the test files have a neutral score."""
    if len(neutral.files) > MOST_NEUTRAL * neutral.num_files:
        raise DataError(
            f"{neutral.sentence} Over {MOST_NEUTRAL:.0%} are too many: see what `workbench check` "
            "says of the files, or export all the same by --allow-missing. Those that can be read "
            "by now are scored anew by `workbench predict` with that bundle, or by a new study."
        )
