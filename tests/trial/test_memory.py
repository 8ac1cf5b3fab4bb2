"""Memory before training: a step is counted, and batches go through in parts that fit."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.parts.declared import picture
from tests.trial.pictures import recipe_for
from workbench.data.prepare import Prepared
from workbench.media.image import Image
from workbench.parts.augment import Augment, Pictures
from workbench.parts.averages import EMA, SWA, SWAD
from workbench.parts.copies import Copies
from workbench.parts.gradient import Gradient
from workbench.parts.losses import AnyLoss, CrossEntropy, PairwiseAUC
from workbench.parts.model import MediaModel
from workbench.parts.optimizers import SGD, AdamW, AnyOptimizer, Timm
from workbench.parts.train_size import TrainSize
from workbench.parts.transfer import Transfer
from workbench.trial import memory, memory_count
from workbench.trial.decision import Decision
from workbench.trial.memory import Plan, TooLargeError, plan
from workbench.trial.memory_count import Need, UntrainableError, is_out_of_memory
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, TrialFolder
from workbench.trial.train import run_trial

MIB = 2**20
NO_NORM = "test_vit"
"""No batch statistics: the parts of a batch do what the whole does."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def vit(prepared: Prepared, **changes: object) -> Recipe:
    usual: dict[str, object] = {
        "backbone": NO_NORM,
        "image_px": 160,
        "optimizer": SGD(lr=0.05),
        "batch_size": 13,  # of 14 samples: the last joins the batch
        "num_epochs": 2,
    }
    return recipe_for(prepared, **usual | changes)


def run(
    recipe: Recipe,
    prepared: Prepared,
    folder: Path,
    *,
    memory_bytes: int | None = None,
    told: list[int] | None = None,
) -> Result:
    def report(epoch: Epoch) -> Decision:
        if told is not None:
            told.append(epoch.epoch)
        return "go on"

    return run_trial(
        recipe, prepared, folder, device="cpu", report=report, memory_bytes=memory_bytes
    )


def spread(a: Path, b: Path) -> float:
    """Return the largest difference of two trials' weights."""
    one, two = (load_file(TrialFolder(folder).weights) for folder in (a, b))
    return max(float((one[name] - two[name]).abs().max()) for name in one)


def test_a_pass_is_counted_by_its_tensors(pictures: Prepared) -> None:
    need = count(vit(pictures))
    with torch.device("meta"):
        model = MediaModel(
            NO_NORM,
            {"image": picture(1, 160, 160, 3)},
            image_px=160,
            weights=recipe_for(pictures).model.weights,
        )
    parameters = sum(p.numel() for p in model.parameters()) * 4
    assert need.least == 1
    assert need.weights == need.trained == parameters
    # Parameters and their gradients stay; what a layer keeps for its gradient grows with samples.
    assert 2 * parameters < need.of(1) / memory_count.MARGIN["cpu"] < 8 * parameters
    assert need.sample > 160 * 160 * 3 * 4


@pytest.mark.parametrize(
    ("optimizer", "copies"),
    [
        (SGD(lr=0.1, momentum=0.0), 0),
        (SGD(lr=0.1), 1),
        (AdamW(lr=0.1), 2),
        (Timm(name="lion", lr=0.1), 1),
    ],
    ids=["sgd", "momentum", "adamw", "lion"],
)
def test_what_an_optimizer_keeps_is_counted(
    pictures: Prepared, optimizer: AnyOptimizer, copies: int
) -> None:
    recipe = vit(pictures, optimizer=optimizer)
    assert memory_count.state_copies(recipe) == copies
    # The weights that a step in two passes comes back to are one more.
    sharp = recipe.replaced(gradient=Gradient(sam_rho=0.05))
    assert memory_count.state_copies(sharp) == copies + 1


def test_what_is_kept_beside_a_pass_is_added(pictures: Prepared) -> None:
    def estimated(**changes: object) -> int:
        recipe = vit(pictures, **changes)
        found = plan(recipe, num_samples=99, device="cpu", limit_bytes=2**40, cache=None)
        assert found.estimated_bytes is not None
        return found.estimated_bytes

    plain = estimated(optimizer=SGD(lr=0.1, momentum=0.0))
    weights = count(vit(pictures)).weights
    assert estimated(optimizer=SGD(lr=0.1)) - plain == weights
    assert estimated(optimizer=AdamW(lr=0.1)) - plain == 2 * weights
    for average, copies in ((EMA(), 1), (SWA(), 1), (SWAD(), 5), (SWAD(start_patience=1), 4)):
        found = estimated(optimizer=SGD(lr=0.1), transfer=Transfer(average=average))
        assert found - plain == (1 + copies) * weights


