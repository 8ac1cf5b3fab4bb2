"""The refit of a study's champion: trained again on `train` and `val` together, chosen by nobody.

It is no trial of the study. Nothing is held out of it, so nothing measures it; what it is worth is
told by what the champion was worth. The refit of each model has a folder with the files of a trial,
and that of a pack one with the files of a pack; `refit.json` says what was made last.
"""

from typing import Annotated

from pydantic import Field

from workbench.data.dataset import NAME
from workbench.errors import StudyError
from workbench.files import write_text
from workbench.study.folder import StudyFolder
from workbench.study.packs import title_within
from workbench.trial.recipe import Objective
from workbench.validation import read_record
from workbench.values import Frozen

_REMEDY = "Run `workbench refit` again: what is trained is not trained again."


class RefittedModel(Frozen):
    """One model of a refit: the champion's, or a member of its pack."""

    study: str = Field(pattern=f"^{NAME}$")
    number: int
    """The trial's, in its study."""

    of: str
    """The uid of the trial, or of the repeat of one, that is trained again."""

    recipe: str
    """The uid of its own recipe, which names its folder."""

    num_before: int
    """Files that the trial was trained on."""

    num_files: int
    """Files that it is trained on."""

    objective: float
    """Of the trial, at its best epoch."""

    at_last_epoch: float
    """The same at the trial's last epoch, which is the one that the refit keeps."""


class RefitRecord(Frozen):
    """What a refit is, and what the champion that it stands for was worth."""

    recipe: str
    """Its uid: that of its recipe, or of the pack of its models."""

    of: str
    """The uid of the champion: of its recipe, or of the pack."""

    title: str
    """What a person calls the champion: `trial 5`."""

    is_repeat: bool = False
    """Whether the champion is a repeat of that trial, with another seed; False also where an older
    version did not note it."""

    models: Annotated[tuple[RefittedModel, ...], Field(min_length=1)]
    objective: Objective
    value: float
    """The champion's."""

    expected: float | None = None
    """What the champion is expected to be on new data; unknown where too few files tell."""

    low: float | None = None
    high: float | None = None
    """The ends of the 95% interval of that."""

    num_folds: int = 1
    """How often the champion was trained, each time without another fold."""

    has_holdout: bool = False
    """Whether the study has a locked holdout."""

    who: str
    when: str
    """UTC, ISO 8601."""

    made_by: dict[str, str] = Field(default_factory=dict)
    """The versions, the code and the platform that trained it, as tags."""

    @property
    def num_more(self) -> int:
        """Files that it was trained on more than the champion, at least."""
        return min(one.num_files - one.num_before for one in self.models)

    @property
    def champion(self) -> str:
        """What a person calls the model that the values are of."""
        return f"{'the repeat of ' * self.is_repeat}{self.title}"

    def lines(self, study: str) -> list[str]:
        """Return what it is worth, as far as that is known, a sentence each.

        `study` is the one whose champion it is of: a member may be a trial of another.
        """
        metric = self.objective.metric
        said = f"{self.champion[0].upper()}{self.champion[1:]} had {metric} {self.value:.5f}"
        said += f" on {self.objective.place}"
        if self.expected is not None:
            said += f"; expected on new data of this kind {self.expected:.3f}"
            if self.low is not None and self.high is not None:
                said += f" ({self.low:.3f} to {self.high:.3f}, 95%)"
        lines = [
            f"{said}.",
            f"The refit was trained on {self.num_more} more files, those of val, and not measured: "
            "no labelled file is left for that, so the value is carried over.",
            *filter(None, [self._last_epoch(study)]),
        ]
        if self.num_folds > 1:
            lines.append(
                f"That value is out of fold: {self.num_folds} models each scored files that they "
                "were trained without, so it says what the recipe is worth with fewer files than "
                "the refit had."
            )
        if self.has_holdout:
            lines.append(
                "The holdout was not touched: score its files with the exported bundle "
                "(`workbench predict`, `workbench score`) to see that the refit is no worse; that "
                "is a look at it, too."
            )
        return lines

    def _last_epoch(self, study: str) -> str:
        """Return what keeping the last epoch cost where it was measured; empty if nothing."""
        values = [
            (
                title_within(f"trial {one.number}", one.study, of=study),
                f"{one.at_last_epoch:.5f}",
                f"{one.objective:.5f}",
            )
            for one in self.models
        ]
        told = ", ".join(
            f"{'the repeat of ' * self.is_repeat}{name} {last} in place of {best}"
            for name, last, best in values
            if last != best
        )
        if not told:
            return ""
        of_fold = ", on the first fold alone" if self.num_folds > 1 else ""
        return (
            "It keeps the last epoch, since no files are left to choose one by. Where that was "
            f"measured{of_fold}, the last epoch had {told}."
        )


def write_refit(folder: StudyFolder, refit: RefitRecord) -> None:
    """Write what the refit that was made last is."""
    write_text(folder.last_refit, refit.model_dump_json(indent=2) + "\n")


def read_refit(folder: StudyFolder) -> RefitRecord | None:
    """Return the refit that was made last; nothing where there is none.

    Raises:
        DamagedFileError: the record is not what was written.
    """
    if not folder.last_refit.exists():
        return None
    refit = read_record(RefitRecord, folder.last_refit, remedy=_REMEDY)
    return refit.model_copy(update={"objective": folder.as_scored(refit.objective)})


def refit_of(folder: StudyFolder, champion: str, title: str) -> RefitRecord:
    """Return the refit of a study's champion, which a person calls `title`.

    Raises:
        StudyError: there is none, or it is of another model.
        DamagedFileError: the record is not what was written.
    """
    refit = read_refit(folder)
    if refit is None or refit.of != champion:
        what = "has no refit" if refit is None else f"has a refit of {refit.title}"
        if refit and refit.title == title:
            what += " as trained with another seed"
        raise StudyError(
            f"The study {folder.name} {what}, and its champion is {title}. Run `workbench refit "
            f"{folder.name}` first."
        )
    return refit
