"""The search's benchmark stays runnable, counts what it should, and its tasks are what they say."""

import pytest

from tests.benchmarks.search import __main__ as benchmark
from tests.benchmarks.search.adapter import Spent, Step, Variant, search
from tests.benchmarks.search.surrogates import BACKBONES, NUM_EPOCHS, Surrogate
from tests.benchmarks.search.tasks import Task, table_task
from workbench.space.space import Space

FULL = {"kind": "none"}

TASKS: list[Task] = [Surrogate("fine", 0), Surrogate("crossing", 0)]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_recipe_has_the_same_epochs_as_a_draft_and_whenever_it_is_asked(task: Task) -> None:
    space = Space(file=task.name, tree=task.tree)
    draft = space.at({})
    seen = task.seen(draft)
    assert seen == task.seen(space.at({}))
    assert len(seen.observed) == len(seen.worth) == NUM_EPOCHS == draft.num_epochs
    assert list(seen.worth) == sorted(seen.worth)
    assert seen.observed != task.seen(space.at({"backbone": BACKBONES[1]})).observed


def test_another_seed_is_another_landscape_with_the_same_costs_in_another_order() -> None:
    costs = []
    for seed in (0, 1):
        task = Surrogate("crossing", seed)
        space = Space(file=task.name, tree=task.tree)
        costs.append([task.cost(space.at({"backbone": name})) for name in BACKBONES])
    assert costs[0] != costs[1]
    assert sorted(costs[0]) == pytest.approx(sorted(costs[1]))
    assert (min(costs[0]), max(costs[0])) == pytest.approx((1, 10))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_halving_pays_for_fewer_epochs_and_the_screening_is_paid(task: Task) -> None:
    whole = Variant("whole", screening=False, pruning=FULL, warm_start=False, sampler="random")
    halved = Variant("halved", screening=False, warm_start=False, sampler="random")
    screened = Variant("screened", pruning=FULL, warm_start=False, sampler="random")
    found = {v.name: search(task, 0, v, num_trials=6) for v in (whole, halved, screened)}
    assert len(found["whole"].steps) == 6
    assert found["whole"].total == found["whole"].steps[-1].spent
    assert 0 < len(found["halved"].steps) < 6
    assert found["halved"].total < 0.9 * found["whole"].total
    assert found["screened"].steps[0].spent > task.screening_cost()
    assert search(task, 0, halved, num_trials=6) == found["halved"]


@pytest.mark.parametrize("name", ["demo", "real"])
def test_a_table_is_whole(name: str) -> None:
    task = table_task(name)
    assert task is not None
    space = Space(file=name, tree=task.tree)
    for draft in space.corners():
        assert len(task.seen(draft).observed) == draft.num_epochs
    assert {backbone for backbone, _ in task.probes} == set(space.backbones())
    variant = Variant("halved", screening=False, warm_start=False, sampler="random")
    found = search(task, 0, variant, num_trials=6)
    assert 1 <= len(found.steps) <= 3
    ends = {max(row.val) for row in task.rows.values()}
    assert all(step.objective in ends for step in found.steps)


def test_plain_pays_every_trial_in_full_and_a_race_is_held_against_its_end() -> None:
    task = Surrogate("fine", 1)
    theirs = benchmark.plain(task, 0, num_trials=4)
    assert len(theirs.steps) == 4
    assert theirs.total == theirs.steps[-1].spent >= 4 * NUM_EPOCHS

    theirs = Spent((Step(10, 0.8, 0.75), Step(20, 0.7, 0.7)), 20)
    ours = Spent((Step(4, 0.7, 0.7), Step(5, 0.8, 0.7), Step(9, 0.9, 0.8)), 12)
    race = benchmark.race(ours, theirs)
    assert (race.share, race.share_of_worth, race.total) == (0.25, 0.45, 0.6)
    assert (race.gain, race.gain_of_worth) == pytest.approx((0.1, 0.05))
    assert benchmark.race(theirs, ours).share == float("inf")
    assert benchmark.row("x", [race, benchmark.race(theirs, ours)]).count("|") == 7
    assert "1 of 2" in benchmark.row("x", [race, benchmark.race(theirs, ours)])
