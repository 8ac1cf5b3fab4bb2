"""The trials of a study as rows, read from its journal and its trial folders."""

import warnings
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from workbench.errors import StudyError
from workbench.study.folder import StudyFolder
from workbench.trial.result import Epoch, State
from workbench.values import Frozen

# Attributes that the study process keeps with each Optuna trial.
UID = "recipe"
RUN = "mlflow_run"
REASON = "reason"
HIDDEN = "hidden"
"""Set, with why, on Optuna trials that are no trial of the study: a recipe drawn twice, or one that
was cut off and asked again."""
GIVEN = "given"
"""The draft, as JSON, of a trial that was asked for by `--start-from` and not drawn."""

START = "start_from"
"""The file that it came from."""

THOP, TRUE = "params_thop", "params_true"
SECONDS = "seconds"

STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class TrialRow(Frozen):
    """One ended trial of a study."""

    number: int
    state: State
    reason: str
    recipe: str
    """The recipe's uid, which names the trial's folder."""

    objective: float | None
    metrics: dict[str, float]
    epochs: tuple[Epoch, ...]
    params_thop: int | None
    params_true: int | None
    seconds: float
    drawn: dict[str, Any]
    """What the search space drew, by dotted key."""

    backbone: str
    views: tuple[str, ...]
    image_px: int
    run_id: str | None
    """The MLflow run."""


class _NoLock(JournalFileOpenLock):
    """The journal has one writer, which holds the study's lock; see `StudyFolder.held`."""

    def acquire(self) -> bool:
        """Do nothing."""
        return True

    def release(self) -> None:
        """Do nothing."""


def open_storage(folder: StudyFolder) -> optuna.storages.JournalStorage:
    """Return the study's Optuna storage, its journal file."""
    backend = JournalFileBackend(str(folder.journal), lock_obj=_NoLock(str(folder.journal)))
    return optuna.storages.JournalStorage(backend)


def read_trials(folder: StudyFolder) -> list[TrialRow]:
    """Return the ended trials of a study, by number.

    Raises:
        StudyError: the study has no journal yet.
    """
    return [_row(folder, trial) for trial in _load(folder).trials if is_row(trial)]


def count_running(folder: StudyFolder) -> int:
    """Return how many trials are in flight or paused, or were when the study was cut off."""
    return len(_load(folder).get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def importances(folder: StudyFolder) -> dict[str, float]:
    """Return how much each searched dimension mattered; see `importances_of`."""
    return importances_of(_load(folder))


def importances_of(study: optuna.Study) -> dict[str, float]:
    """Return how much each searched dimension mattered: shares that sum to 1, largest first.

    Source: Watanabe et al. 2023, "PED-ANOVA", arXiv:2304.10255, as Optuna computes it: which
    dimensions set the best tenth of the complete trials apart. Empty with too few trials.
    """
    complete = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
    values = {trial.value for trial in complete}
    if len(complete) < 10 or len(values) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        # A dimension that few trials opened is unsure; the page says what the figures are.
        warnings.filterwarnings("ignore", message="Some regimes for parameter")
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def is_row(trial: FrozenTrial) -> bool:
    """Say whether an Optuna trial is an ended trial of the study."""
    return trial.state.is_finished() and HIDDEN not in trial.user_attrs


def _load(folder: StudyFolder) -> optuna.Study:
    if not folder.journal.exists():
        raise StudyError(f"The study {folder.name} has no trials yet. Run `workbench search`.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.load_study(study_name=folder.name, storage=open_storage(folder))


def _row(folder: StudyFolder, trial: FrozenTrial) -> TrialRow:
    attrs = trial.user_attrs
    files = folder.trial(attrs[UID])
    # A trial that was refused, or whose worker died, left no result.
    result = files.read_result()
    if not files.recipe.exists():
        raise StudyError(
            f"{files.recipe} of trial {trial.number} is gone: put it back, or the study cannot be "
            "read."
        )
    recipe = files.read_recipe()
    return TrialRow(
        number=trial.number,
        state=STATES[trial.state],
        reason=attrs.get(REASON, ""),
        recipe=attrs[UID],
        objective=result.objective if result else None,
        metrics=result.metrics if result else {},
        epochs=result.epochs if result else (),
        params_thop=attrs.get(THOP),
        params_true=attrs.get(TRUE),
        seconds=attrs.get(SECONDS, 0.0),
        drawn=trial.params,
        backbone=recipe.backbone,
        views=tuple(recipe.views),
        image_px=recipe.image_px,
        run_id=attrs.get(RUN),
    )
