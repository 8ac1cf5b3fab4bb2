import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.scoring.views import Numbers, spec_of
from workbench.media.view import Array
from workbench.media.waveform import Waveform
from workbench.parts.model_spec import TTA
from workbench.scoring.evaluator import DecodedViews, Evaluator
from workbench.scoring.served import FlatModel

VIEWS = {"mel": Numbers(shape_=(1, 4, 4, 1)), "frames": Numbers(shape_=(2, 4, 4, 3))}


class Keep(nn.Module):
    """Keeps what it was given; its logits are (0, log 3), so P(fake) is 3/4."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Mapping[str, Tensor] = {}

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        self.seen = inputs
        batch = next(iter(inputs.values())).shape[0]
        return torch.tensor([[0.0, math.log(3)]]).repeat(batch, 1)


class Brightness(nn.Module):
    """Its P(fake) is the mean level of `mel` and of the left half of `frames`."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        left = inputs["frames"][..., :2].flatten(1).mean(dim=1)
        level = (inputs["mel"].flatten(1).mean(dim=1) + left) / 2
        return torch.stack([torch.zeros_like(level), torch.logit(level)], dim=1)


def arrays_of(views: Mapping[str, Numbers], count: int) -> dict[str, Array]:
    made = np.random.default_rng(0)
    return {
        name: made.integers(0, 256, (count, *view.stored_shape), dtype=np.uint8)
        for name, view in views.items()
    }


def rows_of(arrays: Mapping[str, Array]) -> Tensor:
    """Return a row for each file: its views end to end."""
    flat = [array.reshape(len(array), -1) for array in arrays.values()]
    return torch.from_numpy(np.concatenate(flat, axis=1))


def test_a_row_is_the_views_end_to_end() -> None:
    arrays, model = arrays_of(VIEWS, 3), Keep()
    FlatModel(spec_of(VIEWS, image_px=4), model)(rows_of(arrays))
    assert list(model.seen) == ["mel", "frames"]
    for view, array in arrays.items():
        expected = array[:, 0].transpose(0, 1, 4, 2, 3).astype(np.float32) / 255
        np.testing.assert_array_equal(model.seen[view].numpy(), expected)


@pytest.mark.parametrize("image_px", [3, 4])
def test_bytes_and_floats_of_the_same_values_are_the_same(image_px: int) -> None:
    spec, rows = spec_of(VIEWS, image_px=image_px), rows_of(arrays_of(VIEWS, 2))
    as_bytes, as_floats, given = Keep(), Keep(), rows.float()
    FlatModel(spec, as_bytes)(rows)
    FlatModel(spec, as_floats)(given)
    for view in VIEWS:
        torch.testing.assert_close(as_bytes.seen[view], as_floats.seen[view], rtol=0, atol=0)
    assert torch.equal(given, rows.float())  # what was handed over is left as it is


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, -1])
def test_a_row_with_no_number_has_no_score(value: float, place: int) -> None:
    rows = rows_of(arrays_of(VIEWS, 3)).float()
    rows[1, place] = value
    scores = FlatModel(spec_of(VIEWS, image_px=4), Keep())(rows)
    assert scores.isnan().tolist() == [False, True, False]
    torch.testing.assert_close(scores[::2], torch.full((2,), 0.75, dtype=torch.float64))


def test_frames_are_resized_to_the_side_the_model_reads() -> None:
    model = Keep()
    served = FlatModel(spec_of(VIEWS, image_px=6), model)
    rows = torch.full((2, served.num_values), 51, dtype=torch.uint8)  # 51 / 255 = 1/5
    served(rows)
    assert model.seen["frames"].shape == (2, 2, 3, 6, 6)
    assert model.seen["mel"].shape == (2, 1, 1, 6, 6)
    torch.testing.assert_close(model.seen["mel"], torch.full((2, 1, 1, 6, 6), 0.2))


