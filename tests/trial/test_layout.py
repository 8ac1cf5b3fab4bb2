"""How weights and pictures lie: as suits the device, and otherwise where the clock says it pays."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trial.pictures import SIZES, recipe_for
from workbench.data.prepare import Prepared
from workbench.parts.model import MediaModel, is_grouped
from workbench.parts.optimizers import SGD, AdamW
from workbench.parts.train_size import TrainSize
from workbench.parts.transfer import Transfer
from workbench.trial import layout, plots
from workbench.trial.device import ON_CPU, ON_CUDA
from workbench.trial.layout import LayoutByClock
from workbench.trial.memory import Plan
from workbench.trial.recipe import Recipe
from workbench.trial.rehearsal import at_once
from workbench.trial.result import Result, TrialFolder
from workbench.trial.train import run_trial
from workbench.trial.training import Training


@pytest.fixture(autouse=True)
def one_thread_and_no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    for plot in ("write_roc", "write_pr"):  # half of the time of so small a training
        monkeypatch.setattr(plots, plot, lambda *_: None)


def is_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def widest(model: nn.Module) -> Tensor:
    """Return a weight whose layout can be told: several channels, several pixels."""
    return next(p for p in model.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1)


def test_a_model_lies_as_suits_its_device_and_computes_the_same(pictures: Prepared) -> None:
    model = recipe_for(pictures).build_model().eval()
    before = {id(p) for p in model.parameters()}
    x = {"image": torch.rand(2, 1, 3, 32, 32)}
    seen: list[bool] = []
    backbone = model.readers["image"].backbone
    backbone.register_forward_pre_hook(lambda _, args: seen.append(is_last(args[0])))  # type: ignore[union-attr]
    last = model.place("cpu")(x)
    assert is_last(widest(model)) and model.channels_last
    first = model.place("cpu", channels_last=False)(x)
    assert not is_last(widest(model)) and not model.channels_last
    assert seen == [True, False]
    torch.testing.assert_close(first, last)
    assert {id(p) for p in model.parameters()} == before  # an optimizer still holds them


@pytest.mark.parametrize(
    ("backbone", "grouped"),
    [
        ("test_efficientnet", True),
        ("resnext50_32x4d", True),
        ("test_resnet", False),
        ("test_vit", False),
    ],
)
def test_only_a_network_of_grouped_convolutions_begins_otherwise_on_a_gpu(
    pictures: Prepared, backbone: str, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.device("meta"):
        model = recipe_for(pictures, backbone=backbone, image_px=64).build_model()
    assert is_grouped(model) is grouped
    monkeypatch.setattr(MediaModel, "to", lambda self, device: self)  # there is no GPU here
    assert model.place("cuda").channels_last is not grouped
    assert model.place("cpu").channels_last


def run(prepared: Prepared, folder: Path, uses: Any, **changes: Any) -> Result:
    return run_trial(
        recipe_for(prepared, **changes),
        prepared,
        folder,
        device="cpu",
        report=lambda _: "go on",
        cache=folder / "cache",
        uses=uses,
    )


def test_a_result_says_how_things_lay_and_its_weights_are_an_ordinary_models(
    pictures: Prepared, tmp_path: Path
) -> None:
    changes = {"optimizer": SGD(lr=1e-4), "num_epochs": 2}
    last = run(pictures, tmp_path / "last", ON_CPU, **changes)
    first = run(pictures, tmp_path / "first", ON_CUDA, **changes)
    other = run(pictures, tmp_path / "vit", ON_CUDA, **changes, backbone="test_vit")
    assert all(epoch.channels_last for epoch in other.epochs)
    assert [epoch.channels_last for epoch in last.epochs] == [True, True]
    assert [epoch.channels_last for epoch in first.epochs] == [False, False]
    for one, two in zip(last.epochs, first.epochs, strict=True):
        assert two.train_loss == pytest.approx(one.train_loss, rel=0.1)
    read = TrialFolder(tmp_path / "first").read_result()
    assert read is not None
    assert read.epochs[0].channels_last is False


class Timed:
    """The layout of a model on a pretended GPU, whose epochs take as long as a test says."""

    def __init__(self, pictures: Prepared, cache: Path | None, **changes: Any) -> None:
        recipe = recipe_for(pictures, **{"num_epochs": 10} | changes)
        self.model = recipe.build_model().place("cpu", channels_last=False)
        self._layout = LayoutByClock(
            self.model,
            recipe,
            samples_at_once=at_once(recipe, Plan(), 14),
            lay_out=self._lay_out,
            num_samples=SIZES["train"],
            cache=cache,
        )

    def _lay_out(self, last: bool) -> None:
        self.model.lay_out(channels_last=last)

    def epochs(self, *seconds: float) -> list[bool]:
        """Return whether channels were innermost in each epoch, and are after the last one."""
        lay = []
        for number, took in enumerate(seconds, start=1):
            self._layout.before_epoch(number)
            lay.append(self.model.channels_last)
            self._layout.after_epoch(number, took)
        self._layout.before_epoch(len(seconds) + 1)
        return [*lay, self.model.channels_last]


def test_channels_are_laid_innermost_once_that_pays_and_that_is_kept(
    pictures: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # After two epochs of 48 s eight are left, of which a tenth should be saved, and 20 s be spent:
    # 8 * 4.8 = 38.4 is less than twice as much.
    assert Timed(pictures, None).epochs(60, 48) == [False] * 3
    # 8 * 24 is more.
    slow = Timed(pictures, tmp_path).epochs(250, 240, 300, 200, 200)
    # The third epoch met new shapes; the fourth tells the pace.
    assert slow == [False, False, True, True, True, True]
    said = capsys.readouterr().out
    assert (
        "memory format channels_last, set in 100 s: from 17142.86 to 14285.71 ms a sample" in said
    )
    # It costs 100 s and saves 40 s an epoch: equal trials of more than five epochs begin so.
    assert Timed(pictures, tmp_path, num_epochs=6).epochs(200) == [True, True]
    assert Timed(pictures, tmp_path, num_epochs=4).epochs(240) == [False, False]
    assert Timed(pictures, tmp_path, image_px=64).epochs(240) == [False, False]


def test_channels_that_save_nothing_are_laid_back_and_not_tried_again(
    pictures: Prepared, tmp_path: Path
) -> None:
    tried = Timed(pictures, tmp_path).epochs(250, 240, 300, 240, 240)
    assert tried == [False, False, True, True, False, False]
    assert Timed(pictures, tmp_path).epochs(250, 240, 240, 240) == [False] * 5


def test_a_layout_that_cannot_be_is_left_and_not_tried_again(
    pictures: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tries: list[int] = []

    def broken(*_: object) -> tuple[float, str]:
        tries.append(1)
        return 0.0, "RuntimeError: no such engine"

    monkeypatch.setattr(layout, "rehearse", broken)
    for _ in range(2):
        assert Timed(pictures, tmp_path).epochs(250, 240, 240, 240) == [False] * 5
    assert len(tries) == 1
    assert (
        "channels_last does not work here: RuntimeError: no such engine" in capsys.readouterr().out
    )


def test_epochs_of_the_head_alone_say_nothing_of_those_after_them(pictures: Prepared) -> None:
    head = Timed(pictures, None, optimizer=AdamW(lr=1e-3), transfer=Transfer(frozen_epochs=2))
    assert head.epochs(500, 500, 500, 500) == [False] * 4 + [True]


def as_on_cuda(recipe: Recipe, pictures: Prepared) -> Training:
    return Training(
        recipe,
        pictures,
        device="cpu",
        store=None,
        plan=Plan(),
        step=lambda share: None,
        uses=ON_CUDA,
    )


def test_epochs_of_growing_pictures_are_not_held_against_each_other(pictures: Prepared) -> None:
    for size, has_one in ((TrainSize(), True), (TrainSize(first=0.5), False)):
        recipe = recipe_for(pictures, backbone="test_efficientnet", train_size=size)
        training = as_on_cuda(recipe, pictures)
        assert (training._layout is not None) is has_one


def test_what_is_kept_of_each_weight_is_laid_with_it(pictures: Prepared) -> None:
    recipe = recipe_for(
        pictures, optimizer=AdamW(lr=1e-3), transfer=Transfer(ema_decay=0.9), num_epochs=3
    )
    training = as_on_cuda(recipe, pictures)
    training.run_epoch()
    state = training._optimizer.state
    for last in (True, False):
        training._lay_out(last)
        assert is_last(widest(training._model)) is last
        assert is_last(widest(training._average.model)) is last
        weight = widest(training._model)
        assert {is_last(state[weight][key]) for key in ("exp_avg", "exp_avg_sq")} == {last}
        training.run_epoch()
    assert isinstance(training._average.model, MediaModel)


@pytest.mark.parametrize("backbone", ["convnext_atto", "test_convnext", "test_efficientnet"])
def test_grouped_convolutions_are_handed_one_layout(pictures: Prepared, backbone: str) -> None:
    # ConvNeXt normalises with its channels innermost, and hands them on so.
    recipe = recipe_for(pictures, backbone=backbone)
    model = recipe.build_model().place("cpu", channels_last=False)
    average = copy.deepcopy(model)
    for of in (model, average):
        seen: list[bool] = []

        def look(layer: nn.Module, seen: list[bool] = seen) -> None:
            right = layer.forward

            def forward(x: Tensor) -> Any:
                seen.append(x.is_contiguous())
                return right(x)

            layer.forward = forward

        for layer in of.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                look(layer)
        of({"image": torch.rand(2, 1, 3, 32, 32)})
        assert seen and all(seen)
    last = model.place("cpu", channels_last=True)
    assert not any(layer._forward_pre_hooks for layer in last.modules())
