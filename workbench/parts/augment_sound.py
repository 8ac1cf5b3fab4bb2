"""Changes of sounds, in which time runs to the right.

Spectrograms are (batch, frames, channels, bands, columns) in [0, 1], waveforms (batch, samples) in
[-1, 1].
"""

from functools import partial
from operator import eq, not_

import torch
from pydantic import Field
from torch import Generator, Tensor

from workbench.media.spectrogram import RANGE_DB
from workbench.parts.augment_damage import inside
from workbench.parts.augment_draws import between, chance, replace
from workbench.values import Frozen

_LEAST_NOISE_DB = 40.0


class Waveforms(Frozen):
    """How each sample of a waveform may be changed; the defaults change nothing."""

    time_shift: float = Field(0.0, ge=0, le=0.5)
    """Shift by a share of the time drawn evenly from [-this, this]; what leaves comes in again."""

    gain_db: float = Field(0.0, ge=0, le=40)
    """Louder by decibels drawn evenly from [-this, this]; full scale clips, as it does in files."""

    # Keys of later versions are in no record at their default: recipes keep their names.
    noise: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """Chance of white noise (as in RawBoost: Tak et al. 2022, arXiv:2111.04433)."""

    noise_snr_db: float = Field(10.0, ge=-10, le=40, exclude_if=partial(eq, 10.0))
    """Power of the sound over that of the noise, at its lowest; drawn evenly from there to 40."""


def change_waveforms(x: Tensor, how: Waveforms, generator: Generator) -> Tensor:
    """Return (batch, samples) with every sample changed as drawn for it."""
    if how.time_shift > 0:
        x = shift_time(x[:, None, None, None], generator, share=how.time_shift)[:, 0, 0, 0]
    if how.gain_db > 0:
        by_db = between(-how.gain_db, how.gain_db, len(x), generator)
        x = (x * (10 ** (by_db / 20)).to(x, non_blocking=True)[:, None]).clamp_(-1, 1)
    if how.noise > 0:
        x = add_noise(x, generator, p=how.noise, snr_db=how.noise_snr_db)
    return x


def add_noise(x: Tensor, generator: Generator, *, p: float, snr_db: float) -> Tensor:
    """Add white noise to waveforms, of a share of each one's power; silence stays silent."""
    size = x.shape[-1]
    snr = between(snr_db, _LEAST_NOISE_DB, len(x), generator)
    start = torch.randint(size, (len(x),), generator=generator)
    chosen = chance(p, len(x), generator)
    # One stretch of noise a batch, as for pictures: `augment_damage.add_noise`.
    stretch = torch.randn(size, generator=generator).to(x, non_blocking=True).repeat(2)

    def new(part: Tensor, snr: Tensor, start: Tensor) -> Tensor:
        noise = torch.stack([stretch[first : first + size] for first in start.tolist()])
        share = (10 ** (-snr / 20)).to(part, non_blocking=True)[:, None]
        level = part.square().mean(dim=1, keepdim=True).sqrt()
        return (part + share * level * noise).clamp_(-1, 1)

    return replace(x, chosen, new, snr, start)


def shift_time(x: Tensor, generator: Generator, *, share: float) -> Tensor:
    """Shift by whole columns, up to `share` of them either way; what leaves comes in again."""
    width = x.shape[-1]
    by = (between(-share, share, len(x), generator) * width).round().long()
    column = (torch.arange(width) - by[:, None]) % width
    index = column.to(x.device, non_blocking=True)[:, None, None, None, :].expand_as(x)
    return x.gather(-1, index)


def change_gain(x: Tensor, generator: Generator, *, gain_db: float) -> Tensor:
    """Make louder or softer by up to `gain_db`, where black to white is RANGE_DB."""
    by = between(-gain_db, gain_db, len(x), generator) / RANGE_DB
    return (x + by.to(x, non_blocking=True)[:, None, None, None, None]).clamp_(0, 1)


def mask(
    x: Tensor,
    generator: Generator,
    *,
    time_share: float,
    num_time: int,
    frequency_share: float,
    num_frequency: int,
) -> Tensor:
    """Cover spans of time and bands of frequency with the mean level of the sample.

    Source:
        Park et al. 2019, arXiv:1904.08779, section 2: the length of a mask is drawn evenly from 0
        to its largest, then its place.
    """
    fill = x.mean((1, 2, 3, 4), keepdim=True)
    for axis, share, num in ((3, frequency_share, num_frequency), (4, time_share, num_time)):
        if share == 0:
            continue
        size = x.shape[axis]
        for _ in range(num):
            length = (torch.rand(len(x), generator=generator) * (int(share * size) + 1)).floor()
            room = size - length + 1
            first = (torch.rand(len(x), generator=generator) * room).floor()
            shape = [len(x), 1, 1, 1, 1]
            shape[axis] = size
            x = torch.where(inside(size, first, length, x.device).view(shape), fill, x)
    return x
