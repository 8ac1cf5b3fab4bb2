"""AASIST, AASIST-L and the raw residual network, and how a model reads waveforms by them."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from tests.parts.declared import Declared, picture
from workbench.errors import ConfigError
from workbench.media.declared import Modality
from workbench.media.image import Image
from workbench.media.view import View
from workbench.media.waveform import Waveform
from workbench.parts.augment import Augment, Pictures, Spectrograms, change, mix
from workbench.parts.augment_sound import Waveforms, change_waveforms
from workbench.parts.model import MediaModel
from workbench.parts.pixels import as_input
from workbench.parts.torchvision_fix import import_timm
from workbench.parts.transfer import Transfer
from workbench.parts.weights import RANDOM
from workbench.rules.judge import judge, judge_published
from workbench.rules.rulebook import Rulebook
from workbench.submission.bundle_code import code_for

import_timm()  # first: it mends what the next line would stumble over
layers = import_module("workbench.parts.aasist")

NAMES = ("raw_resnet", "aasist_l", "aasist")
SHORT = Declared("waveform", (4_000,))
MODALITIES: dict[str, Modality] = {"waveform": "waveform"}


def wave_model(name: str = "raw_resnet") -> MediaModel:
    torch.manual_seed(0)
    return MediaModel(name, {"waveform": SHORT}, image_px=32, weights=RANDOM)


def noise(batch: int = 3, length: int = 4_000) -> dict[str, torch.Tensor]:
    return {"waveform": 0.1 * torch.randn(batch, length, generator=Generator().manual_seed(0))}


@pytest.mark.parametrize(("name", "parameters"), [("aasist", 297_866), ("aasist_l", 85_306)])
def test_it_has_the_parameters_that_the_paper_gives(name: str, parameters: int) -> None:
    # 297k and 85k in table 1 of arXiv:2110.01200; with their own two outputs.
    with torch.device("meta"):
        model = import_timm().create_model(name, num_classes=2)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(("name", "parameters"), [("aasist", 297_866), ("aasist_l", 85_306)])
def test_the_rulebook_counts_it_and_sees_no_pretraining(name: str, parameters: int) -> None:
    views = {"waveform": Waveform()}
    verdict = judge(Rulebook(), name, views, image_px=224, weights=RANDOM)
    assert (verdict.legal, verdict.pretraining) == (True, "none")
    assert verdict.params_true == parameters
    # thop sees layers; what stands in a module of several, places and stack nodes, it does not.
    width = 64 if name == "aasist" else 24
    assert verdict.params_thop == parameters - (23 + 2) * width
    assert verdict.macs is not None and verdict.macs > 1e9
    assert judge_published(Rulebook(), name).params_true == parameters


@pytest.mark.parametrize("name", NAMES)
def test_all_of_it_learns_and_a_waveform_gives_two_logits(name: str) -> None:
    model = wave_model(name)
    logits = model(noise(length=12_000))  # five nodes of time: of one, attention learns nothing
    logits.square().sum().backward()
    assert logits.shape == (3, 2)
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_sinc_filter_passes_its_band_alone() -> None:
    responses = torch.fft.rfft(layers.sinc_bank()[:, 0], 16_000).abs()  # a bin a hertz
    mel = np.linspace(0, 2595 * np.log10(1 + 8_000 / 700), 71)
    edges = 700 * (10 ** (mel / 2595) - 1)
    for number in (30, 50, 69):
        low, high = edges[number : number + 2]
        peak = int(responses[number].argmax())
        assert low - 60 <= peak <= high + 60
        elsewhere = responses[number, : int(low - 300)]
        assert elsewhere.max() < 0.1 * responses[number].max()


def test_attention_among_equal_nodes_is_even() -> None:
    layer = layers.GraphAttention(2, 1, temperature=2.0).eval()
    with torch.no_grad():
        for linear, weight in ((layer.attended, [[1.0, 0.0]]), (layer.own, [[0.0, 1.0]])):
            linear.weight.copy_(torch.tensor(weight))
            linear.bias.zero_()
        layer.score.weight.zero_()
    nodes = torch.tensor([[[1.0, 10.0], [3.0, 20.0]]])
    # The mean of the first values, 2, and each node's own second one; SELU is 1.0507 x above 0.
    expected = torch.tensor([[[12.0], [22.0]]]) * 1.0507
    torch.testing.assert_close(layer(nodes), expected, rtol=1e-4, atol=0)


def test_a_pooling_keeps_the_nodes_that_score_highest_times_their_scores() -> None:
    pool = layers.GraphPool(1, 0.5).eval()
    with torch.no_grad():
        pool.score.weight.fill_(1.0)
        pool.score.bias.zero_()
    nodes = torch.tensor([[[0.0], [2.0], [-1.0], [1.0]]])
    kept = torch.tensor([[[2.0], [1.0]]])
    torch.testing.assert_close(pool(nodes), kept * torch.sigmoid(kept))
    assert pool(nodes[:, :1]).shape == (1, 1, 1)


def test_pairs_are_scored_by_where_their_nodes_are() -> None:
    torch.manual_seed(0)
    layer = layers.MixedAttention(2, 3, temperature=1.0).eval()
    first, second, stack = torch.randn(1, 2, 2), torch.randn(1, 3, 2), torch.randn(1, 1, 2)
    before = layer(first, second, stack)
    for weight, changes in ((0, (True, False)), (1, (True, True)), (2, (False, True))):
        kept = layer.score.weight.detach().clone()
        with torch.no_grad():
            layer.score.weight[weight] += 5
        after = layer(first, second, stack)
        assert (
            tuple(not torch.equal(a, b) for a, b in zip(after[:2], before[:2], strict=True))
            == changes
        )
        torch.testing.assert_close(after[2], before[2])
        with torch.no_grad():
            layer.score.weight.copy_(kept)


@pytest.mark.parametrize("name", NAMES)
def test_the_exported_graph_says_the_same(name: str) -> None:
    model = wave_model(name).eval()
    program: Any = torch.export.export(
        model, (noise(),), dynamic_shapes=({"waveform": {0: torch.export.Dim("batch")}},)
    )
    torch.testing.assert_close(program.module()(noise(5)), model(noise(5)))


def test_a_backbone_reads_pictures_or_waveforms() -> None:
    views: dict[str, View] = {"waveform": Waveform(), "image": Image(image_px=32)}
    both = {"waveform": "raw_resnet", "image": "test_resnet"}
    assert judge(Rulebook(), both, views, image_px=32, weights=RANDOM).legal
    declared = {"waveform": SHORT, "image": picture(1, 32, 32, 3)}
    assert MediaModel(both, declared, image_px=32, weights=RANDOM).widths[0] == 256
    said = "test_resnet reads pictures, and the view waveform holds none. Write a backbone for each"
    with pytest.raises(ConfigError, match=said):
        judge(Rulebook(), "test_resnet", views, image_px=32, weights=RANDOM)
    with pytest.raises(ConfigError, match="aasist_l reads waveforms, and the view image holds non"):
        judge(Rulebook(), "aasist_l", views, image_px=32, weights=RANDOM)


def test_its_backbone_is_frozen_and_laid_out_as_all_are() -> None:
    model = wave_model("aasist_l")
    first = model.get_parameter("readers.waveform.backbone.encoder.0.layers.0.weight")
    assert first.is_contiguous(memory_format=torch.channels_last)
    model.freeze(True)
    assert {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad} == {"head"}
    assert not model.train().readers["waveform"].training


def test_layers_nearer_the_samples_learn_slower() -> None:
    model = wave_model()
    scales = {
        id(p): group.get("lr_scale", 1.0)
        for group in Transfer(layer_decay=0.5).groups(model, 0.0)
        for p in group["params"]
    }
    backbone: Any = model.get_submodule("readers.waveform.backbone")
    assert len(scales) == sum(1 for _ in model.parameters())
    assert scales[id(backbone.stem.weight)] < scales[id(backbone.blocks[0].scale.weight)]
    assert (
        scales[id(backbone.blocks[5].scale.weight)]
        < scales[id(model.get_parameter("head.weight"))]
        == 1.0
    )


def test_stored_samples_are_read_as_shares_of_full_scale() -> None:
    stored = torch.tensor([[16_384, -32_768]], dtype=torch.int16)
    assert as_input(stored).tolist() == [[0.5, -1.0]]


def test_what_changes_pictures_and_spectrograms_leaves_it_as_it_is() -> None:
    how = Augment(
        pictures=Pictures(hflip=1.0, noise=1.0, jpeg=1.0),
        spectrograms=Spectrograms(time_shift=0.5, gain_db=10, time_mask=0.5),
    )
    before = noise()
    after = change(before, MODALITIES, how, Generator())
    assert after["waveform"] is before["waveform"]


def test_a_shift_moves_samples_in_a_circle_and_a_gain_multiplies_them() -> None:
    x = torch.arange(1, 9) / 100.0 + torch.zeros(4, 1)
    moved = change_waveforms(x, Waveforms(time_shift=0.5), Generator().manual_seed(1))
    by = [int((row == 0.01).nonzero()) for row in moved]
    assert len(set(by)) > 1
    for row, one in zip(moved, by, strict=True):
        torch.testing.assert_close(row, x[0].roll(one))
    louder = change_waveforms(x, Waveforms(gain_db=6), Generator().manual_seed(1)) / x
    torch.testing.assert_close(louder, louder[:, :1].expand_as(louder))
    assert 10 ** (-6 / 20) <= louder.min() < louder.max() <= 10 ** (6 / 20)
    clipped = change_waveforms(x * 12, Waveforms(gain_db=40), Generator().manual_seed(1))
    assert clipped.abs().max() == 1


def test_mixup_adds_two_sounds() -> None:
    before = noise(2)
    mixed = mix(before, MODALITIES, Augment(mixup_alpha=1.0), Generator().manual_seed(3))
    x = before["waveform"]
    expected = x * mixed.share + x[mixed.partner] * (1 - mixed.share)
    torch.testing.assert_close(mixed.inputs["waveform"], expected)


@pytest.mark.parametrize(
    ("backbone", "carried"),
    [("aasist_l", "aasist"), ("aasist", "aasist"), ("raw_resnet", "raw_resnet"), ("resnet18", "")],
)
def test_only_a_bundle_of_it_carries_it(backbone: str, carried: str) -> None:
    files = code_for({Image}, [backbone]).files
    there = {n for n in ("aasist", "raw_resnet") if Path(f"workbench/parts/{n}.py") in files}
    assert there == {carried} - {""}
