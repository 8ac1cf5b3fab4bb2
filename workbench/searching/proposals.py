"""What a study tries next, as Optuna has it: what was asked for by hand, else what it draws."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, assert_never

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from workbench.console import say
from workbench.searching.database import open_in_database
from workbench.searching.journal import mend_journal
from workbench.searching.short_memory import Journal, ShortMemory
from workbench.space.experiment import Experiment, Sampler
from workbench.space.space import SampledConfig, Space
from workbench.study.folder import StudyFolder
from workbench.study.records import BUG, GIVEN, HIDDEN, START, UID
from workbench.study.storage import address_of, journal_file


def open_study(
    folder: StudyFolder, experiment: Experiment, *, seed: int
) -> tuple[optuna.Study, ShortMemory]:
    """Return the Optuna study of a folder that this process holds, and its storage.

    The study is made if need be. A journal is mended first where it is damaged; or the folder says
    which database keeps the trials.

    Raises:
        StoreError: the database does not answer, or refuses to.
        StudyError: another process holds the study there.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    direction = experiment.objective.direction
    storage: ShortMemory
    if address_of(folder) is not None:
        study, storage = open_in_database(folder, direction)
    else:
        if wrong := mend_journal(folder):
            say(wrong)
        storage = Journal(journal_file(folder))
        study = optuna.create_study(
            study_name=folder.name,
            storage=storage,
            load_if_exists=True,
            direction=direction,
        )
    asked = len(study.get_trials(deepcopy=False))
    asked = max(asked, len(list(folder.path.glob("trials/*"))))  # a journal may be lost
    # With the seed of the first run it would draw the recipes of the first run again.
    study.sampler = make_sampler(experiment.sampler, seed + asked)
    study.pruner = optuna.pruners.NopPruner()  # that is a scheduler's to decide
    return study, storage


SCREENED = "screening: "
"""How what says a draft begins that a screening asks for."""

TAKEN_BACK = "taken back before it began"


class Proposals:
    """Proposes what to try, in the study and the storage that `open_study` returns."""

    def __init__(self, study: optuna.Study, storage: ShortMemory, space: Space) -> None:
        self._study, self._storage, self._space = study, storage, space
        self._sampler = study.sampler

    def start_from(self, draft: SampledConfig, source: str) -> None:
        """Have `draft` tried before anything is drawn, unless this study was told of it before.

        One that the search space holds teaches the sampler as a drawn one does; any other is a
        trial all the same.
        """
        given = [
            SampledConfig.model_validate_json(trial.user_attrs[GIVEN])
            for trial in self._study.get_trials(deepcopy=False)
            if GIVEN in trial.user_attrs and trial.user_attrs.get(HIDDEN) != TAKEN_BACK
        ]
        if draft not in given:
            params = self._space.params_of(draft) or {}
            attrs = {GIVEN: draft.model_dump_json(), START: source}
            self._study.enqueue_trial(params, user_attrs=attrs)

    def take_back_screened(self) -> None:
        """Have no draft of a screening tried that has not begun."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if trial.user_attrs.get(START, "").startswith(SCREENED):
                self._storage.set_trial_user_attr(trial._trial_id, HIDDEN, TAKEN_BACK)
                self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def begun(self) -> Iterator[tuple[str, SampledConfig | None, str]]:
        """Yield what says each trial, and each that is to be tried, its draft and its recipe's uid.

        What is to be tried has no uid, and what the space does not hold any more no draft.
        """
        for trial in self._study.get_trials(deepcopy=False):
            attrs = trial.user_attrs
            if HIDDEN not in attrs:
                yield attrs.get(START, ""), self._draft_of(trial), attrs.get(UID, "")

    def _draft_of(self, trial: FrozenTrial) -> SampledConfig | None:
        if (given := trial.user_attrs.get(GIVEN)) is not None:
            return SampledConfig.model_validate_json(given)
        # One that waits has no parameters yet, but what it was enqueued with.
        params = trial.params or trial.system_attrs.get("fixed_params", {})
        with suppress(ValueError):
            return self._space.draw(FixedTrial(params))
        return None

    def ask(self) -> tuple[optuna.Trial, SampledConfig]:
        """Return a new trial and what it is to be: what the space draws, or what was asked for."""
        with self._storage.shown_to_sampler(self._study):
            return self._ask()

    def _ask(self) -> tuple[optuna.Trial, SampledConfig]:
        trial = self._study.ask()
        given = trial.user_attrs.get(GIVEN)
        if given is None:
            return trial, self._space.draw(trial)
        draft = SampledConfig.model_validate_json(given)
        # Enqueued with what has to be drawn for it, so that the sampler knows it as its own.
        inside = self._space.params_of(draft) is not None
        return trial, self._space.draw(trial) if inside else draft

    def draw_by_chance(self, *, seed: int) -> None:
        """Draw by chance alone until `draw_as_ever`, where the sampler knows nothing new."""
        self._study.sampler = optuna.samplers.RandomSampler(seed=seed)

    def draw_as_ever(self) -> None:
        """Let the sampler of the study draw again."""
        self._study.sampler = self._sampler

    def uids(self) -> set[str]:
        """Return the recipes that are no news: tried, or in flight."""
        return {
            trial.user_attrs[UID]
            for trial in self._study.get_trials(deepcopy=False)
            if UID in trial.user_attrs and HIDDEN not in trial.user_attrs
        }

    def enqueue(self, params: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
        """Propose what a trial of these parameters and attributes was, before anything is drawn."""
        origin = {key: attrs[key] for key in (GIVEN, START, BUG) if key in attrs}
        self._study.enqueue_trial(dict(params), user_attrs=origin)

    def requeue(self, trial: optuna.Trial, why: str) -> None:
        """Have what a trial drew asked again the next time; it ends as none of the study."""
        # Asked again first: see `StudyStore.adopt`.
        self.enqueue(trial.params, trial.user_attrs)
        self.hide(trial, why)

    def hide(self, trial: optuna.Trial, why: str) -> None:
        """End an Optuna trial that is no trial of the study; it teaches the sampler nothing."""
        trial.set_user_attr(HIDDEN, why)
        self._study.tell(trial, state=TrialState.FAIL)


def make_sampler(sampler: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    """Return what draws the values of a trial."""
    match sampler.kind:
        case "tpe":
            return optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=sampler.startup_trials,
                multivariate=True,
                group=True,  # without groups it would drop what only some options open
                # Paused trials run on in Optuna; this counts them among the worse ones.
                constant_liar=True,
            )
        case "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=sampler.startup_trials)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case _:
            assert_never(sampler.kind)
