"""Training in bfloat16: the model's pass alone, and nothing that is scored."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.trial.fake_cuda import install
from tests.trial.pictures import recipe_for
from workbench.data.prepare import Prepared
from workbench.parts.losses import AnyLoss, CrossEntropy, PairwiseAUC
from workbench.parts.model import MediaModel
from workbench.trial import memory_count, precision
from workbench.trial.decision import Decision
from workbench.trial.precision import has_bfloat16, logits_of
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, TrialFolder
from workbench.trial.stepping import backward
from workbench.trial.train import run_trial

native = pytest.mark.skipif(
    not has_bfloat16("cpu"), reason="this CPU has no bfloat16, and without it steps take a minute"
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class CutError(Exception):
    """Stands for a kill between two epochs."""


def run(recipe: Recipe, prepared: Prepared, folder: Path, *, cut: int | None = None) -> Result:
    def report(epoch: Epoch) -> Decision:
        if epoch.epoch == cut:
            raise CutError
        return "go on"

    return run_trial(recipe, prepared, folder, device="cpu", report=report)


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(TrialFolder(folder).weights)


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({"avx512_f": True}, False),
        ({"avx512_bf16": True}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({}, False),  # what torch says of an architecture that it does not know
    ],
)
def test_a_cpu_is_asked_for_its_instructions(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert has_bfloat16("cpu") is expected


@pytest.mark.parametrize(("major", "expected"), [(7, False), (8, True), (9, True)])
def test_a_gpu_that_only_imitates_bfloat16_has_it_not(
    monkeypatch: pytest.MonkeyPatch, major: int, expected: bool
) -> None:
    install(monkeypatch).capability = (major, 5)
    assert has_bfloat16("cuda:0") is expected


class Watched(nn.Module):
    """A layer that keeps what it computed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.seen: list[torch.dtype] = []

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return logits."""
        logits: Tensor = self.layer(inputs["x"])
        self.seen.append(logits.dtype)
        return logits


@native
@pytest.mark.parametrize("loss", [CrossEntropy(), PairwiseAUC()], ids=["mean", "over_batch"])
@pytest.mark.parametrize("num_parts", [1, 2])
def test_the_pass_is_bfloat16_and_all_else_float32(loss: AnyLoss, num_parts: int) -> None:
    def gradient(precision: str) -> tuple[Watched, Tensor]:
        torch.manual_seed(0)
        model = Watched()
        x = torch.randn(6, 4)
        cost = backward(
            model,
            loss,
            {"x": x},
            torch.tensor([0.0, 1, 0, 1, 1, 0]),
            num_parts=num_parts,
            fake_share=0.5,
            precision=precision,  # type: ignore[arg-type]
        )
        return model, cost

    plain, cost_32 = gradient("float32")
    model, cost_16 = gradient("bfloat16")
    assert set(plain.seen) == {torch.float32}
    assert set(model.seen) == {torch.bfloat16}
    assert cost_16.dtype == model.layer.weight.dtype == torch.float32
    assert model.layer.weight.grad is not None and plain.layer.weight.grad is not None
    assert model.layer.weight.grad.dtype == torch.float32
    # Eight bits of each number: near, and not the same.
    assert float(cost_16) == pytest.approx(float(cost_32), rel=0.02)
    torch.testing.assert_close(
        model.layer.weight.grad, plain.layer.weight.grad, rtol=0.1, atol=0.02
    )
    assert not torch.equal(model.layer.weight.grad, plain.layer.weight.grad)


@native
def test_a_bfloat16_trial_learns_keeps_float32_and_scores_in_it(
    pictures: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(pictures, precision="bfloat16")
    scored: set[torch.dtype] = set()
    forward = MediaModel.forward

    def watched(self: MediaModel, inputs: Mapping[str, Tensor]) -> Tensor:
        logits = forward(self, inputs)
        if not self.training:
            scored.add(logits.dtype)
        return logits

    monkeypatch.setattr(MediaModel, "forward", watched)
    result = run(recipe, pictures, tmp_path / "16")
    assert (result.state, result.objective) == ("complete", 1.0)
    assert scored == {torch.float32}
    kept = weights(tmp_path / "16")
    assert {t.dtype for t in kept.values() if t.is_floating_point()} == {torch.float32}
    run(recipe_for(pictures), pictures, tmp_path / "32")
    assert any(not torch.equal(t, kept[n]) for n, t in weights(tmp_path / "32").items())


@native
def test_a_bfloat16_trial_that_is_cut_off_goes_on_to_the_same_bits(
    pictures: Prepared, tmp_path: Path
) -> None:
    recipe = recipe_for(pictures, precision="bfloat16", dropout=0.2)
    whole = run(recipe, pictures, tmp_path / "whole")
    with pytest.raises(CutError):
        run(recipe, pictures, tmp_path / "cut", cut=2)
    again = run(recipe, pictures, tmp_path / "cut")
    assert [e.metrics for e in again.epochs] == [e.metrics for e in whole.epochs]
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(one[name], two[name]) for name in one)


@native
@pytest.mark.parametrize("backbone", ["test_vit", "test_efficientnet", "resnet18"])
def test_a_bfloat16_pass_is_counted_as_less_than_float32_and_no_less_than_it_takes(
    pictures: Prepared, backbone: str
) -> None:
    changes = {"backbone": backbone, "image_px": 160}
    wide = memory_count.counted_need(recipe_for(pictures, **changes), "cpu", False, 8, None)
    recipe = recipe_for(pictures, **changes, precision="bfloat16")
    need = memory_count.counted_need(recipe, "cpu", False, 8, None)
    assert need.sample < wide.sample
    assert need.least == wide.least
    with memory_count.TensorMeter() as meter:  # of a real pass
        memory_count.run_pass(recipe, "cpu", False, 8, True)
    assert meter.peak < need.of(8)
    assert need.of(8) / meter.peak < 1.7 * memory_count.MARGIN["cpu"]


def test_a_gain_is_measured_once_by_steps_in_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps: list[tuple[str, int]] = []
    clock = iter(range(10**6))

    def pass_of(model: nn.Module, inputs: Mapping[str, Tensor], asked: str) -> Tensor:
        steps.append((asked, len(inputs["x"])))
        # The clock below ticks twice a step anyway; one in float32 takes as long as three more.
        for _ in range(3 if asked == "float32" else 0):
            next(clock)
        return torch.zeros(1, requires_grad=True)

    monkeypatch.setattr(precision, "logits_of", pass_of)
    monkeypatch.setattr("workbench.trial.precision.time.process_time", lambda: float(next(clock)))
    before = torch.get_rng_state(), torch.get_num_threads()
    asked = {"image_px": 64, "num_threads": 1, "cache": tmp_path}
    gain = precision.gain_of_bfloat16("test_resnet.r160_in1k", **asked)  # type: ignore[arg-type]
    assert gain == 4.0
    # One that warms up, one that says how many pictures go at once, and four of each in turn.
    assert steps == [("float32", 2)] * 2 + [("float32", 4), ("bfloat16", 4)] * 4
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert precision.gain_of_bfloat16("test_resnet", **asked) == 4.0  # type: ignore[arg-type]
    assert len(steps) == 10
    other = {**asked, "num_threads": 2}
    precision.gain_of_bfloat16("test_resnet", **other)  # type: ignore[arg-type]
    assert len(steps) == 20


@native
def test_a_real_gain_is_a_number_of_this_machine() -> None:
    gain = precision.gain_of_bfloat16("test_resnet", image_px=64, num_threads=1, cache=None)
    assert 0.01 < gain < 100


def test_logits_are_float32_whatever_they_are_computed_in() -> None:
    model, inputs = Watched(), {"x": torch.ones(2, 4)}
    assert logits_of(model, inputs, "float32").dtype == torch.float32
    if has_bfloat16("cpu"):
        assert logits_of(model, inputs, "bfloat16").dtype == torch.float32
        assert model.seen == [torch.float32, torch.bfloat16]
