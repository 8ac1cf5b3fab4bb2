"""Ranks in processes of their own, on the CPU: what one trains, and what becomes of their ends."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.trial import rank_faults
from tests.trial.pictures import recipe_for
from tests.trial.test_worker import Worker, is_gone, job, wait_for
from workbench.data.prepare import Prepared
from workbench.errors import CacheError
from workbench.parts.optimizers import SGD
from workbench.trial import followers
from workbench.trial.decision import Decision
from workbench.trial.job import RankDiedError
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, TrialFolder
from workbench.trial.train import run_trial

pytestmark = pytest.mark.slow(minutes=2)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def go_on(_: Epoch) -> Decision:
    return "go on"


def run(
    recipe: Recipe,
    prepared: Prepared,
    folder: Path,
    report: Callable[[Epoch], Decision] = go_on,
    *,
    others: tuple[str, ...] = ("cpu",),
) -> Result:
    result = run_trial(recipe, prepared, folder, device="cpu", report=report, others=others)
    assert multiprocessing.active_children() == []
    return result


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(TrialFolder(folder).weights)


def started_by(pid: int | None) -> list[int]:
    """Return the processes that a process started and that are there."""
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def settings(**changes: Any) -> dict[str, Any]:
    # Batches of seven: a norm over two values is a step, which rounding may fall from.
    return {"optimizer": SGD(lr=1e-3), "batch_size": 7, "num_epochs": 2, **changes}


def test_a_trial_of_two_ranks_is_that_of_one(pictures: Prepared, tmp_path: Path) -> None:
    recipe = recipe_for(pictures, **settings(num_epochs=1))
    one = run(recipe, pictures, tmp_path / "one", others=())
    two = run(recipe, pictures, tmp_path / "two")
    assert (two.state, two.reason) == ("complete", "")
    assert two.epochs[0].train_loss == pytest.approx(one.epochs[0].train_loss, rel=1e-5)
    found = weights(tmp_path / "two")
    for name, wanted in weights(tmp_path / "one").items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-5)


def test_a_trial_that_was_paused_goes_on_to_the_same_bits(
    pictures: Prepared, tmp_path: Path
) -> None:
    # Dropout: what the second rank draws is kept by nobody.
    recipe = recipe_for(pictures, **settings(dropout=0.5))
    whole = run(recipe, pictures, tmp_path / "whole")
    paused = run(recipe, pictures, tmp_path / "cut", lambda epoch: "pause")
    assert paused.state == "paused"
    cut = run(recipe, pictures, tmp_path / "cut")
    losses = [[epoch.train_loss for epoch in result.epochs] for result in (whole, cut)]
    assert losses[0] == losses[1]
    found = weights(tmp_path / "cut")
    for name, wanted in weights(tmp_path / "whole").items():
        assert torch.equal(found[name], wanted)


def test_memory_that_one_rank_lacks_makes_parts_for_all(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "follow", rank_faults.follow_out_of_memory)
    result = run(recipe_for(pictures, batch_size=8, num_epochs=1), pictures, tmp_path)
    assert (result.state, result.micro_batch) == ("complete", 2)  # half of a share of four


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (rank_faults.follow_without_cache, CacheError, "^The cached arrays are gone.$"),
        (rank_faults.follow_into_a_bug, RuntimeError, "(?s)^Traceback.*a bug of one rank"),
        (
            rank_faults.follow_and_die,
            RankDiedError,
            r"^the process of rank 1 on cpu died \(signal SIGKILL, which the system sends",
        ),
        (rank_faults.die_before, RankDiedError, r"rank 1 on cpu died \(exit code 3\)\.$"),
    ],
    ids=["cache", "bug", "death", "early"],
)
def test_what_ends_one_rank_ends_the_trial(
    pictures: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[..., None],
    error: type[Exception],
    words: str,
) -> None:
    monkeypatch.setattr(followers, "follow", fault)
    with pytest.raises(error, match=words):
        run(recipe_for(pictures, **settings()), pictures, tmp_path)
    assert wait_for(lambda: multiprocessing.active_children() == [], 10)


def test_no_rank_outlives_its_worker(pictures: Prepared, tmp_path: Path) -> None:
    pictures.save(tmp_path / "study")
    recipe, worker = recipe_for(pictures, **settings()), Worker()
    try:
        asked = job(recipe.model_dump_json(), tmp_path / "study", tmp_path / "trial")
        worker.pipe.send(replace(asked, others=("cpu", "cpu")))
        assert isinstance(worker.receive(), Epoch)
        first, second = started_by(worker.process.pid)
    finally:
        worker.process.kill()
    assert wait_for(lambda: is_gone(first) and is_gone(second), 10)