def test_a_smaller_image_averages_what_it_replaces() -> None:
    model = Keep()
    served = FlatModel(spec_of({"image": Numbers(shape_=(1, 4, 4, 1))}, image_px=1), model)
    rows = torch.zeros(1, 16, dtype=torch.uint8)
    rows[0, ::2] = 255  # every second column is white
    served(rows)
    # Half of 255, rounded to a whole level as on the way to training.
    assert model.seen["image"].item() == pytest.approx(128 / 255)


def test_the_answer_is_the_probability_of_fake() -> None:
    served = FlatModel(spec_of(VIEWS, image_px=4), Keep())
    scores = served(torch.zeros(2, served.num_values, dtype=torch.uint8))
    torch.testing.assert_close(scores, torch.tensor([0.75, 0.75], dtype=torch.float64))


class Mean(nn.Module):
    """Its P(fake) is the mean level of `mel`; remembers the vectors it saw."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        level = inputs["mel"].flatten(1).mean(dim=1)
        self.vectors = inputs["vector"]
        return torch.stack([torch.zeros_like(level), torch.logit(level)], dim=1)


def test_a_file_of_several_segments_gets_the_mean_of_their_scores() -> None:
    model = Mean()
    views = {"mel": Numbers(shape_=(1, 2, 2, 1), segments=2), "vector": Numbers(shape_=(3,))}
    served = FlatModel(spec_of(views, image_px=2), model)
    assert not served.takes_bytes
    # Two segments of four pixels, levels 51 / 255 = 0.2 and 153 / 255 = 0.6, and one vector.
    rows = torch.tensor([[*[51.0] * 4, *[153.0] * 4, -1.0, 0.5, 300.0]])
    torch.testing.assert_close(served(rows), torch.tensor([0.4], dtype=torch.float64))
    assert model.vectors.tolist() == [[-1.0, 0.5, 300.0]] * 2


@pytest.mark.parametrize("tta", ["none", "hflip", "six"])
def test_its_scores_are_those_of_the_evaluator_and_of_its_exported_graph(tta: TTA) -> None:
    views = {**VIEWS, "mel": Numbers(shape_=(1, 4, 4, 1), segments=3)}
    spec = spec_of(views, image_px=6, tta=tta)
    arrays, model = arrays_of(views, 5), Brightness()
    source = DecodedViews(spec, arrays, device=torch.device("cpu"))
    expected = Evaluator(spec, model).scores(source, batch_size=4)
    served, rows = FlatModel(spec, model).eval(), rows_of(arrays)
    np.testing.assert_allclose(served(rows).numpy(), expected, atol=1e-6)
    graph = torch.export.export(
        served, (rows[:2],), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    ).module()
    np.testing.assert_allclose(graph(rows).numpy(), expected, atol=1e-6)
    assert np.ptp(expected) > 0.01


def test_a_waveform_is_read_from_a_row_as_it_is_from_its_store() -> None:
    model, spec = (
        Loudness(),
        spec_of({"waveform": Waveform(num_samples=4_000, segments=2)}, image_px=32),
    )
    arrays = {"waveform": np.full((2, 2, 4_000), 8_192, np.int16)}  # a quarter of full scale
    arrays["waveform"][1, 1] = -16_384  # and half of it
    source = DecodedViews(spec, arrays, device=torch.device("cpu"))
    expected = Evaluator(spec, model).scores(source, batch_size=4)
    np.testing.assert_allclose(expected, [0.25, 0.375])
    served = FlatModel(spec, model)
    assert not served.takes_bytes
    np.testing.assert_allclose(served(rows_of(arrays).float()).numpy(), expected)


class Loudness(nn.Module):
    """Its P(fake) is the mean distance of `waveform` from 0."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        level = inputs["waveform"].abs().mean(dim=1)
        return torch.stack([torch.zeros_like(level), torch.logit(level)], dim=1)


def test_a_row_of_another_length_is_refused() -> None:
    served = FlatModel(spec_of(VIEWS, image_px=4), Keep())
    with pytest.raises(RuntimeError, match="split"):
        served(torch.zeros(2, served.num_values + 1, dtype=torch.uint8))
