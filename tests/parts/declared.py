"""Views as a model knows them: a modality and a shape, without a file that they are made of."""

from typing import NamedTuple

from workbench.media.declared import Modality

MODALITIES: dict[str, Modality] = {
    "frames": "picture",
    "faces": "picture",
    "image": "picture",
    "mel": "spectrogram",
    "values": "vector",
}
"""Of the views that tests name so."""


class Declared(NamedTuple):
    """What a view says of itself."""

    modality: Modality
    shape: tuple[int, ...]

    @property
    def is_sound(self) -> bool:
        """Whether it is made of the sound; vectors are of the picture here."""
        return self.modality in {"spectrogram", "waveform"}


def picture(*shape: int) -> Declared:
    """Return a picture view of (frames, height, width, 3)."""
    return Declared("picture", shape)


def spectrogram(*shape: int) -> Declared:
    """Return a spectrogram view of (frames, height, width, channels)."""
    return Declared("spectrogram", shape)


def vector(num_values: int) -> Declared:
    """Return a vector view."""
    return Declared("vector", (num_values,))
