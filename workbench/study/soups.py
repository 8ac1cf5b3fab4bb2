"""The soups of a study: each the mean of the weights of several of its trials, scored as one.

They are no trials of the study: nothing is drawn by what they reach, and no number of trials counts
them. Each has a folder of its own with the files of a trial, and beside them what it is made of.
The name of a soup is that of its trials, whichever way they were chosen: the weights are the same.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from workbench.errors import DamagedFileError, StudyError
from workbench.files import PART, write_text
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, held_to
from workbench.validation import read_record
from workbench.values import Frozen

_FILE = "soup.json"
_REMEDY = "Put the file back, or remove the folder: `workbench soup` makes it again."


Choice = Literal["all", "greedily"]
"""How the trials of a soup are chosen: all that are named or fit, or one after the other."""


class Ingredient(Frozen):
    """A trial that was tried for a soup."""

    number: int
    recipe: str
    """The uid of its recipe."""

    objective: float
    """Of the trial itself."""

    with_it: float | None = None
    """The objective of the soup with it, where the choice was greedy; not of the first."""

    weights_sha256: str = ""
    """Of its file of weights; unknown of older versions."""


class Soup(Frozen):
    """What a soup is made of, as its folder keeps it."""

    recipe: str
    """What it is known by, as a trial is by its recipe's uid: it names the folder."""

    chosen: Choice
    ingredients: tuple[Ingredient, ...] = Field(min_length=2)
    """Best first; the recipe in its folder is that of the first."""

    left_out: tuple[Ingredient, ...] = ()
    """Those that would have made it worse."""

    made_by: dict[str, str] = Field(default_factory=dict)
    """The versions, the code and the platform, as tags."""

    @model_validator(mode="after")
    def _is_of_its_trials(self) -> Self:
        if self.recipe != soup_uid(each.recipe for each in self.ingredients):
            raise ValueError("`recipe` is not the name of a soup of these `ingredients`")
        return self

    @property
    def numbers(self) -> list[int]:
        """The numbers of its trials, best first."""
        return [each.number for each in self.ingredients]


def soup_uid(recipes: Iterable[str]) -> str:
    """Return twelve hex digits of the uids of a soup's recipes, in whichever order they come."""
    whole = "+".join(["soup", *sorted(recipes)])
    return hashlib.sha256(whole.encode()).hexdigest()[:12]


def write_soup(folder: Path, soup: Soup) -> None:
    """Write what a soup is made of into its folder."""
    write_text(folder / _FILE, soup.model_dump_json(indent=2) + "\n")


def read_soups(folder: StudyFolder) -> list[Soup]:
    """Return the soups of a study, by their names.

    Raises:
        DamagedFileError: what one of them is cannot be read.
    """
    files = folder.path.glob(f"soups/*/{_FILE}")
    whole = sorted(file for file in files if not file.parent.name.startswith(PART))
    return [_read(file) for file in whole]


def read_soup(folder: StudyFolder, recipe: str) -> Soup | None:
    """Return the soup of that name; nothing where there is none.

    Raises:
        DamagedFileError: what it is cannot be read.
    """
    file = folder.soup(recipe).path / _FILE
    return _read(file) if file.exists() else None


def _read(file: Path) -> Soup:
    soup = read_record(Soup, file, remedy=_REMEDY)
    if soup.recipe != file.parent.name:
        raise DamagedFileError(f"{file} is of another soup, {soup.recipe}. {_REMEDY}")
    return soup


def newest_soup(folder: StudyFolder) -> Soup:
    """Return the soup of a study that was made last.

    Raises:
        StudyError: none was made, or it is gone.
        DamagedFileError: what it is cannot be read.
    """
    uid = ""
    if folder.last_soup.exists():
        uid = folder.last_soup.read_text(encoding="utf-8", errors="replace").strip()
    soup = read_soup(folder, uid) if re.fullmatch(r"[0-9a-f]{12}", uid) else None
    if soup is None:
        raise StudyError(
            f"The study {folder.name} has no soup that was made last. Run `workbench soup "
            f"{folder.name}` first: it takes one that is there already."
        )
    return soup


def row_of_soup(folder: StudyFolder, first: TrialRow, soup: Soup) -> TrialRow:
    """Return the row of a soup's first trial with what the soup reached.

    So what is done with a trial by its row can be done with a soup: its scores and its model are
    found by `recipe`. The MLflow run stays that of the first trial.

    Args:
        folder: The study.
        first: The row of the first of the soup's ingredients.
        soup: One of the study's.

    Raises:
        StudyError: its result is gone.
        DamagedFileError: its result is not what was written.
    """
    result = folder.soup(soup.recipe).read_result()
    if result is None:
        raise StudyError(f"The soup {soup.recipe} has no result. {_REMEDY}")
    row = first.model_copy(
        update={
            "recipe": soup.recipe,
            "reason": "",
            "objective": result.objective,
            "metrics": result.metrics,
            "by_slice": result.by_slice,
            "ms_per_file": result.ms_per_file,
            "epochs": (),
            "seconds": result.seconds,
        }
    )
    return held_to(folder.experiment().constraints, row)
