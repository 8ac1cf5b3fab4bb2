"""What a view is: one array made of one media file, by settings that name it."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from workbench.errors import MediaError
from workbench.media.declared import Modality
from workbench.media.source import attempt
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


MadeOrNot = dict[str, Made | MediaError]
"""For each view by its name, the array or why there is none."""

ViewReader = Callable[[Path, Mapping[str, Any], Any], MadeOrNot]
"""Reads a file into some views by their names. What looks on while its streams are read, if it has
any, is a `streams.Onlooker` or None."""


class View(Part, ABC):
    """One array made of one media file.

    A subclass is a `SoundView`, a `VideoView` or a `FileView` and has a `version: Literal[n] = n`:
    raise n whenever the same file and settings give another array, so that stored ones are made
    anew. Where an older version can still be made it stays allowed: studies that began with it go
    on.
    """

    modality: ClassVar[Modality]
    """What its array is; it belongs to the class and stands in no identity."""

    is_sound: ClassVar[bool] = False
    """Whether it is made of the sound."""

    neutral_level: ClassVar[int] = 128
    """What fills the array of a file that cannot be decoded: a grey level."""

    dtype: ClassVar[type[np.generic]] = np.uint8

    reader: ClassVar[ViewReader]
    """Reads a file into all views that share it."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(frames, height, width, channels), (samples,) or (values,) that a model reads at once."""

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


def _read_each(path: Path, views: "Mapping[str, FileView]", _: object) -> MadeOrNot:
    return {name: attempt(view.of_file, path) for name, view in views.items()}


class FileView(View):
    """A view that reads its file by itself: no sound and no video."""

    reader: ClassVar[ViewReader] = staticmethod(_read_each)

    @abstractmethod
    def of_file(self, path: Path) -> Made:
        """Return the view of one file.

        Raises:
            MediaError: there is no such view of it; its status is a `source.Status`.
        """


def read_views(path: Path, views: Mapping[str, View], onlooker: Any = None) -> MadeOrNot:
    """Return what a file gives for each view; what fails in one view leaves the others.

    Args:
        path: The file.
        views: Views by name; those with one reader share its pass over the file.
        onlooker: Looks on while the streams are read, a `streams.Onlooker`.
    """
    made: MadeOrNot = {}
    for reader in dict.fromkeys(type(view).reader for view in views.values()):
        some = {name: view for name, view in views.items() if type(view).reader is reader}
        made |= reader(path, some, onlooker)
    return made
