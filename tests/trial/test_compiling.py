import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.trial.pictures import SIZES, recipe_for
from workbench.data.prepare import Prepared
from workbench.parts.augment import Augment, Pictures
from workbench.parts.optimizers import SGD, AdamW
from workbench.parts.transfer import Transfer
from workbench.trial import compiling
from workbench.trial.compiling import Compile, Compiled, may_be_compiled
from workbench.trial.memory import Plan
from workbench.trial.passes import Passes, at_once
from workbench.trial.recipe import Recipe
from workbench.trial.result import Result, TrialFolder
from workbench.trial.train import run_trial


class Backend:
    """Compiles nothing, and counts what it was asked to."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        pictures = [x for x in inputs if isinstance(x, Tensor) and x.dim() == 5]
        self.sizes += [len(x) for x in pictures]
        return graph.forward


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch._dynamo.reset()


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:
    counting = Backend()
    monkeypatch.setattr(compiling, "BACKEND", counting)
    return counting


def run(recipe: Recipe, prepared: Prepared, folder: Path, compiled: Compile) -> Result:
    return run_trial(
        recipe,
        prepared,
        folder,
        device="cpu",
        report=lambda epoch: "go on",
        cache=folder / "cache",
        compiled=compiled,
    )


def without_seconds(result: Result) -> list[dict[str, Any]]:
    unlike = {"seconds", "compiled"}
    return [epoch.model_dump(exclude=unlike) for epoch in result.epochs]


def test_a_compiled_trial_learns_the_same_and_its_weights_are_an_ordinary_models(
    pictures: Prepared, tmp_path: Path, backend: Backend
) -> None:
    recipe = recipe_for(pictures, dropout=0.3)
    plain = run(recipe, pictures, tmp_path / "plain", "off")
    result = run(recipe, pictures, tmp_path / "compiled", "on")
    assert [epoch.compiled for epoch in result.epochs] == [True] * 3
    assert [epoch.compiled for epoch in plain.epochs] == [False] * 3
    assert without_seconds(result) == without_seconds(plain)
    one, other = (TrialFolder(tmp_path / name) for name in ("plain", "compiled"))
    pd.testing.assert_frame_equal(one.read_scores(), other.read_scores())
    assert one.weights.read_bytes() == other.weights.read_bytes()


def test_only_batches_of_the_one_size_are_compiled(
    pictures: Prepared, tmp_path: Path, backend: Backend
) -> None:
    # 14 files: batches of 4, 4, 4 and 2, and val in batches of 4 without gradient.
    assert run(recipe_for(pictures), pictures, tmp_path, "on").state == "complete"
    assert backend.sizes == [4]


def test_parts_of_a_batch_are_compiled_in_their_size(pictures: Prepared, backend: Backend) -> None:
    Timed(pictures, "on", batch_size=10, plan=Plan(micro_batch=5)).before_epoch(1)
    assert backend.sizes == [5]


def test_what_cannot_be_compiled_trains_as_if_it_had_not_been_tried(
    pictures: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        raise RuntimeError("no compiler on this machine")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    recipe = recipe_for(pictures, dropout=0.3)
    plain = run(recipe, pictures, tmp_path / "plain", "off")
    result = run(recipe, pictures, tmp_path / "broken", "on")
    said = capsys.readouterr().out
    assert "not compiled: BackendCompilerFailed: backend='broken' raised: RuntimeError: no " in said
    assert not any(epoch.compiled for epoch in result.epochs)
    assert without_seconds(result) == without_seconds(plain)


def test_a_pass_that_fails_half_way_leaves_the_model_as_it_was(
    pictures: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_way(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            graph.forward(*args)  # batch norms have seen the batch by now
            raise RuntimeError("Triton Error: invalid argument")

        return run

    monkeypatch.setattr(compiling, "BACKEND", half_way)
    passes = Timed(pictures, "on")
    before = {name: tensor.clone() for name, tensor in passes.model.state_dict().items()}
    passes.before_epoch(1)
    assert not passes.compiled
    for name, tensor in passes.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_running_out_of_memory_is_no_failure_to_compile(
    pictures: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory.")

        return run

    monkeypatch.setattr(compiling, "BACKEND", greedy)
    # The batch then goes in smaller parts; see `run_trial`.
    with pytest.raises(torch.OutOfMemoryError):
        Timed(pictures, "on").before_epoch(1)


def test_on_a_cpu_nothing_is_compiled_unasked(
    pictures: Prepared, tmp_path: Path, backend: Backend
) -> None:
    run(recipe_for(pictures, num_epochs=5), pictures, tmp_path, "auto")
    assert backend.sizes == []


def test_batches_that_blends_make_of_any_size_are_not_compiled(
    pictures: Prepared, tmp_path: Path, backend: Backend
) -> None:
    blends = Augment(pictures=Pictures(self_blend=0.5))
    assert not may_be_compiled(recipe_for(pictures, augment=blends), "on", by_clock=True)
    run(recipe_for(pictures, augment=blends, num_epochs=1), pictures, tmp_path, "on")
    assert backend.sizes == []


class Timed(Passes):
    """Passes that may be compiled as on a GPU, where the clock decides unless it was asked for."""

    def __init__(
        self,
        pictures: Prepared,
        when: Compile = "auto",
        *,
        cache: Path | None = None,
        plan: Plan | None = None,
        **changes: Any,
    ) -> None:
        recipe, plan = recipe_for(pictures, **changes), plan or Plan()
        self.model = recipe.build_model()
        samples = at_once(recipe, plan, SIZES["train"])
        self._way = Compiled(self.model, recipe, samples_at_once=samples, asked=when == "on")
        super().__init__(
            self.model,
            recipe,
            plan=plan,
            alternatives=[self._way] if may_be_compiled(recipe, when, by_clock=True) else [],
            num_samples=SIZES["train"],
            cache=cache,
        )

    @property
    def compiled(self) -> bool:
        return self._way.is_taken


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("seconds", "compiles"),
    [
        # After two epochs eight are left, of which a fifth should be saved, and 60 s be spent:
        # 8 * 76 / 5 = 121.6 is more than twice as much, 8 * 74 / 5 = 118.4 is not.
        (76.0, True),
        (74.0, False),
    ],
)
def test_it_compiles_once_that_should_save_twice_its_cost(
    pictures: Prepared, seconds: float, compiles: bool
) -> None:
    passes = Timed(pictures, num_epochs=10)
    for epoch in (1, 2):
        passes.before_epoch(epoch)
        assert not passes.compiled
        # The first epoch is slow, and says nothing of the others.
        passes.after_epoch(epoch, 10 * seconds if epoch == 1 else seconds)
    passes.before_epoch(3)
    assert passes.compiled == compiles


@pytest.mark.usefixtures("backend")
def test_what_compiling_saved_is_known_to_the_next_trial(
    pictures: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trained(pictures, tmp_path, [100.0, 100.0, 80.0])
    assert first.compiled
    assert "from 7142.86 to 5714.29 ms a sample" in capsys.readouterr().out
    # At 20 s an epoch the quick compilation of a tiny model pays from the start.
    again = Timed(pictures, cache=tmp_path, num_epochs=10)
    again.before_epoch(1)
    assert again.compiled
    other = Timed(pictures, cache=tmp_path, num_epochs=10, image_px=64)
    other.before_epoch(1)
    assert not other.compiled


@pytest.mark.usefixtures("backend")
def test_what_is_no_faster_is_trained_as_it_was_and_not_tried_again(
    pictures: Prepared, tmp_path: Path
) -> None:
    assert not trained(pictures, tmp_path, [100.0, 100.0, 100.0]).compiled
    again = trained(pictures, tmp_path, [100.0] * 5)
    assert not again.compiled
    assert len((tmp_path / "measured-compiling.jsonl").read_text().splitlines()) == 1


@pytest.mark.usefixtures("backend")
def test_a_failed_compilation_is_not_tried_again_by_the_next_trial(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def broken(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        tries.append(1)
        raise RuntimeError("no")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    for _ in range(2):
        assert not trained(pictures, tmp_path, [100.0] * 6).compiled
    assert len(tries) == 1


@pytest.mark.usefixtures("backend")
def test_epochs_of_the_head_alone_say_nothing_of_those_after_them(pictures: Prepared) -> None:
    passes = Timed(
        pictures,
        num_epochs=10,
        optimizer=AdamW(lr=1e-3),
        transfer=Transfer(frozen_epochs=2),
    )
    for epoch in (1, 2, 3, 4):
        passes.before_epoch(epoch)
        assert not passes.compiled
        passes.after_epoch(epoch, 500.0)
    passes.before_epoch(5)
    assert passes.compiled


def trained(pictures: Prepared, cache: Path, seconds: list[float]) -> Timed:
    """Return the passes of a trial of ten epochs after those that took so long."""
    passes = Timed(pictures, cache=cache, num_epochs=10)
    for epoch, took in enumerate(seconds, start=1):
        passes.before_epoch(epoch)
        passes.after_epoch(epoch, took)
    return passes


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for a CPU with g++")
def test_what_torch_compiles_for_a_cpu_learns_as_well(pictures: Prepared, tmp_path: Path) -> None:
    # In small steps: it rounds otherwise, and batch norms of few samples make much of that.
    recipe = recipe_for(pictures, optimizer=SGD(lr=1e-4), batch_size=7)
    plain = run(recipe, pictures, tmp_path / "plain", "off")
    result = run(recipe, pictures, tmp_path / "compiled", "on")
    assert all(epoch.compiled for epoch in result.epochs)
    for one, other in zip(plain.epochs, result.epochs, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-3)
