"""The journal of a study: mended where it was damaged, and filled from the trials' folders.

Optuna follows a journal line by line and can neither leave a damaged one out nor go on after it.
What lies behind such a line is in the folders of the trials as well: all but the order of draws.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FixedTrial, TrialState, create_trial

from workbench.console import say
from workbench.errors import ConfigError
from workbench.files import write_text
from workbench.rules.judge import judge_spec
from workbench.rules.rulebook import Rulebook
from workbench.searching.open_trials import reached_in
from workbench.searching.recording import StudyRuns
from workbench.space.space import SampledConfig, Space
from workbench.study.folder import StudyFolder
from workbench.study.records import (
    GIVEN,
    HIDDEN,
    RUN,
    START,
    THOP,
    TRUE,
    UID,
    has_trials,
)
from workbench.tables import counted
from workbench.tracking.runs import TrialRun
from workbench.trial.recipe import Recipe
from workbench.trial.result import TrialFolder
from workbench.validation import shown

_MOST_LOST = 10_000
"""Trials that may be lost before one: a run's number is a tag, which anybody can change."""


def mend_journal(folder: StudyFolder) -> str:
    """Make the journal one that can be followed to its end and written on.

    A last line that a kill cut short is dropped. From a damaged line on, everything is; the whole
    file is kept beside it.

    Returns:
        What was wrong, in a sentence; empty if nothing was but such a last line.
    """
    if folder.journal.is_dir():
        kept = _free(folder.path / f"{folder.journal.name}.damaged")
        folder.journal.rename(kept)
        return (
            f"{folder.journal} was a folder, which is called {kept.name} now: the trials are taken "
            "from their folders."
        )
    if not folder.journal.exists() or not folder.journal.stat().st_size:
        if has_trials(folder):
            what = "is empty" if folder.journal.exists() else "is gone"
            return f"{folder.journal} {what}: the trials are taken from their folders."
        return ""
    _drop_torn_line(folder)
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    sound = _num_sound(lines)
    if sound == len(lines):
        return _without_another_study(folder, lines)
    damaged = sound + 1
    while _ends_in_mid_draw(lines[:sound]):
        sound -= 1  # else what is taken from its folder would have another number
    kept = _free(folder.path / f"{folder.journal.name}.damaged")
    shutil.copyfile(folder.journal, kept)
    with folder.journal.open("r+b") as journal:
        journal.truncate(sum(map(len, lines[:sound])))
    return (
        f"{folder.journal} is damaged from line {damaged} of {len(lines)} on: what is missing is "
        f"taken from the trials' folders. {kept} is a copy of it."
    )


def _without_another_study(folder: StudyFolder, lines: list[bytes]) -> str:
    """Empty a journal that knows another study alone, as one that was copied to the wrong place.

    Returns:
        As `mend_journal`.
    """
    studies = optuna.storages.JournalStorage(_Lines(lines)).get_all_studies()
    names = [study.study_name for study in studies]
    if not names or folder.name in names:
        return ""
    kept = _free(folder.path / f"{folder.journal.name}.damaged")
    shutil.copyfile(folder.journal, kept)
    write_text(folder.journal, "")
    return (
        f"{folder.journal} is that of the study {shown(names[0])}: the trials are taken from their "
        f"folders. {kept} is a copy of it."
    )


