import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.own_parts import BACKBONE
from tests.trial.pictures import SIZES, recipe_for
from workbench.data.prepare import Prepared
from workbench.parts.augment import Augment, Pictures
from workbench.parts.optimizers import SGD, AdamW
from workbench.parts.plugins import Plugin
from workbench.parts.train_size import TrainSize
from workbench.parts.transfer import Transfer
from workbench.trial import compiling
from workbench.trial.compiling import Compile, compiled_model
from workbench.trial.memory import Plan
from workbench.trial.recipe import Recipe
from workbench.trial.rehearsal import at_once
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
    recipe = recipe_for(pictures, batch_size=10)
    samples = at_once(recipe, Plan(micro_batch=5), SIZES["train"])
    assert compiled_model(recipe.build_model(), recipe, samples_at_once=samples)
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
    recipe = recipe_for(pictures)
    model = recipe.build_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert compiled_model(model, recipe, samples_at_once=4) is None
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_running_out_of_memory_is_no_failure_to_compile(
    pictures: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory.")

        return run

    monkeypatch.setattr(compiling, "BACKEND", greedy)
    recipe = recipe_for(pictures)
    # The batch then goes in smaller parts; see `run_trial`.
    with pytest.raises(torch.OutOfMemoryError):
        compiled_model(recipe.build_model(), recipe, samples_at_once=4)


def test_batches_that_blends_make_of_any_size_are_not_compiled(
    pictures: Prepared, tmp_path: Path, backend: Backend
) -> None:
    blends = Augment(pictures=Pictures(self_blend=0.5))
    run(recipe_for(pictures, augment=blends, num_epochs=1), pictures, tmp_path, "on")
    assert backend.sizes == []


def test_pictures_that_are_smaller_in_training_are_compiled_once_and_growing_ones_never(
    pictures: Prepared, tmp_path: Path, backend: Backend
) -> None:
    small, growing = TrainSize(first=0.5, last=0.5), TrainSize(first=0.5)
    run(recipe_for(pictures, train_size=small), pictures, tmp_path / "small", "on")
    assert backend.sizes == [4]
    run(recipe_for(pictures, train_size=growing), pictures, tmp_path / "growing", "on")
    assert backend.sizes == [4]


def test_the_head_alone_is_not_compiled(
    pictures: Prepared, tmp_path: Path, backend: Backend
) -> None:
    recipe = recipe_for(
        pictures, optimizer=AdamW(lr=1e-3), transfer=Transfer(frozen_epochs=2), num_epochs=4
    )
    result = run(recipe, pictures, tmp_path, "on")
    assert [epoch.compiled for epoch in result.epochs] == [False, False, True, True]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for a CPU with g++")
def test_what_torch_compiles_for_a_cpu_learns_as_well(pictures: Prepared, tmp_path: Path) -> None:
    # In small steps, as it rounds otherwise. A model of few layers: each costs seconds of g++.
    own = Plugin(file="own.py", source=BACKBONE.replace("my_tiny", "my_compiled"))
    recipe = recipe_for(
        pictures, optimizer=SGD(lr=1e-2), batch_size=7, plugins=(own,), backbone="my_compiled"
    )
    plain = run(recipe, pictures, tmp_path / "plain", "off")
    result = run(recipe, pictures, tmp_path / "compiled", "on")
    assert all(epoch.compiled for epoch in result.epochs)
    for one, other in zip(plain.epochs, result.epochs, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-3)
