"""The main job: from an experiment file to a searched study."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from workbench.access import full_disk_told
from workbench.addresses import folders_of
from workbench.checks import checkup
from workbench.console import say
from workbench.data import manifest, prepare, prepared_report
from workbench.data.dataset import check_data, find_data
from workbench.data.facts import FactsStore
from workbench.data.holdout import without_holdout
from workbench.fence import num_cores
from workbench.media.views import AnyView
from workbench.scoring.slices import (
    columns_used,
    labelled_slices,
    measured_slices,
    num_files,
    slice_notes,
)
from workbench.screening.probe import Where
from workbench.screening.probing import screen
from workbench.screening.screening import (
    FILE,
    describe_screening,
    first_drafts,
    narrowed,
    read_screening,
)
from workbench.searching import messages
from workbench.searching.beside import Beside, sheets_beside
from workbench.searching.devices import seats_asked
from workbench.searching.disk_budget import DiskBudget
from workbench.searching.fitted_experiment import named_or_fitted
from workbench.searching.fold_data import dealt
from workbench.searching.forecast import Forecast
from workbench.searching.local_runner import LocalRunner
from workbench.searching.loop import Search
from workbench.searching.new_study import begin_or_check
from workbench.searching.noise import NoiseWatch
from workbench.searching.options import RunOptions
from workbench.searching.pack_members import PackMembers
from workbench.searching.places import require_places
from workbench.searching.proposals import SCREENED
from workbench.searching.queue import TrialQueue
from workbench.searching.recording import StudyRuns, changes_told
from workbench.searching.runner import MakeRunner
from workbench.searching.scheduler import make_scheduler
from workbench.searching.slice_data import require_copies, with_made_slices
from workbench.searching.stopping import SearchLimits, final_round_s
from workbench.searching.study_store import StudyStore
from workbench.space.experiment import Experiment
from workbench.space.pack_presets import read_known, require_legal_members
from workbench.space.precisions import Precisions
from workbench.space.presets import draft_for
from workbench.space.recipe_builder import RecipeBuilder, check_rules
from workbench.space.space import SampledConfig, Space
from workbench.space.weights_finder import WeightsFinder
from workbench.study.alike import measured_alike
from workbench.study.folder import StudyFolder, StudyInfo, new_or_known, remember_last
from workbench.study.provenance import code_tags, describe_code, environment_tags
from workbench.study.records import read_trials
from workbench.study.storage import leave_study
from workbench.tables import counted
from workbench.tracking.writing import RunState
from workbench.workspace import Workspace


@dataclass(frozen=True)
class SearchOutcome:
    """How a run of a search went."""

    folder: StudyFolder
    experiment: Experiment
    stopped: str
    """Why it stopped before its number of trials; empty if it did not."""

    num_new: int
    """Trials that ended in this run."""

    lacks: str = ""
    """Which members of a known pack have not ended, as a sentence; empty if all have."""


def run_search(
    experiment_file: Path | None,
    workspace: Workspace,
    options: RunOptions,
    *,
    start_from: Sequence[Path] = (),
    make_runner: MakeRunner = LocalRunner,
) -> SearchOutcome:
    """Search until the study has its trials; one that was begun goes on.

    Without an experiment, one counts that fits the data folder, else the demo's. `start_from` names
    files of presets to try first.

    Raises:
        WorkbenchError: something that the user gave cannot be used; says what to do.
        KeyboardInterrupt: Ctrl-C; the study can go on.
    """
    experiment, space, file = named_or_fitted(experiment_file, workspace, options)
    known = experiment.views, experiment.plugins
    first = {str(path): draft_for(path, *known) for path in start_from}
    return _Run(experiment, space, file, workspace, options, make_runner).search(first)


def run_preset(
    recipe_file: Path,
    workspace: Workspace,
    options: RunOptions,
    *,
    settings: Sequence[str] = (),
    make_runner: MakeRunner = LocalRunner,
) -> SearchOutcome:
    """Train one preset: a study of one trial, recorded like any other; of a pack, one a member.

    `settings` are what to change of it; see `read_preset`.

    Raises:
        WorkbenchError: something that the user gave cannot be used; says what to do.
        KeyboardInterrupt: Ctrl-C; the study can go on.
    """
    experiment, space, first = read_known(recipe_file, settings)
    options = replace(options, num_trials=max(1, len(first)))
    run = _Run(experiment, space, recipe_file, workspace, options, make_runner)
    return run.search(first, as_one=bool(first))


class _Run:
    """One run of the search of a study, step by step."""

    def __init__(
        self,
        experiment: Experiment,
        space: Space,
        file: Path,
        workspace: Workspace,
        options: RunOptions,
        make_runner: MakeRunner,
    ) -> None:
        began = time.monotonic()
        self.folder = new_or_known(workspace.studies, options.study or experiment.name)
        if self.folder.info_file.exists():
            self.folder.info()  # what is not this study is told before all else
            space = space.as_begun(self.folder.begun()["space"])
            experiment = experiment.as_begun(self.folder.experiment())
        self.experiment, self.space, self.file = experiment, space, file
        self.workspace, self.options, self.make_runner = workspace, options, make_runner
        self.seats = seats_asked(options, experiment)
        self.finder = WeightsFinder(workspace.weights)
        self.deadline = None if options.timeout_s is None else began + options.timeout_s

    def search(self, first: Mapping[str, SampledConfig], *, as_one: bool = False) -> SearchOutcome:
        """Search, with the drafts `first` tried first, by where each came from; a pack `as_one`."""
        # Before weights are looked for on the network.
        check_data(self.experiment, self.workspace, self.options.data)
        require_copies(self.space, first)
        if as_one:
            require_legal_members(self.experiment, first, self.finder)
        folder, tracking = self.folder.path, self.workspace.tracking_of(self.experiment.tracking)
        check_rules(self.experiment, self.space, self.finder)
        for sentence in self.space.warnings():
            say(sentence)
        # Before minutes go into what cannot be kept.
        require_places(folder, tracking, self.experiment.storage)
        with self.folder.held(), ExitStack() as stack:
            info, prepared = self._prepared()
            # While its workers load their libraries, the store is opened.
            runner = self.make_runner(self.workspace, self.seats, self.options)
            stack.callback(runner.close, at_once=True)
            stack.callback(leave_study, self.folder)
            made_by = {**environment_tags(), **code_tags(), "device": self.seats.devices[0]}
            runs = StudyRuns(self.folder, tracking, made_by)
            # All members of a pack are said, and no other may be in it.
            space, screened = (self._as_screened(), {}) if as_one else self._screened(runs)
            builder = self._builder(info)
            members = PackMembers(first, builder, study=self.folder.name) if as_one else None
            runner.prepare(builder.guess(draft) for draft in space.corners())
            seed = self.options.seed
            store = StudyStore(self.folder, self.experiment, space, seed=seed, runs=runs)
            limits = SearchLimits(
                folder, self.deadline, partial(final_round_s, store, self.options, self.seats)
            )
            over = self.experiment.objective.over
            parts = labelled_slices(prepared, over)
            num_measured = sum(len(part.rows) for part in parts)
            # What is told of trials names the slices that there are.
            store.objective = store.objective.among(part.name for part in parts)
            scheduler = make_scheduler(self.experiment)
            forecast = Forecast(
                num_train=len(prepared.for_fold(1).rows("train")),
                num_scored=num_files(measured_slices(prepared, over, 1)),
                num_folds=prepared.num_folds,
            )
            num, stops = self.options.num_trials, self.options.stop_at_noise
            search = Search(
                self.folder,
                store,
                queue=TrialQueue(store, builder, scheduler, forecast, limits, num_trials=num),
                scheduler=scheduler,
                runner=runner,
                forecast=forecast,
                limits=limits,
                options=self.options,
                noise=NoiseWatch(self.folder, store, stops=stops),
                budget=DiskBudget(self.folder, store.objective, self.experiment.disk_budget),
                all_needed=as_one,
            )
            if before := store.num_ended():
                ended = read_trials(self.folder)
                if other := measured_alike(self.folder, ended, num_files=num_measured)[1]:
                    say(other)
            sheets = sheets_beside(self.folder, self.space, prepared, runs)
            with full_disk_told(folder, *folders_of(tracking)), changes_told(runs, folder):
                stopped = _search(search, store, {**first, **screened}, sheets, members)
            num_new = store.num_ended() - before
            lacks = members.told_missing(store.proposals) if members is not None else ""
            return SearchOutcome(self.folder, self.experiment, stopped, num_new, lacks)

    def _prepared(self) -> tuple[StudyInfo, prepare.Prepared]:
        """Begin the study, or see that it is the same, with its data decoded and looked at."""
        data = find_data(self.experiment, self.workspace, self.options.data)
        cache, over = self.workspace.cache, self.experiment.objective.over
        files = without_holdout(
            manifest.read_manifest_to_use(data, self.experiment.data, cache=cache),
            self.experiment.holdout,
        )
        where = Where(cache, self.finder.store, self.seats.devices[0], num_cores())
        files = dealt(
            files,
            self.experiment,
            self.space,
            self._views(),
            self.folder,
            data=data,
            finder=self.finder,
            where=where,
        )
        mixed = any(one.augment.paired_mixup_alpha > 0 for one in self.space.corners())
        files = replace(files, used=columns_used(files.metadata, over, mixed=mixed))
        info = begin_or_check(
            self.folder,
            self.experiment,
            self.space,
            files,
            file=self.file,
            data=data,
            seed=self.options.seed,
            devices=self.seats.all_devices,
        )
        for line in manifest.describe_manifest(files):
            say(line)
        prepared = prepare.prepare(files, data, self._views(), cache=cache, jobs=where.num_threads)
        # What could not be decoded is told once: by the checkup, or before the error.
        strict = self.options.strict
        told = prepared_report.describe_prepared if strict else prepared_report.remarks
        for line in told(prepared):
            say(line)
        if strict:
            prepared_report.require_all(prepared)
        prepared_report.require_read(prepared)
        prepared_report.require_classes(prepared)
        prepared = with_made_slices(
            prepared.with_all_folds(),
            files,
            self.experiment,
            self.space,
            self.folder,
            data=data,
            others=self.options.slices,
            finder=self.finder,
            where=where,
        )
        for fold in range(1, prepared.num_folds + 1):
            measured_slices(prepared, over, fold)  # an unknown one is told now
        for note in slice_notes(prepared, self.experiment.named_slices):
            say(note)
        facts = FactsStore(cache).table(prepared.contents())
        found = checkup.run_checks(files, prepared.for_fold(1), facts, short=True)
        say(checkup.as_text(found))
        remember_last(self.folder)
        return info, prepared

    def _views(self) -> dict[str, AnyView]:
        """Return the views that a trial may read."""
        names = dict.fromkeys(name for names in self.space.view_sets() for name in names)
        return {name: self.experiment.views[name] for name in names}

    def _as_screened(self) -> Space:
        """Return the space of a pack: where an earlier version screened it, what was kept."""
        before = read_screening(self.folder.path)
        return self.space if before is None else narrowed(self.space, before)

    def _screened(self, runs: StudyRuns) -> tuple[Space, dict[str, SampledConfig]]:
        """Return the space with the backbones that a screening kept, and what to try of them."""
        if not self.experiment.is_screened(self.space.most_backbones()):
            return self.space, {}
        screening = screen(
            self.space,
            self._views(),
            self.folder.path,
            rulebook=self.experiment.rulebook,
            finder=self.finder,
            cache=self.workspace.cache,
            device=self.seats.devices[0],
            num_threads=num_cores(),
        )
        for line in describe_screening(screening):
            say(line)
        runs.tracking.log_files(runs.parent, "screening", [self.folder.path / FILE])
        drawn = narrowed(self.space, screening)
        drafts = first_drafts(drawn, screening)
        return drawn, {f"{SCREENED}{draft.backbone_label}": draft for draft in drafts}

    def _builder(self, info: StudyInfo) -> RecipeBuilder:
        """Return what makes the study's recipes."""
        precisions = Precisions(
            info.bfloat16,
            file=self.folder.precisions,
            device=self.seats.devices[0],
            num_threads=self.seats.num_threads,
            cache=self.workspace.cache,
        )
        fingerprint, names = info.fingerprint, self.folder.names()
        kept = (self.options.seed, precisions, names, self.workspace.cache)
        return RecipeBuilder(self.experiment, fingerprint, self.finder, *kept)


def _search(
    search: Search,
    store: StudyStore,
    first: Mapping[str, SampledConfig],
    sheets: Beside | None,
    members: PackMembers | None,
) -> str:
    """Adopt what the last search of the study left, and search; return why it stopped."""
    state: RunState = "interrupted"
    try:
        if restored := store.restore():
            say(f"Added to the journal from their folders: {counted(restored, 'trial')}.")
        told, again = store.adopt()
        if told or again:
            say(messages.adopted(told, again))
        if mended := store.agree():
            say(messages.written_anew(mended))
        if other := store.other_code():
            before, now = map(describe_code, other)
            say(f"The study goes on with other code: {now}; its last trial was made by {before}.")
        if members is not None:
            store.proposals.take_back_screened()  # earlier versions had them tried
            members.require_of(store.proposals)
        for source, draft in first.items():
            store.proposals.start_from(draft, source)
        search.learn()
        if sheets is None:
            stopped = search.run()
        else:
            stopped = search.run(sheets.look)
            sheets.finish()
        state = "complete"
        return stopped
    finally:
        store.close(state)
