"""What a view says that it is decides what happens to it, and its channels do not."""

from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Generator, Tensor

from workbench.checks.sheet import for_people
from workbench.checks.thumbnails import is_picture, medium_of
from workbench.media.declared import modalities_of
from workbench.media.frames import Frames
from workbench.media.spectrogram import Grey, Spectrogram
from workbench.media.view import Sound, View
from workbench.media.views import AnyView
from workbench.parts.augment import (
    Augment,
    Pictures,
    Spectrograms,
    change,
    mix,
    with_blends,
)
from workbench.parts.example_inputs import example_inputs
from workbench.parts.model import MediaModel
from workbench.parts.model_spec import TTA
from workbench.parts.weights import RANDOM
from workbench.scoring.evaluator import variants
from workbench.searching.augment_sheet import KINDS
from workbench.values import kinds

PX = 32


class Stacked(Spectrogram):
    """A spectrogram of several channels, such as levels and their changes."""

    kind: Literal["stacked"] = "stacked"
    version: Literal[1] = 1
    image_px: int = PX
    channels: int = 3

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, self.image_px, self.image_px, self.channels)

    def picture(self, sound: Sound) -> Grey:
        raise NotImplementedError


VIEWS: dict[str, View] = {
    "two": Stacked(channels=2),
    "three": Stacked(channels=3),
    "frames": Frames(num_frames=1, image_px=PX),
}
MODALITIES = modalities_of(VIEWS)
HEARD = ("two", "three")
MIRRORED = Augment(pictures=Pictures(hflip=1.0, self_blend=1.0))


def inputs(batch: int = 4) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: torch.rand_like(x) for name, x in example_inputs(VIEWS, batch).items()}


def seeded() -> Generator:
    return Generator().manual_seed(0)


@pytest.mark.parametrize("kind", kinds(AnyView))
def test_every_view_declares_what_its_array_is(kind: str) -> None:
    view: View = TypeAdapter(AnyView).validate_python({"kind": kind})
    if view.modality == "vector":
        assert view.shape == (len(view.names),)
        return
    if view.modality == "waveform":
        assert (len(view.shape), view.dtype) == (1, np.int16)
        return
    assert len(view.shape) == 4
    assert view.dtype is np.uint8
    # What changes colours wants three; studies of before told sounds by their one channel.
    assert view.shape[-1] == (3 if view.modality == "picture" else 1)


def test_it_is_no_setting_and_names_no_view() -> None:
    class Said(Frames):
        modality: ClassVar = "spectrogram"

    view, other = Frames(), Said()
    assert "modality" not in view.model_dump()
    assert view.uid == other.uid


def test_a_sound_in_colour_is_neither_mirrored_nor_blended() -> None:
    before = inputs()
    out = change(before, MODALITIES, MIRRORED, seeded())
    assert all(out[name] is before[name] for name in HEARD)
    assert torch.allclose(out["frames"], before["frames"].flip(-1), atol=1e-6)
    targets = torch.zeros(4, dtype=torch.int64)
    blended, labels = with_blends(before, targets, MODALITIES, MIRRORED, seeded())
    assert len(labels) == 8
    for name in HEARD:
        assert torch.equal(blended[name], before[name].repeat(2, 1, 1, 1, 1))


@pytest.mark.parametrize("tta", ["hflip", "six"])
def test_tta_shows_a_sound_in_colour_as_it_is(tta: TTA) -> None:
    before = inputs()
    seen = list(variants(before, MODALITIES, tta))
    assert all(one[name] is before[name] for one in seen for name in HEARD)
    assert torch.equal(seen[1]["frames"], before["frames"].flip(-1))


def test_a_sound_of_any_channels_is_changed_as_a_sound_and_mixed() -> None:
    how = Augment(
        spectrograms=Spectrograms(
            crop_scale=0.6, time_shift=0.3, gain_db=6, time_mask=0.4, frequency_mask=0.4
        ),
        cutmix_alpha=1.0,
    )
    before = inputs()
    out = change(before, MODALITIES, how, seeded())
    assert out["frames"] is before["frames"]
    for name in HEARD:
        assert out[name].shape == before[name].shape
        assert not torch.allclose(out[name], before[name])
    mixed = mix(out, MODALITIES, how, seeded())
    assert {name: x.shape for name, x in mixed.inputs.items()} == {
        name: x.shape for name, x in before.items()
    }


def test_the_channels_do_not_change_what_is_drawn() -> None:
    how = Augment(spectrograms=Spectrograms(hflip=0.5, time_shift=0.3, time_mask=0.4))
    one = torch.rand(8, 1, 1, PX, PX, generator=seeded())
    alone = change({"x": one}, {"x": "spectrogram"}, how, seeded())["x"]
    thrice = change({"x": one.repeat(1, 1, 3, 1, 1)}, {"x": "spectrogram"}, how, seeded())["x"]
    torch.testing.assert_close(thrice, alone.repeat(1, 1, 3, 1, 1))


def test_a_model_reads_each_by_a_backbone() -> None:
    model = MediaModel("test_resnet", VIEWS, image_px=PX, weights=RANDOM).eval()
    assert model(inputs()).shape == (4, 2)


@pytest.mark.parametrize("name", HEARD)
def test_people_see_a_sound_of_any_channels(name: str) -> None:
    view = VIEWS[name]
    assert (is_picture(view), medium_of(view), KINDS[view.modality]) == (
        True,
        "sound",
        "spectrograms",
    )
    (picture,) = for_people(view, view.neutral())
    assert picture.shape == (PX, PX, 3)
