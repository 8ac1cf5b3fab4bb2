"""A study as Python programs and notebooks use it."""

from collections.abc import Sequence
from html import escape
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Self, get_args

import pandas as pd

from workbench.api.comparison import (
    SHOWN,
    Comparison,
    compare_trials,
    finalists_text,
    trials_table,
)
from workbench.api.disks import full_disks_told
from workbench.api.frames import scores_frame, trials_frame
from workbench.console import say
from workbench.errors import ConfigError
from workbench.notebook import preformatted
from workbench.selection import leaderboard
from workbench.selection.champion import Champion
from workbench.selection.joining import JointName
from workbench.selection.summary import kept_champion
from workbench.study.alike import measured_alike
from workbench.study.folder import StudyFolder, find_study
from workbench.study.records import TrialRow
from workbench.study.scored import read_scored_trials
from workbench.tables import USUAL_WIDTH
from workbench.workspace import Workspace

# What promotes and exports loads MLflow and the judge: seconds, which reading trials need not wait.
if TYPE_CHECKING:
    from workbench.api.made_pack import MadePack
    from workbench.submission.bundle import Bundle


class Study:
    """A study: its trials, what they scored, and what is made of them.

    `workbench.search` and `Study.open` return one. It holds nothing but where the study is: every
    property reads the study's files anew, so it also shows what another process does meanwhile.

    Args:
        folder: The files of the study.
        workspace: Where the tracking store is.
        stopped: Why the search that this comes from stopped before its number of trials.
        num_new: Trials that ended in that search.

    Example:
        >>> study = wb.Study.open("demo")
        >>> study.trials[["objective", "backbone"]].head(3)
        >>> study.promote(trial=4)
        >>> study.export("bundle")
    """

    def __init__(
        self, folder: StudyFolder, workspace: Workspace, *, stopped: str = "", num_new: int = 0
    ) -> None:
        self.folder, self.workspace = folder, workspace
        self.stopped = stopped
        """Why the search stopped before its number of trials, in a sentence; empty if it did not.
        """

        self.num_new = num_new
        """Trials that ended in this search; 0 where the study was opened."""

    @classmethod
    def open(cls, name: str | None = None, *, root: str | Path = ".") -> Self:
        """Open a study that was begun.

        Args:
            name: Its name; the last one searched by default.
            root: The folder that holds `experiments/` and `mlruns/`.

        Raises:
            StudyError: there is no such study; says which there are.

        Example:
            >>> wb.Study.open("demo").path
            PosixPath('/home/me/project/experiments/demo')
        """
        workspace = Workspace(Path(root).absolute())
        return cls(find_study(workspace.studies, name), workspace)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The study's folder."""
        return self.folder.path

    @property
    def trials(self) -> pd.DataFrame:
        """The ended trials: a row each, the best first, then the pruned and the failed ones.

        The index `trial` is the trial's number. The columns: `state` (`complete`, `pruned` or
        `failed`), `objective`, each metric of its best epoch by its name (`auc`, `f1`, `log_loss`,
        ...), `backbone`, `views`, `image_px`, `num_epochs` (those that ended), `params_thop` and
        `params_true` (parameters by both counts), `seconds` of training, `ms_per_file` of scoring,
        `drawn.KEY` for each searched dimension, `breaks` (constraints), `reason` (why it ended
        early) and `recipe`, which names its folder below `trials/`.

        Raises:
            StudyError: no trial was begun yet.
            DamagedFileError: the study's journal is damaged; says what to do.

        Example:
            >>> study.trials.query("state == 'complete'")["objective"].max()
            0.9431
        """
        return trials_frame(self._rows(), self.folder.objective())

    @property
    def scores(self) -> pd.DataFrame:
        """The probability of being fake of every sample on every slice, by every complete trial.

        (samples of all slices, complete trials) float64. The columns are the numbers of the trials.
        The index has three levels: `slice`, `name` (the file) and `target` (1 fake, 0 real, -1
        where it is not known, as of test files). Where a trial was not scored on a sample, there is
        NaN. All stored scores are read at once: 8 bytes a score.

        Raises:
            StudyError: no trial was begun yet.
            DamagedFileError: the study's journal is damaged; says what to do.

        Example:
            >>> val = study.scores.loc["val"]
            >>> val.groupby("target").mean()  # of real and of fake files, by trial
            >>> study.scores.corr("spearman")  # how alike the trials judge
        """
        return scores_frame(self.folder, self._rows())

    @property
    def champion(self) -> Champion | None:
        """The promoted trial, pack or soup; None without one, or where its record is damaged."""
        return kept_champion(self.folder)

    def table(self, *, top: int = SHOWN, width: int = USUAL_WIDTH) -> str:
        """Return the best trials as plain text, with a line that counts all.

        Args:
            top: Trials in the table.
            width: Columns that it may take.

        Raises:
            ConfigError: `top` is no number of trials.
            StudyError: no trial was begun yet.
            DamagedFileError: the study's journal is damaged; says what to do.
        """
        if isinstance(top, bool) or not isinstance(top, Integral) or top < 1:
            raise ConfigError(f"`top` is {top!r}: give 1 or more.")
        objective = self.folder.objective()
        return leaderboard.as_table(self._rows(), objective, top=top, width=width)

    def finalists_table(self) -> str:
        """Return the finalists as plain text, the best first; empty where none were asked for.

        Raises:
            StudyError: repeats were scored on other samples than one another.
            DamagedFileError: what was asked for, or what a repeat is, cannot be read.
        """
        return finalists_text(self.folder, self._rows())

    def compare(self, *, page: bool = True) -> Comparison:
        """Rank the trials, and say what they come to.

        Args:
            page: Whether the study's HTML page is written, too; it takes a few seconds.

        Returns:
            What a notebook shows as the decision and the best trials, with Plotly `figures`.

        Raises:
            StudyError: no trial was begun yet.
            DamagedFileError: files of the study are damaged; says which and what to do.

        Example:
            >>> compared = study.compare()
            >>> compared.figures["roc"].show()
        """
        compared = compare_trials(self.folder, page=page)
        if compared.note:
            say(compared.note)
        return compared

    def promote(
        self, trial: int | None = None, *, pack: bool = False, soup: bool = False
    ) -> Champion:
        """Make a complete trial, a pack or a soup the champion: a registered version of the model.

        The study's page is written anew, so that it names this champion.

        Args:
            trial: The trial's number; the best finalist or trial by default.
            pack: Promote the pack that was made last.
            soup: Promote the soup that was made last (`workbench soup`).

        Raises:
            ConfigError: two models are asked for, or `trial` is no number.
            StudyError: there is no such trial, pack or soup, or its files are gone.
            RuleError: the rulebook refuses the pack.
            DamagedFileError: files of the trial are not what it wrote.

        Example:
            >>> print(study.promote(trial=4))
        """
        from workbench.searching.mending import mend_runs
        from workbench.selection.best_model import promote_newest_pack
        from workbench.selection.promotion import promote
        from workbench.selection.soup_promotion import promote_newest_soup
        from workbench.selection.told_in_mlflow import tell_in_mlflow
        from workbench.tracking.registry import ModelRegistry

        if pack + soup + (trial is not None) > 1:
            raise ConfigError("`trial`, `pack` and `soup` name several models: give one of them.")
        if trial is not None and (isinstance(trial, bool) or not isinstance(trial, Integral)):
            raise ConfigError(f"`trial` is {trial!r}: give a trial's number.")
        folder = self.folder
        with full_disks_told(folder, self.workspace) as root:
            mend_runs(folder, root)
            with folder.promoting():
                if pack:
                    champion = promote_newest_pack(folder, ModelRegistry(root), root)
                elif soup:
                    champion = promote_newest_soup(folder, ModelRegistry(root))
                else:
                    champion = promote(folder, ModelRegistry(root), trial)
                tell_in_mlflow(folder, root, champion)
                compare_trials(folder, page=True)
        return champion

    def pack(
        self,
        others: Sequence["Study"] = (),
        *,
        max_params: int | None = None,
        ms_per_file: float | None = None,
        members: int = 8,
        joint: JointName = "calibrated",
        soups: bool = False,
    ) -> "MadePack":
        """Join several trials into one model that obeys the rulebook, the best such pack.

        It is not promoted: `promote(pack=True)` does that.

        Args:
            others: Studies of the same data, whose trials may be members, too.
            max_params: Parameters of the whole pack at most; the rulebook's limit holds as well.
            ms_per_file: Milliseconds to score a file at most.
            members: Different trials at most.
            joint: How scores become one: `mean` of probabilities; `calibrated`, that of logits,
                each by its own temperature; or `logistic`, a logistic regression on them.
            soups: Whether the soups that `workbench soup` made may be members, too.

        Raises:
            ConfigError: an argument says what cannot be used.
            RuleError: the rulebook allows no pack.
            StudyError: fewer than two trials can be members, there is no soup, or the files are too
                few to tell what a choice is worth.
            DamagedFileError: files of a trial are gone or damaged.

        Example:
            >>> made = study.pack(max_params=100_000_000)
            >>> if made.is_better:
            ...     study.promote(pack=True)
        """
        from workbench.api.made_pack import pack_trials
        from workbench.selection.pack_proposal import Limits

        if joint not in get_args(JointName):
            raise ConfigError(f"`joint` is {joint!r}: give {', '.join(get_args(JointName))}.")
        for name, number, least in (("members", members, 2), ("max_params", max_params, 1)):
            is_whole = isinstance(number, Integral) and not isinstance(number, bool)
            if number is not None and not (is_whole and number >= least):
                raise ConfigError(f"`{name}` is {number!r}: give {least} or more.")
        others = [others] if isinstance(others, Study) else list(others)
        for other in others:
            if not isinstance(other, Study):
                raise ConfigError(
                    f"`others` has {other!r}: give studies, such as `Study.open(NAME)` returns."
                )
        limits = Limits(max_params, ms_per_file, members, joint)
        folders = [other.folder for other in others]
        return pack_trials(self.folder, folders, limits, self.workspace, soups=soups)

    def export(
        self,
        out: str | Path = "bundle",
        *,
        allow_missing: bool = False,
        calibrated: bool = False,
        refit: bool = False,
    ) -> "Bundle":
        """Write the champion as a bundle: predictions, weights, recipe, code and hashes.

        Args:
            out: Folder to make; it must not exist.
            allow_missing: Export though over 1% of the test files could not be decoded.
            calibrated: Divide the logits of the scores by a temperature fitted on held-out files.
            refit: Export the champion's refit, which `workbench refit` trained, in its place.

        Raises:
            StudyError: the study has no champion.
            BundleError: `out` exists, or the champion's files are gone or do not belong together.
            DataError: `out` cannot be written, or too many test files got a neutral score.
            RuleError: the rulebook refuses the model.
            DamagedFileError: weights or scores are not what the trial wrote.

        Example:
            >>> study.export("submission").path
            PosixPath('submission')
        """
        from workbench.submission.bundle import export

        return export(
            self.folder,
            Path(out),
            allow_missing=allow_missing,
            is_calibrated=calibrated,
            is_refit=refit,
        )

    def __repr__(self) -> str:
        return f"<Study {self.name} in {self.path.parent}>"

    def _repr_html_(self) -> str:
        objective = self.folder.objective()
        champion = self.champion
        return (
            f"<h4>Study {escape(self.name)}</h4>"
            f"{trials_table(self._rows(), objective)}"
            f"{preformatted(str(champion)) if champion else ''}"
        )

    def _rows(self) -> list[TrialRow]:
        rows, _ = measured_alike(self.folder, read_scored_trials(self.folder))
        return rows
