"""The trials of a study as rows, read from its journal and its trial folders."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

from workbench.errors import DamagedFileError, StudyError
from workbench.files import hash_file
from workbench.parts.per_view import label_of
from workbench.study.folder import StudyFolder
from workbench.study.storage import address_of, database, find_trials
from workbench.trial.constraints import Constraints, broken, constrained_values
from workbench.trial.recipe import Objective
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

BUG = "bug"
"""The epochs that a trial had done when it hit a bug which ended a search; it is kept when the
trial is asked again."""

MADE_BY = "made_by"
"""The versions, the code and the platform that trained it, as tags."""

FAILED = "failed"
"""A constraint that a failed trial breaks. Optuna has it as a pruned one, to learn from it."""

THOP, TRUE = "params_thop", "params_true"
SECONDS = "seconds"

_RUN_ANEW = "mlflow_run."

STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


EXACT_DIGITS = 12
"""Of an objective: what lies beyond is rounding, and equal to it."""


class TrialRow(Frozen):
    """One ended trial of a study."""

    number: int
    state: State
    reason: str
    recipe: str
    """The recipe's uid, which names the trial's folder."""

    objective: float | None
    metrics: dict[str, float]
    by_slice: dict[str, dict[str, float]] = Field(default_factory=dict)
    """See `trial.result.Result.by_slice`."""

    ms_per_file: float | None = None
    breaks: tuple[str, ...] = ()
    """The constraints that it breaks, each in words; of a complete trial."""

    epochs: tuple[Epoch, ...]
    params_thop: int | None
    params_true: int | None
    seconds: float
    drawn: dict[str, Any]
    """What the search space drew, by dotted key."""

    backbone: str
    """In a few words, if it is several."""

    backbone_of: dict[str, str] = Field(default_factory=dict)
    """That of each view of pictures; empty if its recipe is gone."""

    views: tuple[str, ...]
    image_px: int
    run_id: str | None
    """The MLflow run."""


def place_of(row: TrialRow, objective: Objective) -> tuple[bool, float, float, int]:
    """Return what complete trials are sorted by, best first; see `selection.leaderboard.rank`."""
    sign = 1 if objective.direction == "minimize" else -1
    assert row.objective is not None, f"trial {row.number} has no objective"
    log_loss = row.metrics.get("log_loss", float("inf"))
    # Equal ones may differ in their last bits, by the order in which they were summed.
    return bool(row.breaks), sign * round(row.objective, EXACT_DIGITS), log_loss, row.number


def read_trials(folder: StudyFolder) -> list[TrialRow]:
    """Return the ended trials of a study, by number.

    A complete one whose recipe or result is gone, damaged or another's is a failed one, with that
    reason.

    Raises:
        StudyError: the study has no journal yet, or a damaged one.
    """
    study = read_study(folder)
    try:
        runs = runs_of(study)
        rows = [_row(folder, trial, runs) for trial in study.trials if is_row(trial)]
    except (ValueError, TypeError) as error:  # a value that no search writes
        if (address := address_of(folder)) is not None:
            raise StudyError(
                f"{database(address)} has a value of a trial of {folder.name} that cannot be. Put "
                "the database back from a copy, or start another study by --study NAME."
            ) from error
        raise DamagedFileError(
            f"{folder.journal} is damaged: a value of a trial cannot be. Move it away and run "
            "`workbench search` as before: it writes it anew from the folders of the trials."
        ) from error
    constraints = folder.experiment().constraints
    return [held_to(constraints, row) for row in rows] if constraints else rows


def count_running(folder: StudyFolder) -> int:
    """Return how many trials are in flight or paused, or were when the study was cut off."""
    return len(read_study(folder).get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def count_paused(folder: StudyFolder) -> int:
    """Return how many trials wait where the scheduler let them; none has ended."""
    results = (folder.trial(place.name).kept_result() for place in folder.path.glob("trials/*"))
    return sum(result is not None and result.state == "paused" for result in results)


def is_row(trial: FrozenTrial) -> bool:
    """Say whether an Optuna trial is an ended trial of the study."""
    attrs = trial.user_attrs
    return trial.state.is_finished() and HIDDEN not in attrs and UID in attrs


def state_of(trial: FrozenTrial) -> State:
    """Return how an ended trial of the study ended."""
    return "failed" if trial.constraints.get(FAILED, 0.0) > 0 else STATES[trial.state]


def keeps_constraints(trial: FrozenTrial) -> bool:
    """Say whether a complete trial keeps the constraints, as it was told when it ended."""
    return not any(excess > 0 for excess in trial.constraints.values())


def runs_of(study: optuna.Study) -> dict[int, str]:
    """Return the MLflow run of each trial that has one, by number.

    Optuna's ended trials cannot be changed, so a run that was written anew is noted with the study.
    """
    own = {
        trial.number: trial.user_attrs[RUN]
        for trial in study.get_trials(deepcopy=False)
        if RUN in trial.user_attrs
    }
    anew = {
        int(key.removeprefix(_RUN_ANEW)): run
        for key, run in study.user_attrs.items()
        if key.startswith(_RUN_ANEW)
    }
    return own | anew


def note_run(study: optuna.Study, number: int, run: str) -> None:
    """Note that the run of trial `number` was written anew; see `runs_of`."""
    study.set_user_attr(f"{_RUN_ANEW}{number}", run)


def has_trials(folder: StudyFolder) -> bool:
    """Say whether trials left folders of their own, whatever the journal says."""
    return any(folder.path.glob("trials/*/recipe.json"))


def read_study(folder: StudyFolder) -> optuna.Study:
    """Return the study with its trials, as its journal or its database has it.

    Raises:
        StudyError: the study has no journal yet, or its folder was renamed.
        DamagedFileError: the journal is damaged, or is gone where there are trials.
        StoreError: its database does not answer, or refuses to.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    begun = folder.info_file.exists() or has_trials(folder)
    if begun:
        folder.info()  # of this name, and whole
    if begun and (address := address_of(folder)) is not None:
        return _read_database(folder, address)
    there = folder.journal.exists() and folder.journal.stat().st_size
    if not there and not has_trials(folder):
        raise StudyError(f"The study {folder.name} has no trials yet. Run `workbench search`.")
    remedy = "Run `workbench search` as before: it writes it anew from the folders of the trials."
    if not there:
        raise DamagedFileError(f"{folder.journal} is gone or empty. {remedy}")
    try:
        study = find_trials(folder)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DamagedFileError(f"{folder.journal} cannot be read: {why}. {remedy}") from error
    except Exception as error:
        # Optuna follows a journal without looking at it: what is wrong there raises anything.
        raise DamagedFileError(f"{folder.journal} is damaged. {remedy}") from error
    if study is None:
        raise DamagedFileError(f"{folder.journal} is damaged. {remedy}")
    return study


