"""Augmentations of whole batches on the device; all randomness comes from one generator.

All frames of a clip change alike. Flips, crops and turns of a sample are one affine map, so a
picture is resampled once, and its colours are mapped once. Before all this, real samples may enter
the batch once more, as fakes; after it, Mixup and CutMix pair samples, alike in every view.

What is drawn on the CPU goes to a GPU without waiting for it: the copies are ordered with its work.
"""

from collections.abc import Mapping
from operator import not_

import torch
from pydantic import Field
from torch import Generator, Tensor

from workbench.media.declared import Modalities
from workbench.parts import augment_damage as damage
from workbench.parts import augment_geometry as geometry
from workbench.parts import augment_sound as sound
from workbench.parts.augment_blending import self_blended
from workbench.parts.augment_colour import recolour
from workbench.parts.augment_damage import BEST_QUALITY
from workbench.parts.augment_draws import chance, seeds
from workbench.parts.augment_mixing import Mixed, mixed
from workbench.parts.augment_policy import STRONGEST, Policy, apply_policy
from workbench.parts.augment_sound import Waveforms
from workbench.values import Frozen


class Pictures(Frozen):
    """How each sample of a view of pictures may be changed; the defaults change nothing.

    In the order of the fields, which is that of a picture's life: forged, taken, edited, sent,
    covered. Pixels are those of the model's input.
    """

    self_blend: float = Field(0.0, ge=0, le=1)
    """Chance that a real sample also enters the batch as a fake, its picture blended with itself.
    Shiohara and Yamasaki 2022, arXiv:2204.08376."""

    hflip: float = Field(0.0, ge=0, le=1)
    """Chance of a mirrored picture."""

    vflip: float = Field(0.0, ge=0, le=1)
    """Chance of a picture upside down."""

    rotation_deg: float = Field(0.0, ge=0, le=180)
    """Rotation by an angle drawn evenly from [-this, this]; what comes into view is reflected."""

    shear_deg: float = Field(0.0, ge=0, le=45)
    """Upright lines lean by an angle drawn evenly from [-this, this]."""

    translation: float = Field(0.0, ge=0, le=0.5)
    """Shift each way by a share of the side drawn evenly from [-this, this]."""

    crop_scale: float = Field(1.0, gt=0, le=1)
    """Least share of the area that a random crop keeps, blown up to the full size."""

    crop_aspect: float = Field(1.0, ge=1, le=4)
    """Largest ratio of the crop's width to its height, against the picture's own, or its inverse:
    drawn evenly by its logarithm. Ratios of 3/4 to 4/3 are usual: 1.333."""

    centre_crop: float = Field(1.0, gt=0, le=1)
    """Share of each side that is kept of the middle, after all turns: it cuts reflections off."""

    policy: Policy = "none"
    """`randaugment`: `policy_ops` drawn changes of one strength (Cubuk et al. 2020,
    arXiv:1909.13719). `trivialaugment`: one, of any strength (Müller and Hutter 2021,
    arXiv:2103.10158; the wide space). Both as torchvision has them."""

    policy_ops: int = Field(2, ge=1, le=5)
    """Changes that RandAugment makes of each sample."""

    policy_magnitude: int = Field(9, ge=0, le=STRONGEST)
    """Strength of RandAugment's changes, 0 to 30."""

    policy_magnitude_std: float = Field(0.0, ge=0, le=10, exclude_if=not_)
    """Standard deviation of that strength, drawn for each change. timm's scale ends at 10, this one
    at 30: the strengths of its `rand-m9-mstd0.5-inc1` are 27 and a deviation of 1.5, though it
    leaves out half of the changes that it draws."""

    brightness: float = Field(0.0, ge=0, le=1)
    """Levels are multiplied by a factor drawn evenly from [1 - this, 1 + this]."""

    contrast: float = Field(0.0, ge=0, le=1)
    """As `brightness`, for the distance of levels from the mean grey of the clip."""

    saturation: float = Field(0.0, ge=0, le=1)
    """As `brightness`, for the distance of each colour from its grey."""

    hue_deg: float = Field(0.0, ge=0, le=180)
    """Colours turn about the axis of greys by an angle drawn evenly from [-this, this]."""

    grayscale: float = Field(0.0, ge=0, le=1)
    """Chance of losing colour."""

    blur: float = Field(0.0, ge=0, le=1)
    """Chance of a Gaussian blur."""

    blur_sigma_px: float = Field(2.0, ge=0, le=8)
    """Largest standard deviation of the blur, in pixels; drawn evenly from [0, this]."""

    noise: float = Field(0.0, ge=0, le=1)
    """Chance of Gaussian noise."""

    noise_levels: float = Field(10.0, ge=0, le=64)
    """Largest deviation of the noise, in grey levels of 255; drawn evenly from [0, this]."""

    rescale: float = Field(0.0, ge=0, le=1)
    """Chance of being made smaller and large again."""

    rescale_to: float = Field(0.5, ge=0.1, le=1)
    """Least share of the side that `rescale` shrinks to; drawn evenly from [this, 1]."""

    jpeg: float = Field(0.0, ge=0, le=1)
    """Chance of JPEG compression, by libjpeg."""

    jpeg_quality: int = Field(30, ge=10, le=BEST_QUALITY)
    """Worst quality of `jpeg`; drawn evenly from [this, 95]."""

    erase: float = Field(0.0, ge=0, le=1)
    """Chance of a covered box: random erasing. Zhong et al. 2020, arXiv:1708.04896."""

    erase_share: float = Field(0.33, ge=0, le=0.5)
    """Largest share of the area that `erase` covers; drawn evenly from [0.02, this]."""


