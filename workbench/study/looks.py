"""The log of a study's looks at its locked holdout: a line of JSON for each, oldest first.

A line is on the disk before its value is shown. So a look that a kill cut short either stands in
the log or was seen by nobody.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from workbench.errors import DamagedFileError, WorkbenchError
from workbench.study.folder import StudyFolder
from workbench.study.packs import title_of
from workbench.trial.recipe import MetricName
from workbench.values import Frozen


class Look(Frozen):
    """One look at the holdout: what was asked, and what was told."""

    when: str
    """UTC, ISO 8601."""

    who: str
    trial: int | None
    """The trial that was asked about; none where it was a pack or a soup."""

    recipe: str
    """The uid of its recipe, of the repeat of it that was promoted, of the pack, or of the soup."""

    is_soup: bool = False
    """Whether it was a soup."""

    place: int = 0
    """Which repeat of the trial it was, from 1; 0 of the trial itself, and of older versions."""

    holdout: str
    """Fingerprint of the holdout's labels and media; other files are another holdout."""

    num_files: int
    """Files that were scored."""

    scored: str = ""
    """Fingerprint of which files were scored, and by which views each; empty of older versions."""

    metric: MetricName
    is_told: bool
    """Whether the value is that of this trial: at the first look, and where it is better than what
    stood by more than the paired standard error. Else what stood is repeated."""

    of_trial: int | None
    """The trial whose value it is; none where it is a pack's or a soup's."""

    of_recipe: str
    of_soup: bool = False
    """Whether it is a soup's value."""

    of_place: int = 0
    """Which repeat of the trial it is the value of; see `place`."""

    of_weights_sha256: str = ""
    """Of the weights that had that value; empty of older versions."""

    value: float
    low: float | None
    high: float | None
    """The ends of its 95% interval."""

    @property
    def title(self) -> str:
        """What a person calls the model that was asked about."""
        return _title(self.trial, self.place, self.recipe, is_soup=self.is_soup)

    @property
    def of_title(self) -> str:
        """What a person calls the model whose value was told."""
        return _title(self.of_trial, self.of_place, self.of_recipe, is_soup=self.of_soup)


def _title(number: int | None, place: int, uid: str, *, is_soup: bool) -> str:
    """Return `repeat 7.2` of the second repeat of trial 7; see `title_of`."""
    return f"repeat {number}.{place}" if place else title_of(number, uid, is_soup=is_soup)


def read_looks(folder: StudyFolder) -> list[Look]:
    """Return the looks at a study's holdout, oldest first; none where there was none.

    A last line without an end was written by a command that was killed before it told anything.

    Raises:
        DamagedFileError: a line is not what was written.
    """
    if not folder.looks.exists():
        return []
    found = []
    *whole, _ = folder.looks.read_bytes().split(b"\n")
    for number, line in enumerate(whole, 1):
        try:
            found.append(Look.model_validate_json(line))
        except ValidationError as error:
            raise DamagedFileError(
                f"{folder.looks}, line {number}, is no look at the holdout: the file is damaged. "
                "Put it back from a copy: nothing else knows what was told."
            ) from error
    return found


def looks_elsewhere(folder: StudyFolder, holdout: str = "") -> str:
    """Return how often other studies of the project looked at a study's holdout.

    As in `a 2 times, b once`; empty where none did. A log that cannot be read is left out.

    Args:
        folder: The study.
        holdout: The fingerprint of its holdout; by default that of its own looks, and without any
            the holdout is the same where both experiments hold out alike of one data folder.
    """
    own = {holdout} if holdout else {look.holdout for look in read_looks(folder)}
    found = []
    for place in sorted(folder.path.parent.glob("*/looks.jsonl")):
        other = folder.beside(place.parent.name)
        if other.name == folder.name:
            continue
        with suppress(WorkbenchError):
            looks = read_looks(other)
            if own:
                looks = [look for look in looks if look.holdout in own]
            elif not _has_same_holdout(folder, other):
                continue
            if looks:
                found.append(f"{other.name} {_often(len(looks))}")
    return ", ".join(found)


def _has_same_holdout(folder: StudyFolder, other: StudyFolder) -> bool:
    """Say whether two studies hold out the same files, as far as their records tell."""
    holdout, its_own = folder.experiment().holdout, other.experiment().holdout
    if holdout is None or its_own is None:
        return False
    if holdout.data is not None and its_own.data is not None:
        return Path(holdout.data).resolve() == Path(its_own.data).resolve()
    own, others = folder.info(), other.info()
    # A study's fingerprint knows of its folds and the columns it uses, too; its holdout does not.
    return holdout == its_own and (own.data == others.data or own.fingerprint == others.fingerprint)


def append_look(folder: StudyFolder, look: Look) -> None:
    """Write a look at the end of the log, to the disk, before it is told.

    The study is held by this process.
    """
    is_new = not folder.looks.exists()
    with folder.looks.open("ab") as log:
        # Of a line that a kill cut short nothing was told.
        log.truncate(folder.looks.read_bytes().rfind(b"\n") + 1)
        log.seek(0, os.SEEK_END)
        log.write(look.model_dump_json().encode() + b"\n")
        log.flush()
        os.fsync(log.fileno())
    if is_new:
        place = os.open(folder.path, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def describe_looks(looks: Sequence[Look]) -> str:
    """Return in a sentence or two how often the holdout was looked at, and what stands."""
    if not looks:
        return "The holdout was never looked at."
    last = looks[-1]
    return (
        f"The holdout was looked at {_often(len(looks))}, last by {last.who} on {last.when[:10]}: "
        f"{value_of(last)}."
    )


def _often(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def value_of(look: Look) -> str:
    """Return the value that a look told, with its interval and whose it is."""
    interval = ""
    if look.low is not None and look.high is not None:
        interval = f" ({look.low:.4f} to {look.high:.4f}, 95%)"
    return f"{look.metric} {look.value:.4f}{interval} of {look.of_title}"