def _read_database(folder: StudyFolder, address: str) -> optuna.Study:
    if (study := find_trials(folder)) is not None:
        return study
    if not has_trials(folder):
        raise StudyError(f"The study {folder.name} has no trials yet. Run `workbench search`.")
    raise DamagedFileError(
        f"{database(address)} has no record of the study {folder.name}. Run `workbench search` as "
        "before: it writes it anew from the folders of the trials."
    )


def held_to(constraints: Constraints, row: TrialRow) -> TrialRow:
    """Return the trial with what it breaks; one that is not complete as it is."""
    if row.state != "complete":
        return row
    values = constrained_values(row, params=(row.params_thop, row.params_true))
    return row.model_copy(update={"breaks": broken(constraints, values)})


def _drawn_backbone(drawn: Mapping[str, Any]) -> str:
    """Return the backbone that was drawn, in a few words."""
    each = {
        key.removeprefix("backbone."): str(name)
        for key, name in drawn.items()
        if key.startswith("backbone.")
    }
    return label_of(each) if each else str(drawn.get("backbone", "unknown"))


def _row(folder: StudyFolder, trial: FrozenTrial, runs: Mapping[int, str]) -> TrialRow:
    attrs = trial.user_attrs
    files = folder.trial(attrs[UID])
    state, reason = state_of(trial), attrs.get(REASON, "")
    recipe = files.kept_recipe()
    # A trial that was refused, or whose worker died, left no result.
    result = files.kept_result()
    wrote = result.recipe_sha256 if result else ""
    is_other = bool(recipe and wrote and hash_file(files.recipe) != wrote)
    if state == "complete" and (recipe is None or result is None or is_other):
        lost = files.result if recipe and not is_other else files.recipe
        said = "not what the trial wrote" if is_other else "damaged" if lost.exists() else "gone"
        state, reason = "failed", f"{lost.name} is {said} ({lost})."
    return TrialRow(
        number=trial.number,
        state=state,
        reason=reason,
        recipe=attrs[UID],
        objective=result.objective if result else None,
        metrics=result.metrics if result else {},
        by_slice=result.by_slice if result else {},
        ms_per_file=result.ms_per_file if result else None,
        epochs=result.epochs if result else (),
        params_thop=attrs.get(THOP),
        params_true=attrs.get(TRUE),
        seconds=attrs.get(SECONDS, 0.0),
        drawn=trial.params,
        backbone=recipe.model.backbone_label if recipe else _drawn_backbone(trial.params),
        backbone_of=recipe.model.backbone_of if recipe else {},
        views=tuple(recipe.model.views) if recipe else (),
        image_px=recipe.model.image_px if recipe else 0,
        run_id=runs.get(trial.number),
    )
