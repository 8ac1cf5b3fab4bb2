import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.parts.declared import MODALITIES
from workbench.errors import ConfigError
from workbench.trial.served import FlatModel, Shape

SHAPES: dict[str, Shape] = {"mel": (1, 1, 3, 2, 1), "frames": (1, 2, 4, 5, 3)}


class Keep(nn.Module):
    """Keeps what it was given; its logits are (0, log 3), so P(fake) is 3/4."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Mapping[str, Tensor] = {}

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        self.seen = inputs
        batch = next(iter(inputs.values())).shape[0]
        return torch.tensor([[0.0, math.log(3)]]).repeat(batch, 1)


def views(seed: int, count: int) -> dict[str, np.ndarray]:
    made = np.random.default_rng(seed)
    return {v: made.integers(0, 256, (count, *s), dtype=np.uint8) for v, s in SHAPES.items()}


def test_a_row_is_the_views_end_to_end() -> None:
    arrays, model = views(0, 3), Keep()
    rows = np.concatenate([array.reshape(3, -1) for array in arrays.values()], axis=1)
    FlatModel(model, SHAPES, MODALITIES)(torch.from_numpy(rows))
    assert list(model.seen) == ["mel", "frames"]
    for view, array in arrays.items():
        expected = array[:, 0].transpose(0, 1, 4, 2, 3).astype(np.float32) / 255
        np.testing.assert_array_equal(model.seen[view].numpy(), expected)


def test_bytes_and_floats_of_the_same_values_are_the_same() -> None:
    rows = torch.randint(
        0, 256, (2, FlatModel(Keep(), SHAPES, MODALITIES).num_values), dtype=torch.uint8
    )
    as_bytes, as_floats = Keep(), Keep()
    FlatModel(as_bytes, SHAPES, MODALITIES, image_px=3)(rows)
    FlatModel(as_floats, SHAPES, MODALITIES, image_px=3)(rows.float())
    for view in SHAPES:
        torch.testing.assert_close(as_bytes.seen[view], as_floats.seen[view], rtol=0, atol=0)


def test_frames_are_resized_to_the_side_the_model_reads() -> None:
    model = Keep()
    served = FlatModel(model, SHAPES, MODALITIES, image_px=6)
    rows = torch.full((2, served.num_values), 51, dtype=torch.uint8)  # 51 / 255 = 1/5
    served(rows)
    assert model.seen["frames"].shape == (2, 2, 3, 6, 6)
    assert model.seen["mel"].shape == (2, 1, 1, 6, 6)
    torch.testing.assert_close(model.seen["mel"], torch.full((2, 1, 1, 6, 6), 0.2))


def test_a_smaller_image_averages_what_it_replaces() -> None:
    model = Keep()
    served = FlatModel(model, {"image": (1, 1, 4, 4, 1)}, MODALITIES, image_px=1)
    rows = torch.zeros(1, 16, dtype=torch.uint8)
    rows[0, ::2] = 255  # every second column is white
    served(rows)
    # Half of 255, rounded to a whole level as on the way to training.
    assert model.seen["image"].item() == pytest.approx(128 / 255)


def test_the_answer_is_the_probability_of_fake() -> None:
    served = FlatModel(Keep(), SHAPES, MODALITIES)
    scores = served(torch.zeros(2, served.num_values, dtype=torch.uint8))
    torch.testing.assert_close(scores, torch.tensor([0.75, 0.75]))


class Mean(nn.Module):
    """Its P(fake) is the mean level of `mel`; remembers the vectors it saw."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        level = inputs["mel"].flatten(1).mean(dim=1)
        self.vectors = inputs["values"]
        return torch.stack([torch.zeros_like(level), torch.logit(level)], dim=1)


def test_a_file_of_several_segments_gets_the_mean_of_their_scores() -> None:
    model = Mean()
    served = FlatModel(model, {"mel": (2, 1, 1, 2, 1), "values": (1, 3)}, MODALITIES)
    assert not served.takes_bytes
    # Two segments of two pixels, levels 51 / 255 = 0.2 and 153 / 255 = 0.6, and one vector.
    rows = torch.tensor([[51.0, 51.0, 153.0, 153.0, -1.0, 0.5, 300.0]])
    torch.testing.assert_close(served(rows), torch.tensor([0.4]))
    assert model.vectors.tolist() == [[-1.0, 0.5, 300.0]]


def test_a_row_of_another_length_is_refused() -> None:
    served = FlatModel(Keep(), SHAPES, MODALITIES)
    with pytest.raises(RuntimeError, match="split"):
        served(torch.zeros(2, served.num_values + 1, dtype=torch.uint8))


def test_a_model_of_no_view_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one view"):
        FlatModel(Keep(), {}, {})
