"""What a view declares of itself: its modality and its shape."""

from collections.abc import Mapping
from typing import Literal, Protocol

Modality = Literal["picture", "spectrogram", "waveform", "vector"]
"""What the array of a view is, whatever its channels are:

- `picture`: what a camera may see, upright, (frames, height, width, 3) in RGB; its mirror image may
  be one too;
- `spectrogram`: frequency (rows) by time (columns), (frames, height, width, channels);
- `waveform`: samples of sound, (samples,) int16: 1 is 32,768 of them where a model reads it;
- `vector`: (values,), in no order.
"""

PICTURED: frozenset[Modality] = frozenset({"picture", "spectrogram"})
"""What is stored and shown as pictures."""

BACKBONED: frozenset[Modality] = PICTURED | {"waveform"}
"""What goes through a backbone."""

Modalities = Mapping[str, Modality]
"""By the name of the view."""


class ViewLike(Protocol):
    """What a model knows of a view."""

    @property
    def modality(self) -> Modality:
        """What its array is."""

    @property
    def is_sound(self) -> bool:
        """Whether it is made of the sound."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, height, width, channels), (samples,) or (values,) that a model reads at once."""


def modalities_of(views: Mapping[str, ViewLike]) -> dict[str, Modality]:
    """Return the modality of each view."""
    return {name: view.modality for name, view in views.items()}