@pytest.mark.parametrize("num_samples", [3, 9, 15])
def test_a_count_holds_for_other_numbers_of_samples(pictures: Prepared, num_samples: int) -> None:
    recipe = vit(pictures)
    there = memory_count.MARGIN["cpu"] * memory_count.peak_of_pass(
        recipe, "cpu", False, num_samples
    )
    # Never less, and at most a tenth more.
    assert 0.999 * there <= count(recipe).of(num_samples) <= 1.1 * there


def test_a_frozen_backbone_takes_less(pictures: Prepared) -> None:
    usual, frozen = (count(vit(pictures, frozen=frozen)) for frozen in (False, True))
    assert frozen.of(8) < usual.of(8)
    assert frozen.weights == usual.weights
    assert frozen.trained < usual.trained / 100


def test_a_last_block_takes_less_than_all_and_is_counted_apart(
    pictures: Prepared, tmp_path: Path
) -> None:
    usual = vit(pictures)
    top = usual.replaced(transfer=Transfer(scope="last_block"))
    all_of_it, last = (
        memory_count.counted_need(recipe, "cpu", False, 8, tmp_path) for recipe in (usual, top)
    )
    assert last.of(8) < all_of_it.of(8)
    assert last.trained < all_of_it.trained
    assert last.weights == all_of_it.weights


def test_smaller_pictures_in_training_take_less(pictures: Prepared) -> None:
    usual = recipe_for(pictures, backbone="test_resnet", image_px=64)
    small = usual.replaced(train_size=TrainSize(first=0.5, last=0.5))
    grown = usual.replaced(train_size=TrainSize(first=0.5))
    whole, half, most = (count(recipe).sample for recipe in (usual, small, grown))
    assert half < 0.5 * whole
    assert most == whole


def test_a_backbone_of_one_size_is_told_before_training(pictures: Prepared) -> None:
    recipe = vit(pictures).replaced(train_size=TrainSize(first=0.5))
    with pytest.raises(UntrainableError, match="test_vit reads pictures of one size alone"):
        memory_count.check(recipe, 8)


def test_pictures_that_are_too_small_in_training_are_told_before_it(pictures: Prepared) -> None:
    # ConvNeXt halves the sides five times, and its last step needs two pixels.
    usual = recipe_for(pictures, backbone="convnext_atto", image_px=32)
    memory_count.check(usual, 8)
    memory_count.check(usual.replaced(image_px=64, train_size=TrainSize(first=0.5)), 8)
    said = r"convnext_atto cannot read pictures of 16 px, which `train_size` asks for .*change it"
    for first, last in ((0.5, 1.0), (0.5, 0.5)):
        small = usual.replaced(train_size=TrainSize(first=first, last=last))
        with pytest.raises(UntrainableError, match=said):
            memory_count.check(small, 8)


def test_each_size_of_training_is_looked_at(pictures: Prepared) -> None:
    # Its steps are joined where their sides are halves of each other: at multiples of 32.
    usual = recipe_for(pictures, backbone="hrnet_w18_small", image_px=128, num_epochs=4)
    grown = usual.replaced(train_size=TrainSize(first=0.5))
    assert grown.train_sides == [64, 88, 104, 128]
    with pytest.raises(UntrainableError, match=r"hrnet_w18_small cannot read pictures of 88 px"):
        memory_count.check(grown, 8)
    memory_count.check(grown.replaced(num_epochs=2), 8)


