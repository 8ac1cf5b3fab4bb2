"""What a view is: one array made of one media file, by settings that name it."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from workbench.media.declared import Modality
from workbench.media.timing import Timeline
from workbench.values import Part

Array = npt.NDArray[Any]
Sound = npt.NDArray[np.float32]
"""Mono samples at `audio.RATE_HZ`, in [-1, 1]."""

Picture = npt.NDArray[np.uint8]
"""(height, width, 3) RGB, upright."""


@dataclass(frozen=True)
class Made:
    """A view of one file."""

    array: Array
    """Of the view's `stored_shape` and `dtype`."""

    status: str = "ok"
    """`ok`, or the `source.Status` of an array that had to be made another way than asked for."""

    reason: str = ""
    """What happened, where `status` is not `ok`; else a note on what is odd about the file."""


@dataclass(frozen=True)
class Frame:
    """A decoded frame on its way to every view that wants it."""

    picture: Picture
    memory: dict[Any, Any] = field(default_factory=dict)
    """What a view found in it and another one may ask for (detected faces)."""


class View(Part, ABC):
    """One array made of one media file.

    A subclass is a `SoundView`, a `VideoView` or an `FileView` and has a `version: Literal[n] = n`:
    raise n whenever the same file and settings give another array, so that stored ones are made
    anew. Where an older version can still be made it stays allowed: studies that began with it go
    on.
    """

    modality: ClassVar[Modality]
    """What its array is; it belongs to the class and stands in no identity."""

    neutral_level: ClassVar[int] = 128
    """What fills the array of a file that cannot be decoded: a grey level."""

    dtype: ClassVar[type[np.generic]] = np.uint8

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """What a model reads at once: (frames, height, width, channels), or (values,)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values of a vector; none for pictures."""
        return ()

    @property
    def num_segments(self) -> int:
        """Samples that one file makes; its score is the mean of theirs."""
        return 1

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """(segments, *shape) of the array of one file."""
        return (self.num_segments, *self.shape)

    @property
    def libraries(self) -> frozenset[str]:
        """Packages beyond the program's own that decoding needs, by the name of their import."""
        return frozenset()

    def files(self) -> Mapping[str, Path]:
        """Return the files that decoding needs, by the place below the package where it looks.

        Raises:
            ConfigError: one of them is gone.
        """
        return {}

    def neutral(self) -> Array:
        """Return what stands for a file that cannot be decoded: one level throughout."""
        return np.full(self.stored_shape, self.neutral_level, self.dtype)

    def identity(self) -> dict[str, Any]:
        """Return what names the view: all its settings but the places of files."""
        return self.model_dump(mode="json")

    @property
    def uid(self) -> str:
        """Twelve hex digits naming kind, settings and version; equal on every machine."""
        dump = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(dump.encode()).hexdigest()[:12]


class SoundView(View):
    """A view of the sound.

    Version 1 of every such view believes the container's length of the sound.
    """

    version: int

    align: bool = False
    """Whether the sound is on the clock of the file's picture, for a view beside frames: silence
    before a late start and in gaps, and nothing of what is heard before the first frame. Otherwise
    it begins at 0 and has no gaps, as the competition's public baseline has it."""

    def identity(self) -> dict[str, Any]:
        """As `View.identity`, without `align` where it is off.

        It came later than the names of views that are stored: those go on to mean what they meant.
        """
        named = super().identity()
        if not self.align:
            del named["align"]
        return named

    @abstractmethod
    def of_sound(self, sound: Sound) -> Made:
        """Return the view of one sound.

        Raises:
            MediaError: there is no such view of it; its status is a `source.Status`.
        """


class VideoView(View):
    """A view of frames of the video; of a still image, the video of that one frame.

    Frames are handed over one at a time while the file is decoded, so that what is kept of them
    decides the memory, not their size.

    Version 1 of every such view counts frames instead of looking at their times, and sees them as
    they are stored but for a turn: mirrored ones upside down, the colours under transparent pixels,
    high dynamic range as if it were an ordinary one.
    """

    version: int

    sampling: Literal["exact", "nearest"] = "exact"
    """`nearest` skips frames that no other frame needs, and takes the nearest of the rest; a file
    that does not say when its frames are shown, or whose frames are over a quarter of a second
    apart, is decoded as for `exact`."""

    def wanted(self, timeline: Timeline) -> Sequence[int]:
        """Return `indices`, of a video whose frames are shown as `timeline` says."""
        return self.indices(Timeline.even(timeline.count) if self.version == 1 else timeline)

    @abstractmethod
    def indices(self, timeline: Timeline) -> Sequence[int]:
        """Return the frames wanted of a video, by number and in their order, repeats included."""

    @abstractmethod
    def keep(self, frame: Frame) -> Any:
        """Return what is needed of one wanted frame; its picture is gone afterwards."""

    @abstractmethod
    def of_frames(self, kept: Sequence[Any]) -> Made:
        """Return the view of what `keep` returned, one for each of `indices`, in their order.

        Raises:
            MediaError: there is no such view of it; its status is a `source.Status`.
        """


class FileView(View):
    """A view that reads its file by itself: no sound and no video."""

    @abstractmethod
    def of_file(self, path: Path) -> Made:
        """Return the view of one file.

        Raises:
            MediaError: there is no such view of it; its status is a `source.Status`.
        """
