"""The samples of the sound themselves, for networks that find their own features."""

from typing import ClassVar, Literal

import numpy as np
import soxr
from pydantic import Field

from workbench.media.audio import RATE_HZ
from workbench.media.declared import Modality
from workbench.media.sound_view import SoundView
from workbench.media.source import failure
from workbench.media.view import Made, Sound

_FULL_SCALE = 32_767


class Waveform(SoundView):
    """Stretches of the sound, each of `num_samples` in 16 bits, evenly spaced over the file.

    A single one begins with the sound, and a sound that is shorter is repeated until it fills it:
    as the detectors of spoofed speech have it (Jung et al. 2022, arXiv:2110.01200, section 4.1).
    """

    kind: Literal["waveform"] = "waveform"
    version: Literal[2] = 2
    """Version of how the array is made: a study keeps its own, new ones take the latest."""

    num_samples: int = Field(64_600, ge=4_000, le=1 << 20)
    """Samples of one stretch; 64,600 are 4 seconds at 16 kHz."""

    rate_hz: int = Field(16_000, ge=4_000, le=RATE_HZ)
    """Samples a second."""

    segments: int = Field(1, ge=1, le=64)
    """Number of stretches of one file; its score is the mean of theirs."""

    modality: ClassVar[Modality] = "waveform"
    neutral_level: ClassVar[int] = 0
    dtype: ClassVar[type[np.generic]] = np.int16

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples,) of one stretch."""
        return (self.num_samples,)

    @property
    def num_segments(self) -> int:
        """Samples that one file makes; its score is the mean of theirs."""
        return self.segments

    def of_sound(self, sound: Sound) -> Made:
        """Return the stretches of one sound, int16 of `stored_shape`.

        Raises:
            MediaError: silent, where the sound never changes.
        """
        heard = soxr.resample(sound, RATE_HZ, self.rate_hz) if self.rate_hz < RATE_HZ else sound
        levels = np.rint(heard.clip(-1, 1) * _FULL_SCALE).astype(np.int16)
        if not len(levels) or levels.min() == levels.max():
            raise failure("silent", "its sound is too faint for 16 bits")
        if len(levels) < self.num_samples:
            levels = np.resize(levels, self.num_samples)
        starts = np.linspace(0, len(levels) - self.num_samples, self.segments).round().astype(int)
        return Made(np.stack([levels[start : start + self.num_samples] for start in starts]))