def test_a_network_that_computes_on_contents_is_no_worse_for_smaller_pictures(
    pictures: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(pictures, backbone="test_resnet", image_px=64)

    def on_contents(*_: object) -> None:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")

    monkeypatch.setattr(MediaModel, "forward", on_contents)
    memory_count.check(recipe.replaced(train_size=TrainSize(first=0.5)), 8)


def test_computing_activations_twice_takes_less(pictures: Prepared) -> None:
    recipe = vit(pictures)
    kept, twice = (count(recipe, checkpointed=c) for c in (False, True))
    assert twice.sample < 0.8 * kept.sample


def test_a_batch_norm_over_single_values_needs_two_samples(pictures: Prepared) -> None:
    # 32 px become 1 x 1 at the end of a ResNet.
    assert count(recipe_for(pictures, backbone="test_resnet")).least == 2


def count(recipe: Recipe, *, checkpointed: bool = False) -> Need:
    return memory_count.counted_need(
        recipe, "cpu", checkpointed, recipe.training.batch_size + 1, None
    )


def fits(pictures: Prepared, need: Need, num_samples: int, recipe: Recipe) -> int:
    """Return the least limit under which `num_samples` go at once."""
    inputs = 3 * (recipe.training.batch_size + 1) * memory_count.input_bytes(recipe)
    return need.of(num_samples) + inputs + need.trained  # SGD's momentum


def test_a_plan_takes_what_fits(pictures: Prepared) -> None:
    recipe = vit(pictures)
    need = count(recipe)

    def planned(limit: int) -> Plan:
        return plan(recipe, num_samples=99, device="cpu", limit_bytes=limit, cache=None)

    # A last batch of one sample joins the one before, so a batch may be one larger.
    whole = fits(pictures, need, recipe.training.batch_size + 1, recipe)
    assert planned(whole) == Plan(estimated_bytes=whole, least=1)
    assert planned(whole - 1).micro_batch == recipe.training.batch_size
    five = fits(pictures, need, 5, recipe)
    assert planned(five) == Plan(micro_batch=5, estimated_bytes=five, least=1)
    tight = planned(fits(pictures, need, 1, recipe) - 1)
    assert tight.checkpointed
    assert tight.micro_batch is not None
    with pytest.raises(TooLargeError, match=r"test_vit at 160 px takes about .* MiB to train by"):
        planned(need.fixed // 2)


def test_what_is_too_large_is_told_by_how_much(pictures: Prepared) -> None:
    recipe = recipe_for(pictures, backbone="vit_small_patch16_224", image_px=224)
    with pytest.raises(TooLargeError) as refused:
        plan(recipe, num_samples=99, device="cpu", limit_bytes=256 * MIB, cache=None)
    found = re.search(
        r"takes about (\d+) MiB to train by one sample at a time, (\d+) MiB more than the 256 MiB "
        r"that a trial may take on cpu$",
        str(refused.value),
    )
    assert found is not None
    assert int(found[1]) - int(found[2]) == pytest.approx(256, abs=1)
    # 21.7 million parameters, their gradients and Adam's two moments: 330 MiB before any sample.
    assert 330 < int(found[1]) < 900


@pytest.mark.parametrize(
    ("scored", "at_once", "expected"),
    [
        (0, 8, None),  # not counted: a CPU gains nothing
        (10**6, 8, 77),  # 8 * 10,036,864 / 1,036,864 = 77.4
        (10**6, 64, 256),
        (10**6, 300, 300),
        (10**8, 8, 8),
    ],
)
def test_scoring_takes_no_more_than_a_step(
    pictures: Prepared, scored: int, at_once: int, expected: int | None
) -> None:
    recipe = vit(pictures, image_px=32)  # 3 * 4 * 3 * 32 * 32 bytes of inputs: 36,864
    need = Need(fixed=0, sample=10**7, least=1, weights=0, trained=0, scored=scored)
    found = memory._scored(recipe, need, at_once)
    assert found == expected
    if found is not None and found > at_once:
        assert found * (scored + 36_864) <= at_once * (10**7 + 36_864)


def test_running_out_of_memory_also_scores_fewer_at_once() -> None:
    smaller = Plan(scored=256, least=1).halved(32)
    assert smaller is not None
    # Four for each one that is trained: without a gradient few layers are kept at a time.
    assert (smaller.micro_batch, smaller.scored) == (16, 64)
    few = Plan(scored=40, least=1).halved(32)
    assert few is not None
    assert few.scored == 40


def test_how_many_are_scored_at_once_does_not_change_a_trials_scores(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = vit(pictures, num_epochs=1, batch_size=3)
    together: list[int] = []
    forward = MediaModel.forward

    def seen(self: MediaModel, inputs: dict[str, Tensor]) -> Tensor:
        if not self.training:
            together.append(len(inputs["image"]))
        return forward(self, inputs)

    monkeypatch.setattr(MediaModel, "forward", seen)
    run(recipe, pictures, tmp_path / "few", memory_bytes=2**33)
    assert together == [3, 3, 2, 3, 2]  # 8 of val, 5 of test
    together.clear()
    monkeypatch.setattr(memory, "_scored", lambda *_: 5)
    run(recipe, pictures, tmp_path / "many", memory_bytes=2**33)
    assert together == [5, 3, 5]
    assert spread(tmp_path / "few", tmp_path / "many") == 0
    one, two = (TrialFolder(tmp_path / f).read_scores()["score"] for f in ("few", "many"))
    assert one.to_numpy() == pytest.approx(two.to_numpy(), abs=1e-6)


@pytest.mark.parametrize(
    "how", [{"augment": Augment(pictures=Pictures(self_blend=0.5))}, {"copies": Copies(blend=0.5)}]
)
def test_blended_samples_are_counted(pictures: Prepared, how: dict[str, Any]) -> None:
    recipe = vit(pictures)
    blended = vit(pictures, **how)
    limit = fits(pictures, count(recipe), recipe.training.batch_size + 1, recipe)
    assert (
        plan(recipe, num_samples=99, device="cpu", limit_bytes=limit, cache=None).micro_batch
        is None
    )
    assert (
        plan(blended, num_samples=99, device="cpu", limit_bytes=limit, cache=None).micro_batch
        is not None
    )


def test_no_batch_is_larger_than_the_data(pictures: Prepared) -> None:
    few = vit(pictures, batch_size=3)  # and one that joins them
    same = plan(
        vit(pictures, batch_size=500), num_samples=4, device="cpu", limit_bytes=2**40, cache=None
    )
    assert plan(few, num_samples=99, device="cpu", limit_bytes=2**40, cache=None) == same


def test_a_count_is_kept_for_the_next_trial(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plan(vit(pictures), num_samples=99, device="cpu", limit_bytes=2**33, cache=tmp_path)

    def counted(*_: object) -> Need:
        raise AssertionError("counted again")

    monkeypatch.setattr(memory_count, "_count", counted)
    assert (
        plan(vit(pictures), num_samples=99, device="cpu", limit_bytes=2**33, cache=tmp_path)
        == first
    )
    same = vit(pictures, num_epochs=1, dropout=0.5, loss=PairwiseAUC(), batch_size=10)
    plan(same, num_samples=99, device="cpu", limit_bytes=2**33, cache=tmp_path)
    for other in ({"image_px": 96}, {"frozen": True}, {"views": {"image": Image(image_px=48)}}):
        with pytest.raises(AssertionError):
            plan(
                vit(pictures, **other),
                num_samples=99,
                device="cpu",
                limit_bytes=2**33,
                cache=tmp_path,
            )


@pytest.mark.parametrize(
    ("micro_batch", "least", "num_samples", "parts"),
    [
        (None, 1, 40, 1),
        (8, 1, 40, 5),
        (8, 1, 41, 6),
        (3, 2, 5, 2),
        (2, 2, 5, 2),
        (1, 1, 5, 5),
        (8, 2, 1, 1),
    ],
)
def test_a_batch_goes_in_as_many_parts_as_it_must(
    micro_batch: int | None, least: int, num_samples: int, parts: int
) -> None:
    assert Plan(micro_batch=micro_batch, least=least).num_parts(num_samples) == parts


def test_each_of_two_ranks_needs_memory_for_half_of_a_batch(
    pictures: Prepared, tmp_path: Path
) -> None:
    def planned(limit_bytes: int, num_ranks: int) -> Plan:
        return plan(
            vit(pictures),
            num_samples=14,
            device="cpu",
            limit_bytes=limit_bytes,
            cache=tmp_path,
            num_ranks=num_ranks,
        )

    half = planned(2**40, 2)
    assert half.micro_batch is None
    assert half.estimated_bytes is not None
    assert planned(half.estimated_bytes, 2) == half
    assert planned(half.estimated_bytes, 1).micro_batch == 7
    # Where it was not counted and ran out, half of a share of seven follows.
    after = memory.after_running_out(Plan(), vit(pictures), 2)
    assert after is not None
    assert after.micro_batch == 3


def test_half_as_many_samples_go_at_once_after_memory_ran_out() -> None:
    sizes = []
    now: Plan | None = Plan(least=2)
    while now := (now.halved(33) if now else None):
        sizes.append(now.micro_batch)
    assert sizes == [16, 8, 4, 2]


@pytest.mark.parametrize("loss", [CrossEntropy(), PairwiseAUC()], ids=["mean", "over_batch"])
def test_an_oversize_batch_runs_in_parts_to_the_same_weights(
    pictures: Prepared, tmp_path: Path, loss: AnyLoss
) -> None:
    recipe = vit(pictures, loss=loss)
    need = count(recipe)
    whole = run(recipe, pictures, tmp_path / "whole")
    limit = fits(pictures, need, 4, recipe)
    parts = run(recipe, pictures, tmp_path / "parts", memory_bytes=limit)
    assert (whole.state, parts.state) == ("complete", "complete")
    assert (whole.micro_batch, parts.micro_batch) == (None, 4)
    assert parts.estimated_memory_bytes is not None
    assert parts.estimated_memory_bytes <= limit
    assert parts.recipe == whole.recipe
    assert spread(tmp_path / "whole", tmp_path / "parts") < 1e-5
    other = run(vit(pictures, loss=loss, batch_size=4), pictures, tmp_path / "small")
    assert other.state == "complete"
    # A batch of four is another training: the parts are no smaller batches.
    assert spread(tmp_path / "whole", tmp_path / "small") > 1e-3


def test_checkpointed_activations_give_the_same_weights(pictures: Prepared, tmp_path: Path) -> None:
    recipe = vit(pictures)
    run(recipe, pictures, tmp_path / "kept")
    limit = fits(pictures, count(recipe), 1, recipe) - 1
    twice = run(recipe, pictures, tmp_path / "twice", memory_bytes=limit)
    assert (twice.state, twice.checkpointed) == ("complete", True)
    assert spread(tmp_path / "kept", tmp_path / "twice") < 1e-5


def test_a_model_that_does_not_fit_fails_with_its_reason(
    pictures: Prepared, tmp_path: Path
) -> None:
    result = run(vit(pictures), pictures, tmp_path, memory_bytes=MIB)
    assert result.state == "failed"
    assert "more than the 1 MiB that a trial may take on cpu" in result.reason
    assert result.epochs == ()


def test_running_out_of_memory_halves_the_parts_and_goes_on_from_the_last_epoch(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = vit(pictures, num_epochs=3)
    run(recipe, pictures, tmp_path / "whole")
    forward = MediaModel.forward
    passes: list[int] = []

    def full(self: MediaModel, inputs: dict[str, Tensor]) -> Tensor:
        if self.training:
            passes.append(len(inputs["image"]))
            # One batch an epoch. The first epoch fits; later ones with at most 4 at once.
            if len(passes) > 1 and passes[-1] > 4:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return forward(self, inputs)

    monkeypatch.setattr(MediaModel, "forward", full)
    told: list[int] = []
    result = run(recipe, pictures, tmp_path / "tight", told=told)
    assert (result.state, result.micro_batch) == ("complete", 3)
    assert told == [1, 2, 3]
    assert passes == [14, 14, 5, *[3, 3, 3, 3, 2] * 2]
    assert spread(tmp_path / "whole", tmp_path / "tight") < 1e-5


def test_errors_that_say_so_are_out_of_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(MemoryError())


def test_a_cpu_trial_takes_its_share_or_what_it_was_given() -> None:
    assert memory.limit("cpu", asked=5, share=0.5) == 5
    half, whole = (memory.limit("cpu", asked=None, share=share) for share in (0.5, 1.0))
    assert half == pytest.approx(whole / 2, abs=1)
    assert whole > 2**28


@pytest.mark.gpu
def test_a_gpus_limit_is_kept_by_parts_that_give_the_same_weights(
    pictures: Prepared, tmp_path: Path
) -> None:
    recipe = vit(pictures, backbone="vit_small_patch16_224", image_px=224, num_epochs=1)

    def on_gpu(folder: Path, asked: int | None) -> Result:
        limit = memory.limit("cuda", asked=asked, share=1.0)
        return run_trial(
            recipe,
            pictures,
            folder,
            device="cuda",
            report=lambda _: "go on",
            memory_bytes=limit,
        )

    try:
        whole = on_gpu(tmp_path / "whole", None)
        assert whole.micro_batch is None and whole.peak_memory_bytes is not None
        # Parameters, gradients and momentum take 260 MiB.
        asked = (260 * MIB + whole.peak_memory_bytes) // 2
        parts = on_gpu(tmp_path / "parts", asked)
        assert parts.state == "complete", parts.reason
        assert parts.micro_batch is not None and parts.micro_batch < 14
        assert parts.peak_memory_bytes is not None and parts.peak_memory_bytes <= asked
        assert spread(tmp_path / "whole", tmp_path / "parts") < 1e-3
    finally:
        memory.limit("cuda", asked=None, share=1.0)