class Spectrograms(Frozen):
    """How each sample of a spectrogram may be changed; the defaults change nothing."""

    hflip: float = Field(0.0, ge=0, le=1)
    """Chance of time running backwards, as it does in no recording: rarely what is wanted."""

    vflip: float = Field(0.0, ge=0, le=1)
    """Chance of high pitches where the low ones belong: rarely what is wanted."""

    crop_scale: float = Field(1.0, gt=0, le=1)
    """Least share of the area that a random crop keeps: less time, fewer bands, magnified."""

    time_shift: float = Field(0.0, ge=0, le=0.5)
    """Shift by a share of the time drawn evenly from [-this, this]; what leaves comes in again."""

    gain_db: float = Field(0.0, ge=0, le=40)
    """Louder by decibels drawn evenly from [-this, this], where black to white is 80 dB. It moves
    levels as a limited loudness would: pictures that start at their own loudest, as `mel` does,
    show nothing of how loud a recording is."""

    time_mask: float = Field(0.0, ge=0, le=1)
    """Largest share of the time that one mask covers, drawn evenly from [0, this]. SpecAugment:
    Park et al. 2019, arXiv:1904.08779. The mean level of the sample takes its place."""

    num_time_masks: int = Field(2, ge=1, le=10)
    """Time masks a sample; two in SpecAugment's policy LD."""

    frequency_mask: float = Field(0.0, ge=0, le=1)
    """Largest share of the bands that one mask covers, drawn evenly from [0, this]."""

    num_frequency_masks: int = Field(2, ge=1, le=10)
    """Frequency masks a sample."""


class Augment(Frozen):
    """All augmentations of a recipe."""

    pictures: Pictures = Pictures()
    """For views of pictures: frames, faces, images."""

    spectrograms: Spectrograms = Spectrograms()
    """For pictures of sound: mel, logspec, cqt, lfcc."""

    waveforms: Waveforms = Waveforms()
    """For sound as it is."""

    mixup_alpha: float = Field(0.0, ge=0, le=10)
    """Mixup's Beta parameter; 0 is off. Zhang et al. 2018, arXiv:1710.09412."""

    cutmix_alpha: float = Field(0.0, ge=0, le=10)
    """CutMix's Beta parameter; 0 is off. Yun et al. 2019, arXiv:1905.04899."""

    paired_mixup_alpha: float = Field(0.0, ge=0, le=10, exclude_if=not_)
    """Beta parameter of the share that a fake keeps when it is mixed with the real sample that it
    was made of; 0 is off. That is known of forged copies and blends (`copies`), and of fakes whose
    real file the column `original` names, if it is one of the metadata's groups."""


def warnings(augment: Augment) -> list[str]:
    """Return a sentence on each setting that is allowed and rarely meant."""
    heard = augment.spectrograms
    said = []
    if heard.hflip > 0:
        said.append(
            f"augment.spectrograms.hflip is {heard.hflip:g}: a mirrored spectrogram is a sound "
            "played backwards, which is found in no data to be scored. Set it to 0 unless you mean "
            "it; time_shift and time_mask change time without turning it around."
        )
    if heard.vflip > 0:
        said.append(
            f"augment.spectrograms.vflip is {heard.vflip:g}: a spectrogram upside down has its low "
            "pitches where high ones belong, as no sound has. Set it to 0 unless you mean it; "
            "frequency_mask hides pitches and leaves the others in their place."
        )
    return said