def _free(path: Path) -> Path:
    """Return `path`, or where that is taken one with a number: no earlier copy is written over."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(one for one in chain([path], numbered) if not os.path.lexists(one))


def _drop_torn_line(folder: StudyFolder) -> None:
    # Optuna refuses a journal that goes on after one.
    with folder.journal.open("r+b") as journal:
        text = journal.read()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            journal.truncate(whole)


class _Lines(BaseJournalBackend):
    """Lines of a journal that nobody writes, and how many of them were followed."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines
        self.num_given = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        for line in self._lines[log_number_from:]:
            self.num_given += 1
            yield json.loads(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise RuntimeError("these lines are read only")


def _num_sound(lines: list[bytes]) -> int:
    """Return how many of the first lines can be followed."""
    backend = _Lines(lines)
    try:
        optuna.storages.JournalStorage(backend)
    except Exception:  # noqa: BLE001 (Optuna follows a damaged line without looking: anything)
        return backend.num_given - 1
    return len(lines)


def _ends_in_mid_draw(lines: list[bytes]) -> bool:
    """Say whether the last trial was begun in these lines, and its recipe is not known yet."""
    storage = optuna.storages.JournalStorage(_Lines(lines))
    for study in storage.get_all_studies():
        trials = storage.get_all_trials(study._study_id, deepcopy=False)
        if trials and trials[-1].state == TrialState.RUNNING:
            return UID not in trials[-1].user_attrs
    return False


def restore_trials(study: optuna.Study, folder: StudyFolder, space: Space, runs: StudyRuns) -> int:
    """Enter the trials whose folders the journal does not know as ones that were cut off.

    `StudyStore.adopt` takes them over: those that ended are told, the others asked again. Each
    gets back its number and its run as far as MLflow remembers them.

    Returns:
        How many.
    """
    told = {trial.user_attrs.get(UID) for trial in study.get_trials(deepcopy=False)}
    there = (TrialFolder(file.parent) for file in folder.path.glob("trials/*/recipe.json"))
    lost = [files for files in there if files.path.name not in told]
    if not lost:
        return 0
    # Of one that was asked again the last run, which clocks do not tell: they may differ.
    known = sorted(runs.tracking.trial_runs(runs.parent), key=lambda run: run.number)
    logged = {run.uid: run for run in known}

    def order(files: TrialFolder) -> tuple[float, float]:
        run = logged.get(files.path.name)
        return run.number if run else float("inf"), files.recipe.stat().st_mtime

    restored = 0
    for files in sorted(lost, key=order):
        recipe = files.kept_recipe()
        if recipe is not None:
            _restore(study, files, recipe, space, logged.get(files.path.name), runs)
            restored += 1
    if unknown := sum(files.path.name not in logged for files in lost):
        say(
            f"MLflow does not know {counted(unknown, 'trial')} of these: a number may be another "
            "than before, and what names a trial by it (champion, finalists, packs, soups, looks "
            "at the holdout) another trial."
        )
    return restored


def _restore(
    study: optuna.Study,
    files: TrialFolder,
    recipe: Recipe,
    space: Space,
    run: TrialRun | None,
    runs: StudyRuns,
) -> None:
    number = len(study.get_trials(deepcopy=False))
    is_near = run is not None and run.number - number <= _MOST_LOST
    for _ in range(number, run.number if run and is_near else 0):
        # Hidden ones were among them; without these the numbers would not be those of the runs.
        lost = create_trial(state=TrialState.FAIL, user_attrs={HIDDEN: "lost with the journal"})
        study.add_trial(lost)
    number = len(study.get_trials(deepcopy=False))
    result = files.kept_result()
    draft, params = _draft_of(recipe, space)
    attrs: dict[str, Any] = {UID: files.path.name}
    if params is None:
        attrs |= {GIVEN: draft.model_dump_json(), START: str(files.recipe)}
    counts = {key: int(run.metrics[key]) for key in (THOP, TRUE) if run and key in run.metrics}
    attrs |= counts or _counts_of(recipe)
    attrs[RUN] = run.run_id if run else runs.start(number, recipe, attrs)
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            params=params or {},
            distributions=_distributions(space, params or {}) if params else {},
            user_attrs=attrs,
            intermediate_values=reached_in(recipe, result.epochs) if result else {},
        )
    )


def _counts_of(recipe: Recipe) -> dict[str, int | None]:
    """Return the parameters of a model, which a constraint may be about; empty if unknown."""
    try:
        verdict = judge_spec(Rulebook(), recipe.model)
    except ConfigError:  # a backbone of another version of timm
        return {}
    return {THOP: verdict.params_thop, TRUE: verdict.params_true}


def _draft_of(recipe: Recipe, space: Space) -> tuple[SampledConfig, dict[str, Any] | None]:
    """Return what became `recipe`, with what the space drew for it, if the space holds it."""
    plain = SampledConfig.of(recipe)
    random = plain.pretrained == "none"
    modes = sorted(space.pretrained_modes(), key=lambda mode: (mode == "none") != random)
    for mode in modes:
        for precision in dict.fromkeys((plain.precision, "auto")):
            draft = plain.model_copy(update={"pretrained": mode, "precision": precision})
            if (params := space.params_of(draft)) is not None:
                return draft, params
    return plain, None


def _distributions(space: Space, params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return what `params` were drawn from."""
    replay = FixedTrial(dict(params))
    space.draw(replay)
    return {name: replay.distributions[name] for name in params}
