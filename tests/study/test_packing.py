"""How many trials run side by side: what decides it, and that it is measured for real."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import pytest

from workbench.media.image import Image
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.train_size import TrainSize
from workbench.parts.weights import RANDOM
from workbench.searching import packing
from workbench.searching.devices import Seats
from workbench.searching.packing import (
    SeatsPerDevice,
    Tried,
    _side_by_side,
    heaviest,
    pack,
    seats_for,
)
from workbench.searching.pool import WorkerPool
from workbench.trial.job import Bug, Job
from workbench.trial.memory import PROCESS_BYTES
from workbench.trial.recipe import Recipe
from workbench.trial.side_by_side import Ask, StepProbe
from workbench.trial.training_spec import TrainingSpec
from workbench.trial.worker import LocalJob

RECIPE = Recipe(
    data="d",
    model=ModelSpec(
        views={"image": Image(image_px=32)},
        backbone="test_resnet",
        weights=RANDOM,
        image_px=32,
    ),
    training=TrainingSpec(
        optimizer=AdamW(lr=1e-3),
        batch_size=4,
    ),
)


class Device:
    """Stands in for the processes: does what a test's table says, and keeps what was asked."""

    def __init__(self, speeds: dict[int, float | None]) -> None:
        self.speeds = speeds
        self.asked: list[tuple[int, int]] = []

    @contextmanager
    def lent(self) -> Iterator[list[Connection]]:
        """Stand in for a pool, too."""
        yield []

    def __call__(
        self, bench: Sequence[Connection], count: int, *, threads: int, device: str
    ) -> Tried:
        self.asked.append((count, threads))
        return Tried(count=count, images_per_s=self.speeds[count])


def packed(
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    cores: int,
    speeds: dict[int, float | None],
    device: str = "cpu",
) -> tuple[SeatsPerDevice, Device]:
    stand_in = Device(speeds)
    monkeypatch.setattr(packing, "_side_by_side", stand_in)
    monkeypatch.setattr(packing, "num_cores", lambda: cores)
    pool = cast(WorkerPool, stand_in)
    return pack(RECIPE, [device] * 2, pool, memory_bytes=None, cache=cache), stand_in


