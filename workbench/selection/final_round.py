"""The final round of a study: its best trials are trained again with new seeds."""

import time
from typing import NamedTuple

from workbench.errors import StudyError
from workbench.searching.local_runner import LocalRunner
from workbench.searching.options import RunOptions
from workbench.searching.repeats import train_repeats
from workbench.searching.runner import MakeRunner
from workbench.selection.finalists import Finalists, choose_finalists, read_finalists
from workbench.study.alike import choosable_trials
from workbench.study.folder import StudyFolder
from workbench.workspace import Workspace


class FinalRound(NamedTuple):
    """How a final round went."""

    finalists: Finalists
    stopped: str
    """Why it stopped before all repeats were trained; empty if it did not."""


def run_final_round(
    folder: StudyFolder,
    workspace: Workspace,
    options: RunOptions,
    *,
    top: int,
    num_seeds: int,
    make_runner: MakeRunner = LocalRunner,
) -> FinalRound:
    """Train the best trials of a study again with new seeds; a round that was cut off goes on.

    Args:
        folder: The study.
        workspace: Where studies, caches and the tracking store are.
        options: How to run; its number of trials, study, data and seed are not looked at.
        top: How many trials, by the ranking.
        num_seeds: Repeats of each; those that are trained already are not trained again.
        make_runner: Starts what trains.

    Raises:
        WorkbenchError: no trial is complete, the study cannot be written, or its decoded data are
            gone; says what to do.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    began = time.monotonic()
    rows = choosable_trials(folder)
    objective = folder.objective()
    stopped = train_repeats(
        folder,
        choose_finalists(rows, objective, top),
        workspace,
        options,
        num_seeds=num_seeds,
        deadline=None if options.timeout_s is None else began + options.timeout_s,
        make_runner=make_runner,
    )
    finalists = read_finalists(folder, rows)
    if finalists is None:
        raise StudyError(
            f"{folder.finalists} was removed while the finalists were trained. The same command "
            "goes on."
        )
    return FinalRound(finalists, stopped)
