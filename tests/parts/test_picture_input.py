"""What a backbone sees of pictures, by hand; and that nothing else of a model changes by it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.parts.declared import Declared, picture, spectrogram
from tests.submission.test_bundle_code import MOST_CODE_LINES, num_lines
from workbench.errors import ConfigError
from workbench.media.frames import Frames
from workbench.parts import backbones
from workbench.parts.example_inputs import example_inputs
from workbench.parts.model import PLAIN, MediaModel, Reading
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.picture_input import CHANNELS, PictureInput, transform
from workbench.parts.suited import require_readable
from workbench.parts.transfer import Transfer
from workbench.parts.weights import RANDOM
from workbench.rules.counts import count
from workbench.scoring.evaluator import DecodedViews, Evaluator
from workbench.scoring.served import FlatModel
from workbench.submission.bundle_code import code_for
from workbench.trial.memory_count import cost_key, peak_of_pass
from workbench.trial.precision import logits_of
from workbench.trial.recipe import Recipe
from workbench.trial.training_spec import TrainingSpec

VIEWS = {"mel": spectrogram(1, 32, 32, 1), "frames": picture(3, 32, 32, 3)}
OTHERS: list[PictureInput] = ["rgb+srm", "fft-magnitude"]
INPUT_CODE_LINES = 40
"""What they may have beside in a bundle."""

SPEC = ModelSpec(
    views={"frames": Frames(num_frames=2, image_px=32)},
    backbone="test_resnet",
    weights=RANDOM,
    image_px=32,
)
RECIPE = Recipe(data="0", model=SPEC, training=TrainingSpec(optimizer=AdamW(lr=1e-3)))


def model(picture_input: PictureInput, views: dict[str, Declared] = VIEWS) -> MediaModel:
    torch.manual_seed(0)
    reading = Reading(picture_input=picture_input)
    return MediaModel("test_resnet", views, image_px=32, weights=RANDOM, reading=reading)


def point(level: float = 4.0, side: int = 7) -> Tensor:
    """Return a grey picture of 100 levels with a point in the middle that is so much brighter."""
    levels = torch.full((1, 3, side, side), 100.0)
    levels[:, :, side // 2, side // 2] += level
    return levels / 255


def test_of_a_plain_picture_no_residual_is_left_where_numbers_have_the_ten_bits_of_tf32() -> None:
    tested = transform("rgb+srm")
    for buffer in tested.buffers():
        bits = buffer.contiguous().view(torch.int32)
        buffer.copy_(((bits + 0x1000) & ~0x1FFF).view(torch.float32))
    residuals = 4 * (tested(torch.full((1, 3, 7, 7), 0.8))[0, 3:] - 0.5)
    assert residuals.abs().max() < 1e-4


def test_residuals_of_a_point_by_hand() -> None:
    found = transform("rgb+srm")(point())
    assert found.shape == (1, 6, 7, 7)
    assert torch.equal(found[:, :3], point())
    residuals = 4 * (found[0, 3:] - 0.5)  # in grey levels
    # A point shows each filter turned about, and all of them are symmetric: 4 times the filter.
    first, second, third = residuals[:, 1:6, 1:6]
    rows = [[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]
    expected = torch.tensor(rows, dtype=torch.float32).clamp(-2, 2)
    torch.testing.assert_close(first[1:4, 1:4], expected, atol=1e-4, rtol=0)
    assert first[0].abs().max() < 1e-4
    rows = [
        [-1, 2, -2, 2, -1],
        [2, -6, 8, -6, 2],
        [-2, 8, -12, 8, -2],
        [2, -6, 8, -6, 2],
        [-1, 2, -2, 2, -1],
    ]
    expected = (torch.tensor(rows, dtype=torch.float32) * 4 / 12).clamp(-2, 2)
    torch.testing.assert_close(second, expected, atol=1e-4, rtol=0)
    assert third[2].tolist() == pytest.approx([0, 2, -2, 2, 0], abs=1e-4)  # -4 is cut
    assert third[[0, 1, 3, 4]].abs().max() < 1e-4


def test_what_is_flat_has_no_residuals_up_to_its_edges() -> None:
    found = transform("rgb+srm")(torch.full((2, 3, 9, 9), 0.3))
    torch.testing.assert_close(found[:, 3:], torch.full((2, 3, 9, 9), 0.5), atol=1e-4, rtol=0)


def test_magnitudes_by_hand() -> None:
    side, amplitude = 16, 0.25
    wave = amplitude * np.cos(2 * np.pi * 4 * np.arange(side) / side)
    grey = torch.from_numpy(0.5 + np.tile(wave, (side, 1))).float()
    [found] = transform("fft-magnitude")(grey.expand(1, 3, side, side))[0]
    # The middle: half of 16. Four columns to either side: half of an amplitude times 16.
    places = {(8, 8): 0.5 * side, (8, 4): amplitude / 2 * side, (8, 12): amplitude / 2 * side}
    for (row, column), magnitude in places.items():
        assert float(found[row, column]) == pytest.approx(0.5 + np.log10(magnitude) / 6, abs=1e-5)
        found[row, column] = 0
    assert found.abs().max() < 1e-6  # everywhere else there is nothing
    assert CHANNELS == {"rgb+srm": 6, "fft-magnitude": 1}


@pytest.mark.parametrize("kind", OTHERS)
def test_pictures_alone_are_seen_otherwise(kind: PictureInput) -> None:
    tested, plain = model(kind), model("rgb")
    shape = {n: tuple(t.shape) for n, t in tested.state_dict().items()}
    other = {n: tuple(t.shape) for n, t in plain.state_dict().items()}
    [changed] = [name for name in shape if shape[name] != other[name]]
    assert changed.startswith("readers.frames.") and shape[changed][1] == CHANNELS[kind]
    assert shape.keys() == other.keys()  # filters are no weights: they are in no file
    assert tested(example_inputs(VIEWS, 2)).shape == (2, 2)


def test_colours_are_normalised_as_the_weights_expect() -> None:
    mean, std = backbones.preprocessing("resnet18.a1_in1k", RANDOM, 6)
    assert mean[:3] == mean[3:] == (0.485, 0.456, 0.406)
    assert std[:3] == std[3:] == (0.229, 0.224, 0.225)


@pytest.mark.parametrize("kind", OTHERS)
def test_filters_add_no_parameter_that_thop_or_anyone_counts(kind: PictureInput) -> None:
    alone = {"frames": VIEWS["frames"]}
    inputs = example_inputs(alone, 1)
    plain = count(lambda: model("rgb", alone), inputs)
    other = count(lambda: model(kind, alone), inputs)
    # The first convolution of test_resnet: 16 filters of 3 x 3 over the channels.
    assert other.true - plain.true == 16 * 9 * (CHANNELS[kind] - 3)
    assert other.thop == other.true


@pytest.mark.parametrize("kind", OTHERS)
def test_what_it_costs_is_counted_and_kept_apart(kind: PictureInput) -> None:
    other = RECIPE.replaced(picture_input=kind)
    assert cost_key(other.model) == {**cost_key(SPEC), "picture_input": kind}
    assert peak_of_pass(other, "cpu", False, 4) > 0  # on tensors without contents
    assert other.uid != RECIPE.uid


def test_residuals_are_not_computed_in_bfloat16() -> None:
    tested = transform("rgb+srm")
    torch.manual_seed(0)
    x = torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        within = tested(x)
    assert torch.equal(within, tested(x))
    assert logits_of(model("rgb+srm"), example_inputs(VIEWS, 2), "bfloat16").shape == (2, 2)


def test_blocks_are_skipped_with_as_many_channels() -> None:
    tested = model("rgb+srm", {"frames": VIEWS["frames"]})
    Transfer(stochastic_depth=0.2).skip_blocks(tested, {"frames": "test_resnet"})
    assert tested(example_inputs(tested.views, 2)).shape == (2, 2)


def test_without_pictures_it_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`picture_input` is rgb\+srm, and no view is of pic"):
        require_readable(Reading(picture_input="rgb+srm"), {"mel": VIEWS["mel"]})
    require_readable(PLAIN, {"mel": VIEWS["mel"]})
    require_readable(Reading(picture_input="fft-magnitude"), VIEWS)


@pytest.mark.parametrize("kind", OTHERS)
def test_the_exported_graph_says_what_the_evaluator_says(kind: PictureInput) -> None:
    spec = SPEC.model_copy(update={"picture_input": kind, "tta": "hflip"})
    torch.manual_seed(0)
    tested = spec.build().eval()
    rng = np.random.default_rng(0)
    arrays = {"frames": rng.integers(0, 256, (2, 1, 2, 32, 32, 3)).astype(np.uint8)}
    source = DecodedViews(spec, arrays, device=torch.device("cpu"))
    expected = Evaluator(spec, tested).scores(source, batch_size=2)
    assert expected[0] != expected[1]
    rows = torch.from_numpy(arrays["frames"].reshape(2, -1))
    graph = torch.export.export(FlatModel(spec, tested).eval(), (rows,)).module()
    assert graph(rows).detach().numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["rgb", *OTHERS])
def test_a_bundle_carries_the_filters_where_its_model_has_them(kind: PictureInput) -> None:
    code = code_for({Frames}, ["resnet18"], has_picture_input=kind != "rgb")
    source = code.files[Path("workbench/parts/picture_input.py")].decode()
    assert ("class Residuals" in source) == (kind != "rgb")
    most = MOST_CODE_LINES + INPUT_CODE_LINES * (kind != "rgb")
    assert sum(map(num_lines, code.files.values())) <= most