def with_blends(
    inputs: Mapping[str, Tensor],
    targets: Tensor,
    modalities: Modalities,
    augment: Augment,
    generator: Generator,
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the batch with blends of some real samples added as fakes, and the targets of all.

    Pictures of these samples in the batch become the targets of their blends (`self_blended`), by
    the same draws in every view. Their other views are repeated as they are.

    Args:
        inputs: By name, as `change` takes them. Nothing is drawn, and nothing added, for a batch
            without pictures.
        targets: (batch,) on the CPU, 0 for real and 1 for fake.
        modalities: Of the views, by name.
        augment: Has the chance.
        generator: A CPU generator.
    """
    p = augment.pictures.self_blend
    seen = [name for name in inputs if modalities[name] == "picture"]
    if p == 0 or not seen:
        return dict(inputs), targets
    # As much is drawn whatever the targets are, so that they do not change what is drawn later.
    chosen = (chance(p, len(targets), generator) & (targets == 0)).nonzero()[:, 0]
    (seed,) = seeds(1, generator)
    if not len(chosen):
        return dict(inputs), targets
    blended = {}
    for name, x in inputs.items():
        there = chosen.to(x.device, non_blocking=True)
        if name in seen:
            real, fake = self_blended(x[there], Generator().manual_seed(seed))
            blended[name] = torch.cat([x, fake])
            blended[name][there] = real
        else:
            blended[name] = torch.cat([x, x[there]])
    return blended, torch.cat([targets, torch.ones_like(targets[chosen])])


def change(
    views: Mapping[str, Tensor], modalities: Modalities, augment: Augment, generator: Generator
) -> dict[str, Tensor]:
    """Return each view with every sample changed as drawn for it; what was given stays as it is.

    Args:
        views: By name, floats as a model reads them. A vector is returned as given.
        modalities: Of the views, by name.
        augment: What may happen.
        generator: A CPU generator, so that the draws are the same on every device.
    """
    changed = {}
    for name, x in views.items():
        if modalities[name] == "spectrogram":
            x = _change_spectrograms(x, augment.spectrograms, generator)
        elif modalities[name] == "picture":
            x = _change_pictures(x, augment.pictures, generator)
        elif modalities[name] == "waveform":
            x = sound.change_waveforms(x, augment.waveforms, generator)
        changed[name] = x
    return changed


def mix(
    views: Mapping[str, Tensor], modalities: Modalities, augment: Augment, generator: Generator
) -> Mixed:
    """Return the batch after Mixup or CutMix; one of them by chance where both are on.

    Its arguments are those of `change`.
    """
    return mixed(views, modalities, generator, augment.mixup_alpha, augment.cutmix_alpha)


def _change_pictures(x: Tensor, how: Pictures, generator: Generator) -> Tensor:
    theta = geometry.maps(
        (len(x), *x.shape[-2:]),
        generator,
        hflip=how.hflip,
        vflip=how.vflip,
        rotation_deg=how.rotation_deg,
        shear_deg=how.shear_deg,
        translation=how.translation,
        crop_scale=how.crop_scale,
        crop_aspect=how.crop_aspect,
        centre_crop=how.centre_crop,
    )
    if theta is not None:
        x = geometry.resample(x, theta)
    x = apply_policy(
        x,
        generator,
        policy=how.policy,
        num_ops=how.policy_ops,
        magnitude=how.policy_magnitude,
        magnitude_std=how.policy_magnitude_std,
    )
    x = recolour(
        x,
        generator,
        brightness=how.brightness,
        contrast=how.contrast,
        saturation=how.saturation,
        hue_deg=how.hue_deg,
        grayscale=how.grayscale,
    )
    if how.blur > 0:
        x = damage.blur(x, generator, p=how.blur, sigma_px=how.blur_sigma_px)
    if how.noise > 0:
        x = damage.add_noise(x, generator, p=how.noise, levels=how.noise_levels)
    if how.rescale > 0:
        x = damage.rescale(x, generator, p=how.rescale, least=how.rescale_to)
    if how.jpeg > 0:
        x = damage.compress(x, generator, p=how.jpeg, worst=how.jpeg_quality)
    if how.erase > 0:
        x = damage.erase(x, generator, p=how.erase, share=how.erase_share)
    return x


def _change_spectrograms(x: Tensor, how: Spectrograms, generator: Generator) -> Tensor:
    theta = geometry.maps(
        (len(x), *x.shape[-2:]),
        generator,
        hflip=how.hflip,
        vflip=how.vflip,
        crop_scale=how.crop_scale,
    )
    if theta is not None:
        x = geometry.resample(x, theta)
    if how.time_shift > 0:
        x = sound.shift_time(x, generator, share=how.time_shift)
    if how.gain_db > 0:
        x = sound.change_gain(x, generator, gain_db=how.gain_db)
    return sound.mask(
        x,
        generator,
        time_share=how.time_mask,
        num_time=how.num_time_masks,
        frequency_share=how.frequency_mask,
        num_frequency=how.num_frequency_masks,
    )
