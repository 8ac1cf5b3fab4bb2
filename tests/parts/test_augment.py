"""What holds for every augmentation, whichever it is; what each does is tested beside this."""

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from tests.parts.declared import MODALITIES
from workbench.media.declared import Modality
from workbench.parts.augment import Augment, Pictures, Spectrograms, change, warnings
from workbench.parts.augment_draws import replace

PICTURES: dict[str, tuple[dict[str, Any], Any]] = {
    "hflip": ({}, 0.5),
    "vflip": ({}, 0.5),
    "rotation_deg": ({}, 40),
    "shear_deg": ({}, 30),
    "translation": ({}, 0.3),
    "crop_scale": ({}, 0.4),
    "crop_aspect": ({}, 2.0),
    "centre_crop": ({}, 0.7),
    "policy": ({}, "trivialaugment"),
    "policy_ops": ({"policy": "randaugment"}, 4),
    "policy_magnitude": ({"policy": "randaugment"}, 25),
    "policy_magnitude_std": ({"policy": "randaugment"}, 10),
    "brightness": ({}, 0.5),
    "contrast": ({}, 0.5),
    "saturation": ({}, 0.5),
    "hue_deg": ({}, 60),
    "grayscale": ({}, 0.5),
    "blur": ({}, 0.7),
    "blur_sigma_px": ({"blur": 1}, 5.0),
    "noise": ({}, 0.7),
    "noise_levels": ({"noise": 1}, 30),
    "rescale": ({}, 0.7),
    "rescale_to": ({"rescale": 1}, 0.1),
    "jpeg": ({}, 0.7),
    "jpeg_quality": ({"jpeg": 1}, 10),
    "erase": ({}, 0.7),
    "erase_share": ({"erase": 1}, 0.5),
}
"""Each field: what it needs beside it, and a value that does something."""

SPECTROGRAMS: dict[str, tuple[dict[str, Any], Any]] = {
    "hflip": ({}, 0.5),
    "vflip": ({}, 0.5),
    "crop_scale": ({}, 0.4),
    "time_shift": ({}, 0.3),
    "gain_db": ({}, 12),
    "time_mask": ({}, 0.4),
    "num_time_masks": ({"time_mask": 0.3}, 6),
    "frequency_mask": ({}, 0.4),
    "num_frequency_masks": ({"frequency_mask": 0.3}, 6),
}

EVERY = [("pictures", field, *case) for field, case in PICTURES.items()]
EVERY += [("spectrograms", field, *case) for field, case in SPECTROGRAMS.items()]
each = pytest.mark.parametrize(
    ("group", "field", "beside", "value"), EVERY, ids=[f"{case[0]}.{case[1]}" for case in EVERY]
)

ALL_PICTURES = Pictures(
    **{field: value for field, (_, value) in PICTURES.items()} | {"policy": "randaugment"}
)
ALL_SPECTROGRAMS = Spectrograms(**{field: value for field, (_, value) in SPECTROGRAMS.items()})
ALL = Augment(pictures=ALL_PICTURES, spectrograms=ALL_SPECTROGRAMS)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def clips(group: str, batch: int = 8, frames: int = 2) -> Tensor:
    channels = 3 if group == "pictures" else 1
    return torch.rand(batch, frames, channels, 24, 32, generator=seeded(7))


def augment(group: str, **settings: Any) -> Augment:
    kind = Pictures if group == "pictures" else Spectrograms
    return Augment(**{group: kind(**settings)})


def changed(x: Tensor, how: Augment, seed: int = 0) -> Tensor:
    modality: Modality = "spectrogram" if x.shape[2] == 1 else "picture"
    return change({"x": x}, {"x": modality}, how, seeded(seed))["x"]


def test_every_field_has_its_place_in_these_tests() -> None:
    # A batch gets its blends before it is changed: `test_augment_blending`.
    assert set(PICTURES) == set(Pictures.model_fields) - {"self_blend"}
    assert set(SPECTROGRAMS) == set(Spectrograms.model_fields)


@each
def test_every_field_reaches_the_pixels(
    group: str, field: str, beside: dict[str, Any], value: object
) -> None:
    x = clips(group)
    with_it = changed(x, augment(group, **beside, **{field: value}))
    assert not torch.allclose(with_it, changed(x, augment(group, **beside)), atol=1e-3)


@each
def test_shape_range_and_input_are_kept(
    group: str, field: str, beside: dict[str, Any], value: object
) -> None:
    x = clips(group)
    x[0], x[1] = 0, 1  # black and white: nothing may go beyond
    before = x.clone()
    out = changed(x, augment(group, **beside, **{field: value}))
    assert out.shape == x.shape
    assert out.dtype == torch.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(x, before)


@each
def test_the_generator_alone_decides(
    group: str, field: str, beside: dict[str, Any], value: object
) -> None:
    x, how = clips(group), augment(group, **beside, **{field: value})
    first = changed(x, how)
    torch.rand(5)
    state = torch.get_rng_state()
    assert torch.equal(changed(x, how), first)
    assert torch.equal(torch.get_rng_state(), state)
    if field != "centre_crop":  # nothing is drawn for it
        assert not torch.equal(changed(x, how, seed=1), first)


@each
def test_frames_change_alike_and_samples_do_not(
    group: str, field: str, beside: dict[str, Any], value: object
) -> None:
    x = clips(group, batch=1, frames=1).expand(8, 3, -1, -1, -1)
    out = changed(x, augment(group, **beside, **{field: value}))
    torch.testing.assert_close(out, out[:, :1].expand_as(out), atol=1e-6, rtol=0)
    if field != "centre_crop":
        assert not torch.allclose(out, out[:1].expand_as(out), atol=1e-3)