def test_more_are_tried_until_that_does_not_help_by_a_tenth(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # 31 images are a fifth more than 26, 33 are not a tenth more than 31. Six cores have no four.
    speeds: dict[int, float | None] = {1: 20.0, 2: 26.0, 3: 31.0, 6: 33.0}
    found, device = packed(monkeypatch, tmp_path, 6, speeds)
    assert device.asked == [(1, 6), (2, 3), (3, 2), (6, 1)]
    assert (found.count, found.threads) == (3, 2)
    assert found.sentence == (
        "--jobs auto: 3 trials side by side on cpu, 1.55 times the images of one "
        "(1: 20.0 images/s, 2: 26.0 images/s, 3: 31.0 images/s, 6: 33.0 images/s)"
    )
    assert seats_for(found, ["cpu"] * 6) == Seats(("cpu",) * 3, 2)


def test_where_more_do_not_help_one_is_left_with_all_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found, device = packed(monkeypatch, tmp_path, 4, {1: 20.0, 2: 21.0, 4: 99.0})
    assert [count for count, _ in device.asked] == [1, 2]
    assert (found.count, found.threads) == (1, 4)
    assert (
        found.sentence
        == "--jobs auto: 1 trial at a time on cpu (1: 20.0 images/s, 2: 21.0 images/s)"
    )


def test_what_does_not_fit_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, device = packed(monkeypatch, tmp_path, 4, {1: 20.0, 2: None})
    assert len(device.asked) == 2
    assert found.count == 1
    assert found.sentence.endswith("(1: 20.0 images/s, 2: does not fit)")
    nothing, device = packed(monkeypatch, tmp_path / "other", 4, {1: None})
    assert len(device.asked) == 1
    assert nothing.count == 1  # and the trial itself says what is wrong


def test_on_a_gpu_counts_need_not_divide_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(packing, "called", lambda device: "a GPU")
    speeds: dict[int, float | None] = {1: 10.0, 2: 20.0, 3: 30.0, 4: 40.0, 6: 60.0, 8: 80.0}
    found, device = packed(monkeypatch, tmp_path, 16, speeds, device="cuda:0")
    assert device.asked == [(1, 16), (2, 8), (3, 5), (4, 4), (6, 2), (8, 2)]
    assert (found.device, found.count, found.threads) == ("a GPU", 8, 2)


def test_no_count_is_begun_after_the_time_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = iter([0.0, 11.0, packing.BUDGET_S + 0.1])  # the start, then after each count
    monkeypatch.setattr("workbench.searching.packing.time.monotonic", lambda: next(now))
    found, device = packed(monkeypatch, tmp_path, 8, {1: 10.0, 2: 20.0, 4: 40.0})
    assert [count for count, _ in device.asked] == [1, 2]
    assert (found.count, found.threads) == (2, 4)


def test_it_is_measured_once_for_a_machine_and_a_recipe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, _ = packed(monkeypatch, tmp_path, 2, {1: 10.0, 2: 19.0})
    again, device = packed(monkeypatch, tmp_path, 2, {})
    assert again == first
    assert device.asked == []
    _, device = packed(monkeypatch, tmp_path, 4, {1: 10.0, 2: 10.0})
    assert device.asked  # another machine


def test_the_recipe_with_the_most_work_is_measured() -> None:
    larger = RECIPE.replaced(image_px=2 * RECIPE.model.image_px)
    more = RECIPE.replaced(batch_size=3 * RECIPE.training.batch_size)
    # Four times the pixels are more than three times the pictures.
    assert heaviest([RECIPE, larger, more]) == larger
    # On average its pictures are smaller; in the last epoch they are not.
    batch = RECIPE.training.batch_size + 1
    grown = RECIPE.replaced(batch_size=batch, num_epochs=4, train_size=TrainSize(first=0.5))
    assert heaviest([RECIPE, grown]) == grown


def test_each_of_several_devices_gets_a_set() -> None:
    found = SeatsPerDevice(device="a GPU", count=3, threads=2, table=())
    devices, threads, _ = seats_for(found, ["cuda:0", "cuda:1"])
    assert sorted(devices) == ["cuda:0"] * 3 + ["cuda:1"] * 3
    assert devices[:2] == ("cuda:0", "cuda:1")  # the first trials do not share one
    assert threads == 2


def probe(cache: Path, **changes: object) -> StepProbe:
    fields: dict[str, object] = {
        "recipe": RECIPE.model_dump_json(),
        "device": "cpu",
        "memory_bytes": None,
        "cache": cache,
    }
    return StepProbe(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    """Two workers of a search: what they have loaded serves several tests."""
    pool = WorkerPool(2)
    yield pool
    pool.close(at_once=True)


def tried(workers: WorkerPool, about: StepProbe, *counts: int) -> list[Tried]:
    """Return what workers did, and let them be workers again."""
    with workers.lent() as bench:
        for connection in bench:
            packing._tell(connection, about)
        found = [_side_by_side(bench, count, threads=1, device="cpu") for count in counts]
        for connection in bench:
            packing._tell(connection, Ask("stop", 1, 1))
    return found


@pytest.mark.slow
def test_workers_train_side_by_side_and_then_trials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workers: WorkerPool
) -> None:
    monkeypatch.setitem(packing.WINDOW_S, "cpu", 0.5)
    for found in tried(workers, probe(tmp_path), 1, 2):
        assert found.why == ""
        assert found.images_per_s is not None
        assert found.images_per_s > 4
    [counted] = (tmp_path / "measured-memory.jsonl").read_text().splitlines()[:1]
    assert json.loads(counted)["about"]["backbone"] == "test_resnet"
    # A job of nonsense is answered as ever: by a bug, told as one.
    asked = Job(study="tiny", trial=0, uid="", recipe="no recipe")
    job = LocalJob(asked, tmp_path, tmp_path / "trial", tmp_path, tmp_path, "cpu", 1)
    workers.submit(0, job)
    while not (events := workers.events(timeout_s=60.0)):
        pass  # signs of life
    [(slot, event)] = events
    assert (slot, type(event)) == (0, Bug)


def test_too_little_memory_is_no_error(tmp_path: Path, workers: WorkerPool) -> None:
    little = PROCESS_BYTES + 2**20
    [found] = tried(workers, probe(tmp_path, memory_bytes=little), 1)
    assert found.images_per_s is None
    assert found.why.startswith("too little memory: test_resnet at 32 px")
    # Enough for some samples at a time, not for a batch: others have no room beside them.
    big = RECIPE.replaced(batch_size=4096).model_dump_json()
    some = PROCESS_BYTES + 2**28
    [found] = tried(workers, probe(tmp_path, memory_bytes=some, recipe=big), 2)
    assert found.why == "a batch would have to go in parts"


def test_a_process_that_dies_is_no_error_and_another_takes_its_place(tmp_path: Path) -> None:
    pool = WorkerPool(1)
    try:
        before = pool._workers[0].process.pid
        [found] = tried(pool, probe(tmp_path, recipe="no recipe"), 1)
        assert found == Tried(count=1, images_per_s=None, why="the process died")
        assert pool._workers[0].process.pid != before
        assert pool._workers[0].process.is_alive()
    finally:
        pool.close(at_once=True)


def test_a_pool_grows_and_shrinks() -> None:
    pool = WorkerPool(3)
    try:
        kept = pool._workers[0].process.pid
        for number in (1, 2):
            pool.resize(number)
            assert sorted(pool._workers) == list(range(number))
            assert all(worker.process.is_alive() for worker in pool._workers.values())
            assert pool._workers[0].process.pid == kept
    finally:
        pool.close(at_once=True)
