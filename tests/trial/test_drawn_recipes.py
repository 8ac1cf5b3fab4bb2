"""Whatever a search space draws is trained: on the device that there is, as a GPU would train it.

Backbones and data are tiny; all else is drawn from `everything.yaml`, which holds every choice.
Each recipe is trained for two epochs, is paused between them, and goes on; in some of them memory
runs out. What CUDA switches on (steps over all parameters at once or in one kernel, autocast,
weights that lie contiguous, memory that nobody counts) is switched on here too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor

from tests.study.test_reaches_training import SPACES, VIEWS, made_data
from workbench.data.prepare import Prepared
from workbench.parts.averages import SWA, SWAD
from workbench.parts.losses import PairwiseAUC
from workbench.parts.model import MediaModel
from workbench.parts.optimizers import SGD, AdamW, Timm
from workbench.parts.train_size import TrainSize
from workbench.parts.transfer import Transfer
from workbench.parts.weights import RANDOM
from workbench.space.space import SampledConfig
from workbench.trial import plots
from workbench.trial.decision import Decision
from workbench.trial.device import ON_CUDA, Capabilities
from workbench.trial.precision import has_bfloat16
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import Epoch, Result
from workbench.trial.train import run_trial

NUM_DRAWN, NUM_PARTS = 200, 4
SIZES = {"train": 9, "val": 6, "test": 2}
BACKBONES = ("test_resnet", "test_efficientnet", "test_vit")
KNOWN_ENDS = ("one sample at a time teaches", "out of memory on", "the loss is", "scores are no")
"""How a trial may fail here: of its recipe or of the memory, with a sentence."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for plot in ("write_roc", "write_pr"):  # half of the time of so small a training
            patch.setattr(plots, plot, lambda *_: None)
        yield made_data(tmp_path_factory.mktemp("drawn"), SIZES)


@contextmanager
def memory_for(most_trained: int, most_scored: int) -> Iterator[None]:
    """Let passes of more samples run out of memory."""
    forward = MediaModel.forward

    def limited(model: MediaModel, inputs: dict[str, Tensor]) -> Tensor:
        x = next(iter(inputs.values()))
        if not x.is_meta and len(x) > (most_trained if model.training else most_scored):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return forward(model, inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MediaModel, "forward", limited)
        yield


def recipe_of(draft: SampledConfig, device: str) -> Recipe:
    return draft.recipe(
        data="made",
        views=VIEWS,
        weights=RANDOM,
        objective=Objective(),
        seed=0,
        bfloat16=has_bfloat16(device),
    )


def trained(
    recipe: Recipe,
    prepared: Prepared,
    folder: Path,
    *,
    pause: bool,
    uses: Capabilities | None,
    device: str = "cpu",
) -> Result:
    """Return how a training ends that is paused after its first epoch, and goes on."""

    def run(decision: Decision) -> Result:
        def report(epoch: Epoch) -> Decision:
            return decision if epoch.epoch == 1 else "go on"

        return run_trial(
            recipe, prepared, folder, device=device, report=report, cache=folder, uses=uses
        )

    if pause:
        first = run("pause")
        if first.state != "paused":
            return first
    return run("go on")


def drawn(number: int) -> tuple[SampledConfig, Capabilities, tuple[int, int]]:
    """Return draw `number` made tiny, how the device is used, and samples that fit at once."""
    sampler = optuna.samplers.RandomSampler(seed=number)
    draft = SPACES["everything"].draw(optuna.create_study(sampler=sampler).ask())
    rng = np.random.default_rng(number)
    backbone = str(rng.choice(BACKBONES))
    tiny = {
        "backbone": backbone if "waveform" not in draft.views else "raw_resnet",
        "image_px": int(rng.choice([32, 48])),
        "batch_size": int(rng.choice([1, 2, 4, 8, 16])),
        "num_epochs": 2,
    }
    if backbone == "test_vit":  # it takes pictures of one size
        tiny["train_size"] = TrainSize()
    uses = ON_CUDA.model_copy(
        update={
            "steps": str(rng.choice(["fused", "foreach"])),
            "grouped_last": bool(rng.integers(2)),
        }
    )
    # In a third of them all fits.
    fits = [(99, 99), (3, 99), (3, 1)][number % 3]
    return draft.model_copy(update=tiny), uses, fits


def check(number: int, prepared: Prepared, folder: Path, device: str) -> Result:
    draft, uses, (most_trained, most_scored) = drawn(number)
    with memory_for(most_trained, most_scored):
        result = trained(
            recipe_of(draft, device),
            prepared,
            folder,
            pause=True,
            uses=uses if device == "cpu" else None,
            device=device,
        )
    assert result.state == "complete" or any(end in result.reason for end in KNOWN_ENDS), result
    return result