@each
def test_what_another_sample_holds_does_not_matter(
    group: str, field: str, beside: dict[str, Any], value: object
) -> None:
    x, how = clips(group), augment(group, **beside, **{field: value})
    other = x.clone()
    other[3:] = 1 - other[3:]
    torch.testing.assert_close(changed(other, how)[:3], changed(x, how)[:3], atol=1e-6, rtol=0)


CHANCES = ["hflip", "vflip", "grayscale", "blur", "noise", "rescale", "jpeg", "erase"]


@pytest.mark.parametrize("field", CHANCES)
def test_a_chance_is_a_chance_of_each_sample(field: str) -> None:
    x = clips("pictures", batch=1, frames=1).expand(400, 1, 3, 24, 32)
    how = augment("pictures", jpeg_quality=10, **{field: 0.25})
    hit = (changed(x, how) - x).abs().amax((1, 2, 3, 4)) > 1e-3
    assert 60 <= int(hit.sum()) <= 140  # 100 expected, 4.6 standard deviations either way


def test_the_chosen_are_replaced_by_what_was_drawn_for_them() -> None:
    x, drawn = torch.zeros(5, 2), torch.arange(5.0)
    chosen = torch.tensor([False, True, False, False, True])
    out = replace(x, chosen, lambda part, values: part + values[:, None], drawn)
    assert out.tolist() == [[0, 0], [1, 1], [0, 0], [0, 0], [4, 4]]
    assert replace(x, torch.zeros(5, dtype=torch.bool), lambda part: part + 1) is x


def test_nothing_is_touched_by_default() -> None:
    views = {"frames": clips("pictures"), "mel": clips("spectrograms"), "values": torch.rand(8, 5)}
    out = change(views, MODALITIES, Augment(), seeded())
    assert all(out[name] is views[name] for name in views)


@pytest.mark.parametrize(
    ("group", "settings"),
    [
        ("pictures", {"blur": 1, "blur_sigma_px": 0}),
        ("pictures", {"noise": 1, "noise_levels": 0}),
        ("pictures", {"rescale": 1, "rescale_to": 1}),
        ("pictures", {"erase": 1, "erase_share": 0}),
        ("pictures", {"rotation_deg": 1e-6, "shear_deg": 1e-6, "translation": 1e-8}),
        ("pictures", {"brightness": 1e-7, "contrast": 1e-7, "saturation": 1e-7, "hue_deg": 1e-5}),
        ("spectrograms", {"gain_db": 1e-6, "time_shift": 1e-6}),
        ("spectrograms", {"time_mask": 0.01, "frequency_mask": 0.01}),  # no whole column, no band
    ],
)
def test_a_strength_of_nothing_changes_nothing(group: str, settings: dict[str, Any]) -> None:
    x = clips(group)
    out = changed(x, augment(group, **settings))
    torch.testing.assert_close(out, x, atol=1e-5, rtol=0)


def test_without_a_chance_the_strengths_do_not_matter() -> None:
    idle = {field: value for field, (beside, value) in PICTURES.items() if beside}
    assert len(idle) == 8
    x = clips("pictures")
    assert changed(x, augment("pictures", **idle)) is x


def test_each_group_is_for_its_own_views_and_vectors_have_none() -> None:
    views = {"frames": clips("pictures"), "mel": clips("spectrograms"), "values": torch.rand(8, 5)}
    heard = change(views, MODALITIES, Augment(spectrograms=ALL_SPECTROGRAMS), seeded())
    assert heard["frames"] is views["frames"]
    assert not torch.allclose(heard["mel"], views["mel"])
    seen = change(views, MODALITIES, Augment(pictures=ALL_PICTURES), seeded())
    assert seen["mel"] is views["mel"]
    assert not torch.allclose(seen["frames"], views["frames"])
    assert change(views, MODALITIES, ALL, seeded())["values"] is views["values"]


def test_all_of_them_go_together() -> None:
    views = {"frames": clips("pictures"), "mel": clips("spectrograms")}
    first, again = (change(views, MODALITIES, ALL, seeded(3)) for _ in range(2))
    for name, x in views.items():
        assert first[name].shape == x.shape
        assert first[name].min() >= 0
        assert first[name].max() <= 1
        assert torch.equal(first[name], again[name])


@pytest.mark.parametrize("group", ["pictures", "spectrograms"])
def test_a_batch_may_be_of_one_sample(group: str) -> None:
    x = clips(group, batch=1)
    assert changed(x, ALL).shape == x.shape


@pytest.mark.gpu
def test_the_same_happens_on_a_gpu() -> None:
    views = {"frames": clips("pictures"), "mel": clips("spectrograms")}
    how = ALL.model_copy(update={"pictures": ALL_PICTURES.model_copy(update={"policy": "none"})})
    here = change(views, MODALITIES, how, seeded())
    there = change({name: x.cuda() for name, x in views.items()}, MODALITIES, how, seeded())
    for name in views:
        # Rounded to bytes on the way through a JPEG: a level here and there.
        assert (there[name].cpu() - here[name]).abs().mean() < 1 / 255


def test_a_flip_of_a_spectrogram_is_warned_of_and_says_why() -> None:
    assert warnings(Augment()) == []
    assert warnings(Augment(pictures=ALL_PICTURES)) == []
    fine = ALL_SPECTROGRAMS.model_copy(update={"hflip": 0.0, "vflip": 0.0})
    assert warnings(Augment(spectrograms=fine)) == []
    said = warnings(Augment(spectrograms=Spectrograms(hflip=0.5, vflip=0.25)))
    assert len(said) == 2
    assert said[0].startswith("augment.spectrograms.hflip is 0.5: ")
    assert "played backwards" in said[0]
    assert said[1].startswith("augment.spectrograms.vflip is 0.25: ")
    assert "upside down" in said[1]
