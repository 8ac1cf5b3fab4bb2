"""The repeats of a study's trials: the same recipe trained again, with another seed.

They are no trials of the study: nothing is drawn by what they reach, and no number of trials counts
them. Each has a folder of its own with the files of a trial, and beside them what it repeats.
"""

from pydantic import Field

from workbench.errors import DamagedFileError
from workbench.files import write_text
from workbench.study.folder import StudyFolder
from workbench.study.records import THOP, TRUE, TrialRow, held_to
from workbench.trial.recipe import Recipe
from workbench.validation import read_record
from workbench.values import Frozen

_FILE = "repeat.json"
_REMEDY = "Put the file back, or remove the folder: `workbench finalists` trains it again."

_APART = 10_000_019
"""Between the seeds of two repeats: a training counts up from its seed with every step, and two
near each other would come to draw the same."""


class Repeat(Frozen):
    """One repeat of a trial."""

    number: int
    """The trial's."""

    of: str
    """The uid of the trial's recipe."""

    place: int
    """Which repeat of that trial it is, from 1."""

    recipe: str
    """The uid of its own recipe, which names its folder."""

    run: str | None = None
    """Its MLflow run."""

    params_thop: int | None = None
    params_true: int | None = None
    made_by: dict[str, str] = Field(default_factory=dict)
    """The versions, the code and the platform that train it, as tags."""

    @property
    def name(self) -> str:
        """What a person knows it by: `7.2` is the second repeat of trial 7."""
        return f"{self.number}.{self.place}"

    def counts(self) -> dict[str, int | None]:
        """Return the parameters of its model by both counts, as the study keeps a trial's."""
        return {THOP: self.params_thop, TRUE: self.params_true}


class FinalistsPlan(Frozen):
    """Which trials are trained again, as they were last asked for."""

    numbers: tuple[int, ...]
    """The trials, best first by the ranking of then."""

    num_seeds: int
    """Repeats of each."""


def repeated(recipe: Recipe, place: int) -> Recipe:
    """Return the recipe of repeat `place`, counted from 1: another seed, and nothing else."""
    return recipe.replaced(seed=(recipe.seed + place * _APART) % 2**31)


def read_repeats(folder: StudyFolder) -> list[Repeat]:
    """Return the repeats that were begun, by trial and place.

    Raises:
        DamagedFileError: what one of them is cannot be read.
    """
    found = []
    for file in folder.path.glob(f"repeats/*/{_FILE}"):
        repeat = read_record(Repeat, file, remedy=_REMEDY)
        if repeat.recipe != file.parent.name:
            raise DamagedFileError(f"{file} names another recipe, {repeat.recipe}. {_REMEDY}")
        found.append(repeat)
    return sorted(found, key=lambda repeat: (repeat.number, repeat.place))


def write_repeat(folder: StudyFolder, repeat: Repeat) -> None:
    """Write what a repeat is; from then on it is one of the study's."""
    file = folder.repeat(repeat.recipe).path / _FILE
    write_text(file, repeat.model_dump_json(indent=2) + "\n")


def read_plan(folder: StudyFolder) -> FinalistsPlan | None:
    """Return which trials are trained again; nothing where that was never asked for.

    Raises:
        DamagedFileError: the file is not what was written.
    """
    if not folder.finalists.exists():
        return None
    remedy = "Run `workbench finalists` again: it writes it anew."
    return read_record(FinalistsPlan, folder.finalists, remedy=remedy)


def write_plan(folder: StudyFolder, plan: FinalistsPlan) -> None:
    """Write which trials are trained again."""
    write_text(folder.finalists, plan.model_dump_json(indent=2) + "\n")


def row_of_repeat(folder: StudyFolder, row: TrialRow, repeat: Repeat) -> TrialRow | None:
    """Return the row of a trial with what its repeat reached; nothing while that has not ended.

    Raises:
        DamagedFileError: what was trained is no repeat of the trial.
    """
    files = folder.repeat(repeat.recipe)
    result, recipe = files.kept_result(), files.kept_recipe()
    if result is None:
        return None
    repeats = folder.trial(row.recipe).kept_recipe()
    if recipe and repeats and recipe.replaced() != repeats.replaced(seed=recipe.seed):
        raise DamagedFileError(f"{files.path} is no repeat of trial {row.number}. {_REMEDY}")
    again = row.model_copy(
        update={
            "recipe": repeat.recipe,
            "state": result.state,
            "reason": result.reason,
            "objective": result.objective,
            "metrics": result.metrics,
            "by_slice": result.by_slice,
            "ms_per_file": result.ms_per_file,
            "epochs": result.epochs,
            "seconds": result.seconds,
            "run_id": repeat.run,
            "breaks": (),
        }
    )
    # Another seed may break what the trial keeps to.
    return held_to(folder.experiment().constraints, again)