def check_part(part: int, prepared: Prepared, folder: Path, device: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    numbers = range(part, NUM_DRAWN, NUM_PARTS)
    results = [check(number, prepared, folder / str(number), device) for number in numbers]
    complete = [result for result in results if result.state == "complete"]
    assert len(complete) > 0.7 * len(numbers)  # a batch of one is drawn, too
    assert any(result.micro_batch for result in complete)


# Half of them: a GPU runs all.
@pytest.mark.slow(minutes=1.5)
@pytest.mark.parametrize("part", range(NUM_PARTS // 2))
def test_no_drawn_recipe_ends_as_a_bug(prepared: Prepared, tmp_path: Path, part: int) -> None:
    check_part(part, prepared, tmp_path, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("part", range(NUM_PARTS))
def test_no_drawn_recipe_ends_as_a_bug_on_a_gpu(
    prepared: Prepared, tmp_path: Path, part: int
) -> None:
    check_part(part, prepared, tmp_path, "cuda")


SGD_THEN_ALL = SampledConfig(
    views=("image",),
    backbone="test_resnet",
    image_px=32,
    batch_size=4,
    num_epochs=2,
    optimizer=SGD(lr=0.01),
    transfer=Transfer(frozen_epochs=1),
    precision="float32",
)
"""After its first epoch the head has a momentum, and the layers that join it have none."""

CASES: dict[str, dict[str, Any]] = {
    "sgd, late layers": {},
    "adamw, late layers, decay, average": {
        "optimizer": AdamW(lr=1e-3, weight_decay=0.01, decay_norms=False),
        "transfer": Transfer(frozen_epochs=1, layer_decay=0.8, ema_decay=0.9),
        "backbone": "test_efficientnet",
    },
    "late layers, mean over epochs": {
        "transfer": Transfer(frozen_epochs=1, average=SWA()),
        "backbone": "test_efficientnet",
    },
    "adamw, mean over the valley": {
        "optimizer": AdamW(lr=1e-3),
        "transfer": Transfer(average=SWAD(start_patience=1)),
    },
    "muon, late layers, loss over the batch": {
        "optimizer": Timm(name="muon", lr=1e-3),
        "loss": PairwiseAUC(),
        "dropout": 0.2,
    },
}


@pytest.mark.parametrize("uses", [ON_CUDA, ON_CUDA.model_copy(update={"grouped_last": True})])
@pytest.mark.parametrize("case", CASES)
def test_a_pause_changes_nothing_however_the_device_is_used(
    prepared: Prepared, tmp_path: Path, case: str, uses: Capabilities
) -> None:
    recipe = recipe_of(SGD_THEN_ALL.model_copy(update=CASES[case]), "cpu")
    whole, paused = (
        trained(recipe, prepared, tmp_path / str(pause), pause=pause, uses=uses)
        for pause in (False, True)
    )
    assert (whole.state, paused.state) == ("complete", "complete")
    assert [e.model_dump(exclude={"seconds"}) for e in paused.epochs] == [
        e.model_dump(exclude={"seconds"}) for e in whole.epochs
    ]


@pytest.mark.parametrize("case", CASES)
def test_a_paused_trial_of_a_gpu_goes_on_on_a_cpu_that_runs_out_of_memory(
    prepared: Prepared, tmp_path: Path, case: str
) -> None:
    recipe = recipe_of(SGD_THEN_ALL.model_copy(update=CASES[case]), "cpu")

    def run(decision: Decision, uses: Capabilities | None) -> Result:
        return run_trial(
            recipe, prepared, tmp_path, device="cpu", report=lambda _: decision, uses=uses
        )

    assert run("pause", ON_CUDA).state == "paused"
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    state["random"] = torch.zeros(16, dtype=torch.uint8)  # as a GPU's generator keeps it
    torch.save(state, tmp_path / "checkpoint.pt")
    # A batch of five goes in parts of three and two, since a norm wants two at least.
    with memory_for(3, 2):
        result = run("go on", None)
    assert (result.state, result.micro_batch) == ("complete", 2)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_each_case_goes_through_on_a_gpu(prepared: Prepared, tmp_path: Path, case: str) -> None:
    recipe = recipe_of(SGD_THEN_ALL.model_copy(update=CASES[case]), "cuda")
    result = trained(recipe, prepared, tmp_path, pause=True, uses=None, device="cuda")
    assert result.state == "complete", result.reason
