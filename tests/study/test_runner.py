"""What a search asks of a runner: jobs that any machine could run, one end for each."""

from dataclasses import asdict

import pytest

from tests.study.conftest import Bench
from tests.study.inline import InlineRunner, InlineTrials
from tests.study.tiny import SPACE
from workbench.searching.devices import Seats
from workbench.searching.options import RunOptions
from workbench.study.records import read_trials
from workbench.trial.job import Job
from workbench.trial.recipe import Recipe
from workbench.workspace import Workspace


class Watched(InlineRunner):
    """Notes what it is asked."""

    jobs: list[Job]
    calls: list[str]

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        super().submit(job)

    def close(self, *, at_once: bool) -> None:
        self.calls.append(f"close at_once={at_once}")
        super().close(at_once=at_once)


def watched(trials: InlineTrials, made: list[Watched]) -> object:
    def make(workspace: Workspace, seats: Seats, options: RunOptions) -> Watched:
        runner = Watched(trials, workspace, len(seats.devices))
        runner.jobs, runner.calls = [], []
        made.append(runner)
        return runner

    return make


def test_a_job_names_no_file_of_this_machine(bench: Bench, inline: InlineTrials) -> None:
    made: list[Watched] = []
    outcome = bench.search(
        bench.experiment(), 2, make_runner=watched(inline, made), memory_bytes=2**30, compiled="on"
    )
    rows = read_trials(outcome.folder)
    jobs = made[0].jobs
    assert [(job.study, job.trial, job.uid) for job in jobs] == [
        (outcome.folder.name, row.number, row.recipe) for row in rows
    ]
    for job in jobs:
        assert Recipe.model_validate_json(job.recipe).uid == job.uid
        assert (job.memory_bytes, job.compiled) == (2**30, "on")
        plain = asdict(job)
        assert {type(value) for value in plain.values()} == {str, int}
        assert str(bench.workspace.root) not in str(plain)
        assert str(bench.data) not in str(plain)


def test_a_search_never_asks_for_more_at_a_time_than_there_are_seats(
    bench: Bench, inline: InlineTrials
) -> None:
    # `InlineRunner.submit` refuses a job too many.
    outcome = bench.search(bench.experiment({**SPACE, "num_epochs": 3}), 7, jobs=3)
    assert len(read_trials(outcome.folder)) == 7


def test_a_runner_is_closed_at_once_where_the_search_is_struck(
    bench: Bench, inline: InlineTrials
) -> None:
    made: list[Watched] = []
    make = watched(inline, made)
    experiment = bench.experiment()
    bench.search(experiment, 1, make_runner=make)
    assert made[0].calls[0] == "close at_once=False"

    def struck(recipe: Recipe, number: int) -> float:
        raise KeyboardInterrupt

    inline.reset(struck)
    with pytest.raises(KeyboardInterrupt):
        bench.search(experiment, 2, make_runner=make)
    assert made[1].calls[0] == "close at_once=True"
