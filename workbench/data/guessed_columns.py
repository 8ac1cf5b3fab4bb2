"""Which column of a stranger's table says what, by its header, its cells and the files there are.

What is guessed is said, and written into an experiment, where it can be corrected.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from workbench.data.columns import (
    OTHER_SCORES,
    OTHER_TARGETS,
    SCORE_COLUMNS,
    TARGET_COLUMNS,
    cells_of,
    fold,
)
from workbench.data.delimited import Delimited, quoted
from workbench.data.split_names import SPLIT_COLUMNS, other_split_columns
from workbench.data.targets import Classes, means, reader_of, require_agreement, third_class
from workbench.errors import DataError
from workbench.values import Frozen

GENERATORS = (
    "generator",
    "attack",
    "attack_type",
    "method",
    "model",
    "synthesizer",
    "tts",
    "algorithm",
    "technique",
    "manipulation",
    "fake_type",
)
GROUPS = (
    "speaker",
    "speaker_id",
    "spk",
    "spk_id",
    "identity",
    "subject",
    "subject_id",
    "person",
    "actor",
    "client_id",
    "participant",
    "source",
    "source_id",
    "video_id",
    "session",
)
LEAST_GROUPS = 5
"""Values of a column of groups, from which on they are kept together in folds."""


class Answers(Frozen):
    """What a person says of their data, so that it need not be guessed."""

    table: str | None = None
    """The table of labels, by its name in the data folder."""

    name: str | None = None
    label: str | None = None
    split: str | None = None
    """Columns of it."""

    fake: tuple[str, ...] = ()
    real: tuple[str, ...] = ()
    """Labels, or names of folders, of each class."""

    def classes(self) -> Classes:
        """Return the classes that are named.

        Raises:
            DataError: one of them is not.
        """
        if bool(self.fake) != bool(self.real):
            raise DataError("Name the labels of both classes: --fake WORD --real WORD.")
        try:
            return Classes(fake=self.fake, real=self.real)
        except ValueError as error:
            raise DataError(
                "--fake and --real name the same label. Give each class labels of its own."
            ) from error


def header_of(table: Delimited) -> list[str]:
    """Return the header's cells."""
    return [cell.strip() for cell in table.rows[0]]


def label_column(table: Delimited, answers: Answers, taken: Iterable[str]) -> str | None:
    """Return the column of labels; None if none is known.

    Raises:
        DataError: two could be it, another turns it over, or the one that is named is not there.
    """
    header = header_of(table)
    if answers.label:
        return header[require_column(table, answers.label)]
    others = [cell for cell in header if cell and cell not in set(taken)]
    for known in (TARGET_COLUMNS, OTHER_TARGETS):
        found = list(dict.fromkeys(cell for cell in others if fold(cell) in known))
        if len(found) > 1:
            raise DataError(
                f"{table.path}: the label could be in the column {quoted(found[0])} or "
                f"{quoted(found[1])}. Say which by --label-column."
            )
        if found:
            if not answers.fake:
                require_agreement(table, header.index(found[0]))
            return found[0]
    worded = [cell for cell in others if _has_words(table, header.index(cell))]
    return worded[0] if len(worded) == 1 else None


def split_column(table: Delimited, named: str | None) -> str | None:
    """Return the column of splits; None if there is none."""
    header = header_of(table)
    if named:
        return header[require_column(table, named)]
    known = (*SPLIT_COLUMNS, *other_split_columns(table))
    return next((cell for word in known for cell in header if fold(cell) == word), None)


def score_column(table: Delimited, *, may_be_label: bool) -> str | None:
    """Return the column of a template that scores are written into; None if there is none."""
    kinds = [
        SCORE_COLUMNS,
        OTHER_SCORES,
        *([TARGET_COLUMNS, OTHER_TARGETS] if may_be_label else []),
    ]
    header = header_of(table)
    for known in kinds:
        for cell in header:
            if fold(cell) in known:
                return cell
    return None


def metadata_column(table: Delimited, known: Sequence[str], taken: Iterable[str]) -> str | None:
    """Return the first of the `known` columns that a table has, with two values at least."""
    header, taken = header_of(table), set(taken)
    for word in known:
        for at, cell in enumerate(header):
            if fold(cell) == word and cell not in taken and len(values_in(table, at)) > 1:
                return cell
    return None


def plain_name(cell: str) -> str:
    """Return the name of a file without what tables write around it: spaces, `./`, backslashes."""
    return cell.strip().replace("\\", "/").removeprefix("./")


def values_in(table: Delimited, at: int) -> set[str]:
    """Return the values of a column, empty cells left out."""
    return {cell.strip() for cell in cells_of(table.rows[1:], at)} - {""}


def guessed_classes(labels: Iterable[str], answers: Answers, place: Path) -> Classes:
    """Return what the labels of each class are: the usual words, or those that a person names.

    Raises:
        DataError: there are more than two labels, or two of which nothing says which is fake.
    """
    classes = answers.classes()
    if classes.fake:
        return classes
    known = sorted({label.strip() for label in labels} - {""})
    if all(reader_of(label, classes) for label in known):
        return classes
    if len({label.casefold() for label in known}) > 2:
        raise DataError(third_class(place, known, "labels"))
    one, other = (known * 2)[:2]
    raise DataError(
        f"{place} has the labels {quoted(one)} and {quoted(other)}, and nothing says which is "
        f"fake. Say it by --fake WORD --real WORD."
    )


def require_column(table: Delimited, named: str) -> int:
    """Return where the column is that a person names.

    Raises:
        DataError: there is none of this name, or two.
    """
    header = header_of(table)
    found = [at for at, cell in enumerate(header) if cell == named]
    found = found or [at for at, cell in enumerate(header) if fold(cell) == fold(named)]
    if len(found) != 1:
        which = "no column" if not found else "two columns"
        raise DataError(
            f"{table.path} has {which} {quoted(named)}: its header is {table.header()}. "
            "Name one that it has once."
        )
    return found[0]


def _has_words(table: Delimited, at: int) -> bool:
    """Return whether every cell of a column is a word for real or fake, and both are there.

    Numbers, true and false are none: they may say anything, such as whether a file is real.
    """
    words = values_in(table, at)
    if not words or any(means(word) is not None for word in words):
        return False
    readers = [reader_of(word, Classes()) for word in words]
    read = {reader(word.casefold()) for reader, word in zip(readers, words, strict=True) if reader}
    return None not in readers and read == {0, 1}
