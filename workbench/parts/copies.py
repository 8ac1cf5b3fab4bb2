"""Changed copies of the training files, which stand in for them."""

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from workbench.values import Frozen


class Copies(Frozen):
    """How often a training file is seen as a copy; every epoch draws anew of each file.

    Copies are made once, before training, of training files alone, and cached as views are.
    """

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

    @property
    def forged(self) -> Mapping[str, float]:
        """The chance of each forgery that may happen, by its name."""
        chances = self.model_dump(include={"resynthesis", "splice", "mismatch"})
        return {name: chance for name, chance in chances.items() if chance > 0}

    @property
    def are_made(self) -> bool:
        """Whether any copy is ever seen."""
        return self != Copies()

    @model_validator(mode="after")
    def _at_most_always(self) -> Self:
        if sum(self.forged.values()) > 1:
            raise ValueError(
                f"{' + '.join(self.forged)} is {sum(self.forged.values()):g}, and a file is "
                "forged in one way at a time: let their chances add up to at most 1"
            )
        return self
