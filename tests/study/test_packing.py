"""How many trials run side by side: what decides it, and that it is measured for real."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from workbench.media.image import Image
from workbench.parts.optimizers import AdamW
from workbench.parts.weights import RANDOM
from workbench.study import packing
from workbench.study.packing import (
    Packing,
    Tried,
    _Probe,
    _side_by_side,
    _started,
    devices_for,
    pack,
)
from workbench.trial.memory import PROCESS_BYTES
from workbench.trial.recipe import Recipe

RECIPE = Recipe(
    data="d",
    views={"image": Image(image_px=32)},
    backbone="test_resnet",
    weights=RANDOM,
    image_px=32,
    optimizer=AdamW(lr=1e-3),
    batch_size=4,
)


class Device:
    """Stands in for the processes: does what a test's table says, and keeps what was asked."""

    def __init__(self, speeds: dict[int, float | None]) -> None:
        self.speeds = speeds
        self.asked: list[tuple[int, int]] = []
        self.started: list[int] = []

    @contextmanager
    def start(self, probe: _Probe, number: int) -> Iterator[list[Connection]]:
        self.started.append(number)
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
) -> tuple[Packing, Device]:
    stand_in = Device(speeds)
    monkeypatch.setattr(packing, "_side_by_side", stand_in)
    monkeypatch.setattr(packing, "_started", stand_in.start)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    return pack(RECIPE, [device] * 2, memory_bytes=None, cache=cache), stand_in


def test_more_are_tried_until_that_does_not_help_by_a_tenth(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # 31 images are a fifth more than 26, 33 are not a tenth more than 31. Six cores have no four.
    speeds: dict[int, float | None] = {1: 20.0, 2: 26.0, 3: 31.0, 6: 33.0}
    found, device = packed(monkeypatch, tmp_path, 6, speeds)
    assert device.asked == [(1, 6), (2, 3), (3, 2), (6, 1)]
    assert device.started == [6]
    assert (found.count, found.threads) == (3, 2)
    assert found.sentence == (
        "--jobs auto: 3 trials side by side on cpu, 1.55 times the images of one "
        "(1: 20.0/s, 2: 26.0/s, 3: 31.0/s, 6: 33.0/s)"
    )
    assert devices_for(found, ["cpu"] * 6) == (("cpu",) * 3, 2)


def test_where_more_do_not_help_one_is_left_with_all_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found, device = packed(monkeypatch, tmp_path, 4, {1: 20.0, 2: 21.0, 4: 99.0})
    assert [count for count, _ in device.asked] == [1, 2]
    assert (found.count, found.threads) == (1, 4)
    assert found.sentence == "--jobs auto: 1 trial at a time on cpu (1: 20.0/s, 2: 21.0/s)"


def test_what_does_not_fit_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, device = packed(monkeypatch, tmp_path, 4, {1: 20.0, 2: None})
    assert len(device.asked) == 2
    assert found.count == 1
    assert found.sentence.endswith("(1: 20.0/s, 2: does not fit)")
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
    monkeypatch.setattr(packing.time, "monotonic", lambda: next(now))
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


def test_each_of_several_devices_gets_a_set() -> None:
    found = Packing(device="a GPU", count=3, threads=2, table=())
    devices, threads = devices_for(found, ["cuda:0", "cuda:1"])
    assert sorted(devices) == ["cuda:0"] * 3 + ["cuda:1"] * 3
    assert devices[:2] == ("cuda:0", "cuda:1")  # the first trials do not share one
    assert threads == 2


def probe(cache: Path, **changes: object) -> _Probe:
    fields: dict[str, object] = {
        "recipe": RECIPE.model_dump_json(),
        "device": "cpu",
        "memory_bytes": None,
        "cache": cache,
    }
    return _Probe(**{**fields, **changes})  # type: ignore[arg-type]


def test_processes_train_side_by_side(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(packing.WINDOW_S, "cpu", 0.5)
    with _started(probe(tmp_path), 2) as bench:
        one = _side_by_side(bench, 1, threads=2, device="cpu")
        two = _side_by_side(bench, 2, threads=1, device="cpu")
    for tried in (one, two):
        assert tried.why == ""
        assert tried.images_per_s is not None
        assert tried.images_per_s > 4
    [counted] = (tmp_path / "measured-memory.jsonl").read_text().splitlines()[:1]
    assert json.loads(counted)["about"]["backbone"] == "test_resnet"


def of_one(about: _Probe, count: int = 1) -> Tried:
    with _started(about, 1) as bench:
        return _side_by_side(bench[:1] * count, count, threads=1, device="cpu")


def test_too_little_memory_is_no_error(tmp_path: Path) -> None:
    little = PROCESS_BYTES + 2**20
    tried = of_one(probe(tmp_path, memory_bytes=little))
    assert tried.images_per_s is None
    assert tried.why.startswith("too little memory: test_resnet at 32 px")
    # Enough for some samples at a time, not for a batch: others have no room beside them.
    big = RECIPE.model_copy(update={"batch_size": 4096}).model_dump_json()
    some = PROCESS_BYTES + 2**28
    tried = of_one(probe(tmp_path, memory_bytes=some, recipe=big), count=2)
    assert tried.why == "a batch would have to go in parts"


def test_a_process_that_dies_is_no_error(tmp_path: Path) -> None:
    tried = of_one(probe(tmp_path, recipe="no recipe"))
    assert tried == Tried(count=1, images_per_s=None, why="the process died")
