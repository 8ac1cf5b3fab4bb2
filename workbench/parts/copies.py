"""Changed copies of the training files, which stand in for them."""

from collections.abc import Mapping
from operator import not_
from typing import ClassVar, Self

from pydantic import Field, model_validator

from workbench.values import Frozen


class Copies(Frozen):
    """How often a training file is seen as a copy; every epoch draws anew of each file.

    Copies are made once, before training, of training files alone, and cached as views are. A file
    is damaged in one way at a time, and forged in one way at a time.
    """

    DAMAGES: ClassVar = ("degraded", "recoded", "phoned", "trimmed", "cutout")
    """The keys of what real and fake files get alike; all others make fakes of real ones."""

    degraded: float = Field(0.0, ge=0, le=1)
    """Chance that a file, real or fake, is seen damaged as on its way through a platform: its
    picture and its sound by one degradation each (H.264, JPEG, MP3, telephone, noise, room, ...),
    the same in each epoch."""

    resynthesis: float = Field(0.0, ge=0, le=1)
    """Chance that a real file is seen as a fake: its sound rebuilt from its mel spectrogram
    (Griffin and Lim 1984)."""

    splice: float = Field(0.0, ge=0, le=1)
    """The same, with a stretch of another real file's sound over a fifth to two thirds of its."""

    mismatch: float = Field(0.0, ge=0, le=1)
    """The same, with the sound of another real file, or its own moved in time; for models that see
    picture and sound."""

    # Keys of later versions are in no record where they are off: recipes keep their names.
    pitch: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """The same, with its sound 1 to 4 semitones higher or lower by a phase vocoder."""

    formants: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """The same, with its sound's formants 8 to 25% higher or lower, and its pitch as it was."""

    world: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """The same, with its sound made anew by the vocoder WORLD (Morise et al. 2016); it needs the
    extra `world`."""

    vocoder: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """The same, with its sound as early neural vocoders leave it: a low-pass at 4 to 8 kHz, and 6
    to 8 bits of mu-law (van den Oord et al. 2016, arXiv:1609.03499)."""

    transplant: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """The same, with a stretch of its own sound in another place, over a tenth to a third."""

    insert: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """The same, with a stretch of another real file, over a fifth to two thirds of its frames and
    of its sound alike; for files with a sound."""

    freeze: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """The same, with a stretch of its video in which a frame stays, frames come again, or are left
    out, while its sound goes on."""

    blend: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """Chance that a fake joins the batch of a real file: its pictures blended with themselves at
    their own size, over the faces that are found, else over an ellipse. The real one is then seen
    changed as it is outside of the blend (Shiohara and Yamasaki 2022, arXiv:2204.08376)."""

    recoded: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """As `degraded`, with what platforms do alone: the video as H.264 or H.265 at crf 17 to 40, 15
    to 30 frames a second and a quarter to all of its size; the sound as MP3 or Opus."""

    phoned: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """As `degraded`, with the sound alone, in a telephone's band as a telephone codes it: G.711,
    G.726 or AMR-NB."""

    trimmed: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """As `degraded`, with the sound alone, without the silence at its ends: fakes often have none,
    and nothing shall be learned of that."""

    cutout: float = Field(0.0, ge=0, le=1, exclude_if=not_)
    """As `degraded`, with the pictures alone: the eyes or the mouth of each face are covered."""

    @property
    def forged(self) -> Mapping[str, float]:
        """The chance of each forgery that may happen, by its name."""
        return {name: p for name, p in self if name not in self.DAMAGES and p > 0}

    @property
    def damaged(self) -> Mapping[str, float]:
        """The chance of each way of damage that may happen, by its name."""
        return {name: p for name, p in self if name in self.DAMAGES and p > 0}

    @property
    def are_made(self) -> bool:
        """Whether any copy is ever seen."""
        return self != Copies()

    @model_validator(mode="after")
    def _at_most_always(self) -> Self:
        for done, chances in (("forged", self.forged), ("damaged", self.damaged)):
            if sum(chances.values()) > 1 + 1e-9:  # ten tenths are more than 1 by rounding
                raise ValueError(
                    f"{' + '.join(chances)} is {sum(chances.values()):g}, and a file is {done} in "
                    "one way at a time: let their chances add up to at most 1"
                )
        return self
