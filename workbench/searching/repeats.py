"""Trials trained again with other seeds, by the loop and the runner of a search.

What a recipe reaches moves with its seed; the trial that is picked as the best of many was lucky in
it. Trained again, it has that luck no more.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from workbench.access import full_disk_told
from workbench.addresses import folders_of
from workbench.console import say
from workbench.data.prepare import Prepared
from workbench.files import sweep
from workbench.scoring.slices import measured_slices, num_files
from workbench.searching.devices import Seats, seats_asked
from workbench.searching.disk_budget import DiskBudget
from workbench.searching.forecast import Forecast
from workbench.searching.local_runner import LocalRunner
from workbench.searching.loop import Search
from workbench.searching.messages import written_anew
from workbench.searching.options import RunOptions
from workbench.searching.places import require_places
from workbench.searching.recording import StudyRuns, changes_told
from workbench.searching.repeat_store import RepeatQueue, RepeatStore
from workbench.searching.runner import MakeRunner
from workbench.searching.scheduler import NoPruning
from workbench.searching.stopping import SearchLimits
from workbench.study.folder import StudyFolder
from workbench.study.provenance import code_tags, environment_tags
from workbench.study.records import TrialRow
from workbench.study.repeats import FinalistsPlan, write_plan
from workbench.study.since_begun import told_since_begun
from workbench.tracking.writing import RunState
from workbench.workspace import Workspace


def train_repeats(
    folder: StudyFolder,
    rows: Sequence[TrialRow],
    workspace: Workspace,
    options: RunOptions,
    *,
    num_seeds: int,
    deadline: float | None = None,
    make_runner: MakeRunner = LocalRunner,
) -> str:
    """Train some trials again, whole, with new seeds; those that were begun go on.

    Rows come best first. Of `options`, number of trials, study, data, seed and timeout are not
    looked at. After `deadline`, by `time.monotonic()`, no epoch may begin; None sets none.

    Returns:
        Why it stopped before all were trained, in one sentence; empty if it did not.

    Raises:
        WorkbenchError: the study cannot be written, or its decoded data are gone; says what to do.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    tracking = workspace.tracking_of(folder.experiment().tracking)
    require_places(folder.path, tracking)
    seats = seats_asked(options, folder.experiment())
    if changed := told_since_begun(folder):
        say(f"warning: {changed}")
    with folder.held(), ExitStack() as stack:
        prepared = Prepared.load(folder.path)
        numbers = tuple(row.number for row in rows)
        write_plan(folder, FinalistsPlan(numbers=numbers, num_seeds=num_seeds))
        sweep(folder.path)
        made_by = {**environment_tags(), **code_tags(), "device": seats.devices[0]}
        runs = StudyRuns(folder, tracking, made_by)
        state: RunState = "interrupted"
        stack.callback(lambda: runs.close(state))
        folders = folders_of(tracking)
        with full_disk_told(folder.path, *folders), changes_told(runs, folder.path):
            _close_left(runs)
            if mended := runs.agree_on_repeats():
                say(written_anew(mended))
            objective = folder.objective()
            store = RepeatStore(
                folder,
                rows,
                num_seeds=num_seeds,
                objective=objective,
                runs=runs,
                num_folds=prepared.num_folds,
            )
            stopped = ""
            if store.to_come():
                num = num_seeds * len(rows)
                limits = SearchLimits(folder.path, deadline)
                stopped = _run(
                    store,
                    folder,
                    prepared,
                    workspace,
                    replace(options, num_trials=num),
                    seats,
                    limits,
                    make_runner,
                )
            state = "complete"
        return stopped


def _run(
    store: RepeatStore,
    folder: StudyFolder,
    prepared: Prepared,
    workspace: Workspace,
    options: RunOptions,
    seats: Seats,
    limits: SearchLimits,
    make_runner: MakeRunner,
) -> str:
    """Train what is missing; return why it stopped before, empty if it did not."""
    runner = make_runner(workspace, seats, options)
    try:
        runner.prepare(store.to_come())
        forecast = Forecast(
            num_train=len(prepared.for_fold(1).rows("train")),
            num_scored=num_files(measured_slices(prepared, store.objective.over, 1)),
            num_folds=prepared.num_folds,
        )
        search = Search(
            folder,
            store,
            queue=RepeatQueue(store, forecast),
            scheduler=NoPruning(),
            runner=runner,
            forecast=forecast,
            are_known=True,
            limits=limits,
            options=options,
            budget=DiskBudget(folder, store.objective, folder.experiment().disk_budget),
        )
        search.learn()
        return search.run()
    finally:
        runner.close(at_once=True)


def _close_left(runs: StudyRuns) -> None:
    """Close the runs of repeats that a killed process left open; what goes on gets another."""
    for run in runs.tracking.trial_runs(runs.parent, kind="repeat"):
        if run.status == "RUNNING":
            reason = "The process that ran it was ended."
            runs.tracking.end_trial(run.run_id, state="interrupted", reason=reason)
