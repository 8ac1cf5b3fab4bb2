"""What a trial that was chosen as the best of many is worth on new data of the same kind."""

from collections.abc import Mapping, Sequence

from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow
from workbench.trial.recipe import MetricName, Objective
from workbench.values import Frozen


class Expected(Frozen):
    """The objective of a chosen trial, corrected for having been chosen, with its interval."""

    number: int
    """Of the trial."""

    metric: MetricName
    place: str
    """What the objective is measured on, for a person."""

    naive: float
    """The objective as it was measured: flattered where the best was taken of several trials."""

    expected: float | None
    """On new data of the same kind; absent where the samples are too few to tell."""

    low: float | None
    high: float | None
    """The ends of the 95% interval of the true value."""

    num_trials: int
    """Complete trials, which it was chosen among."""

    num_groups: int
    """Groups of files that were kept together; as many as files where none belong together."""

    chosen_share: float | None
    """How often it is chosen again, from 0 to 1, by two thirds of the files."""

    method: str
    """How the numbers were made, in one sentence."""

    of_slices: dict[str, float]
    """The metric on each slice that its scores are stored of: what another kind may bring."""

    caveats: tuple[str, ...] = ()
    """Sentences: what of it still flatters."""

    @property
    def sentence(self) -> str:
        """Return the estimate for a person, in one sentence."""
        return f"{self.place} {self.metric} {self.naive:.4f}."


def expect(
    folder: StudyFolder,
    rows: Sequence[TrialRow],
    objective: Objective,
    *,
    number: int | None = None,
    groups: Mapping[str, str] | None = None,
) -> Expected:
    """Return what the best trial, or trial `number`, is worth on new data of the same kind.

    Args:
        folder: The study, for the stored scores.
        rows: Its ended trials, alike measured; those that are not complete are left out.
        objective: What the trials are ranked by.
        number: A complete trial; the best if none is named.
        groups: The group of a file by its name (a speaker, copies): a group is never split. A file
            that is not in it is a group of its own.

    Raises:
        StudyError: no trial is complete, or the trials were scored on different samples.
        DamagedFileError: scores are gone or damaged.
    """
    raise NotImplementedError
